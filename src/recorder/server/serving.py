# SPDX-License-Identifier: MIT
"""A server from its first socket to the last complete file."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import FileError, OptionError
from recorder.server.calls import Calls
from recorder.server.connection import Connection, OpenCall, Wire
from recorder.server.stopping import Stop, first
from recorder.server.ticker import Ticker
from recorder.sources.audiosocket import AudioSocket

if TYPE_CHECKING:
    from recorder.server.meters import Readings
    from recorder.server.relay import Relay, RelaySettings
    from recorder.server.settings import Settings

_PATIENCE_SECONDS: Final = 3.0  # of an end, for files
# A clock that has not ticked for so long has stalled.
_STALLED_SECONDS: Final = 2.0
# Ten times a second: a server of many calls is as good as busy with feeding them.
_TICKS_A_FEED: Final = 5
_BACKLOG: Final = 1024


class Server:
    """The calls of one process. To be made in a running event loop.

    `report` is called with each event as JSON can carry it. With `relay`, calls go to its clients.
    OptionError for a source whose library is missing.
    """

    def __init__(
        self,
        settings: "Settings",
        report: Callable[[dict[str, Any]], None],
        relay: "RelaySettings | None" = None,
    ) -> None:
        self._settings = settings
        self._makers = {name: _maker(name) for name in settings.sources}
        self._now = asyncio.get_running_loop().time
        self._ticked = self._now()
        self._relay = None if relay is None else _relay(relay, settings.max_calls)
        self._relay_address = None if relay is None else relay.address
        self._calls = Calls(
            settings.options,
            settings.directory,
            report,
            most=settings.max_calls,
            most_idle_seconds=settings.max_idle,
            hub=None if self._relay is None else self._relay.hub,
            destinations=settings.destinations,
        )
        self._ticker = Ticker(self._on_tick)
        if self._relay is not None:
            self._ticker.add(self._relay.tick)
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, *, shares_port: bool = False) -> list[dict[str, Any]]:
        """Listen; return `{"listening", "host", "port"}` of each socket.

        With `shares_port` other processes may listen there, too. FileError where nothing can.
        """
        loop = asyncio.get_running_loop()
        listening = []
        for name, (host, port) in self._settings.sources.items():
            maker = partial(
                Connection, self._makers[name], self._calls, self._ticker, self._connections
            )
            try:
                server = await loop.create_server(
                    maker, host, port, backlog=_BACKLOG, reuse_port=shares_port or None
                )
            except OSError as error:
                self._close()
                raise cannot_listen(host, port, error) from error
            self._servers.append(server)
            for sock in server.sockets:
                address = sock.getsockname()
                listening.append({"listening": name, "host": address[0], "port": address[1]})
        if self._relay is not None and self._relay_address is not None:
            try:
                listening += await self._relay.listen()
            except OSError as error:
                self._close()
                raise cannot_listen(*self._relay_address, error) from error
        return listening

    async def run(self, stop: Stop) -> None:
        """Serve until SIGINT or SIGTERM; then hang up, and wait for the files.

        A second signal does not wait.
        """
        try:
            await first(self._ticker.run(), stop.asked.wait())
        finally:
            self._close()
            for connection in tuple(self._connections):
                connection.hang_up()
        await stop.unless_insisted(self._finish())
        for connection in tuple(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # for the transports to close

    async def _finish(self) -> None:
        gone = [connection.gone.wait() for connection in self._connections]
        finishing = [self._calls.finish(_PATIENCE_SECONDS)]
        if self._relay is not None:
            finishing.append(self._relay.finish(_PATIENCE_SECONDS))
        await asyncio.gather(*finishing, *gone)

    def _close(self) -> None:
        for server in self._servers:
            server.close()

    def _on_tick(self, lateness: float) -> None:
        self._ticked = self._now()
        self._calls.tick()
        self._calls.counted.add_lateness(lateness)

    @property
    def is_well(self) -> bool:
        """Whether its clock ticks."""
        return self._now() - self._ticked < _STALLED_SECONDS

    def readings(self) -> "Readings":
        """Return what was counted so far, and how things stand. From any thread."""
        readings = self._calls.readings()
        unsent = sum(connection.unsent for connection in self._connections.copy())
        readings.add("unsent_bytes", value=unsent)
        return readings


def cannot_listen(host: str, port: int, error: OSError) -> FileError:
    """Return the error for an address where nothing can listen."""
    return FileError(f"cannot listen on {host}:{port}: {error.strerror or error}")


def _relay(settings: "RelaySettings", most_calls: int) -> "Relay":
    from recorder.server.relay import Relay

    return Relay(settings, most_calls=most_calls)


def _maker(name: str) -> Callable[[OpenCall], Wire]:
    """Return what makes a source's wire."""
    if name == "audiosocket":
        return partial(AudioSocket, ticks_a_feed=_TICKS_A_FEED)
    try:
        from recorder.server import websocket
    except ImportError:
        raise OptionError(
            f"--{name} needs the extra `serve`: pip install 'recorder-telephony[serve]'"
        ) from None
    return {
        "asterisk-websocket": websocket.asterisk_websocket,
        "media-stream": websocket.media_stream,
    }[name]
