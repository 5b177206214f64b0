# SPDX-License-Identifier: MIT
"""Threads for jobs that may block for as long as they like: a user's handlers, and errands.

Whatever a job does with its time, only its own lane waits: one thread is always idle or being
started, and takes the next lane at once. The price is a thread for each job that blocks. When no
thread can be started (at the system's limit, or while the interpreter shuts down), the existing
ones continue.
"""

from queue import Empty
from typing import Final

from recorder.runtime.lanes import Lane, Pool

_SPARE: Final = 2  # idle threads that stay
_RETIRE_SECONDS: Final = 5.0  # after so long without a job the others end


class Threads(Pool):
    """As many threads as there are jobs that block, and a few idle ones."""

    def _may_start(self) -> bool:
        return True

    def _next_lane(self) -> Lane | None:
        while True:
            with self._lock:
                patience = _RETIRE_SECONDS if self._idle > _SPARE else None
            try:
                return self.ready.get(timeout=patience)
            except Empty:
                with self._lock:
                    if self._idle > _SPARE:
                        self._idle -= 1
                        return None


HANDLERS: Final = Threads("handlers")
# What the package itself does after a failure; apart, so that it never waits for user code.
ERRANDS: Final = Threads("errands")
