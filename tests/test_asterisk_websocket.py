# SPDX-License-Identifier: MIT
"""Asterisk's chan_websocket: its messages become a call, and what the party hears messages."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder import Call, CallEndedError, OptionError, RecordAction, WireError
from recorder.detection.core import g711_decode, g711_encode
from recorder.sources.asterisk_websocket import FORMATS, AsteriskWebSocket
from recorder.sources.pcm import call_rates, sample_bytes
from tests.fuzz.wires import weight
from tests.marks import mostly_slow
from tests.recordings import STEREO, audio_of, result_of
from tests.signals import noise

# As Asterisk 22.10.1 sent them.
PLAIN_START = (
    "MEDIA_START connection_id:rec channel:WebSocket/rec/0x7ff6cc0073c0 channel_id:1795501362.72"
    " format:ulaw optimal_frame_size:160 ptime:20"
)
PLAIN_DIGIT = "DTMF_END digit:# channel_id:1795501362.72"
JSON_START = (
    '{"event":"MEDIA_START","connection_id":"rec","channel":"WebSocket/rec/0x7ff6dc0149f0",'
    '"channel_id":"1795501375.75","format":"slin16","optimal_frame_size":640,"ptime":20,'
    '"channel_variables":{"DIALEDPEERNUMBER":"rec/c(slin16)f(json)",'
    '"MEDIA_WEBSOCKET_CONNECTION_ID":"rec","MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE":"640",'
    '"__WAVNAME":"speech"}}'
)
JSON_DIGIT = '{"event":"DTMF_END","channel_id":"1795501375.75","digit":"#"}'

SPEECH = noise(0.5, -20, 48000)


def start(form: str, *, plain: bool = False, **fields: Any) -> str:
    values = {"connection_id": "rec", "channel_id": "1.5", "format": form, **fields}
    if plain:
        return " ".join(["MEDIA_START", *(f"{key}:{value}" for key, value in values.items())])
    return json.dumps({"event": "MEDIA_START", **values})


class Server:
    """What a server makes of a connection: the call, its recording, and a clock."""

    def __init__(self, make_call: Callable[..., Call], **options: Any) -> None:
        self.seconds = 0.0
        self.opened: list[tuple[str, int]] = []
        self.make_call = make_call
        self.action: RecordAction | None = None
        self.source = AsteriskWebSocket(self.open, **options)

    def open(self, call_id: str, rate: int) -> Call:
        self.opened.append((call_id, rate))
        call = self.make_call(call_id=call_id, live=lambda: self.seconds, **call_rates(rate))
        self.action = call.record(STEREO)
        return call

    @property
    def call(self) -> Call:
        assert self.source.call is not None
        return self.source.call

    def audio(self) -> Any:
        self.source.end()
        assert self.action is not None
        return audio_of(result_of(self.action))


@pytest.fixture
def server(make_call: Callable[..., Call]) -> Server:
    return Server(make_call)


def as_sent(form: str, samples: int) -> tuple[bytes, Any]:
    """A party's audio on the wire, and its samples in a file."""
    encoding, _ = FORMATS[form]
    pcm = SPEECH[:samples]
    if encoding == "pcm16":
        return pcm.astype("<i2").tobytes(), pcm
    data = g711_encode(pcm.tobytes(), encoding)
    return data, np.frombuffer(g711_decode(data, encoding), np.int16)


@pytest.mark.parametrize(
    ("opening", "digit", "rate", "call_id", "goodbye"),
    [
        (PLAIN_START, PLAIN_DIGIT, 8000, "1795501362.72", "HANGUP"),
        (JSON_START, JSON_DIGIT, 16000, "1795501375.75", '{"command": "HANGUP"}'),
    ],
)
def test_a_captured_call(
    server: Server, opening: str, digit: str, rate: int, call_id: str, goodbye: str
) -> None:
    source = server.source
    assert source.receive(opening) == []
    assert server.opened == [(call_id, rate)]
    assert source.call_id == call_id
    ending = server.call.record({"initial_timeout": 0})
    server.seconds = 1.5
    source.receive(digit)
    event = result_of(ending)
    assert (event.reason, event.digit, event.duration) == ("terminator", "#", 1.5)
    assert not source.ended
    assert source.hang_up() == [goodbye]
    assert source.ended


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_in_the_file_as_sent(server: Server, form: str) -> None:
    encoding, rate = FORMATS[form]
    n = rate // 4
    data, pcm = as_sent(form, n)
    size = rate // 50 * sample_bytes(encoding)
    server.source.receive(start(form, optimal_frame_size=size))
    for at in range(0, len(data), size):
        server.seconds += 0.02
        server.source.receive(data[at : at + size])
        server.source.tick()
    speak = server.audio()[:, 0]
    if server.call.sample_rate == rate:
        assert np.array_equal(speak[: len(pcm)], pcm)
    else:  # resampled, as legs are
        assert abs(len(speak) / server.call.sample_rate - server.seconds) < 0.001
        level = np.sqrt(np.mean(speak[1000:-1000].astype(float) ** 2))
        assert level > 1000


