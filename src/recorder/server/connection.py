# SPDX-License-Identifier: MIT
"""A connection of any source, in asyncio: one call."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from recorder.errors import RecorderError, WireError

if TYPE_CHECKING:
    from recorder.call import Call
    from recorder.server.calls import Calls
    from recorder.server.ticker import Ticker

# What a peer that does not read may have waiting here, in bytes: two seconds at 8 kHz.
_MOST_UNREAD: Final = 32 * 1024
_MOST_UNREAD_BY_KERNEL: Final = 64 * 1024
_FIRST_MESSAGE_SECONDS: Final = 5.0
# How long a connection that was closed from here waits for the peer's end of it.
_LINGER_SECONDS: Final = 0.5
# A peer that has vanished without a word is noticed after so long.
_VANISHED_SECONDS: Final = 30

OpenCall = Callable[[str, int], "Call"]


class MessageSizeError(WireError):
    """A message is longer than any of its protocol."""


class Wire(Protocol):
    """A source whose messages are bytes: AudioSocket, or messages over a WebSocket.

    `receive` raises WireError for bytes that are not of the protocol.
    """

    @property
    def call(self) -> "Call | None":
        """The call, once it is open."""

    @property
    def call_id(self) -> str:
        """Not empty once the wire has said which call it is."""

    @property
    def ended(self) -> bool:
        """Whether the connection is to be closed."""

    def receive(self, data: bytes, /) -> bytes:
        """Take bytes; return what to answer."""

    def tick(self) -> bytes:
        """Let 20 ms pass; return what to send."""

    def hang_up(self) -> bytes:
        """End the call from here; return what to send before the connection is closed."""

    def end(self) -> None:
        """The connection is gone."""


# Where the kernel puts what arrives, of one connection after the other: a buffer for each read
# costs half as much as all the rest of it.
_ARRIVED: Final = memoryview(bytearray(64 * 1024))


class Connection(asyncio.BufferedProtocol):
    """What arrives goes to its wire, and each tick of the clock is sent. Limits close it."""

    def __init__(
        self,
        make_wire: Callable[[OpenCall], Wire],
        calls: "Calls",
        ticker: "Ticker",
        connections: "set[Connection]",
    ) -> None:
        self._calls = calls
        self._ticker = ticker
        self._connections = connections
        self._wire = make_wire(self._open_call)
        self._transport: asyncio.Transport | None = None
        self._first: asyncio.TimerHandle | None = None
        self._is_closing = False
        self.gone = asyncio.Event()  # set when the connection is
        self._last = calls.now()  # when something came

    # -- asyncio.BufferedProtocol ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, and send silence at once."""
        assert isinstance(transport, asyncio.Transport)
        if not self._calls.accept():
            transport.abort()
            return
        self._transport = transport
        self._connections.add(self)
        transport.set_write_buffer_limits(high=_MOST_UNREAD)
        _limit(transport.get_extra_info("socket"))
        self._first = asyncio.get_running_loop().call_later(
            _FIRST_MESSAGE_SECONDS,
            partial(self._refuse, "first-message", "a connection has sent no call"),
        )
        self._ticker.add(self._tick)
        self._tick()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes are to be put."""
        del sizehint
        return _ARRIVED

    def buffer_updated(self, nbytes: int) -> None:
        """Pass them to the wire."""
        if self._is_closing or self._transport is None:
            return
        self._last = self._calls.now()
        try:
            answer = self._wire.receive(bytes(_ARRIVED[:nbytes]))
        except MessageSizeError as error:
            self._refuse("message-size", str(error))
            return
        except RecorderError as error:
            self._refuse("protocol", str(error))
            return
        if answer:
            self._transport.write(answer)
        if self._first is not None and self._wire.call_id:
            self._first.cancel()
            self._first = None
        if self._wire.ended:
            self._close()

    def pause_writing(self) -> None:
        """More waits to be sent than a party that listens would leave."""
        if self._transport is not None and not self._is_closing:
            why = f"a peer does not read: {_MOST_UNREAD} bytes wait for it"
            self._refuse("slow-reader", why)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has gone, or this side has closed."""
        if self._transport is None:
            return
        if isinstance(exc, TimeoutError) and not self._is_closing:
            peer = self._transport.get_extra_info("peername")
            self._calls.refuse("vanished", f"{peer}: nothing answers there")
        self._transport = None
        self._connections.discard(self)
        self._leave()
        self._calls.leave(self._wire.call)
        self.gone.set()

    # -- the call --------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes that wait for the peer to read."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def hang_up(self) -> None:
        """End the call from this side."""
        if self._transport is not None and not self._is_closing:
            self._transport.write(self._wire.hang_up())
            self._close()

    def abort(self) -> None:
        """Wait for the peer no more."""
        if self._transport is not None:
            self._transport.abort()

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
            transport.write(self._wire.tick())
        except RecorderError as error:
            self._refuse("failed", str(error))

    def _refuse(self, what: str, why: str) -> None:
        if self._transport is not None and not self._is_closing:
            self._calls.refuse(what, f"{self._transport.get_extra_info('peername')}: {why}")
            self.hang_up()

    def _close(self) -> None:
        """Send what there is, and close: at once from here, and all when the peer has, too.

        Closing it all while audio still comes would reset the connection, and what was sent last
        might be lost.
        """
        assert self._transport is not None
        self._is_closing = True
        self._leave()
        transport = self._transport
        with suppress(OSError):  # the peer has gone meanwhile
            transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)

    def _leave(self) -> None:
        self._ticker.discard(self._tick)
        if self._first is not None:
            self._first.cancel()
        self._wire.end()


def _limit(sock: socket.socket | None) -> None:
    """Let the kernel keep little of what a peer does not read, and notice one that has vanished."""
    if sock is None:
        return
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_UNREAD_BY_KERNEL)]
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _VANISHED_SECONDS))
        options.append((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _VANISHED_SECONDS))
        options.append((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _VANISHED_SECONDS // 3))
    with suppress(OSError):  # a peer that has gone already
        for level, name, value in options:
            sock.setsockopt(level, name, value)
