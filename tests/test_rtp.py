# SPDX-License-Identifier: MIT
"""RTP packets as the legs of a call."""

import contextlib
import logging
import random
import struct
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from recorder import AudioOptions, Call, OptionError, RecordOptions, WireError
from recorder.detection.core import g711_decode
from recorder.placement.timeline import Leg
from recorder.reading import LEGS
from recorder.sources.rtp import Audio, Press, RtpLeg, RtpReceiver, is_rtcp, parse
from tests import signals
from tests.conftest import Events
from tests.marks import mostly_slow
from tests.rtp_loss import (
    CODECS,
    HAS_FFMPEG,
    Network,
    ffmpeg,
    packets_of,
    recorded,
    sent_by_ffmpeg,
)
from tests.rtp_packets import Stream, decoded, golden, packet
from tests.signals import Pcm

NO_LIMITS: Final[AudioOptions] = {"initial_timeout": 0, "end_silence_timeout": 0, "terminators": ""}


def laid(events: list[Audio | Press], n: int) -> Pcm:
    """The audio where it belongs, in n samples."""
    leg = np.zeros(n, np.int16)
    for event in events:
        if isinstance(event, Audio):
            pcm = np.frombuffer(event.pcm, np.int16)
            leg[event.position : event.position + len(pcm)] = pcm
    return leg


# -- one packet ------------------------------------------------------------------------------------


def test_a_packet_with_everything_in_it() -> None:
    sources = struct.pack(">II", 7, 8)
    extension = struct.pack(">HH", 0xBEDE, 2) + bytes(8)
    head = struct.pack(">BBHII", 0xB2, 0x80 | 101, 65535, 0xFFFFFFFF, 5)
    found = parse(head + sources + extension + b"audio" + b"\0\0\3")
    assert (found.payload_type, found.marker, found.sequence) == (101, True, 65535)
    assert (found.timestamp, found.ssrc, found.payload) == (0xFFFFFFFF, 5, b"audio")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b"", "12 bytes or more, got 0"),
        (bytes(11), "12 bytes or more, got 11"),
        (b"INVITE sip:a@b SIP/2.0", "version 2, got 1"),
        (bytes(172), "version 2, got 0"),
        (b"\x81" + bytes(11), "shorter than its header says"),
        (b"\x90" + bytes(11), "shorter than its header says"),
        (b"\x90" + bytes(13), "shorter than its header says"),
        (b"\x90" + bytes(11) + b"\0\0\0\2" + bytes(7), "shorter than its header says"),
        (b"\xa0" + bytes(11), "shorter than its header says"),
        (b"\xa0" + bytes(12) + b"\x09", "shorter than its header says"),
        (b"\x80\xc8" + bytes(10), "RTCP's packet type 200"),
    ],
)
def test_what_is_no_packet(broken: bytes, says: str, call: Call) -> None:
    with pytest.raises(WireError, match=says):
        parse(broken)
    if not is_rtcp(broken):
        with pytest.raises(WireError, match=says):
            RtpLeg(call, "speak").receive(broken, 0)


def test_random_bytes_are_a_packet_or_refused() -> None:
    rng = random.Random(1)
    for _ in range(5000):
        data = rng.randbytes(rng.randrange(60))
        if rng.random() < 0.8 and data:
            data = bytes([0x80 | rng.randrange(64)]) + data[1:]
        with contextlib.suppress(WireError):
            assert data.find(parse(data).payload) >= 0


@pytest.mark.parametrize("kind", range(192, 224))
def test_rtcp_gives_nothing(kind: int, call: Call) -> None:
    report = bytes([0x80, kind]) + bytes(26)
    assert is_rtcp(report)
    RtpLeg(call, "speak").receive(report, 0)
    assert call.position == 0