@pytest.mark.parametrize("form", FORMATS)
def test_what_the_party_hears_is_sent_in_frames_of_the_optimal_size(
    server: Server, form: str
) -> None:
    encoding, rate = FORMATS[form]
    size = rate // 50 * sample_bytes(encoding)
    server.source.receive(start(form, optimal_frame_size=str(size)))
    prompt = SPEECH[: rate // 50]
    server.call.play(prompt)
    first, second = server.source.tick(), server.source.tick()
    data, _ = as_sent(form, len(prompt))
    silence = bytes(2 * len(prompt))
    quiet = silence if encoding == "pcm16" else g711_encode(silence, encoding)
    assert first == [data]
    assert second == [quiet]


@pytest.mark.parametrize("size", [80, 160, 200, 240, 480])
def test_any_frame_size_is_sent_at_the_same_pace(server: Server, size: int) -> None:
    server.source.receive(start("ulaw", optimal_frame_size=size))
    server.call.play(SPEECH[:4000])
    sent = [message for _ in range(60) for message in server.source.tick()]
    assert {len(message) for message in sent} == {size}
    data = b"".join(message for message in sent if isinstance(message, bytes))
    assert len(data) == 60 * 160 // size * size
    assert data[:4000] == g711_encode(SPEECH[:4000].tobytes(), "pcmu")


def test_nothing_is_lost_or_sent_twice_around_xoff(server: Server) -> None:
    server.source.receive(start("slin", plain=True, optimal_frame_size=320))
    server.call.play(SPEECH[:1600])
    sent: list[str | bytes] = []
    for tick in range(20):
        server.seconds += 0.02
        if tick == 3:
            server.source.receive("MEDIA_XOFF")
        if tick == 9:
            server.source.receive("MEDIA_XON channel_id:1.5")
        now = server.source.tick()
        assert bool(now) is not (3 <= tick < 9)
        sent += now
    data = b"".join(message for message in sent if isinstance(message, bytes))
    assert data[:3200] == SPEECH[:1600].astype("<i2").tobytes()
    assert not any(data[3200:])


def test_time_passes_while_nothing_may_be_sent(server: Server) -> None:
    server.source.receive(start("slin"))
    action = server.call.record({"initial_timeout": 1})
    server.source.receive('{"event": "MEDIA_XOFF"}')
    server.seconds = 1.6
    assert server.source.tick() == []
    assert result_of(action).duration == 1


def test_audio_before_the_start_is_kept(server: Server) -> None:
    data, pcm = as_sent("ulaw", 320)
    assert server.source.tick() == []
    server.source.receive(data[:160])
    server.source.receive(data[160:])
    server.source.receive(start("ulaw", plain=True))
    assert np.array_equal(server.audio()[:320, 0], pcm)


def test_the_connection_s_id_stands_in_for_the_channel_s(server: Server) -> None:
    server.source.receive("MEDIA_START connection_id:media1 format:slin")
    assert server.opened == [("media1", 8000)]


def test_the_party_s_gap_is_silence(server: Server) -> None:
    server.source.receive(start("slin"))
    data, pcm = as_sent("slin", 320)
    server.seconds = 0.02
    server.source.receive(data[:320])
    server.source.tick()
    server.seconds = 2.02
    server.source.receive(data[320:])
    speak = server.audio()[:, 0]
    expected = np.zeros(16160, np.int16)
    expected[:160], expected[16000:] = pcm[:160], pcm[160:]
    assert np.array_equal(speak, expected)


@pytest.mark.parametrize("ticks", [1, 2, 5, 15, 40])
def test_after_a_gap_audio_lies_where_it_arrives(server: Server, ticks: int) -> None:
    """Within 60 ms, and each stretch is as it was; less than 50 ms is jitter."""
    server.source.receive(start("slin"))
    data, pcm = as_sent("slin", 3200)
    for number, at in enumerate(range(0, 6400, 320)):
        for _ in range(1 if number != 10 else 1 + ticks):
            server.seconds += 0.02
            server.source.tick()
        server.source.receive(data[at : at + 320])
    speak = server.audio()[:, 0]
    assert np.array_equal(speak[:1600], pcm[:1600])
    begin = 1600 + int(np.flatnonzero(speak[1600:])[0]) - int(np.flatnonzero(pcm[1600:])[0])
    assert abs(begin - 1600 - ticks * 160) <= 0.06 * 8000
    assert np.array_equal(speak[begin : begin + 1600], pcm[1600:])


def test_what_a_stall_held_back_continues(server: Server) -> None:
    server.source.receive(start("slin"))
    data, pcm = as_sent("slin", 4000)
    frames = [data[at : at + 320] for at in range(0, 8000, 320)]
    for number, frame in enumerate(frames):
        server.seconds += 0.02
        if number == 18:
            for late in frames[5:18]:
                server.source.receive(late)
        if not 5 <= number < 18:
            server.source.receive(frame)
        server.source.tick()
    speak = server.audio()[:, 0]
    assert np.array_equal(speak[:4000], pcm)


def test_what_a_stall_held_back_may_come_in_two_reads(server: Server) -> None:
    """A tick lies between the first frame that was held back and the others."""
    server.source.receive(start("slin"))
    data, pcm = as_sent("slin", 1600)
    frames = [data[at : at + 320] for at in range(0, 3200, 320)]
    for came in ([0], [1], [2], [], [], [], [3], [4, 5, 6, 7], [8], [9]):
        server.seconds += 0.02
        for number in came:
            server.source.receive(frames[number])
        server.source.tick()
    assert np.array_equal(server.audio()[:1600, 0], pcm)


def test_what_a_stall_leaves_behind_is_jitter(server: Server) -> None:
    """A frame comes 60 ms late, together with the next one; all that follow are 40 ms late."""
    server.source.receive(start("slin"))
    data, pcm = as_sent("slin", 1600)
    frames = [data[at : at + 320] for at in range(0, 3200, 320)]
    for came in ([0], [1], [2], [], [], [], [3, 4], [5], [6], [7], [8], [9]):
        server.seconds += 0.02
        for number in came:
            server.source.receive(frames[number])
        server.source.tick()
    assert np.array_equal(server.audio()[:1600, 0], pcm)


@pytest.mark.parametrize("plain", [True, False])
def test_marks_and_barge_in(make_call: Callable[..., Call], plain: bool) -> None:
    heard: list[str] = []
    server = Server(make_call, on_mark=heard.append)
    source = server.source
    assert source.mark("early") == source.clear() == []
    source.receive(start("ulaw", plain=plain))
    server.call.play(SPEECH[:8000])
    source.tick()
    if plain:
        assert source.mark("hello") == ["MARK_MEDIA hello"]
        source.receive("MEDIA_MARK_PROCESSED hello")
        source.receive("MEDIA_MARK_PROCESSED channel_id:1.5 correlation_id:again")
        assert source.clear() == ["FLUSH_MEDIA"]
    else:
        assert source.mark("hello") == ['{"command": "MARK_MEDIA", "correlation_id": "hello"}']
        source.receive('{"event": "MEDIA_MARK_PROCESSED", "correlation_id": "hello"}')
        source.receive('{"event": "MEDIA_MARK_PROCESSED", "correlation_id": "again"}')
        assert source.clear() == ['{"command": "FLUSH_MEDIA"}']
    assert heard == ["hello", "again"]
    assert server.call.clear() == 0  # nothing is left


@pytest.mark.parametrize("name", ["", "two words", "x" * 128, "ä", 5])
def test_a_mark_that_no_command_can_carry(server: Server, name: Any) -> None:
    server.source.receive(start("ulaw"))
    with pytest.raises(OptionError, match="name"):
        server.source.mark(name)


def test_an_error_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "recorder"):
        server.source.receive(start("ulaw"))
        server.source.receive('{"event": "ERROR", "error_text": "no such command"}')
    assert "no such command" in caplog.text


