# SPDX-License-Identifier: MIT
"""Sources whose messages come over a WebSocket, as a wire of bytes; without I/O.

The frames are those of the library `websockets`, of the extra `serve`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from websockets.exceptions import PayloadTooBig
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from recorder.errors import OptionError, WireError, shown
from recorder.server.connection import MessageSizeError
from recorder.sources.asterisk_websocket import AsteriskWebSocket
from recorder.sources.dialects import DIALECTS
from recorder.sources.media_stream import MediaStream

if TYPE_CHECKING:
    from recorder.call import Call
    from recorder.server.connection import OpenCall

_MOST_MESSAGE: Final = 128 * 1024  # bytes; the longest that a source knows are half of it
_MOST_REASON: Final = 120  # bytes of a close frame
_SUBPROTOCOLS: Final = ("media", "audio.drachtio.org", "audio.jambonz.org")
_NUMBERS: Final = ("rate", "channels")


class MessageSource(Protocol):
    """A source of `recorder.sources` whose messages are text or bytes."""

    call: "Call | None"
    call_id: str
    ended: bool

    def receive(self, message: str | bytes, /) -> list[str | bytes]:
        """Take one message; return what to answer at once."""

    def tick(self) -> list[str | bytes]:
        """Every 20 ms: what the party is to hear now."""

    def hang_up(self) -> list[str | bytes]:
        """End the call from here: what to send before closing."""

    def end(self) -> None:
        """The connection is closed."""


class OverWebSocket:
    """The bytes of one WebSocket, as a server.

    `make_source(target)` makes the source once the client has asked for that target, a path with a
    query; OptionError refuses it.
    """

    def __init__(self, make_source: Callable[[str], MessageSource]) -> None:
        self._make_source = make_source
        self._source: MessageSource | None = None
        self._protocol = ServerProtocol(
            max_size=_MOST_MESSAGE, select_subprotocol=_select_subprotocol
        )
        self._parts: list[bytes | bytearray | memoryview] = []
        self._is_text = False
        self.ended = False

    @property
    def call(self) -> "Call | None":
        """The source's call."""
        return None if self._source is None else self._source.call

    @property
    def call_id(self) -> str:
        """The wire's id of the call, or anything else once it is known to be one."""
        source = self._source
        if source is None or source.call is None:
            return ""
        return source.call_id or source.call.call_id

    def receive(self, data: bytes) -> bytes:
        """Take bytes; return what to answer. WireError for what is not of the protocol."""
        protocol = self._protocol
        protocol.receive_data(data)
        try:
            for event in protocol.events_received():
                if isinstance(event, Request):
                    self._begin(event)
                elif isinstance(event, Frame):
                    self._take(event)
        except WireError as error:
            self._close(str(error))
            raise
        if isinstance(protocol.parser_exc, PayloadTooBig):
            raise MessageSizeError(f"a message: expected at most {_MOST_MESSAGE} bytes")
        broken = protocol.parser_exc or protocol.handshake_exc
        if broken is not None and not self.ended:
            raise WireError(f"expected a WebSocket: {broken}")
        return self._to_send()

    def tick(self) -> bytes:
        """Let 20 ms pass; return what to send."""
        if self._source is None or self.ended:
            return b""
        self._send(self._source.tick())
        return self._to_send()

    def hang_up(self) -> bytes:
        """End the call from here; return what to send before the connection is closed."""
        if self._source is not None and not self.ended:
            self._send(self._source.hang_up())
        self._close("", CloseCode.NORMAL_CLOSURE)
        self.end()
        return self._to_send()

    def end(self) -> None:
        """The connection is gone."""
        self.ended = True
        if self._source is not None:
            self._source.end()

    # -- in --------------------------------------------------------------------------------

    def _begin(self, request: Request) -> None:
        response = self._protocol.accept(request)
        if response.status_code == 101:
            try:
                self._source = self._make_source(request.path)
            except OptionError as error:
                response = self._protocol.reject(400, f"{error}\n")
                self._protocol.send_response(response)
                # As a log may show it, whatever a peer has put into it.
                path = request.path.encode("unicode_escape").decode()
                raise WireError(f"{path}: {error}") from None
        self._protocol.send_response(response)
        if self._source is None:  # what came behind it is no message
            raise WireError(f"expected a WebSocket: {self._protocol.handshake_exc}")

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.end()
            return
        if frame.opcode not in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT}:
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        if frame.data:  # else they would grow without end, and never be too long
            self._parts.append(frame.data)
        if not frame.fin:
            return
        data, self._parts = b"".join(self._parts), []
        assert self._source is not None
        try:
            message = data.decode() if self._is_text else data
        except UnicodeDecodeError:
            self._close("expected UTF-8", CloseCode.INVALID_DATA)
            raise WireError(f"a text message: expected UTF-8, got {shown(data[:80])}") from None
        self._send(self._source.receive(message))
        if self._source.ended:
            self.ended = True
            self._close("", CloseCode.NORMAL_CLOSURE)

    # -- out -------------------------------------------------------------------------------

    def _send(self, messages: list[str | bytes]) -> None:
        if self._protocol.state is not State.OPEN:
            return
        for message in messages:
            if isinstance(message, str):
                self._protocol.send_text(message.encode())
            else:
                self._protocol.send_binary(message)

    def _close(self, why: str, code: int = CloseCode.PROTOCOL_ERROR) -> None:
        """Close it for a reason, if it is open still."""
        if self._protocol.state is State.OPEN:
            reason = why.encode()[:_MOST_REASON].decode(errors="ignore")
            self._protocol.send_close(code, reason)

    def _to_send(self) -> bytes:
        # An empty piece stands for the end of the stream, which is the connection's to know.
        return b"".join(self._protocol.data_to_send())


def _select_subprotocol(
    protocol: ServerProtocol, offered: Sequence[Subprotocol]
) -> Subprotocol | None:
    """Choose one that a source knows; none where no one is offered."""
    del protocol
    return next((Subprotocol(one) for one in _SUBPROTOCOLS if one in offered), None)


def asterisk_websocket(open_call: "OpenCall") -> OverWebSocket:
    """Make the wire of Asterisk's chan_websocket, whatever it asks for."""
    return OverWebSocket(lambda _: AsteriskWebSocket(open_call))


def media_stream(open_call: "OpenCall") -> OverWebSocket:
    """Make the wire of a media stream.

    The path names the dialect where the first message does not, and the query what else the wire
    does not say: `/mod_audio_fork?rate=16000&channels=2`.
    """

    def make_source(target: str) -> MediaStream:
        parts = urlsplit(target)
        dialect = parts.path.strip("/") or None
        options: dict[str, object] = {}
        if dialect is not None and dialect not in DIALECTS:
            raise OptionError(f"path: expected / or /{', /'.join(DIALECTS)}, got {shown(target)}")
        for key, value in parse_qsl(parts.query):
            if key in _NUMBERS:
                try:
                    options[key] = int(value)
                except ValueError:
                    raise OptionError(f"{key}: expected a number, got {shown(value)}") from None
            elif key == "byte_order":
                options[key] = value
            else:
                raise OptionError(f"query: expected rate, channels or byte_order, got {shown(key)}")
        return MediaStream(open_call, dialect=dialect, **options)  # type: ignore[arg-type]

    return OverWebSocket(make_source)
