# SPDX-License-Identifier: MIT
"""Asterisk's AudioSocket, without a socket."""

import logging
import random
import struct
import uuid
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from recorder import Call, RecordAction, WireError
from recorder.detection.core import SAMPLE_RATES
from recorder.placement.beep import SECONDS as BEEP_SECONDS
from recorder.sources.audiosocket import AudioSocket
from tests import signals
from tests.command import read
from tests.fuzz.wires import weight
from tests.recordings import NO_LIMITS, audio_of
from tests.signals import VOICEMAIL, Pcm

ID: Final = uuid.UUID("1db3264b-760d-47e1-a733-4c11eff37df7")
# The first bytes that Asterisk 22.10.1 sent for a call.
FROM_ASTERISK: Final = bytes.fromhex("0100101db3264b760d47e1a7334c11eff37df7100140")
KINDS: Final = {
    0x10: 8000,
    0x11: 12000,
    0x12: 16000,
    0x13: 24000,
    0x14: 32000,
    0x15: 44100,
    0x16: 48000,
    0x17: 96000,
    0x18: 192000,
}
OPENING: Final = b"\x01\0\x10" + ID.bytes


def message(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BH", kind, len(payload)) + payload


def audio(pcm: Pcm, kind: int = 0x10) -> bytes:
    return message(kind, pcm.astype("<i2").tobytes())


class Wire:
    """A source whose time the test sets, and the call that it opens."""

    def __init__(self, make_call: Callable[..., Call], options: Any = NO_LIMITS) -> None:
        self.seconds = 0.0
        self.sent = bytearray()
        self.opened: list[tuple[str, int]] = []
        self._make_call = make_call
        self._options = options
        self.source = AudioSocket(self._open)

    def _open(self, call_id: str, rate: int) -> Call:
        self.opened.append((call_id, rate))
        own = next((one for one in SAMPLE_RATES if one >= rate), 48000)
        self.call = self._make_call(
            own, call_id=call_id, speak_rate=rate, listen_rate=rate, live=lambda: self.seconds
        )
        self.action: RecordAction = self.call.record(self._options)
        return self.call

    def tick(self, data: bytes = b"") -> None:
        """20 ms, with what comes in them."""
        self.source.receive(data)
        self.seconds += 0.02
        self.sent += self.source.tick()

    def heard(self) -> Pcm:
        """What was sent to the party, of one kind."""
        parts, at = [], 0
        while at < len(self.sent):
            _, length = struct.unpack_from(">BH", self.sent, at)
            parts.append(bytes(self.sent[at + 3 : at + 3 + length]))
            at += 3 + length
        return np.frombuffer(b"".join(parts), "<i2")


def frames(pcm: Pcm, n: int = 160) -> list[Pcm]:
    return [pcm[at : at + n] for at in range(0, len(pcm), n)]


def test_a_call_of_a_real_asterisk(make_call: Callable[..., Call]) -> None:
    """UUID, a second of nothing, and the sample message, which its party ends by #."""
    assert FROM_ASTERISK[:19] == OPENING
    wire = Wire(make_call, {"direction": "both", "stereo": True})
    said = read(VOICEMAIL)
    wire.tick(OPENING)
    for _ in range(50):
        wire.tick()
    for frame in frames(said):
        wire.tick(audio(frame))
    for _ in range(50):
        wire.tick()
    event = wire.action.join(10)
    assert (event.reason, event.digit, event.call_id) == ("terminator", "#", str(ID))
    assert wire.opened == [(str(ID), 8000)]
    speak = audio_of(event)[:, 0]
    start = int(np.flatnonzero(speak)[0]) - int(np.flatnonzero(said)[0])
    assert abs(start - 8000 * 0.9) <= 160  # the call was opened after 0.1 s
    assert not speak[:start].any()
    assert np.array_equal(speak[start:], said[: len(speak) - start])
    assert not wire.heard().any()


@pytest.mark.parametrize("seed", range(5))
def test_bytes_may_be_cut_anywhere(make_call: Callable[..., Call], seed: int) -> None:
    rng = random.Random(seed)
    said = signals.noise(1, -20)
    data = OPENING + b"".join(map(audio, frames(said))) + message(0x00, b"")
    wire = Wire(make_call)
    at = 0
    while at < len(data):
        n = rng.choice([1, 2, 3, 100, 320, 1000])
        wire.seconds += n / 16000
        wire.source.receive(data[at : at + n])
        wire.source.tick()
        at += n
    assert wire.source.ended
    recorded = audio_of(wire.action.join(10))
    assert np.array_equal(recorded[:8000], said)
    assert not recorded[8000:].any()  # headers took time as well


@pytest.mark.parametrize("size", [1, 3, 7, 186, 320, 65534])
def test_messages_of_any_size_may_hold_half_a_sample(
    make_call: Callable[..., Call], size: int
) -> None:
    said = signals.noise(1, -20)
    data = said.astype("<i2").tobytes()
    wire = Wire(make_call)
    wire.source.receive(OPENING)
    for at in range(0, len(data), size):
        wire.seconds += size / 16000
        wire.source.receive(message(0x10, data[at : at + size]))
        wire.source.tick()
    wire.source.receive(message(0x10, b""))
    wire.source.end()
    assert np.array_equal(audio_of(wire.action.join(10)), said)


@pytest.mark.parametrize(("kind", "rate"), KINDS.items())
def test_each_kind_is_a_rate(make_call: Callable[..., Call], kind: int, rate: int) -> None:
    wire = Wire(make_call)
    wire.tick(OPENING)
    for frame in frames(signals.tone(0.5, -20, rate), rate // 50):
        wire.tick(audio(frame, kind))
    wire.source.end()
    assert wire.opened == [(str(ID), rate)]
    heard = audio_of(wire.action.join(10))
    assert len(heard) == pytest.approx(0.5 * wire.call.sample_rate, abs=rate * 0.021)
    assert wire.sent[-rate // 50 * 2 - 3] == kind  # what is sent is of the same kind
    middle = heard[len(heard) // 4 : -len(heard) // 4] / 32768
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(10 ** (-20 / 20), rel=0.01)


def test_a_party_that_waits_and_then_sends_another_rate(make_call: Callable[..., Call]) -> None:
    wire = Wire(make_call)
    wire.tick(OPENING)
    for _ in range(10):
        wire.tick()
    assert wire.opened == [(str(ID), 8000)]
    for frame in frames(signals.tone(1, -20, 16000), 320):
        wire.tick(audio(frame, 0x12))
    with pytest.raises(WireError, match="expected audio of one rate, got 24000 Hz after 16000 Hz"):
        wire.source.receive(audio(signals.silence(0.02), 0x13))
    wire.source.end()
    said = audio_of(wire.action.join(10))
    assert len(said) == pytest.approx(8000 * 1.1, abs=800)


def test_a_party_that_says_nothing_is_silence_and_ends_by_its_timeout(
    make_call: Callable[..., Call],
) -> None:
    wire = Wire(make_call, {"initial_timeout": 1})
    wire.tick(OPENING)
    for _ in range(100):
        wire.tick()
    event = wire.action.join(10)
    assert (event.state, event.duration) == ("no_input", 1.0)


@pytest.mark.parametrize("ticks", [1, 2, 5, 15, 40])
def test_after_a_gap_audio_lies_where_it_arrives(
    make_call: Callable[..., Call], ticks: int
) -> None:
    """Within 60 ms, and each stretch is as it was; less than 50 ms is jitter."""
    one, other = signals.noise(0.4, -20, seed=1), signals.noise(0.4, -20, seed=2)
    wire = Wire(make_call)
    wire.tick(OPENING)
    for frame in frames(one):
        wire.tick(audio(frame))
    for _ in range(ticks):
        wire.tick()
    for frame in frames(other):
        wire.tick(audio(frame))
    wire.source.end()
    recorded = audio_of(wire.action.join(10))
    assert np.array_equal(recorded[: len(one)], one)
    (start,) = (
        at
        for at in range(len(recorded) - 400)
        if np.array_equal(recorded[at : at + 400], other[:400])
    )
    assert abs(start - len(one) - ticks * 160) <= 0.06 * 8000
    assert not recorded[len(one) : start].any()
    assert np.array_equal(recorded[start : start + len(other)], other)


@pytest.mark.parametrize("ticks", [2, 15, 24])
def test_what_waited_comes_in_one_piece_and_continues(
    make_call: Callable[..., Call], ticks: int
) -> None:
    """After a server stalled for so long, or a network as long as a call's skew."""
    said = signals.noise(2, -20)
    wire = Wire(make_call)
    wire.tick(OPENING)
    late = b""
    for number, frame in enumerate(frames(said)):
        if 20 <= number < 20 + ticks:
            late += audio(frame)
            wire.seconds += 0.02
            continue
        wire.tick(late + audio(frame))
        late = b""
    wire.source.end()
    assert np.array_equal(audio_of(wire.action.join(10))[: len(said)], said)


def test_digits_that_come_out_of_band(make_call: Callable[..., Call]) -> None:
    wire = Wire(make_call, {"terminators": "#"})
    wire.tick(OPENING)
    for frame in frames(signals.noise(1, -30)):
        wire.tick(audio(frame))
    wire.tick(message(0x03, b"!"))  # a hook flash
    wire.tick(message(0x03, b"5"))
    assert not wire.action.is_done
    wire.tick(message(0x03, b"#"))
    event = wire.action.join(10)
    assert (event.reason, event.digit) == ("terminator", "#")
    assert event.duration == pytest.approx(1.04, abs=0.021)


def test_a_digit_may_come_first(make_call: Callable[..., Call]) -> None:
    wire = Wire(make_call, {"terminators": "1"})
    wire.tick(OPENING + message(0x03, b"1"))
    assert wire.action.join(10).digit == "1"


def test_silence_is_sent_from_the_first_moment_and_the_beep_in_time(
    make_call: Callable[..., Call],
) -> None:
    wire = Wire(make_call, {**NO_LIMITS, "beep": True})
    wire.tick()
    assert bytes(wire.sent) == message(0x10, bytes(320))
    wire.tick(OPENING)
    for frame in frames(signals.noise(1, -30)):
        wire.tick(audio(frame))
    heard = wire.heard()
    assert len(heard) == 52 * 160
    beep = np.flatnonzero(heard)
    assert beep[0] == pytest.approx(320, abs=10)
    assert beep[-1] - beep[0] == pytest.approx(BEEP_SECONDS * 8000, abs=20)
    wire.source.end()
    assert wire.action.join(10).duration == pytest.approx(1 - BEEP_SECONDS, abs=0.021)


def test_what_is_played_is_heard_and_recorded(make_call: Callable[..., Call]) -> None:
    wire = Wire(make_call, {**NO_LIMITS, "direction": "listen"})
    wire.tick(OPENING + audio(signals.silence(0.02)))
    prompt = signals.noise(0.5, -20)
    wire.call.play(prompt)
    for _ in range(50):
        wire.tick(audio(signals.silence(0.02)))
    wire.source.end()
    heard = wire.heard()
    start = int(np.flatnonzero(heard)[0])
    assert np.array_equal(heard[start : start + len(prompt)], prompt)
    recorded = audio_of(wire.action.join(10))
    start = int(np.flatnonzero(recorded)[0])
    assert np.array_equal(recorded[start : start + len(prompt)], prompt)


@pytest.mark.parametrize("ending", [message(0x00, b""), message(0xFF, b"\x01"), None])
def test_the_peer_hangs_up(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture, ending: bytes | None
) -> None:
    wire = Wire(make_call)
    wire.tick(OPENING + audio(signals.noise(0.02, -20)))
    with caplog.at_level(logging.WARNING, logger="recorder"):
        wire.source.end() if ending is None else wire.source.receive(ending)
    assert wire.source.ended
    assert wire.action.join(10).reason == "hangup"
    assert wire.source.tick() == wire.source.hang_up() == b""
    assert ("reports error 0x01" in caplog.text) == (ending is not None and ending[0] == 0xFF)


def test_we_hang_up(make_call: Callable[..., Call]) -> None:
    wire = Wire(make_call)
    wire.tick(OPENING + audio(signals.noise(0.02, -20)))
    assert wire.source.hang_up() == b"\0\0\0"
    assert wire.source.ended
    assert wire.action.join(10).reason == "hangup"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\n", "expected AudioSocket, which begins with a UUID .* got 0x47"),
        (audio(signals.silence(0.02)), "got 0x10 and 320 bytes"),
        (b"\x01\0\x11", "got 0x01 and 17 bytes"),
        (OPENING + b"\x42\0\0", "expected a kind of AudioSocket's messages, got 0x42"),
    ],
)
def test_what_is_no_audiosocket(make_call: Callable[..., Call], data: bytes, says: str) -> None:
    wire = Wire(make_call)
    with pytest.raises(WireError, match=says):
        wire.source.receive(data)


def test_what_came_before_what_is_no_audiosocket_is_recorded(
    make_call: Callable[..., Call],
) -> None:
    """In the same piece, as in another."""
    said = signals.noise(0.1, -20)
    wire = Wire(make_call)
    with pytest.raises(WireError):
        wire.source.receive(OPENING + audio(said) + b"\x42\0\0")
    wire.source.end()
    assert np.array_equal(audio_of(wire.action.join(10)), said)


def test_another_rate_in_a_call_that_cannot_be_resampled_to_its_own(
    make_call: Callable[..., Call],
) -> None:
    wire = Wire(make_call)
    wire.tick(OPENING + audio(signals.silence(0.02, 12000), 0x11))
    with pytest.raises(WireError, match="expected audio of one rate, got 8000 Hz after 12000 Hz"):
        wire.source.receive(audio(signals.silence(0.02)))
    wire.source.end()
    assert wire.action.join(10).state == "finished"


def test_nothing_is_kept_of_what_comes_after_the_end(make_call: Callable[..., Call]) -> None:
    wire = Wire(make_call)
    wire.tick(OPENING + message(0x00, b"") + bytes(1000))
    for _ in range(100):
        assert wire.source.receive(bytes(1000)) == b""
    assert weight(wire.source) < 2000


def test_a_long_error_of_asterisk_s_is_reported_in_short(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(make_call)
    with caplog.at_level(logging.WARNING, logger="recorder"):
        wire.tick(OPENING + message(0xFF, b"\x01" * 60000))
    assert "reports error 0x0101" in caplog.text
    assert len(caplog.text) < 300


def test_a_connection_that_ends_before_its_call(make_call: Callable[..., Call]) -> None:
    for data in (b"", b"\x01", OPENING, message(0x00, b"")):
        wire = Wire(make_call)
        wire.source.receive(data)
        wire.source.end()
        assert not wire.opened


@pytest.mark.parametrize("seed", range(20))
def test_garbage_raises_nothing_else(make_call: Callable[..., Call], seed: int) -> None:
    rng = random.Random(seed)
    wire = Wire(make_call)
    data = OPENING if seed % 2 else b""
    for _ in range(50):
        kind = rng.choice([*KINDS, 0x00, 0x01, 0x03, 0xFF]) if seed % 4 else rng.randrange(256)
        data += message(kind, rng.randbytes(rng.choice([0, 1, 16, 320, 5000])))
    try:
        for at in range(0, len(data), 777):
            wire.source.receive(data[at : at + 777])
            wire.source.tick()
    except WireError:
        pass
    wire.source.end()


# -- mu-law under another name ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [160, 320])
def test_mu_law_labelled_as_linear_is_reported_once(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture, size: int
) -> None:
    coded = signals.g711(read(VOICEMAIL), "pcmu")
    wire = Wire(make_call)
    with caplog.at_level(logging.WARNING, logger="recorder"):
        wire.tick(OPENING)
        for at in range(0, len(coded), size):
            wire.tick(message(0x10, coded[at : at + size]))
    assert caplog.text.count("looks like mu-law") == 1


@pytest.mark.parametrize(
    "said",
    [
        signals.noise(5, -5),
        signals.noise(5, -30),
        signals.tone(5, -1, hz=3500),
        signals.silence(5),
        np.full(40000, 32767, np.int16),
        np.tile(np.array([32767, -32768], np.int16), 20000),
    ],
    ids=["loud noise", "noise", "a high tone", "silence", "clipped", "square"],
)
def test_what_is_linear_is_not_taken_for_mu_law(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture, said: Pcm
) -> None:
    wire = Wire(make_call)
    with caplog.at_level(logging.WARNING, logger="recorder"):
        wire.tick(OPENING)
        for frame in [*frames(said), *frames(read(VOICEMAIL))]:
            wire.tick(audio(frame))
    assert "mu-law" not in caplog.text