@pytest.mark.parametrize(
    ("types", "says"),
    [
        ({128: "PCMU/8000"}, "types from 0 to 127"),
        ({96: "PCMU"}, "such as telephone-event/8000"),
        ({96: "L16/0"}, "such as telephone-event/8000"),
        ({96: "L16/8000/2/1"}, "such as telephone-event/8000"),
    ],
)
def test_payload_types_that_cannot_be(types: dict[int, str], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        RtpReceiver(8000, payload_types=types)


def test_options_that_cannot_be(call: Call) -> None:
    with pytest.raises(OptionError, match="leg: expected speak or listen, got 'both'"):
        RtpLeg(call, "both")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="byte_order: expected big or little"):
        RtpLeg(call, "speak", byte_order="native")  # type: ignore[arg-type]


# -- what an Asterisk sent -------------------------------------------------------------------------


@pytest.mark.parametrize("leg", LEGS)
def test_a_real_stream(leg: Leg, events: Events) -> None:
    """Its last packet has a timestamp inside the one before, and adds nothing."""
    call = events.call
    action = call.record(RecordOptions.from_audio(NO_LIMITS).replace(direction=leg))
    packets = list(golden())
    source = RtpLeg(call, leg)
    for seconds, data in packets:
        source.receive(data, seconds - packets[0][0])
    source.finish()
    call.hangup()
    event = action.join(10)
    assert event is not None
    assert event.path is not None
    sent = np.concatenate([decoded(data[12:]) for _, data in packets[:-1]])
    recorded = np.frombuffer(event.path.read_bytes()[80:], np.int16)
    assert np.array_equal(recorded, sent)
    stats = getattr(call.stats, leg)
    assert (stats.taken, stats.filled, stats.late, stats.overlap) == (len(sent), 0, 0, 0)


# -- any loss, duplicates and order ----------------------------------------------------------------


@pytest.mark.parametrize(
    "seed", [*range(20), *(pytest.param(n, marks=pytest.mark.slow) for n in range(20, 2000))]
)
def test_samples_are_equal_where_packets_arrived_and_silence_where_not(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.choice([80, 160, 240])
    stream = Stream(
        sequence=rng.choice([0, 5, 65530]),
        timestamp=rng.choice([0, 7, 0xFFFFFFFF - 1000]),
        seed=seed,
    )
    sent, position = [], 0
    for _ in range(rng.randrange(40, 120)):
        if rng.random() < 0.1:  # nobody speaks
            pause = rng.randrange(1, 60) * n
            position += pause
            stream.skip(pause)
        sent.append((position, stream.next(n)))
        position += n
    kept = [one for one in sent if rng.random() > 0.2]
    assert kept
    # So late that a packet is overtaken by five at most.
    arrivals = sorted(
        (
            ((start + rng.choice([0, 0, 4.99 * n * rng.random()])) / 8000, start, data)
            for start, data in kept
        )
    )
    twice = [rng.choice([1, 1, 1, 2, 3]) for _ in arrivals]
    receiver = RtpReceiver(8000)
    events: list[Audio | Press] = []
    for (seconds, _, data), times in zip(arrivals, twice, strict=True):
        for _ in range(times):
            events += receiver.receive(data, seconds)
    events += receiver.finish()
    # All lie at one offset: that of the first to arrive.
    expected = np.zeros(position, np.int16)
    for start, data in kept:
        expected[start : start + n] = decoded(data[12:])
    base = kept[0][0]
    moved = max(-base, round(arrivals[0][0] * 8000) - arrivals[0][1])
    found = laid(events, position + max(0, moved) + 8000)
    assert np.array_equal(found[base + moved :][: position - base], expected[base:])
    positions = [event.position for event in events]
    assert positions == sorted(set(positions))
    assert len(events) == len(kept)


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 200))]
)
@pytest.mark.parametrize("live", [False, True])
def test_two_legs_of_one_call(tmp_path: Path, seed: int, live: bool) -> None:
    """With jitter, loss and silence, each begins when it arrives, and nothing is late."""
    rng = random.Random(seed)
    seconds = 0.0
    call = Call(8000, directory=tmp_path, live=(lambda: seconds) if live else False)
    action = call.record(RecordOptions.from_audio(NO_LIMITS).replace(direction="both", stereo=True))
    legs: dict[Leg, Pcm] = {}
    arrivals: list[tuple[float, Leg, bytes]] = []
    for number, leg in enumerate(LEGS):
        stream = Stream(ssrc=number, sequence=65500, timestamp=rng.getrandbits(32), seed=seed)
        legs[leg] = np.zeros(32000, np.int16)
        at = begins = 0 if number == 0 else rng.randrange(0, 4000)
        while at < 24000:
            data = stream.next(160)
            if at == begins or rng.random() > 0.1:
                legs[leg][at : at + 160] = decoded(data[12:])
                delay = 0 if at == begins else rng.random() * 0.1
                arrivals.append((at / 8000 + delay, leg, data))
            pause = rng.choice([0] * 50 + [4000])
            stream.skip(pause)
            at += 160 + pause
    sources: dict[Leg, RtpLeg] = {leg: RtpLeg(call, leg) for leg in LEGS}
    # A live server's timer lets time pass every 20 ms.
    ticks: list[tuple[float, None, bytes]] = [(0.02 * k, None, b"") for k in range(170)]
    for seconds, one, data in sorted([*arrivals, *ticks], key=lambda one: one[0]):
        if one is not None:
            sources[one].receive(data, seconds)
            continue
        for source in sources.values():
            source.advance(seconds)
    for source in sources.values():
        source.finish()
    call.hangup()
    stats = call.stats
    assert stats.speak.late == stats.listen.late == 0
    assert stats.speak.overlap == stats.listen.overlap == 0
    path = action.join(10).path
    assert path is not None
    recorded = np.frombuffer(path.read_bytes()[80:], np.int16).reshape(-1, 2)
    for channel, leg in zip(recorded.T, LEGS, strict=True):
        assert np.array_equal(channel, legs[leg][: len(channel)])
        assert not legs[leg][len(channel) :].any()