def test_what_it_does_not_know_is_ignored(server: Server) -> None:
    server.source.receive(start("ulaw"))
    assert server.source.receive('{"event": "SOMETHING_NEW", "x": [1]}') == []
    assert server.source.receive("QUEUE_DRAINED") == []
    assert server.source.receive("STATUS queue_length:43 xon_level:800") == []


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("", "control message"),
        ("hello", "control message"),
        ("{", "JSON object"),
        ("[1]", "control message"),
        ("{}", "expected an event"),
        ("[" * 100000, "control message"),
        ("{" + '"a":{' * 100000, "JSON object"),
        (start("opus"), "format: expected one of ulaw"),
        (start("slin", optimal_frame_size=0), "optimal_frame_size: expected a whole number"),
        (start("slin", optimal_frame_size="x"), "optimal_frame_size: expected a whole number"),
        (start("slin", optimal_frame_size=1e300), "optimal_frame_size: expected a whole number"),
        (start("slin", channel_id=5), "channel_id"),
    ],
)
def test_what_is_not_of_the_protocol(server: Server, message: str, why: str) -> None:
    with pytest.raises(WireError, match=why) as caught:
        server.source.receive(message)
    assert len(str(caught.value)) < 300
    assert server.source.call is None


def test_an_id_that_is_too_long_to_be_one(server: Server) -> None:
    with pytest.raises(WireError, match="channel_id: expected at most 256 characters, got 257"):
        server.source.receive(start("slin", channel_id="x" * 257))
    assert not server.opened


