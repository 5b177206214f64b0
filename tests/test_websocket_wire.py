# SPDX-License-Identifier: MIT
"""Messages of sources over a WebSocket, without a socket: both ends are in memory."""

import base64
import json
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from recorder import AudioOptions, Call, RecordAction, WireError
from recorder.detection.core import g711_encode
from recorder.server.connection import MessageSizeError, OpenCall
from recorder.server.websocket import OverWebSocket, asterisk_websocket, media_stream
from recorder.sources.dialects import DIALECTS
from recorder.sources.pcm import call_rates
from tests import signals
from tests.recordings import NO_LIMITS, STEREO, audio_of
from tests.signals import Pcm

START: Final = (
    "MEDIA_START connection_id:rec channel:WebSocket/rec/0x7f channel_id:17.2"
    " format:slin optimal_frame_size:320 ptime:20"
)


class Peer:
    """A client and the wire it talks to, whose time the test sets."""

    def __init__(
        self,
        make_call: Callable[..., Call],
        make_wire: Callable[[OpenCall], OverWebSocket],
        target: str = "/",
        **client: Any,
    ) -> None:
        self.seconds = 0.0
        self._make_call = make_call
        self.options: AudioOptions = STEREO
        self.actions: list[RecordAction] = []
        self.wire = make_wire(self._open)
        self.client = ClientProtocol(parse_uri(f"ws://host{target}"), **client)
        self.received: list[Frame] = []
        self.client.send_request(self.client.connect())
        self.exchange()

    def _open(self, call_id: str, rate: int) -> Call:
        call = self._make_call(
            call_id=call_id or None, live=lambda: self.seconds, **call_rates(rate)
        )
        self.actions.append(call.record(self.options))
        return call

    def exchange(self, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
        """Let each have what the other has sent."""
        data = b"".join(self.client.data_to_send())
        try:
            for piece in cut(data):
                self._take(self.wire.receive(piece))
        finally:
            self._take(self.wire._to_send())

    def _take(self, data: bytes) -> None:
        if data:
            self.client.receive_data(data)
            for event in self.client.events_received():
                if isinstance(event, Frame):
                    self.received.append(event)
                else:
                    assert isinstance(event, Response)

    def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.client.send_text(message.encode())
        else:
            self.client.send_binary(message)
        self.exchange()

    def tick(self) -> None:
        self.seconds += 0.02
        self._take(self.wire.tick())

    def frames(self, opcode: Opcode) -> list[bytes]:
        return [bytes(frame.data) for frame in self.received if frame.opcode is opcode]

    @property
    def goodbye(self) -> tuple[int, str]:
        """The code and the reason of the close frame that came."""
        assert self.client.close_rcvd is not None
        return self.client.close_rcvd.code, self.client.close_rcvd.reason

    @property
    def audio(self) -> Pcm:
        return audio_of(self.actions[0].join(10))


def frames_of(pcm: Pcm) -> list[bytes]:
    return [pcm[at : at + 160].astype("<i2").tobytes() for at in range(0, len(pcm), 160)]


def twilio(event: str, **fields: Any) -> str:
    return json.dumps({"event": event, **fields})


TWILIO_START: Final = twilio(
    "start",
    start={
        "streamSid": "MZ1",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    },
)


def test_a_call_of_asterisk_s(make_call: Callable[..., Call]) -> None:
    peer = Peer(make_call, asterisk_websocket, "/media", subprotocols=["media"])
    assert peer.client.subprotocol == "media"
    assert peer.client.state is State.OPEN
    assert peer.wire.call_id == ""
    said = signals.noise(0.5, -25)
    peer.send(START)
    assert peer.wire.call_id == "17.2"
    for frame in frames_of(said):
        peer.send(frame)
        peer.tick()
    assert peer.frames(Opcode.BINARY) == [bytes(320)] * 25
    data = peer.wire.hang_up()
    peer._take(data)
    assert peer.frames(Opcode.TEXT) == [b"HANGUP"]
    assert peer.goodbye[0] == 1000
    assert peer.wire.ended
    assert np.array_equal(peer.audio[:, 0], said)
    assert peer.wire.tick() == peer.wire.hang_up() == b""


@pytest.mark.parametrize("seed", range(5))
def test_bytes_may_be_cut_anywhere(make_call: Callable[..., Call], seed: int) -> None:
    rng = random.Random(seed)

    def cut(data: bytes) -> list[bytes]:
        pieces = []
        while data:
            n = rng.choice([1, 2, 3, 7, 100, 1000])
            pieces.append(data[:n])
            data = data[n:]
        return pieces

    peer = Peer(make_call, asterisk_websocket)
    said = signals.noise(0.2, -25)
    peer.client.send_text(START.encode())
    for frame in frames_of(said):
        peer.client.send_binary(frame)
        peer.seconds += 0.02
    peer.client.send_ping(b"are you there")
    peer.exchange(cut)
    assert peer.frames(Opcode.PONG) == [b"are you there"]
    peer.wire.end()
    assert np.array_equal(peer.audio[:, 0], said)


def test_a_message_in_fragments(make_call: Callable[..., Call]) -> None:
    peer = Peer(make_call, media_stream)
    for at in range(0, len(TWILIO_START), 10):
        part = TWILIO_START[at : at + 10].encode()
        is_last = at + 10 >= len(TWILIO_START)
        if at == 0:
            peer.client.send_text(part, fin=False)
        else:
            peer.client.send_continuation(part, fin=is_last)
        peer.client.send_ping(b"")  # which may come in between
    peer.exchange()
    assert peer.wire.call_id == "MZ1"


@pytest.mark.parametrize("by_stop", [True, False])
def test_a_media_stream(make_call: Callable[..., Call], by_stop: bool) -> None:
    peer = Peer(make_call, media_stream)
    said = signals.noise(0.2, -25)
    peer.send(TWILIO_START)
    assert peer.wire.call is not None
    prompt = signals.noise(0.02, -20, seed=1)
    peer.wire.call.play(prompt)
    for number, frame in enumerate(frames_of(said)):
        payload = base64.b64encode(g711_encode(frame, "pcmu")).decode()
        media = {"track": "inbound", "timestamp": str(20 * number), "payload": payload}
        peer.send(twilio("media", media=media))
        peer.tick()
    (sent,) = map(json.loads, peer.frames(Opcode.TEXT))
    assert base64.b64decode(sent["media"]["payload"]) == g711_encode(prompt.tobytes(), "pcmu")
    if by_stop:
        peer.send(twilio("stop"))
        assert peer.goodbye[0] == 1000
    else:
        peer.client.send_close(1001)
        peer.exchange()
    assert peer.wire.ended
    event = peer.actions[0].join(10)
    assert (event.call_id, event.reason) == ("MZ1", "hangup")
    assert event.duration == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize(
    ("target", "dialect", "rate"),
    [
        ("/mod_audio_fork?rate=16000&channels=2", "mod_audio_fork", 16000),
        ("/mod_audio_stream", "mod_audio_stream", 8000),
    ],
)
def test_the_path_names_a_dialect(
    make_call: Callable[..., Call], target: str, dialect: str, rate: int
) -> None:
    peer = Peer(make_call, media_stream, target, subprotocols=["audio.drachtio.org"])
    assert peer.client.subprotocol == "audio.drachtio.org"
    peer.send(bytes(rate // 25))
    assert peer.wire.call is not None
    assert peer.wire.call.sample_rate == rate
    assert peer.wire.call_id == peer.wire.call.call_id  # the wire has none: the call made one


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/what", f"path: expected / or /{', /'.join(DIALECTS)}, got '/what'"),
        ("/?rate=x", "rate: expected a number, got 'x'"),
        ("/?speed=1", "query: expected rate, channels or byte_order, got 'speed'"),
        ("/mod_audio_fork?channels=3", "channels: expected one of 1, 2, got 3"),
    ],
)
def test_paths_that_lead_nowhere(make_call: Callable[..., Call], target: str, why: str) -> None:
    with pytest.raises(WireError) as raised:
        Peer(make_call, media_stream, target)
    assert str(raised.value) == f"{target}: {why}"


def test_a_refused_path_is_answered(make_call: Callable[..., Call]) -> None:
    peer = Peer(make_call, media_stream)
    client = ClientProtocol(parse_uri("ws://host/what"))
    client.send_request(client.connect())
    wire = media_stream(peer._open)
    with pytest.raises(WireError):
        wire.receive(b"".join(client.data_to_send()))
    client.receive_data(wire.hang_up())
    client.events_received()
    assert isinstance(client.handshake_exc, InvalidStatus)
    response = client.handshake_exc.response
    assert response.status_code == 400
    assert b"path: expected / or" in (response.body or b"")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 426 Upgrade Required"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000, b"HTTP/1.1 431 Request Header"),
        (b"\x01\0\x10" + bytes(16) + b"\r\n", b""),
    ],
)
def test_what_is_no_websocket(make_call: Callable[..., Call], data: bytes, status: bytes) -> None:
    wire = asterisk_websocket(make_call)
    with pytest.raises(WireError, match="expected a WebSocket: "):
        wire.receive(data)
    assert wire.hang_up().startswith(status)
    assert wire.call is None


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        (b"\x82\x00", 1002, "incorrect masking"),
        (b"\xf2\x80\0\0\0\0", 1002, "reserved bits"),
        (b"\x80\x80\0\0\0\0", 1002, "unexpected continuation frame"),
        (b"\x81\x82\0\0\0\0\xff\xff", 1007, "UTF-8"),
        (b"\x81\x81\0\0\0\0x", 1002, "control message|MEDIA_START|expected"),
    ],
)
def test_frames_that_break_the_protocol(
    make_call: Callable[..., Call], frame: bytes, code: int, says: str
) -> None:
    peer = Peer(make_call, media_stream)
    with pytest.raises(WireError, match=says):
        peer.wire.receive(frame)
    peer._take(peer.wire.hang_up())
    assert peer.goodbye[0] == code