def test_both_counters_wrap(call: Call) -> None:
    stream = Stream(sequence=65534, timestamp=0xFFFFFFFF - 200, seed=3)
    action = call.record(NO_LIMITS)
    source = RtpLeg(call, "speak")
    packets = [stream.next(160) for _ in range(20)]
    for number, data in enumerate(packets):
        source.receive(data, number * 0.02)
    source.finish()
    call.hangup()
    path = action.join(10).path
    assert path is not None
    recorded = np.frombuffer(path.read_bytes()[80:], np.int16)
    assert np.array_equal(recorded, np.concatenate([decoded(data[12:]) for data in packets]))
    assert call.stats.speak.late == 0


# -- what begins anew ------------------------------------------------------------------------------


def positions(packets: list[tuple[float, bytes]]) -> list[int]:
    receiver = RtpReceiver(8000)
    events = [event for seconds, data in packets for event in receiver.receive(data, seconds)]
    return [event.position for event in events + receiver.finish()]


def test_another_ssrc_begins_where_it_arrives() -> None:
    one, two = Stream(ssrc=1, seed=1), Stream(ssrc=2, sequence=9, timestamp=77, seed=2)
    packets = [(0.02 * k, one.next(160)) for k in range(10)]
    packets += [(1 + 0.02 * k, two.next(160)) for k in range(10)]
    assert positions(packets) == [160 * k for k in range(10)] + [8000 + 160 * k for k in range(10)]


def test_another_ssrc_does_not_begin_before_the_end_of_the_one_before() -> None:
    one, two = Stream(ssrc=1, seed=1), Stream(ssrc=2, sequence=9, timestamp=77, seed=2)
    packets = [(0.02 * k, one.next(160)) for k in range(10)]
    packets += [(0.195 + 0.02 * k, two.next(160)) for k in range(10)]
    assert positions(packets) == [160 * k for k in range(20)]


def test_an_ssrc_that_comes_back_follows_its_timestamps() -> None:
    one, two = Stream(ssrc=1, seed=1), Stream(ssrc=2, seed=2)
    packets = [(0.02 * k, one.next(160)) for k in range(10)]
    packets += [(0.2 + 0.02 * k, two.next(160)) for k in range(10)]
    one.skip(1600)
    packets += [(0.4 + 0.02 * k, one.next(160)) for k in range(10)]
    assert positions(packets) == [160 * k for k in range(30)]