def test_what_is_not_of_the_protocol_during_a_call(server: Server) -> None:
    server.source.receive(start("slin"))
    with pytest.raises(WireError, match="another"):
        server.source.receive(start("slin"))
    for digit in ("", "x", "12", None, [1], "5" * 9999):
        with pytest.raises(WireError, match="DTMF_END") as caught:
            server.source.receive(json.dumps({"event": "DTMF_END", "digit": digit}))
        assert len(str(caught.value)) < 300


def test_endless_audio_without_a_start(server: Server) -> None:
    for _ in range(17):
        server.source.receive(bytes(60000))
    for _ in range(100):  # whoever goes on: no more of it is kept
        with pytest.raises(WireError, match="expected MEDIA_START, got 1080000 bytes of audio"):
            server.source.receive(bytes(60000))
    assert weight(server.source) < 1.1e6


def test_a_call_that_was_hung_up_ends_the_wire_s(server: Server) -> None:
    acts: tuple[Callable[[AsteriskWebSocket], list[str | bytes]], ...] = (
        lambda source: source.receive(bytes(160)) or source.tick(),
        lambda source: source.receive(PLAIN_DIGIT),
        AsteriskWebSocket.tick,
    )
    for act in acts:
        one = Server(server.make_call)
        one.source.receive(PLAIN_START)
        one.call.hangup()
        assert act(one.source) == []
        assert one.source.ended
        assert one.source.hang_up() == ["HANGUP"]
        assert one.source.receive("anything") == one.source.tick() == one.source.clear() == []


def test_a_closed_connection_hangs_up(server: Server) -> None:
    server.source.receive(PLAIN_START)
    server.source.end()
    assert server.source.ended
    assert server.action is not None
    assert result_of(server.action).reason == "hangup"
    with pytest.raises(CallEndedError):
        server.call.feed(speak=bytes(320))


def test_before_the_start_there_is_nothing_to_hang_up() -> None:
    source = AsteriskWebSocket(lambda call_id, rate: Call(rate))
    assert source.hang_up() == []
    assert source.ended


# -- any cut, any garbage -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("recordings")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    form=st.sampled_from(["ulaw", "slin", "slin16"]),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
    before=st.integers(0, 3),
)
def test_any_cut_into_messages_gives_the_same_file(
    module_folder: Any, form: str, cuts: list[int], before: int
) -> None:
    data, pcm = as_sent(form, 2000)
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[a:b] for a, b in pairwise(edges)]
    with Call(FORMATS[form][1], directory=module_folder, live=lambda: 0.0) as call:
        action = call.record(STEREO)
        source = AsteriskWebSocket(lambda call_id, rate: call)
        for piece in pieces[:before]:
            source.receive(piece)
        source.receive(start(form, optimal_frame_size=160))
        for piece in pieces[before:]:
            source.receive(piece)
        source.end()
        audio = audio_of(result_of(action))
    assert np.array_equal(audio[:, 0], pcm)


WORDS = st.sampled_from(
    [PLAIN_START, PLAIN_DIGIT, JSON_START, JSON_DIGIT, "MEDIA_XOFF", "MEDIA_XON", "ERROR x", "{}"]
)


@pytest.mark.parametrize("examples", mostly_slow([200, 2000], 200))
def test_garbage_raises_nothing_but_wire_errors(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, derandomize=True)
    @given(
        st.lists(
            st.one_of(
                st.text(max_size=50), st.binary(max_size=50), WORDS, WORDS.map(lambda s: s[:-9])
            ),
            max_size=12,
        )
    )
    def check(messages: list[str | bytes]) -> None:
        source = AsteriskWebSocket(lambda call_id, rate: Call(live=lambda: 0.0, **call_rates(rate)))
        for message in messages:
            with suppress(WireError):
                source.receive(message)
            source.tick()
        source.end()

    check()
