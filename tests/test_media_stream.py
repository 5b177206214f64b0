# SPDX-License-Identifier: MIT
"""Media streams of services: each dialect's messages become a call, and what is heard messages."""

import base64
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder import Call, OptionError, RecordAction, WireError
from recorder.detection.core import g711_decode, g711_encode
from recorder.placement.frames import Encoding
from recorder.sources.dialects import DIALECTS
from recorder.sources.media_stream import MediaStream
from recorder.sources.pcm import byte_order_of, call_rates, reordered
from tests.marks import mostly_slow
from tests.recordings import STEREO, audio_of, result_of
from tests.signals import Pcm, noise

SPEECH = noise(1, -25, 16000)
OTHER = noise(1, -25, 16000, seed=9)
HOOK = "e160e428-53e2-487c-977d-96989bf5c99d"


def on_the_wire(pcm: Pcm, encoding: Encoding, order: str = "<") -> bytes:
    return (
        pcm.astype(f"{order}i2").tobytes()
        if encoding == "pcm16"
        else g711_encode(pcm.tobytes(), encoding)
    )


def in_the_file(pcm: Pcm, encoding: Encoding) -> Pcm:
    if encoding == "pcm16":
        return pcm
    return np.frombuffer(g711_decode(g711_encode(pcm.tobytes(), encoding), encoding), np.int16)