@pytest.mark.parametrize("jump", [8000 * 50, 0x80000000 - 1, -8000 * 50, -0x7FFFFFFF])
def test_a_jump_of_timestamps_begins_anew(jump: int) -> None:
    stream = Stream(seed=1)
    packets = [(0.02 * k, stream.next(160)) for k in range(10)]
    stream.skip(jump)
    packets += [(0.5 + 0.02 * k, stream.next(160)) for k in range(10)]
    assert positions(packets) == [160 * k for k in range(10)] + [4000 + 160 * k for k in range(10)]


def test_a_jump_of_sequence_numbers_loses_nothing() -> None:
    stream = Stream(seed=1)
    packets = [(0.02 * k, stream.next(160)) for k in range(10)]
    stream.sequence += 20000
    packets += [(0.2 + 0.02 * k, stream.next(160)) for k in range(10)]
    assert positions(packets) == [160 * k for k in range(20)]


def test_a_stray_packet_is_left_out() -> None:
    stream, other = Stream(seed=1), Stream(sequence=30000, seed=2)
    packets = [(0.02 * k, stream.next(160)) for k in range(10)]
    packets += [(0.2, other.next(160))]
    packets += [(0.2 + 0.02 * k, stream.next(160)) for k in range(10)]
    assert positions(packets) == [160 * k for k in range(20)]


def test_a_stall_moves_nothing() -> None:
    """What arrives 3 s late, in a burst, lies where its timestamps say."""
    stream = Stream(seed=1)
    packets = [(0.02 * k + (3 if k > 20 else 0), stream.next(160)) for k in range(100)]
    assert positions(packets) == [160 * k for k in range(100)]


def test_a_sender_that_does_not_count_silence_begins_anew_by_the_marker() -> None:
    stream = Stream(seed=1)
    packets = [(0.02 * k, stream.next(160)) for k in range(10)]
    first = bytearray(stream.next(160))
    first[1] |= 0x80
    packets += [(5, bytes(first))] + [(5.02 + 0.02 * k, stream.next(160)) for k in range(9)]
    assert positions(packets) == [160 * k for k in range(10)] + [40000 + 160 * k for k in range(10)]


def test_a_short_stream_beside_another_is_not_kept_waiting() -> None:
    """Three packets of an SSRC of their own, as some gateways send events."""
    stream, other = Stream(ssrc=1, seed=1), Stream(ssrc=2, seed=2)
    receiver = RtpReceiver(8000)
    found = []
    for k in range(100):
        for data in [stream.next(160), *([other.next(160)] if k in {50, 51, 52} else [])]:
            found += receiver.receive(data, 0.02 * k)
    assert len(found) == 103


def test_streams_that_are_remembered_are_bounded() -> None:
    receiver = RtpReceiver(8000)
    for ssrc in range(2000):
        stream = Stream(ssrc=ssrc, seed=ssrc)
        for _ in range(2):
            receiver.receive(stream.next(160), 0.02 * ssrc)
    assert len(receiver.finish()) <= 32


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 300))]
)
def test_any_packets_are_taken_or_refused(seed: int, call: Call) -> None:
    rng = random.Random(seed)
    types = {96: "L16/16000", 97: "L16/8000", 101: "telephone-event/8000", 102: "opus/48000/2"}
    leg = RtpLeg(call, "speak", payload_types=types)
    seconds, sequence, timestamp = 0.0, 0, 0
    for _ in range(200):
        seconds += rng.choice([0, 0.02, 0.02, 0.5, 5])
        sequence += rng.choice([1, 1, 1, 0, -2, 7, 5000, 30000])
        timestamp += rng.choice([160, 160, 0, -160, 8000, rng.getrandbits(32)])
        kind = rng.choice([0, 8, 11, 13, 96, 97, 101, 102, 127])
        payload = rng.randbytes(rng.choice([0, 1, 4, 160, 160]))
        data = packet(kind, sequence, timestamp, rng.choice([1, 1, 2, 3]), payload)
        with contextlib.suppress(WireError):
            leg.receive(data[: rng.choice([None, None, 5])], seconds)
    leg.finish()
    assert call.position <= (seconds + 10) * 8000


