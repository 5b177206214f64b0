# SPDX-License-Identifier: MIT
"""A server of several processes that listen on the same ports."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import FileError, OptionError
from recorder.server.meters import Readings
from recorder.server.serving import cannot_listen
from recorder.server.settings import Address, Settings
from recorder.server.stopping import Stop

if TYPE_CHECKING:
    from asyncio.subprocess import Process

_LOG: Final = logging.getLogger("recorder")
_PATIENCE_SECONDS: Final = 3.6  # of an end: a process waits for its files for less
_RESTART_SECONDS: Final = 1.0
# A process reports its readings every second.
_STALLED_SECONDS: Final = 5.0
_MOST_LINE: Final = 1 << 20  # bytes

READINGS_SECONDS: Final = 1.0


class Workers:
    """Processes of one server. The system deals connections out among them.

    Each is started by `command`, takes the settings as a line of JSON on standard input, which
    stays open for as long as this process lives, and prints lines: `listening` for each socket,
    `{"readings": [...]}` every second, and events, which `print_line` gets as they are. One that
    ends is replaced.

    FileError where nothing can listen, OptionError where processes cannot share a port.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        settings: Settings,
        print_line: Callable[[bytes], None],
    ) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise OptionError(f"workers: expected 1, since ports cannot be shared, got {number}")
        self._number = number
        self._command = command
        self._print_line = print_line
        # Bound, but not listening: they keep the ports while no process does.
        self._sockets: list[socket.socket] = []
        sources = {}
        try:
            for name, address in settings.sources.items():
                sources[name] = self._reserve(address)
        except BaseException:
            self._close()
            raise
        self._settings = json.dumps(replace(settings, sources=sources).as_json()).encode() + b"\n"
        self._sources = sources
        self._running: dict[Process, Readings] = {}
        self._ended = Readings()  # what those that are gone had counted
        self._reported = time.monotonic()
        self._report: Callable[[dict[str, Any]], None] = _nothing
        self._listening = 0
        self._is_stopping = False

    def _reserve(self, address: Address) -> Address:
        host, port = address
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(where)  # fails where another server listens
                where = alone.getsockname()
            shared = socket.socket(family, kind, protocol)
            self._sockets.append(shared)
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared.bind(where)
        except OSError as error:
            raise cannot_listen(host, port, error) from error
        return shared.getsockname()[0], shared.getsockname()[1]

    def _close(self) -> None:
        for sock in self._sockets:
            sock.close()

    # -- from start to end -----------------------------------------------------------------

    async def run(self, stop: Stop, report: Callable[[dict[str, Any]], None]) -> None:
        """Serve until SIGINT or SIGTERM; a second signal does not wait.

        `report` is called with `{"listening", "host", "port"}` once all of them listen.
        """
        self._report = report
        keepers = [asyncio.create_task(self._keep()) for _ in range(self._number)]
        asked = asyncio.create_task(stop.asked.wait())
        try:
            await asyncio.wait((asked, *keepers), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_stopping = True
            asked.cancel()
            self._close()
            for process in self._running:
                process.terminate()
            await stop.unless_insisted(_ended(keepers))
            for process in self._running:
                process.kill()
            for keeper in keepers:
                keeper.cancel()
        for keeper in keepers:
            if keeper.done():
                keeper.result()

    async def _keep(self) -> None:
        """Run a process, and another one when it ends."""
        while not self._is_stopping:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_MOST_LINE,
                start_new_session=True,  # Ctrl-C is for this process, which passes it on
            )
            self._running[process] = Readings()
            if self._is_stopping:  # meanwhile
                process.terminate()
            try:
                has_listened = await self._follow(process)
            finally:
                self._ended.add_all(self._running.pop(process).without_gauges())
            status = await process.wait()
            if self._is_stopping:
                return
            if not has_listened:
                raise FileError(f"a process of the server ended with {status} before it listened")
            _LOG.error(
                "process %d of the server ended with %d: another one replaces it, and"
                " `recorder recover` completes its files",
                process.pid,
                status,
            )
            await asyncio.sleep(_RESTART_SECONDS)

    async def _follow(self, process: "Process") -> bool:
        """Pass on what a process prints until its end; whether it ever listened."""
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(self._settings)
        listening = 0
        while line := await process.stdout.readline():
            if line.startswith(b'{"readings"'):
                self._running[process] = Readings(json.loads(line)["readings"])
                self._reported = time.monotonic()
            elif line.startswith(b'{"listening"'):
                listening += 1
                if listening == len(self._sources):
                    self._note_listening()
            else:
                self._print_line(line)
        return listening == len(self._sources)

    def _note_listening(self) -> None:
        self._listening += 1
        if self._listening == self._number:
            for name, (host, port) in self._sources.items():
                self._report({"listening": name, "host": host, "port": port})

    # -- how it is -------------------------------------------------------------------------

    @property
    def is_well(self) -> bool:
        """Whether any process has reported lately."""
        return time.monotonic() - self._reported < _STALLED_SECONDS

    def readings(self) -> Readings:
        """Return what all of them have counted, as of the last second. From any thread."""
        readings = Readings()
        for one in (self._ended, *self._running.copy().values()):
            readings.add_all(one)
        return readings


def _nothing(_: dict[str, Any]) -> None:
    pass


async def _ended(tasks: "list[asyncio.Task[None]]") -> None:
    await asyncio.wait(tasks, timeout=_PATIENCE_SECONDS)