def interleaved(*legs: bytes, width: int) -> bytes:
    columns = [np.frombuffer(leg, f"V{width}") for leg in legs]
    return np.stack(columns, axis=1).tobytes()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A dialect as it is on the wire."""

    start: tuple[str | bytes, ...]
    stream_id: str
    rate: int
    encoding: Encoding
    digit: str | None
    stop: str | None
    media: Callable[[int, str, bytes], str | bytes] = lambda k, track, data: data
    options: dict[str, Any] = field(default_factory=dict)
    answers: tuple[Any, ...] = ()  # to the start
    goodbye: tuple[Any, ...] = ()  # the answer to the stop
    order: str = "<"
    is_stereo: bool = False
    # What is sent for 20 ms of audio; to clear; to mark; to hang up.
    sent: Callable[[bytes], Any] = lambda data: data
    clear: Any = None
    mark: Any = None
    marked: str | None = None
    hang_up: Any = None
    ticks: int = 1


def twilio_media(k: int, track: str, data: bytes) -> str:
    media = {
        "track": track,
        "chunk": str(k + 1),
        "timestamp": str(20 * k + 5),
        "payload": base64_of(data),
    }
    return json.dumps({"event": "media", "sequenceNumber": str(k + 2), "media": media})


def telnyx_media(k: int, track: str, data: bytes, chunk: int | None = None) -> str:
    media = {
        "track": track,
        "chunk": str(k + 1 if chunk is None else chunk),
        "timestamp": str(20 * k),
        "payload": base64_of(data),
    }
    return json.dumps({"event": "media", "sequence_number": str(k), "media": media})


def plivo_media(k: int, track: str, data: bytes) -> str:
    media = {
        "track": track,
        "timestamp": str(1700000000000 + 20 * k),
        "chunk": k,
        "payload": base64_of(data),
    }
    return json.dumps({"sequenceNumber": k, "streamId": "P1", "event": "media", "media": media})


def twilio_start(**media_format: Any) -> str:
    start = {
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound", "outbound"],
        "customParameters": {"sampleRate": "none of the stream's"},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        | media_format,
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": start, "streamSid": "MZ1"})


def hook(type: str, seq: int, **parameters: Any) -> str:
    message = {"version": "2", "type": type, "seq": seq, "serverseq": 0, "id": HOOK}
    return json.dumps({**message, "position": "PT0S", "parameters": parameters})


def offer(*channels: str, form: str = "PCMU") -> dict[str, Any]:
    return {"type": "audio", "format": form, "channels": list(channels), "rate": 8000}


OFFERS = [offer("external", "internal"), offer("external"), offer("internal")]
OPEN = hook("open", 1, conversationId="c1", media=OFFERS)


def answer(type: str, seq: int, clientseq: int, **parameters: Any) -> dict[str, Any]:
    numbers = {"seq": seq, "clientseq": clientseq}
    return {"version": "2", "id": HOOK, **numbers, "type": type, "parameters": parameters}


TWILIO_HELLO = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
FORK_MARKED = '{"type":"mark","data":{"name":"m1","event":"playout"}}'

SESSIONS = {
    "twilio": Session(
        start=(TWILIO_HELLO, twilio_start()),
        stream_id="MZ1",
        rate=8000,
        encoding="pcmu",
        media=twilio_media,
        digit='{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5",'
        '"dtmf":{"track":"inbound_track","digit":"5"}}',
        stop='{"event":"stop","sequenceNumber":"9","streamSid":"MZ1","stop":{"callSid":"CA1"}}',
        sent=lambda data: {
            "event": "media",
            "streamSid": "MZ1",
            "media": {"payload": base64_of(data)},
        },
        clear={"event": "clear", "streamSid": "MZ1"},
        mark={"event": "mark", "streamSid": "MZ1", "mark": {"name": "m1"}},
        marked='{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"m1"}}',
    ),
    "signalwire": Session(
        start=(
            '{"event":"connected","protocol":"Call","version":"0.2.0"}',
            twilio_start(encoding="audio/x-L16", sampleRate="16000"),
        ),
        stream_id="MZ1",
        rate=16000,
        encoding="pcm16",
        media=twilio_media,
        digit='{"event":"dtmf","dtmf":{"digit":"5","duration":160}}',
        stop='{"event":"stop","stop":{}}',
        sent=lambda data: {
            "event": "media",
            "streamSid": "MZ1",
            "media": {"payload": base64_of(data)},
        },
        clear={"event": "clear", "streamSid": "MZ1"},
        mark={"event": "mark", "streamSid": "MZ1", "mark": {"name": "m1"}},
        marked='{"event":"mark","mark":{"name":"m1"}}',
    ),
    "telnyx": Session(
        start=(
            '{"event":"connected","version":"1.0.0"}',
            '{"event":"start","sequence_number":"1","stream_id":"T1","start":{"user_id":"u",'
            '"call_control_id":"v2:c","client_state":"aGF","media_format":'
            '{"encoding":"PCMA","sample_rate":"8000","channels":1}}}',
        ),
        stream_id="T1",
        rate=8000,
        encoding="pcma",
        media=telnyx_media,
        digit='{"event":"dtmf","stream_id":"T1","occurred_at":"2024-01-01T00:00:01Z",'
        '"sequence_number":"5","dtmf":{"digit":"5"}}',
        stop='{"event":"stop","sequence_number":"9","stream_id":"T1","stop":{"user_id":"u"}}',
        sent=lambda data: {
            "event": "media",
            "stream_id": "T1",
            "media": {"payload": base64_of(data)},
        },
        clear={"event": "clear", "stream_id": "T1"},
        mark={"event": "mark", "stream_id": "T1", "mark": {"name": "m1"}},
        marked='{"event":"mark","stream_id":"T1","mark":{"name":"m1"}}',
    ),
    "plivo": Session(
        start=(
            '{"sequenceNumber":0,"event":"start","start":{"callId":"c","streamId":"P1",'
            '"accountId":"a","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-l16",'
            '"sampleRate":16000}},"extra_headers":"{}"}',
        ),
        stream_id="P1",
        rate=16000,
        encoding="pcm16",
        order=">",
        media=plivo_media,
        digit='{"event":"dtmf","sequenceNumber":5,"streamId":"P1",'
        '"dtmf":{"track":"inbound","timestamp":"1700000000100","digit":"5"}}',
        stop=None,
        sent=lambda data: {
            "event": "playAudio",
            "media": {
                "contentType": "audio/x-l16",
                "sampleRate": 16000,
                "payload": base64_of(data),
            },
        },
        clear={"event": "clearAudio", "streamId": "P1"},
        mark={"event": "checkpoint", "streamId": "P1", "name": "m1"},
        marked='{"event":"playedStream","streamId":"P1","name":"m1"}',
    ),
    "vonage": Session(
        start=(
            '{"event":"websocket:connected","content-type":"audio/l16;rate=16000","uuid":"v1"}',
        ),
        stream_id="v1",
        rate=16000,
        encoding="pcm16",
        digit='{"event":"websocket:dtmf","digit":"5","duration":260}',
        stop=None,
        clear={"action": "clear"},
        mark={"action": "notify", "payload": {"name": "m1"}},
        marked='{"event":"websocket:notify","payload":{"name":"m1"}}',
    ),
    "jambonz": Session(
        start=('{"callSid":"j1","sampleRate":16000,"mixType":"stereo","direction":"inbound"}',),
        stream_id="j1",
        rate=16000,
        encoding="pcm16",
        is_stereo=True,
        digit='{"event":"dtmf","dtmf":"5","duration":"1600"}',
        stop=None,
        clear={"type": "killAudio"},
        mark={"type": "mark", "data": {"name": "m1"}},
        marked=FORK_MARKED,
        hang_up={"type": "disconnect"},
    ),
    "mod_audio_fork": Session(
        start=("whatever the dialplan said",),
        stream_id="",
        rate=16000,
        encoding="pcm16",
        is_stereo=True,
        options={"dialect": "mod_audio_fork", "rate": 16000, "channels": 2},
        digit='{"event":"dtmf","dtmf":"5"}',
        stop=None,
        clear={"type": "killAudio"},
        mark={"type": "mark", "data": {"name": "m1"}},
        marked=FORK_MARKED,
        hang_up={"type": "disconnect"},
    ),
    "mod_audio_stream": Session(
        start=(),
        stream_id="",
        rate=8000,
        encoding="pcm16",
        options={"dialect": "mod_audio_stream"},
        digit='{"event":"dtmf","dtmf":{"digit":"5"}}',
        stop=None,
        sent=lambda data: {
            "type": "streamAudio",
            "data": {"audioDataType": "raw", "sampleRate": 8000, "audioData": base64_of(data)},
        },
        ticks=10,
    ),
    "audiohook": Session(
        start=(OPEN,),
        answers=(answer("opened", 1, 1, startPaused=False, media=OFFERS[:1]),),
        stream_id=HOOK,
        rate=8000,
        encoding="pcmu",
        is_stereo=True,
        digit=hook("dtmf", 2, digit="5"),
        stop=hook("close", 3, reason="end"),
        goodbye=(answer("closed", 2, 3),),
        clear=answer("event", 2, 2, entities=[{"type": "barge_in", "data": {}}]),
        hang_up=answer("disconnect", 3, 2, reason="completed"),
        ticks=10,
    ),
}


class Server:
    """What a server makes of a connection: the call, its recording, and a clock."""

    def __init__(self, make_call: Callable[..., Call], **options: Any) -> None:
        self.seconds = 0.0
        self.opened: list[tuple[str, int]] = []
        self.make_call = make_call
        self.action: RecordAction | None = None
        self.marks: list[str] = []
        self.digits: list[tuple[str, float]] = []
        self.source = MediaStream(self.open, on_mark=self.marks.append, **options)

    def open(self, call_id: str, rate: int) -> Call:
        self.opened.append((call_id, rate))
        call = self.make_call(live=lambda: self.seconds, **call_rates(rate))
        self.action = call.record(STEREO)
        return call

    @property
    def call(self) -> Call:
        assert self.source.call is not None
        return self.source.call

    def receive(self, *messages: str | bytes) -> list[Any]:
        return [parsed(one) for message in messages for one in self.source.receive(message)]

    def audio(self) -> Pcm:
        self.source.end()
        assert self.action is not None
        return audio_of(result_of(self.action))


def parsed(message: str | bytes) -> Any:
    return json.loads(message) if isinstance(message, str) else message


@pytest.fixture
def connect(make_call: Callable[..., Call]) -> Callable[..., Server]:
    def make(name: str) -> Server:
        server = Server(make_call, **SESSIONS[name].options)
        server.receive(*SESSIONS[name].start)
        if not SESSIONS[name].start:
            server.receive(b"")
        return server

    return make


@pytest.mark.parametrize("name", DIALECTS)
def test_a_session(make_call: Callable[..., Call], name: str) -> None:
    """From the start to the stop: who it is, both legs' audio exactly, and the answers."""
    wire = SESSIONS[name]
    server = Server(make_call, **wire.options)
    assert server.receive(*wire.start) == list(wire.answers)
    n = wire.rate // 50
    is_json = DIALECTS[name].is_json  # type: ignore[index]
    for k in range(10):
        server.seconds += 0.02
        said, heard = (
            on_the_wire(leg[k * n : (k + 1) * n], wire.encoding, wire.order)
            for leg in (SPEECH, OTHER)
        )
        if is_json:
            server.receive(wire.media(k, "inbound", said), wire.media(k, "outbound", heard))
        elif wire.is_stereo:
            server.receive(interleaved(said, heard, width=len(said) // n))
        else:
            server.receive(said)
    assert server.opened == [(wire.stream_id, wire.rate)]
    assert (server.source.name, server.source.call_id) == (name, wire.stream_id)
    if wire.stop is None:
        server.source.end()
    else:
        assert server.receive(wire.stop) == list(wire.goodbye)
    assert server.source.ended
    audio = server.audio()
    assert audio.shape == (10 * n, 2)
    assert np.array_equal(audio[:, 0], in_the_file(SPEECH[: 10 * n], wire.encoding))
    if is_json or wire.is_stereo:
        assert np.array_equal(audio[:, 1], in_the_file(OTHER[: 10 * n], wire.encoding))
    else:
        assert not audio[:, 1].any()


@pytest.mark.parametrize("name", DIALECTS)
def test_a_digit_lies_where_it_came(connect: Callable[..., Server], name: str) -> None:
    server, digit = connect(name), SESSIONS[name].digit
    action = server.call.record({"initial_timeout": 0, "terminators": "5"})
    server.seconds += 1.5
    assert digit is not None
    server.receive(digit)
    server.source.tick()
    event = result_of(action)
    assert (event.reason, event.digit, event.duration) == ("terminator", "5", 1.5)


@pytest.mark.parametrize("name", DIALECTS)
def test_what_the_party_hears_is_sent(connect: Callable[..., Server], name: str) -> None:
    server, wire = connect(name), SESSIONS[name]
    n = wire.rate // 50 * wire.ticks
    for _ in range(10):
        server.seconds += 0.02
        assert server.source.tick() == []  # silence
    server.call.play(SPEECH[:n])
    sent = [parsed(one) for _ in range(20) for one in server.source.tick()]
    assert sent == [wire.sent(on_the_wire(SPEECH[:n], wire.encoding))]


@pytest.mark.parametrize("name", DIALECTS)
def test_barge_in_marks_and_hanging_up(connect: Callable[..., Server], name: str) -> None:
    server, wire = connect(name), SESSIONS[name]
    assert wire.digit is not None
    server.receive(wire.digit)
    server.call.play(SPEECH)
    assert list(map(parsed, server.source.clear())) == [one for one in [wire.clear] if one]
    assert server.call.clear() == 0
    assert list(map(parsed, server.source.mark("m1"))) == [one for one in [wire.mark] if one]
    if wire.marked is not None:
        server.receive(wire.marked)
        assert server.marks == ["m1"]
    assert list(map(parsed, server.source.hang_up())) == [one for one in [wire.hang_up] if one]
    assert server.source.ended
    assert server.action is not None
    assert result_of(server.action).reason == "hangup"
    assert server.source.tick() == server.source.clear() == []


@pytest.mark.parametrize("name", DIALECTS)
def test_a_call_that_was_hung_up_ends_the_wire_s(connect: Callable[..., Server], name: str) -> None:
    wire = SESSIONS[name]
    assert wire.digit is not None
    media = wire.media(0, "inbound", on_the_wire(SPEECH[:320], wire.encoding))
    for message in (media, wire.digit, None):
        server = connect(name)
        server.call.hangup()
        if message is not None:
            assert server.source.receive(message) == []
        for _ in range(10):
            assert server.source.tick() == []
        assert server.source.ended
        assert server.receive(media) == []


@pytest.mark.parametrize("name", DIALECTS)
def test_the_start_is_kept_for_its_owner(connect: Callable[..., Server], name: str) -> None:
    server, start = connect(name), SESSIONS[name].start
    said = start[-1] if start else ""
    assert isinstance(said, str)
    assert server.source.start == (json.loads(said) if said.startswith("{") else {})


@pytest.mark.parametrize("name", DIALECTS)
def test_unknown_events_are_ignored(connect: Callable[..., Server], name: str) -> None:
    server = connect(name)
    assert server.receive('{"event":"new","seq":5}', '{"type":"new","seq":5,"x":[{}]}') == []
    assert server.receive('{"seq":5}', '{"event":[1],"seq":5}', '{"type":{},"seq":5}') == []


@pytest.mark.parametrize("name", ["twilio", "telnyx", "audiohook"])
def test_an_error_is_logged(
    connect: Callable[..., Server], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = connect(name)
    with caplog.at_level(logging.WARNING, "recorder"):
        server.receive('{"event":"error","seq":5,"payload":{"title":"malformed_frame"}}')
    assert "malformed_frame" in caplog.text


# -- time -----------------------------------------------------------------------------------------


def frames_of(name: str, count: int) -> list[bytes]:
    wire = SESSIONS[name]
    n = wire.rate // 50
    return [
        on_the_wire(SPEECH[k * n : (k + 1) * n], wire.encoding, wire.order) for k in range(count)
    ]


@pytest.mark.parametrize("name", ["twilio", "signalwire", "telnyx", "plivo"])
@pytest.mark.parametrize("missing", [5, 20, 100])
def test_a_gap_of_the_timestamps_is_silence(
    connect: Callable[..., Server], name: str, missing: int
) -> None:
    """Also a short one, and wherever within it the next message arrives."""
    server, wire = connect(name), SESSIONS[name]
    first, second = frames_of(name, 2)
    server.seconds = 0.02
    server.receive(wire.media(0, "inbound", first))
    server.seconds = 0.04 + 0.02 * missing - 0.01
    k = 1 + missing
    assert wire.media is not None
    message = telnyx_media(k, "inbound", second, chunk=2) if name == "telnyx" else None
    server.receive(message or wire.media(k, "inbound", second))
    n = wire.rate // 50
    speak = server.audio()[:, 0]
    expected = in_the_file(SPEECH[: 2 * n], wire.encoding)
    assert np.array_equal(speak[:n], expected[:n])
    assert not speak[n : k * n].any()
    assert np.array_equal(speak[k * n : (k + 1) * n], expected[n:])


def test_a_gap_that_the_clock_has_passed_loses_nothing(connect: Callable[..., Server]) -> None:
    """A message that comes late after a gap lies where it arrives."""
    server = connect("twilio")
    first, second = frames_of("twilio", 2)
    server.seconds = 0.02
    server.receive(twilio_media(0, "inbound", first))
    server.seconds = 3
    server.receive(twilio_media(20, "inbound", second))
    speak = server.audio()[:, 0]
    assert len(speak) == 24000
    assert np.array_equal(speak[-160:], in_the_file(SPEECH[160:320], "pcmu"))
    assert server.call.stats.speak.overlap == 0


def test_a_gap_in_a_call_whose_time_is_what_is_fed(make_call: Callable[..., Call]) -> None:
    call = make_call()
    action = call.record(STEREO)
    source = MediaStream(lambda call_id, rate: call)
    source.receive(twilio_start())
    first, second = frames_of("twilio", 2)
    source.receive(twilio_media(0, "inbound", first))
    source.receive(twilio_media(3, "inbound", second))
    source.end()
    speak = audio_of(result_of(action))[:, 0]
    expected = np.zeros(640, np.int16)
    expected[:160], expected[480:] = np.split(in_the_file(SPEECH[:320], "pcmu"), 2)
    assert np.array_equal(speak, expected)


def test_what_is_played_after_late_ticks_is_not_late(connect: Callable[..., Server]) -> None:
    """The silence that was not sent is left out; what was played meanwhile is not."""
    server = connect("vonage")
    server.call.play(SPEECH[:320])
    server.seconds = 1
    server.call.advance()
    server.call.play(SPEECH[320:960])
    sent = []
    for _ in range(5):
        server.seconds += 0.02
        sent += server.source.tick()
    assert b"".join(map(bytes, sent)) == SPEECH[:960].tobytes()  # type: ignore[arg-type]


def test_ticks_that_make_up_for_late_ones_send_nothing_ahead(
    connect: Callable[..., Server],
) -> None:
    server = connect("vonage")
    server.seconds = 1
    for _ in range(50):
        assert server.source.tick() == []
    server.call.play(SPEECH[:1600])
    sent = []
    for _ in range(6):
        server.seconds += 0.02
        sent += server.source.tick()
    assert b"".join(map(bytes, sent)) == SPEECH[:1600].tobytes()  # type: ignore[arg-type]
    at = 16000 + 320  # behind the one piece that was sent ahead
    assert np.array_equal(server.audio()[at : at + 1600, 1], SPEECH[:1600])


def test_time_passes_by_ticks(connect: Callable[..., Server]) -> None:
    """A clock of one's own is read by nobody else."""
    server = connect("audiohook")
    action = server.call.record({"initial_timeout": 1})
    server.seconds = 1.6
    server.source.tick()
    assert result_of(action).duration == 1


@pytest.mark.parametrize("jump", [1, 29, -15, 10**9, -(10**9)])
def test_a_timestamp_that_is_jitter_or_a_mistake_moves_nothing(
    connect: Callable[..., Server], jump: int
) -> None:
    server = connect("plivo")
    for k, data in enumerate(frames_of("plivo", 10)):
        server.seconds += 0.02
        message = json.loads(plivo_media(k, "inbound", data))
        if k >= 5:
            message["media"]["timestamp"] = int(message["media"]["timestamp"]) + jump
        server.receive(json.dumps(message))
    assert np.array_equal(server.audio()[:, 0], SPEECH[:3200])


def test_a_timestamp_far_ahead_of_the_clock_loses_nothing(connect: Callable[..., Server]) -> None:
    server = connect("twilio")
    for k, data in enumerate(frames_of("twilio", 10)):
        server.seconds += 0.02
        server.receive(twilio_media(k if k < 5 else k + 400, "inbound", data))
    speak = server.audio()[:, 0]
    expected = in_the_file(SPEECH[:1600], "pcmu")
    gap = len(speak) - 1600
    assert gap == 800 + 160  # 0.1 s ahead of the clock, when the frame has arrived
    assert np.array_equal(np.delete(speak, np.s_[800 : 800 + gap]), expected)
    assert server.call.stats.speak.late == 0


@pytest.mark.parametrize("tracks", [("inbound",), ("inbound", "outbound")])
def test_timestamps_that_always_jump_run_away_from_no_clock(
    connect: Callable[..., Server], tracks: tuple[str, ...]
) -> None:
    """A sender that counts samples in place of milliseconds, for instance."""
    server = connect("twilio")
    for k, data in enumerate(frames_of("twilio", 40)):
        server.seconds += 0.02
        for track in tracks:
            server.receive(twilio_media(8 * k, track, data))
        assert server.call.position / 8000 - server.seconds < 0.25
    assert server.call.stats.speak.late == server.call.stats.speak.overlap == 0
    speak = server.audio()[:, 0]
    expected = in_the_file(SPEECH[:6400], "pcmu")
    assert np.array_equal(speak[speak != 0], expected[expected != 0])


def test_audio_without_timestamps_lies_where_it_arrives(connect: Callable[..., Server]) -> None:
    server = connect("vonage")
    first, second = frames_of("vonage", 2)
    server.seconds = 0.02
    server.receive(first)
    server.source.tick()
    server.seconds = 2.02
    server.receive(second)
    speak = server.audio()[:, 0]
    expected = np.zeros(32320, np.int16)
    expected[:320], expected[32000:] = SPEECH[:320], SPEECH[320:640]
    assert np.array_equal(speak, expected)


def test_audio_that_the_service_discarded_is_silence(connect: Callable[..., Server]) -> None:
    server = connect("audiohook")
    first, second = (interleaved(data, data, width=1) for data in (frames_of("audiohook", 2)))
    server.seconds = 0.02
    server.receive(first)
    server.receive(hook("paused", 2))
    server.seconds = 0.25
    server.receive(hook("resumed", 3, start="PT0.02S", discarded="PT0.08S"))
    server.receive(hook("discarded", 4, start="PT0.1S", discarded="PT0M0.12S"))
    server.receive(second)
    audio = server.audio()
    expected = in_the_file(SPEECH[:320], "pcmu")
    for leg in (0, 1):
        assert np.array_equal(audio[:160, leg], expected[:160])
        assert not audio[160:1760, leg].any()
        assert np.array_equal(audio[1760:1920, leg], expected[160:])


# -- order ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_per_track", [True, False])
@pytest.mark.parametrize("first_chunk", [0, 1, 4711])
def test_messages_in_any_order_within_the_window(
    make_call: Callable[..., Call], is_per_track: bool, first_chunk: int
) -> None:
    rng = np.random.default_rng(first_chunk)
    server = Server(make_call)
    server.receive(*SESSIONS["telnyx"].start)
    messages = []
    for k, data in enumerate(frames_of("telnyx", 40)):
        # Counted over both tracks, the inbound one has every second number.
        chunk = first_chunk + (k if is_per_track else 2 * k)
        messages.append(telnyx_media(k, "inbound", data, chunk))
    late = rng.integers(0, 3, 40) * 1.0  # places
    for at in np.argsort(np.arange(40) + late, kind="stable"):
        server.seconds += 0.02
        server.receive(messages[at])
        server.source.tick()
    expected = in_the_file(SPEECH[: 40 * 160], "pcma")
    # Where it starts anywhere, it is placed once the window is full.
    assert expected.tobytes() in server.audio()[:, 0].tobytes()
    assert server.call.stats.speak.late == server.call.stats.speak.overlap == 0


@pytest.mark.parametrize("name", ["twilio", "signalwire", "telnyx", "plivo"])
@pytest.mark.parametrize("seed", mostly_slow(range(100), 0, 1, 2))
def test_samples_are_equal_where_messages_arrived_and_silence_where_not(
    connect: Callable[..., Server], name: str, seed: int
) -> None:
    """Any loss of two messages or more, since less is jitter; of Telnyx's also any order."""
    rng = np.random.default_rng(seed)
    server, wire = connect(name), SESSIONS[name]
    n = wire.rate // 50
    count = len(SPEECH) // n
    came = np.ones(count, bool)
    for start in rng.integers(2, count - 12, 3):
        came[start : start + rng.integers(2, 10)] = False
    came[1:][came[1:] & ~came[:-1] & ~np.append(came[2:], True)] = False  # none between two losses
    frames = frames_of(name, count)
    places = np.arange(count) + (0.0 if name != "telnyx" else rng.integers(0, 3, count))
    places[0] = 0
    order = sorted(np.flatnonzero(came), key=lambda k: (places[k], k))
    now = 0
    for k in order:
        while now <= places[k]:
            server.seconds += 0.02
            server.source.tick()
            now += 1
        for _ in range(1 if name != "telnyx" else rng.integers(1, 3)):
            server.receive(wire.media(int(k), "inbound", frames[k]))
    expected = in_the_file(SPEECH[: count * n], wire.encoding).copy()
    expected[np.repeat(~came, n)] = 0
    speak = server.audio()[:, 0]
    assert np.array_equal(speak[: len(expected)], expected[: len(speak)])
    assert not speak[len(expected) :].any()
    assert len(speak) >= (1 + np.flatnonzero(came)[-1]) * n
    assert server.call.stats.speak.late == 0


def test_a_message_that_never_comes_is_silence(
    connect: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = connect("telnyx")
    frames = frames_of("telnyx", 30)
    with caplog.at_level(logging.WARNING, "recorder"):
        for k, data in enumerate(frames):
            server.seconds += 0.02
            if k not in {10, 11}:
                server.receive(telnyx_media(k, "inbound", data))
            server.source.tick()
        for k in (10, 11, 29):  # too late, and twice
            server.receive(telnyx_media(k, "inbound", frames[k]))
    expected = in_the_file(SPEECH[:4800], "pcma").copy()
    expected[1600:1920] = 0
    assert np.array_equal(server.audio()[:, 0], expected)
    assert len(caplog.records) == 1
    assert "chunk 11" in caplog.text


def test_what_comes_twice_while_it_waits(connect: Callable[..., Server]) -> None:
    server = connect("telnyx")
    frames = frames_of("telnyx", 4)
    for k in (0, 2, 2, 3, 1):
        server.receive(telnyx_media(k, "inbound", frames[k]))
    assert np.array_equal(server.audio()[:, 0], in_the_file(SPEECH[:640], "pcma"))


def test_what_waits_at_the_end_is_in_the_file(connect: Callable[..., Server]) -> None:
    server = connect("telnyx")
    server.seconds = 0.08
    frames = frames_of("telnyx", 4)
    for k in (0, 3):
        server.receive(telnyx_media(k, "inbound", frames[k]))
    assert np.array_equal(server.audio()[-160:, 0], in_the_file(SPEECH[480:640], "pcma"))
    other = connect("telnyx")
    other.receive(telnyx_media(3, "inbound", frames[3]))
    other.call.hangup()
    other.source.end()
    assert other.source.ended


def test_what_waits_is_not_kept_for_ever(connect: Callable[..., Server]) -> None:
    server = connect("telnyx")
    frames = frames_of("telnyx", 4)
    server.receive(telnyx_media(0, "inbound", frames[0]))
    server.receive(telnyx_media(3, "inbound", frames[3]))
    assert server.call.stats.speak.taken == 160
    for _ in range(6):
        server.source.tick()
    assert server.call.stats.speak.taken == 320


def test_digits_are_sorted_by_when_they_were_pressed(connect: Callable[..., Server]) -> None:
    server = connect("telnyx")
    action = server.call.record({"initial_timeout": 0, "terminators": "12"})
    for digit, second in (("2", 2), ("1", 1)):
        server.receive(
            json.dumps(
                {
                    "event": "dtmf",
                    "occurred_at": f"2024-01-01T00:00:0{second}Z",
                    "dtmf": {"digit": digit},
                }
            )
        )
    server.source.tick()
    assert result_of(action).digit == "1"


def test_a_key_of_the_other_side_is_not_the_party_s(connect: Callable[..., Server]) -> None:
    server = connect("twilio")
    action = server.call.record({"initial_timeout": 0, "terminators": "5"})
    server.receive('{"event":"dtmf","dtmf":{"track":"outbound_track","digit":"5"}}')
    server.source.end()
    assert result_of(action).reason == "hangup"


# -- forms of audio -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("given_order", [True, False])
def test_the_byte_order_is_found_out(
    make_call: Callable[..., Call], order: str, given_order: bool
) -> None:
    names = {"<": "little", ">": "big"}
    server = Server(make_call, **({"byte_order": names[order]} if given_order else {}))
    server.receive(twilio_start(encoding="audio/x-l16"))
    quiet = np.concatenate([np.zeros(160, np.int16), SPEECH[:1600]])
    for k in range(11):
        server.seconds += 0.02
        data = on_the_wire(quiet[k * 160 : (k + 1) * 160], "pcm16", order)
        server.receive(twilio_media(k, "inbound", data))
    server.call.play(SPEECH[:160])
    (sent,) = [parsed(one) for _ in range(3) for one in server.source.tick()]
    assert sent["media"]["payload"] == base64_of(on_the_wire(SPEECH[:160], "pcm16", order))
    assert np.array_equal(server.audio()[:, 0], quiet)


@pytest.mark.parametrize("order", ["little", "big"])
def test_too_little_audio_does_not_decide_the_byte_order(order: Literal["little", "big"]) -> None:
    for samples in (0, 1, 39):
        assert byte_order_of(reordered(SPEECH[:samples].tobytes(), order)) is None
    assert byte_order_of(reordered(SPEECH[:160].tobytes(), order)) == order
    loud = noise(0.1, 0, 8000).tobytes()  # as loud in either order
    assert byte_order_of(reordered(loud, order)) is None
    assert byte_order_of(bytes(320)) is None


@pytest.mark.parametrize(
    ("offers", "speaks", "hears", "chosen"),
    [
        ([offer("external")], True, False, 0),
        ([offer("internal")], False, True, 0),
        ([offer("internal", "external")], False, False, 0),
        ([offer("external"), offer("external", "internal", form="L16")], True, True, 1),
        ([offer("other"), offer("external")], True, False, 1),
    ],
)
def test_audiohook_s_channels(
    make_call: Callable[..., Call],
    offers: list[dict[str, Any]],
    speaks: bool,
    hears: bool,
    chosen: int,
) -> None:
    server = Server(make_call)
    (opened,) = server.receive(hook("open", 1, conversationId="c", media=offers))
    assert opened["parameters"]["media"] == [offers[chosen]]
    encoding: Encoding = "pcm16" if offers[chosen]["format"] == "L16" else "pcmu"
    legs = [on_the_wire(leg[:160], encoding) for leg in (SPEECH, OTHER)]
    channels = len(offers[chosen]["channels"])
    server.receive(interleaved(*legs[:channels], width=len(legs[0]) // 160))
    first, second = (in_the_file(leg[:160], encoding) for leg in (SPEECH, OTHER))
    silence = np.zeros(160, np.int16)
    if offers[chosen]["channels"][0] == "internal":
        expected = (second if channels == 2 else silence, first)
    else:
        expected = (first, second if channels == 2 else silence)
    audio = server.audio()
    assert np.array_equal(audio[:, 0], expected[0])
    assert np.array_equal(audio[:, 1], expected[1])
    assert bool(audio[:, 0].any()) is (speaks or channels == 2)
    assert bool(audio[:, 1].any()) is (hears or channels == 2)


def test_audiohook_s_probe_is_no_call(make_call: Callable[..., Call]) -> None:
    server = Server(make_call)
    nobody = "00000000-0000-0000-0000-000000000000"
    (opened,) = server.receive(hook("open", 1, conversationId=nobody, media=OFFERS))
    assert opened["type"] == "opened"
    assert server.receive(hook("ping", 2, rtt="PT0.1S")) == [answer("pong", 2, 2)]
    assert server.receive(bytes(320)) == server.source.tick() == server.source.clear() == []
    assert server.receive(hook("dtmf", 3, digit="5")) == []
    assert server.receive(hook("close", 4, reason="end")) == [answer("closed", 3, 4)]
    assert server.opened == []
    assert server.source.ended


def test_audiohook_closes_after_we_have_hung_up(connect: Callable[..., Server]) -> None:
    server = connect("audiohook")
    server.source.hang_up()
    assert server.receive(hook("close", 2, reason="end")) == [answer("closed", 3, 2)]


@pytest.mark.parametrize(
    ("text", "rate", "is_stereo"),
    [
        ('{"sampleRate":"24000","mixType":"mono","callSid":"f1"}', 24000, False),
        ('{"mixType":"stereo"}', 8000, True),
        ("[1]", 8000, False),
        ("", 8000, False),
    ],
)
def test_a_module_s_metadata_says_what_it_says(
    make_call: Callable[..., Call], text: str, rate: int, is_stereo: bool
) -> None:
    server = Server(make_call, dialect="mod_audio_fork")
    server.receive(text)
    assert server.opened == [("f1" if "f1" in text else "", rate)]
    server.receive(on_the_wire(SPEECH[:320], "pcm16"))
    audio = server.audio()
    assert audio[:, 1].any() == is_stereo
    assert np.array_equal(audio[:, 0], SPEECH[: 320 : 1 + is_stereo])


def test_a_given_dialect_needs_no_greeting(make_call: Callable[..., Call]) -> None:
    server = Server(make_call, dialect="signalwire")
    server.receive(twilio_start())
    assert server.opened == [("MZ1", 8000)]


def test_after_the_end_no_call_begins(make_call: Callable[..., Call]) -> None:
    server = Server(make_call)
    assert server.source.hang_up() == []
    assert server.source.mark("x") == server.source.tick() == []
    assert server.receive(twilio_start()) == []
    assert server.opened == []


# -- what is not of the protocol ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"dialect": "twillio"}, "dialect: expected one of None, signalwire"),
        ({"byte_order": "native"}, "byte_order: expected one of None, little, big"),
        ({"channels": 3}, "channels: expected one of 1, 2"),
        ({"rate": 8}, "rate: expected a whole number from 4000"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        MediaStream(lambda call_id, rate: Call(rate), **options)


@pytest.mark.parametrize("name", ["", 5, None])
def test_a_mark_needs_a_name(connect: Callable[..., Server], name: Any) -> None:
    with pytest.raises(OptionError, match="name: expected a string"):
        connect("twilio").source.mark(name)


NO_START = [
    ("hello", "a JSON object"),
    ("[]", "a JSON object"),
    ("{" + '"a":{' * 100000, "a JSON object"),
    ("{}", "a start of signalwire, twilio, plivo"),
    ('{"event":"media","media":{"payload":""}}', "a start of signalwire"),
    (b"\0\0", "a text message, got 2 bytes"),
    (twilio_start(encoding="audio/opus"), "encoding: expected mu-law, A-law or L16, got 'audio/"),
    (twilio_start(sampleRate="x"), "the sample rate: expected a whole number from 4000"),
    (twilio_start(sampleRate=1e400), "the sample rate"),
    (twilio_start(sampleRate=True), "the sample rate"),
    ('{"event":"websocket:connected","content-type":"audio/opus"}', "content-type: expected"),
    (hook("open", 1, media=[]), "media: expected offers"),
    (hook("open", 1, media=[5, {"channels": 5}, {"channels": [{}]}]), "media: expected offers"),
    (hook("open", 1, media=[offer("external", form="OPUS")]), "encoding"),
    (OPEN.replace('"seq": 1', '"seq": "one"'), "seq: expected a whole number"),
]


@pytest.mark.parametrize(("message", "why"), NO_START)
def test_what_starts_no_stream(make_call: Callable[..., Call], message: Any, why: str) -> None:
    server = Server(make_call)
    with pytest.raises(WireError, match=why) as caught:
        server.source.receive(message)
    assert len(str(caught.value)) < 300
    assert server.opened == []


@pytest.mark.parametrize(
    ("name", "message", "why"),
    [
        ("twilio", b"\0\0", "a text message"),
        ("twilio", "hello", "a JSON object"),
        ("twilio", twilio_start(), "expected one start"),
        ("twilio", '{"event":"media"}', "media: expected a payload in base64"),
        ("twilio", '{"event":"media","media":{"payload":"ä"}}', "media: expected a payload"),
        ("twilio", '{"event":"media","media":{"payload":"a"}}', "media: expected a payload"),
        ("telnyx", '{"event":"media","media":{"payload":"","chunk":"x"}}', "chunk: expected"),
        ("twilio", '{"event":"media","media":{"payload":"","timestamp":-1}}', "timestamp: exp"),
        ("twilio", '{"event":"dtmf"}', "dtmf: expected one of"),
        ("twilio", '{"event":"dtmf","dtmf":{"digit":"x"}}', "dtmf: expected one of"),
        ("telnyx", '{"event":"dtmf","dtmf":{"digit":"12"}}', "dtmf: expected one of"),
        ("audiohook", '{"type":"ping"}', "seq: expected"),
        ("audiohook", hook("discarded", 2, discarded="1 s"), "discarded: expected a duration"),
    ],
)
def test_what_is_not_of_the_dialect(
    connect: Callable[..., Server], name: str, message: str | bytes, why: str
) -> None:
    with pytest.raises(WireError, match=why):
        connect(name).source.receive(message)


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("message", ['"media","media":%s', '"dtmf","dtmf":{"digit":%s}'])
def test_values_of_any_number_of_levels(
    connect: Callable[..., Server], message: str, start: str, end: str
) -> None:
    """Also of some that Python can read, but not show."""
    server = connect("twilio")
    for levels in range(1, 1000):
        deep = message % (start * levels + "1" + end * levels)
        with pytest.raises(WireError) as caught:
            server.receive(f'{{"event":{deep}}}')
        assert len(str(caught.value)) < 300


def test_values_that_are_many_but_not_deep(connect: Callable[..., Server]) -> None:
    wide = ",".join(["[[1],{}]"] * 1000)
    assert connect("twilio").receive(f'{{"event":"new","values":[{wide}]}}') == []


def test_an_id_that_is_too_long_to_be_one(make_call: Callable[..., Call]) -> None:
    source = MediaStream(make_call)
    start = twilio_start().replace(
        '"streamSid": "MZ1", "callSid"', f'"streamSid": "{"x" * 257}", "c"'
    )
    with pytest.raises(WireError, match="id: expected at most 256 characters, got 257"):
        source.receive(start)
    assert source.call is None


def test_a_start_of_another_dialect_than_was_given(make_call: Callable[..., Call]) -> None:
    server = Server(make_call, dialect="plivo")
    with pytest.raises(WireError, match="expected a start of plivo"):
        server.receive(twilio_start())


# -- any cut, any garbage -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    name=st.sampled_from([name for name, one in DIALECTS.items() if not one.is_json]),
    cuts=st.lists(st.integers(0, 8000), max_size=12),
)
def test_any_cut_of_binary_audio_gives_the_same_file(
    folder: Path, name: str, cuts: list[int]
) -> None:
    wire = SESSIONS[name]
    legs = [on_the_wire(leg[:2000], wire.encoding) for leg in (SPEECH, OTHER)]
    width = len(legs[0]) // 2000
    data = interleaved(*legs[: 1 + wire.is_stereo], width=width)
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    with Call(wire.rate, directory=folder, live=lambda: 0.0) as call:
        action = call.record(STEREO)
        source = MediaStream(lambda call_id, rate: call, **wire.options)
        for message in wire.start:
            source.receive(message)
        for first, last in pairwise(edges):
            source.receive(data[first:last])
        source.end()
        audio = audio_of(result_of(action))
    assert np.array_equal(audio[:, 0], in_the_file(SPEECH[:2000], wire.encoding))
    if wire.is_stereo:
        assert np.array_equal(audio[:, 1], in_the_file(OTHER[:2000], wire.encoding))


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEY_WORDS = """
    event type media start dtmf digit parameters payload data name mark seq timestamp chunk track
    streamSid stream_id streamId mediaFormat encoding sampleRate version content-type mixType
    discarded channels format rate conversationId id
"""
VALUE_WORDS = """
    start media dtmf mark stop connected open close ping discarded resumed paused error 2 5
    websocket:connected audio/l16;rate=8000 PCMU L16 PT1S inbound outbound external AAAA
"""
KEYS, VALUES = KEY_WORDS.split(), VALUE_WORDS.split()
SENSIBLE = st.recursive(
    st.sampled_from(VALUES) | st.integers(0, 9000) | JSON_LIKE,
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=6) | st.lists(inner, max_size=2)
    ),
    max_leaves=12,
)
EVENTS = st.builds(
    lambda kind, rest: json.dumps({**rest, "event": kind, "seq": 3}),
    st.sampled_from(VALUES),
    st.dictionaries(st.sampled_from(KEYS), SENSIBLE, max_size=4),
)


@pytest.mark.parametrize("examples", mostly_slow([200, 2000], 200))
def test_garbage_raises_nothing_but_wire_errors(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, derandomize=True)
    @given(
        name=st.sampled_from([None, *SESSIONS]),
        messages=st.lists(
            st.one_of(
                EVENTS,
                SENSIBLE.map(json.dumps),
                st.text(max_size=20),
                st.binary(max_size=40),
            ),
            max_size=10,
        ),
    )
    def check(name: str | None, messages: list[str | bytes]) -> None:
        options = {} if name is None else SESSIONS[name].options
        source = MediaStream(
            lambda call_id, rate: Call(live=lambda: 0.0, **call_rates(rate)), **options
        )
        for message in SESSIONS[name].start if name is not None else ():
            source.receive(message)
        for message in messages:
            with suppress(WireError):
                for sent in source.receive(message):
                    parsed(sent)
            source.tick()
        source.clear()
        source.end()

    check()
