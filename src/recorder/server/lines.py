# SPDX-License-Identifier: MIT
"""JSON on standard output, a line each."""

import json
import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import Any, Final

_PATIENCE_SECONDS: Final = 1.0


class Lines:
    """Prints in a thread: who reads it delays no call.

    Where that fails the server ends as by a signal; `finish` returns what went wrong.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[bytes] = SimpleQueue()
        self._error: OSError | None = None
        # Not through sys.stdout, whose lock it would hold at the exit when nobody reads.
        self._out = sys.stdout.fileno()
        self._thread = threading.Thread(target=self._print, name="recorder-lines", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many wait to be printed."""
        return self._waiting.qsize()

    def put(self, line: dict[str, Any]) -> None:
        """Print an object."""
        self.put_line(json.dumps(line).encode() + b"\n")

    def put_line(self, line: bytes) -> None:
        """Print what is a line already."""
        self._waiting.put(line)

    def finish(self) -> OSError | None:
        """Wait until all is printed, for as long as somebody reads."""
        self._waiting.put(b"")
        self._thread.join(_PATIENCE_SECONDS)
        return self._error

    def _print(self) -> None:
        try:
            while line := self._waiting.get():
                while line:
                    line = line[os.write(self._out, line) :]
        except OSError as error:
            self._error = error
            os.kill(os.getpid(), signal.SIGTERM)
