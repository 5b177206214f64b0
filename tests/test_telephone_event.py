# SPDX-License-Identifier: MIT
"""Keys that arrive as RFC 4733 events."""

import random

import numpy as np
import pytest

from recorder import Call, DigitEvent, RecordOptions, WireError
from recorder.sources.rtp import Audio, Press, RtpLeg, RtpReceiver
from recorder.sources.telephone_event import TelephoneEvents
from tests import signals
from tests.conftest import Events
from tests.rtp_packets import event_payload, packet

TYPES = {101: "telephone-event/8000"}
KEYS = "0123456789*#ABCD"


def wire(
    sequence: int, audio: bytes, presses: dict[int, str], *, in_band: bool = False
) -> list[tuple[float, bytes]]:
    """A leg's packets of 20 ms, with their times; at each position a key is pressed for 100 ms.

    During a press there are events instead of audio, unless it is there `in_band` too.
    """
    packets, start = [], -1
    for at in range(0, len(audio), 160):
        begun = [one for one in presses if one <= at < one + 800]
        if begun:
            (start,) = begun
            payload = event_payload(KEYS.index(presses[start]), at + 160 - start)
            packets.append((at / 8000, packet(101, sequence, start, 1, payload, at == start)))
            sequence += 1
        if not begun or in_band:
            packets.append((at / 8000, packet(0, sequence, at, 1, audio[at : at + 160])))
            sequence += 1
        if start >= 0 and at - start == 640:
            payload = event_payload(KEYS.index(presses[start]), 800, end=True)
            for _ in range(3):
                packets.append((at / 8000 + 0.001, packet(101, sequence, start, 1, payload)))
                sequence += 1
    return packets


def feed(call: Call, packets: list[tuple[float, bytes]]) -> RtpLeg:
    source = RtpLeg(call, "speak", payload_types=TYPES)
    for seconds, data in packets:
        source.receive(data, seconds)
    source.finish()
    return source


# -- which packets are one press -------------------------------------------------------------------


def test_every_key_and_what_is_none() -> None:
    events = TelephoneEvents()
    assert [events.press(1, code, event_payload(code, 160)) for code in range(16)] == list(KEYS)
    assert [events.press(1, code, event_payload(code, 160)) for code in range(16, 256)] == (
        [None] * 240
    )


@pytest.mark.parametrize("n", range(4))
def test_what_is_no_event(n: int, call: Call) -> None:
    with pytest.raises(WireError, match=f"4 bytes or more, got {n}"):
        TelephoneEvents().press(1, 1, bytes(n))
    with pytest.raises(WireError, match=f"4 bytes or more, got {n}"):
        RtpLeg(call, "speak", payload_types=TYPES).receive(packet(101, 1, 1, 1, bytes(n)), 0)


def test_the_same_key_twice_of_which_the_first_end_was_lost() -> None:
    events = TelephoneEvents()
    found = [events.press(1, at, event_payload(5, 160)) for at in (0, 0, 1600, 1600, 3200)]
    assert found == ["5", None, "5", None, "5"]


def test_another_ssrc_presses_for_itself() -> None:
    events = TelephoneEvents()
    assert [events.press(ssrc, 0, event_payload(5, 160)) for ssrc in (1, 2, 1)] == ["5", "5", None]


def test_a_press_longer_than_a_duration_can_say_is_one() -> None:
    events = TelephoneEvents()
    start = 0xFFFFFFFF - 70000
    found = []
    for segment in range(3):
        timestamp = (start + segment * 0xFFFF) & 0xFFFFFFFF
        found += [events.press(1, timestamp, event_payload(5, at)) for at in (160, 0xFFFF)]
    found.append(events.press(1, timestamp, event_payload(5, 400, end=True)))
    assert found == ["5"] + [None] * 6
    # The next press is a new one, and one that begins where an ended one could continue too.
    assert events.press(1, timestamp + 0xFFFF, event_payload(5, 160)) == "5"


def test_what_is_remembered_is_bounded() -> None:
    events = TelephoneEvents()
    for at in range(10000):
        assert events.press(1, at, event_payload(5, 160)) == "5"
    assert events.press(1, 9999, event_payload(5, 160)) is None


# -- on a call -------------------------------------------------------------------------------------

SPEECH = signals.g711(signals.noise(3, -25), "pcmu")


@pytest.mark.parametrize("in_band", [False, True])
def test_a_press_ends_a_recording_where_it_began(events: Events, in_band: bool) -> None:
    action = events.call.record(RecordOptions(direction="speak", terminators="#"))
    feed(events.call, wire(7, SPEECH, {4000: "5", 8000: "#"}, in_band=in_band))
    event = action.join(10)
    assert event is not None
    assert (event.reason, event.digit) == ("terminator", "#")
    assert event.duration == pytest.approx(1.0, abs=0.02 if in_band else 0)