def test_a_message_that_is_too_long(make_call: Callable[..., Call]) -> None:
    peer = Peer(make_call, asterisk_websocket)
    with pytest.raises(MessageSizeError, match="expected at most 131072 bytes"):
        peer.send(bytes(10_000_000))
    peer._take(peer.wire.hang_up())
    assert peer.goodbye[0] == 1009


def test_fragments_that_are_too_long_together(make_call: Callable[..., Call]) -> None:
    peer = Peer(make_call, asterisk_websocket)
    peer.client.send_binary(bytes(1000), fin=False)
    for _ in range(999):
        peer.client.send_continuation(bytes(1000), fin=False)
    with pytest.raises(MessageSizeError):
        peer.exchange()


def test_a_source_that_refuses_a_message_says_so(make_call: Callable[..., Call]) -> None:
    peer = Peer(make_call, asterisk_websocket)
    with pytest.raises(WireError, match="format: expected one of ulaw"):
        peer.send(START.replace("slin", "opus"))
    assert peer.goodbye[0] == 1002
    assert peer.goodbye[1].startswith("format: expected one of ulaw")


@pytest.mark.parametrize("seed", range(20))
def test_garbage_raises_nothing_else(make_call: Callable[..., Call], seed: int) -> None:
    rng = random.Random(seed)
    peer = Peer(make_call, media_stream if seed % 2 else asterisk_websocket)
    peer.options = NO_LIMITS
    if seed % 4 < 2:
        peer.send(TWILIO_START if seed % 2 else START)
    try:
        for _ in range(50):
            head = rng.choice([0x81, 0x82, 0x01, 0x80, 0x88, 0x89, rng.randrange(256)])
            n = rng.choice([0, 1, 125, rng.randrange(126)])
            body = rng.randbytes(n)
            peer.wire.receive(bytes([head, 0x80 | n]) + bytes(4) + body)
            peer.wire.tick()
    except WireError:
        pass
    peer.wire.end()
    assert peer.wire.hang_up() is not None
    for action in peer.actions:
        assert action.join(10).reason == "hangup"
