# SPDX-License-Identifier: MIT
"""RELAY's clients over WebSockets and TLS, in asyncio."""

import asyncio
import logging
import ssl
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from recorder.errors import FileError, OptionError, RecorderError
from recorder.relay.calls import Surroundings
from recorder.relay.hub import Access, Hub
from recorder.server.media import MediaSettings, Workshop

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.http11 import Request, Response

    from recorder.action import RecordAction

_MOST_CONNECTIONS: Final = 1000
_MOST_MESSAGE: Final = 1 << 20  # bytes
# What a client that does not read may have waiting here. What it did not get is sent again.
_MOST_UNREAD: Final = 4 << 20
_TICKS: Final = 5  # of 20 ms, between two looks at what has happened
# Of a file to be opened, before the client is answered all the same.
_OPENING_SECONDS: Final = 2.0
_HANDSHAKE_SECONDS: Final = 10.0
_KEEPALIVE_SECONDS: Final = 20.0
_CLOSE_SECONDS: Final = 0.5
# The library would log each handshake that fails, with a traceback.
_QUIET: Final = logging.getLogger("recorder.relay.websockets")
_QUIET.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """Where RELAY's clients connect, what they have to show, and what they can play."""

    address: tuple[str, int]
    certificate: Path
    key: Path
    access: Access
    media: MediaSettings


class Relay:
    """Serves RELAY's clients. To be made in a running event loop.

    `most_calls` is how many calls one client may have. OptionError for a certificate or key that
    cannot be used.
    """

    def __init__(self, settings: RelaySettings, *, most_calls: int) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._workshop = Workshop(settings.media)
        self._idle = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()
        surroundings = Surroundings(
            post=self._post, produce=self._workshop.produce, opening=self._open
        )
        self.hub = Hub(
            settings.access,
            surroundings,
            self._loop.time,
            most_calls=most_calls,
            idle=self._idle.set,
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            self._context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ValueError) as error:
            raise OptionError(
                f"--tls-cert and --tls-key: expected a certificate and its key in PEM, got"
                f" {settings.certificate} and {settings.key}: {error}"
            ) from None
        self._server: Server | None = None
        self._connections = 0
        self._ticks = 0

    def _post(self, work: "Callable[[], None]") -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to report to
            self._loop.call_soon_threadsafe(work)

    def _open(self, action: "RecordAction", done: "Callable[[FileError | None], None]") -> None:
        task = self._loop.create_task(_until_open(action, done))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def listen(self) -> list[dict[str, Any]]:
        """Listen; return `{"listening", "host", "port"}` of each socket. OSError if it cannot."""
        host, port = self._settings.address
        self._server = await serve(
            self._handle,
            host,
            port,
            ssl=self._context,
            process_request=self._admit,
            compression=None,
            max_size=_MOST_MESSAGE,
            open_timeout=_HANDSHAKE_SECONDS,
            ping_interval=_KEEPALIVE_SECONDS,
            ping_timeout=_KEEPALIVE_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            server_header=None,
            logger=_QUIET,
        )
        addresses = [sock.getsockname() for sock in self._server.sockets]
        return [{"listening": "relay", "host": one[0], "port": one[1]} for one in addresses]

    def tick(self) -> None:
        """Every 20 ms: let the hub look at its calls now and then."""
        self._ticks += 1
        if self._ticks % _TICKS == 0:
            self.hub.tick()

    async def finish(self, patience: float) -> None:
        """Wait until the calls that were hung up have ended and are reported; close."""
        until = self._loop.time() + patience
        while self.hub.calls and self._loop.time() < until:
            self._idle.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), until - self._loop.time())
        self.hub.close("the server ends")
        if self._server is not None:
            self._server.close(close_connections=True)
            await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: "Request") -> "Response | None":
        del request
        if self._connections < _MOST_CONNECTIONS:
            return None
        why = f"expected at most {_MOST_CONNECTIONS} clients\n"
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, why)

    async def _handle(self, connection: ServerConnection) -> None:
        self._connections += 1
        outbox = _Outbox(connection)
        link = self.hub.link(outbox.put, outbox.close)
        sending = self._loop.create_task(outbox.run())
        try:
            async for message in connection:
                link.receive(message)
        except ConnectionClosed:
            pass
        finally:
            self._connections -= 1
            self.hub.gone(link)
            outbox.close("")
            await sending


class _Outbox:
    """What one client is to be sent: bounded, and sent by a task of its own."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._waiting: deque[str] = deque()
        self._size = 0
        self._why: str | None = None  # it is to be closed, once all is sent
        self._wake = asyncio.Event()

    def put(self, text: str) -> None:
        """Send a message."""
        if self._why is not None:
            return
        self._waiting.append(text)
        self._size += len(text)
        if self._size > _MOST_UNREAD:
            # Closing it would wait for what the client does not read.
            self._waiting.clear()
            self._connection.transport.abort()
        self._wake.set()

    def close(self, why: str) -> None:
        """Close the connection behind what waits."""
        if self._why is None:
            self._why = why
        self._wake.set()

    async def run(self) -> None:
        """Send until it is to be closed."""
        with suppress(ConnectionClosed):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    text = self._waiting.popleft()
                    await self._connection.send(text)
                    self._size -= len(text)
                if self._why is not None:
                    await self._connection.close(CloseCode.NORMAL_CLOSURE, self._why[:100])
                    return


async def _until_open(action: "RecordAction", done: "Callable[[FileError | None], None]") -> None:
    opening = asyncio.ensure_future(action)
    await asyncio.wait([opening], timeout=_OPENING_SECONDS)
    if not opening.done():
        done(None)  # a client that waits for its answer would give its connection up
    try:
        await opening
    except FileError as error:
        done(error)
    except RecorderError as error:
        done(FileError(str(error)))
    else:
        done(None)