@pytest.mark.parametrize(
    "seed", [*range(10), *(pytest.param(n, marks=pytest.mark.slow) for n in range(10, 500))]
)
def test_each_press_counts_once_and_lies_at_its_timestamp(seed: int) -> None:
    """Whichever of its packets arrive, how often, and in which order."""
    rng = random.Random(seed)
    presses = {at: rng.choice(KEYS) for at in range(1600, 20000, 3200)}
    start = rng.choice([0, 65500])
    packets = wire(start, SPEECH, presses, in_band=rng.random() < 0.5)
    receiver = RtpReceiver(8000, payload_types=TYPES)
    kept = [packets[0], *(one for one in packets[1:] if rng.random() > 0.3)]
    came = {data[4:8] for _, data in kept if data[1] & 0x7F == 101}
    order = [kept[0], *sorted(kept[1:], key=lambda one: one[0] + rng.random() * 0.035)]
    found: list[Audio | Press] = []
    late = 0.0
    for seconds, data in order:
        late = max(late, seconds)
        for _ in range(rng.choice([1, 2])):
            found += receiver.receive(data, late)
    found += receiver.finish()
    expected = [(at, digit) for at, digit in presses.items() if at.to_bytes(4) in came]
    got = [(one.position, one.digit) for one in found if isinstance(one, Press)]
    assert got == expected


def test_a_press_after_silence_lies_at_its_timestamp(events: Events) -> None:
    """Nothing was sent before it for a second: that is silence."""
    event = packet(101, 50, 16000, 1, event_payload(11, 160))
    packets = [*wire(0, SPEECH[:8000], {}), (2.0, event)]
    action = events.call.record(
        RecordOptions(direction="speak", initial_timeout=0, end_silence_timeout=0, terminators="#")
    )
    feed(events.call, packets)
    ended = action.join(10)
    assert ended is not None
    assert (ended.reason, ended.duration) == ("terminator", 2.0)
    assert events.call.stats.speak.late == 0


def test_a_press_that_was_held_down_for_twenty_seconds(events: Events) -> None:
    packets = wire(0, SPEECH[:8000], {})
    sequence = 50
    for at in range(8000, 168000, 400):
        segment = 8000 + (at - 8000) // 0xFFFF * 0xFFFF
        payload = event_payload(9, at + 400 - segment)
        packets.append((at / 8000, packet(101, sequence, segment, 1, payload)))
        sequence += 1
    packets += [
        (21 + k / 50, packet(0, sequence + k, 168000 + 160 * k, 1, SPEECH[:160])) for k in range(9)
    ]
    digits: list[DigitEvent] = []
    positions: list[int] = []
    receiver = RtpReceiver(8000, payload_types=TYPES)
    found = [one for seconds, data in packets for one in receiver.receive(data, seconds)]
    assert [one for one in found if isinstance(one, Press)] == [Press(position=8000, digit="9")]
    positions = [one.position for one in found if isinstance(one, Audio)]
    assert positions[-9:] == [168000 + 160 * k for k in range(9)]
    events.call.on("digit", digits.append)
    feed(events.call, packets)
    events.call.hangup()
    assert events.call.position == 168000 + 9 * 160


def test_presses_on_the_listen_leg_are_nothing(call: Call) -> None:
    action = call.record(RecordOptions(direction="both", terminators="5"))
    source = RtpLeg(call, "listen", payload_types=TYPES)
    for seconds, data in wire(0, SPEECH, {4000: "5"}):
        source.receive(data, seconds)
    source.finish()
    assert not action.is_done
    assert np.isclose(call.position, 24000)


def test_a_press_that_is_in_the_audio_too_counts_once(call: Call) -> None:
    """The press that ended one recording must not end the next, which begins at once."""
    tone = [signals.noise(0.5, -40), signals.dtmf("5", 0.1), signals.noise(2.4, -40)]
    audio = signals.g711(np.concatenate(tone), "pcmu")
    options = RecordOptions(direction="speak", initial_timeout=0, terminators="5")
    one = call.record(options)
    two = None
    source = RtpLeg(call, "speak", payload_types=TYPES)
    for seconds, data in wire(0, audio, {4000: "5"}, in_band=True):
        source.receive(data, seconds)
        if two is None and one.state == "finished":
            two = call.record(options)
    assert two is not None
    assert two.state == "recording"
