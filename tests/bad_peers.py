# SPDX-License-Identifier: MIT
"""Peers of `recorder serve` that do something wrong, one of each kind. Linux only."""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from tests.signals import Pcm
from tests.wires import (
    ASTERISK,
    AUDIOSOCKET,
    BINARY,
    CLOSE,
    CONTINUATION,
    KINDS,
    PATIENCE,
    PING,
    STREAM,
    TEXT,
    Address,
    Party,
    Serve,
    Source,
    asterisk_opening,
    audiosocket,
    handshake,
    lies_at,
    new_id,
    said,
    text,
    websocket,
)

_SO_ATTACH_FILTER: Final = 26
_SMALL_BUFFER: Final = 4096
_TICK_BYTES: Final = 323  # of AudioSocket at 8 kHz
_FAST_BYTES: Final = 7680  # of 20 ms at 192 kHz

_BROWSER: Final = b"GET / HTTP/1.1\r\nHost: recorder\r\n\r\n"
_TLS: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(505)
# A newline in it would end a line of HTTP.
_OPENING: Final = audiosocket(0x01, b"\xaa" * 16)
_FRAME: Final = audiosocket(0x10, bytes(320))

Deed = Callable[[Serve, Address], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a peer does wrong.

    - `at`: the source it connects to, or "http".
    - `why`: under which name the server counts it; "" where it counts nothing.
    - `do`: does it once, and returns when the server is done with it. AssertionError where what
      the peer did send is not in its file.
    """

    name: str
    at: str
    why: str
    do: Deed


def faults_of(rng: np.random.Generator) -> list[Fault]:
    """One of each."""
    noise = rng.bytes(20_000)
    return [*_of_audiosocket(noise), *_of_asterisk(noise), *_of_streams(), *_of_all(), *_of_http()]


# -- what they do ----------------------------------------------------------------------------------


def _sends(name: str, at: str, why: str, *pieces: bytes, shake: bytes = b"") -> Fault:
    """Sends this, and nothing more, and waits until the server closes."""

    async def do(serve: Serve, address: Address) -> None:
        party = await Party.connect(address, shake)
        with suppress(ConnectionError):  # it may close at the first of them
            for piece in pieces:
                await party.send(piece)
        await party.closed()

    return Fault(name=name, at=at, why=why, do=do)


async def _dribble(source: Source, pcm: Pcm, serve: Serve, address: Address) -> None:
    """A whole call, a byte at a time."""
    call_id = new_id()
    party = await Party.connect(address, source.shake)
    sock: socket.socket = party.writer.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in source.opening(call_id) + source.audio(pcm) + source.goodbye:
        await party.send(bytes([byte]))
        await asyncio.sleep(0)
    await party.closed()
    await serve.until_ended(call_id)
    assert lies_at(serve.audio(call_id), pcm) is not None


async def _read_nothing(
    opening: Callable[[str], bytes], shake: bytes, pings: int, serve: Serve, address: Address
) -> None:
    """Open a call, and read nothing of what comes; of pings, the answers."""
    call_id = new_id()
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        await loop.sock_sendall(sock, shake + opening(call_id))
        with suppress(ConnectionError):
            for _ in range(pings):
                await loop.sock_sendall(sock, websocket(PING, bytes(125)))
        await serve.until_ended(call_id)


async def _vanish(
    opening: Callable[[str], bytes], shake: bytes, serve: Serve, address: Address
) -> None:
    """Open a call, and be gone without a word, as a machine without power."""
    call_id = new_id()
    party = await Party.connect(address, shake)
    await party.send(opening(call_id))
    hear_nothing(party.writer.get_extra_info("socket"))
    await serve.until_ended(call_id)
    party.writer.transport.abort()


def hear_nothing(sock: socket.socket) -> None:
    """Let the kernel drop all that comes to a socket: no ACK, no RST."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))  # return 0
    attached = struct.pack("HP", 1, ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)


async def _be_killed(source: Source, pcm: Pcm, serve: Serve, address: Address) -> None:
    """Open a call, say something, and be killed."""
    call_id = new_id()
    party = await Party.connect(address, source.shake)
    await party.send(source.opening(call_id) + source.audio(pcm))
    # An RST takes what the server has not read yet.
    if source is AUDIOSOCKET:
        await _until_received(party, party.received + 3 * _TICK_BYTES)
    else:
        await party.send(websocket(PING, b"?"))
        await _until_received(party, party.received + 1)
    party.reset()
    await serve.until_ended(call_id)
    assert lies_at(serve.audio(call_id), pcm) is not None


async def _until_received(party: Party, n: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while party.received < n:
            await asyncio.sleep(0.01)


async def _ask_and_be_killed(serve: Serve, address: Address) -> None:
    """Ask for pages, and be gone before the answers."""
    party = await Party.connect(address)
    await party.send(b"GET /metrics HTTP/1.1\r\nHost: recorder\r\n\r\n" * 20)
    party.reset()


# -- to whom ---------------------------------------------------------------------------------------


def _of_audiosocket(noise: bytes) -> list[Fault]:
    at = "audiosocket"

    def fast(call_id: str) -> bytes:
        return AUDIOSOCKET.opening(call_id) + audiosocket(0x18, bytes(_FAST_BYTES))

    rates = [audiosocket(kind, bytes(960)) for kind in (0x10, 0x12, 0x16)]
    return [
        _sends("garbage", at, "protocol", b"\xfe" + noise),
        _sends("HTTP", at, "protocol", _BROWSER),
        _sends("TLS", at, "protocol", _TLS),
        _sends("a WebSocket", at, "protocol", handshake()),
        _sends("an unknown kind of message", at, "protocol", _OPENING + b"\x99\0\0"),
        _sends("audio of three rates", at, "protocol", _OPENING, *rates),
        _sends("nothing", at, "first-message"),
        _sends("half an opening", at, "first-message", _OPENING[:7]),
        _sends("half a message", at, "idle", _OPENING, _FRAME, _FRAME[:100]),
        Fault(
            name="a peer that never reads",
            at=at,
            why="slow-reader",
            do=partial(_read_nothing, fast, b"", 0),
        ),
        Fault(
            name="a peer that vanishes", at=at, why="slow-reader", do=partial(_vanish, fast, b"")
        ),
    ]


def _of_asterisk(noise: bytes) -> list[Fault]:
    at, shake = "asterisk-websocket", ASTERISK.shake
    start = asterisk_opening(new_id())
    refused = handshake(Sec_WebSocket_Version="12")
    whole = websocket(BINARY, bytes(10 << 20))
    early = websocket(BINARY, bytes(1 << 16))
    first = websocket(BINARY, bytes(1 << 16), first=0)
    rest = websocket(CONTINUATION, bytes(1 << 16), first=0)
    half = websocket(BINARY, bytes(99), length=320)
    part = websocket(TEXT, b"a", first=0)
    broken = {
        "a frame without a mask": websocket(BINARY, bytes(320), masked=False),
        "a reserved opcode": websocket(3),
        "a reserved bit": websocket(BINARY, bytes(320), first=0xC0),
        "a ping in pieces": websocket(PING, b"a", first=0),
        "a ping of 126 bytes": websocket(PING, bytes(126)),
        "a continuation of nothing": websocket(CONTINUATION, b"a"),
        "a message within another": part + part,
        "text that is no UTF-8": websocket(TEXT, b"\xff\xfe"),
        "a close of one byte": websocket(CLOSE, b"\x03"),
        "a close of no reason": websocket(CLOSE, struct.pack(">H", 1005)),
        "a second MEDIA_START": start,
    }
    fast = partial(asterisk_opening, form="slin192", size=_FAST_BYTES)
    return [
        _sends("garbage", at, "protocol", noise),
        _sends("AudioSocket", at, "protocol", _OPENING, _FRAME * 30),
        _sends("the opening of AudioSocket", at, "first-message", _OPENING),
        _sends("HTTP", at, "protocol", _BROWSER),
        _sends("TLS", at, "protocol", _TLS + bytes(9000)),
        _sends("half a handshake", at, "first-message", shake[:60]),
        _sends("a handshake without a key", at, "protocol", handshake(Sec_WebSocket_Key="no")),
        _sends("a handshake that is refused, and frames", at, "protocol", refused + start),
        _sends("nothing after the handshake", at, "first-message", shake=shake),
        _sends("a broken frame with the handshake", at, "protocol", shake + websocket(3)),
        _sends("a close with the handshake", at, "", shake + ASTERISK.goodbye),
        _sends("a message of 10 MB", at, "message-size", start, whole, shake=shake),
        _sends("10 MB in pieces", at, "message-size", start, first, *[rest] * 159, shake=shake),
        _sends("audio before MEDIA_START", at, "protocol", *[early] * 20, shake=shake),
        *(_sends(name, at, "protocol", start + data, shake=shake) for name, data in broken.items()),
        _sends("half a frame", at, "idle", start, half, shake=shake),
        Fault(
            name="a peer that never reads",
            at=at,
            why="slow-reader",
            do=partial(_read_nothing, fast, shake, 0),
        ),
    ]


def _of_streams() -> list[Fault]:
    at, shake = "media-stream", STREAM.shake
    start = STREAM.opening("MZ0")
    nested = websocket(TEXT, b"[" * 100_000)
    payload = text(event="media", media={"payload": "###"})
    return [
        _sends("a path that is none", at, "protocol", handshake("/\x1b[31mnothing")),
        _sends("a query that is none", at, "protocol", handshake("/?\x1b[31m=1")),
        _sends("no start", at, "protocol", text(event="media"), shake=shake),
        _sends("JSON in JSON in JSON", at, "protocol", nested, shake=shake),
        _sends("a payload that is none", at, "protocol", start, payload, shake=shake),
        Fault(
            name="pings, and never reads",
            at=at,
            why="slow-reader",
            do=partial(_read_nothing, STREAM.opening, shake, 100_000),
        ),
        Fault(
            name="a peer that vanishes",
            at=at,
            why="idle",  # it is sent nothing
            do=partial(_vanish, STREAM.opening, shake),
        ),
    ]


def _of_all() -> list[Fault]:
    pcm = said(0.06, 5)
    deeds = {"a byte at a time": _dribble, "a peer that is killed": _be_killed}
    return [
        Fault(name=name, at=source.name, why="", do=partial(do, source, pcm))
        for name, do in deeds.items()
        for source in KINDS
    ]


def _of_http() -> list[Fault]:
    at = "http"
    return [
        _sends("garbage", at, "", b"\xfe" * 999 + b"\r\n\r\n"),
        _sends("half a request", at, "", b"GET /metrics HTTP/1.1\r\nHost"),
        Fault(name="a peer that is killed", at=at, why="", do=_ask_and_be_killed),
    ]