# -- payloads --------------------------------------------------------------------------------------

AUDIO = signals.noise(0.2, -20)


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize(("payload_type", "rate"), [(11, 44100), (96, 16000), (97, 8000)])
def test_linear_pcm(payload_type: int, rate: int, order: str) -> None:
    types = {96: "L16/16000", 97: "l16/8000/1"}
    receiver = RtpReceiver(rate, payload_types=types, byte_order=order)  # type: ignore[arg-type]
    data = AUDIO.astype(">i2" if order == "big" else "<i2").tobytes()
    receiver.receive(packet(payload_type, 1, 1, 1, data), 0)
    (event,) = receiver.finish()
    assert isinstance(event, Audio)
    assert np.array_equal(np.frombuffer(event.pcm, np.int16), AUDIO)
    with pytest.raises(WireError, match="L16 ends in mid-sample"):
        receiver.receive(packet(payload_type, 2, 1, 1, data[:-1]), 0)


def test_linear_pcm_of_two_channels_is_mixed() -> None:
    receiver = RtpReceiver(44100)
    both = np.stack([AUDIO, AUDIO // 2], axis=1).astype(">i2")
    receiver.receive(packet(10, 1, 1, 1, both.tobytes()), 0)
    (event,) = receiver.finish()
    assert isinstance(event, Audio)
    mixed = np.frombuffer(event.pcm, np.int16)
    assert np.abs(mixed - AUDIO * 0.75).max() <= 1


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_g711(law: str) -> None:
    receiver = RtpReceiver(8000)
    data = signals.g711(AUDIO, law)  # type: ignore[arg-type]
    receiver.receive(packet(0 if law == "pcmu" else 8, 1, 1, 1, data), 0)
    (event,) = receiver.finish()
    assert isinstance(event, Audio)
    assert event.pcm == g711_decode(data, law)  # type: ignore[arg-type]


def test_g722() -> None:
    """Its clock runs at 8 kHz, its audio at 16 kHz."""
    g722 = pytest.importorskip("G722")
    audio = signals.tone(0.4, -20, 16000, 1000)
    data = g722.G722(16000, 64000).encode(audio)
    receiver = RtpReceiver(16000)
    events: list[Audio | Press] = []
    for number in range(20):
        part = data[160 * number : 160 * (number + 1)]
        events += receiver.receive(packet(9, number, 160 * number, 1, part), 0.02 * number)
    events += receiver.finish()
    assert [event.position for event in events] == [320 * k for k in range(20)]
    found = laid(events, len(audio)).astype(float)
    delay = 22  # of its filters
    noise = found[delay + 800 :] - audio[800:-delay]
    assert np.sqrt(np.mean(noise**2)) < 0.02 * np.abs(audio).max()


def test_a_call_at_another_rate_than_its_leg(tmp_path: Path) -> None:
    with Call(8000, speak_rate=16000, directory=tmp_path) as call:
        action = call.record(NO_LIMITS)
        source = RtpLeg(call, "speak", sample_rate=16000, payload_types={96: "L16/16000"})
        audio = signals.tone(1, -20, 16000, 500)
        for number in range(50):
            data = audio[320 * number : 320 * (number + 1)].astype(">i2").tobytes()
            source.receive(packet(96, number, 320 * number, 1, data), 0.02 * number)
        source.finish()
    assert action.join(10).duration == 1.0
    assert call.stats.speak.filled == call.stats.speak.late == 0


@pytest.mark.parametrize(
    ("payload_type", "says"),
    [
        (18, "RTP payload type 18 (G729) is not decoded"),
        (98, "RTP payload type 98 is not decoded: give its rtpmap in payload_types"),
        (96, "RTP payload type 96 (L16) has 16000 Hz, and the leg 8000 Hz"),
        (97, "RTP payload type 97 (OPUS) is not decoded"),
        (13, ""),
    ],
)
def test_what_is_not_decoded_is_said_once(
    payload_type: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = RtpReceiver(8000, payload_types={96: "L16/16000", 97: "opus/48000/2"})
    with caplog.at_level(logging.WARNING, "recorder"):
        for number in range(20):
            receiver.receive(packet(payload_type, number, 0, 1, bytes(20)), 0)
        assert receiver.finish() == []
    assert len(caplog.messages) == bool(says)
    assert says in "".join(caplog.messages)


# -- what ffmpeg sends -----------------------------------------------------------------------------


needs_ffmpeg = pytest.mark.skipif(not HAS_FFMPEG, reason="needs ffmpeg")


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize(
    ("codec", "raw", "rate", "payload_type"),
    [
        ("pcm_mulaw", "mulaw", 8000, 0),
        ("pcm_alaw", "alaw", 8000, 8),
        ("pcm_s16be", "s16be", 44100, 11),
        ("pcm_s16be", "s16be", 16000, 97),
        ("g722", "g722", 16000, 9),
    ],
)
@pytest.mark.parametrize("loss", [0, 0.2])
def test_what_ffmpeg_sends(codec: str, raw: str, rate: int, payload_type: int, loss: float) -> None:
    """In order, and with loss, duplicates and reordering."""
    received = sent_by_ffmpeg(codec, rate)
    packets = [data for data in received if not is_rtcp(data)]
    assert {parse(data).payload_type for data in packets} == {payload_type}
    assert len(packets) < len(received)  # its sender reports
    whole = ffmpeg(codec, rate, 1, "-f", raw, "-")
    assert b"".join(parse(data).payload for data in packets) == whole
    types = {payload_type: f"L16/{rate}"} if payload_type == 97 else {}

    rng = random.Random(1)
    kept = [data for number, data in enumerate(packets) if not number or rng.random() >= loss]
    disorder = 5 if loss else 0
    order = sorted(range(len(kept)), key=lambda k: (k + bool(k) * rng.random() * disorder, k))
    receiver = RtpReceiver(rate, payload_types=types)
    events: list[Audio | Press] = []
    for k in order:
        for _ in range(rng.choice([1, 2]) if loss else 1):
            events += receiver.receive(kept[k], 0)
    events += receiver.finish()
    assert len(events) == len(kept)
    if codec == "g722":  # what is missing changes what its decoder makes of the rest
        return
    start = parse(packets[0]).timestamp
    expected = np.zeros(rate, np.int16)
    for data in kept:
        one = parse(data)
        pcm = (
            np.frombuffer(one.payload, ">i2")
            if raw == "s16be"
            else np.frombuffer(
                g711_decode(one.payload, "pcmu" if raw == "mulaw" else "pcma"), np.int16
            )
        )
        at = (one.timestamp - start) & 0xFFFFFFFF
        expected[at : at + len(pcm)] = pcm
    assert np.array_equal(laid(events, rate), expected)


@needs_ffmpeg
@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("seed", mostly_slow(range(20), 0))
def test_what_ffmpeg_sends_through_a_network_is_recorded_where_it_arrives(
    tmp_path: Path, name: str, changes: bool, wraps: bool, seed: int
) -> None:
    """With loss, reordering and duplicates, across the wrap of both counters and another SSRC."""
    network = Network(loss=0.1, reorder=0.2, twice=0.1)
    found = recorded(tmp_path, name, network, seed=seed, seconds=2, wraps=wraps, changes=changes)
    assert found.sent >= 100
    assert 0.7 * found.sent < found.arrived < found.sent
    assert found.twice
    assert (found.equal, found.silent, found.late) == (found.due, found.lost, 0)


@needs_ffmpeg
@pytest.mark.parametrize("name", CODECS)
def test_what_ffmpeg_sends_is_recorded_as_it_encodes_it(tmp_path: Path, name: str) -> None:
    found = recorded(tmp_path, name, Network())
    codec = CODECS[name]
    payloads = b"".join(parse(data).payload for data in packets_of(name))
    forms = {"PCMU": "mulaw", "PCMA": "alaw", "L16": "s16be"}
    assert payloads == ffmpeg(codec.encoder, codec.rate, 1, "-f", forms[name], "-")
    assert found.arrived == found.sent >= 50
    assert found.equal == found.due == codec.rate
