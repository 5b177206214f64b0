# SPDX-License-Identifier: MIT
"""AudioSocket over TCP, in asyncio."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from recorder.errors import RecorderError
from recorder.sources.audiosocket import AudioSocket

if TYPE_CHECKING:
    from recorder.call import Call
    from recorder.server.calls import Calls
    from recorder.server.ticker import Ticker

# What a peer that does not read may have waiting, in bytes: two seconds at 8 kHz.
_MOST_UNREAD: Final = 32 * 1024
_FIRST_MESSAGE_SECONDS: Final = 5.0
# Ten times a second: a server of many calls is as good as busy with feeding them.
_TICKS_A_FEED: Final = 5


class Connection(asyncio.Protocol):
    """One call: what arrives goes to its source, and each tick of the clock is sent."""

    def __init__(self, calls: "Calls", ticker: "Ticker", connections: "set[Connection]") -> None:
        self._calls = calls
        self._ticker = ticker
        self._connections = connections
        self._source = AudioSocket(self._open_call, ticks_a_feed=_TICKS_A_FEED)
        self._transport: asyncio.Transport | None = None
        self._first: asyncio.TimerHandle | None = None
        self._last = calls.now()  # when something came

    # -- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, and send silence at once."""
        assert isinstance(transport, asyncio.Transport)
        if not self._calls.accept():
            transport.abort()
            return
        self._transport = transport
        self._connections.add(self)
        transport.set_write_buffer_limits(high=_MOST_UNREAD)
        self._first = asyncio.get_running_loop().call_later(
            _FIRST_MESSAGE_SECONDS,
            partial(self._refuse, "first-message", "a connection has sent no call"),
        )
        self._ticker.add(self._tick)
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the source."""
        self._last = self._calls.now()
        try:
            self._source.receive(data)
        except RecorderError as error:
            self._refuse("protocol", str(error))
        else:
            self._close_if_ended()

    def pause_writing(self) -> None:
        """More waits to be sent than a party that listens would leave."""
        self._refuse("slow-reader", f"a peer does not read: {_MOST_UNREAD} bytes wait for it")

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has gone, or this side has closed."""
        del exc
        if self._transport is None:
            return
        self._transport = None
        self._calls.connections -= 1
        self._connections.discard(self)
        self._leave()

    # -- the call --------------------------------------------------------------------------

    def hang_up(self) -> None:
        """End the call from this side."""
        if self._transport is not None:
            self._transport.write(self._source.hang_up())
            self._transport.close()
        self._leave()

    def _open_call(self, call_id: str, rate: int) -> "Call":
        return self._calls.open(call_id, rate, self.hang_up)

    def _tick(self) -> None:
        transport = self._transport
        if transport is None:
            return
        if self._calls.now() - self._last > self._calls.most_idle_seconds:
            self._refuse("idle", "nothing has come for too long")
            return
        try:
            transport.write(self._source.tick())
        except RecorderError as error:
            self._refuse("failed", str(error))

    def _refuse(self, what: str, why: str) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._calls.count(what, f"{transport.get_extra_info('peername')}: {why}")
            transport.abort()
        self._leave()

    def _close_if_ended(self) -> None:
        if self._source.call_id and self._first is not None:
            self._first.cancel()
        if self._source.ended and self._transport is not None:
            self._transport.close()
            self._leave()

    def _leave(self) -> None:
        self._ticker.discard(self._tick)
        if self._first is not None:
            self._first.cancel()
        self._source.end()
