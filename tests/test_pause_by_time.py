# SPDX-License-Identifier: MIT
"""A pause hides what is fed while it lasts, whichever leg is ahead; nothing else is missing."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import Call
from tests import signals
from tests.marks import mostly_slow
from tests.recordings import NO_LIMITS, audio_of, feed_leg
from tests.signals import Pcm

FADE = 32  # samples at 8 kHz: next to a pause they are quieter
LEGS = ("speak", "listen")


def counting(leg: str, start: int, n: int) -> Pcm:
    """Samples that say which they are: speak above zero, listen below."""
    values = np.arange(start, start + n) % 30000 + 1
    return (values if leg == "speak" else -values).astype(np.int16)


@pytest.mark.parametrize("behavior", ["skip", "silence"])
@pytest.mark.parametrize("direction", ["speak", "listen", "both"])
@pytest.mark.parametrize("seed", mostly_slow(range(12), 0, 1, 2))
def test_by_time_of_call(
    make_call: Callable[..., Call], behavior: Any, direction: Any, seed: int
) -> None:
    """The legs are fed apart, each ahead of the other by up to 0.4 s, and paused at any moment."""
    rng = random.Random(f"{seed} {direction}")
    call = make_call()
    action = call.record({**NO_LIMITS, "direction": direction, "stereo": True})
    fed = dict.fromkeys(LEGS, 0)
    visible: dict[str, list[tuple[int, int]]] = {leg: [] for leg in LEGS}
    hidden: dict[str, list[tuple[int, int]]] = {leg: [] for leg in LEGS}
    paused = False
    for _ in range(160):
        behind = min(LEGS, key=lambda leg: fed[leg])
        ahead = fed["speak"] != fed["listen"] and rng.random() < 0.5
        leg = behind if ahead or rng.random() < 0.3 else rng.choice(LEGS)
        n = rng.choice([80, 160, 160, 240, 400])
        other = LEGS[leg == "speak"]
        if fed[leg] + n - fed[other] > 3200:
            leg, other = other, leg
        feed_leg(call, leg, counting(leg, fed[leg], n))
        (hidden if paused else visible)[leg].append((fed[leg], fed[leg] + n))
        fed[leg] += n
        if rng.random() < 0.15:
            paused = not paused
            action.pause(behavior) if paused else action.resume()
    action.stop()
    recorded = audio_of(action.join(10)).astype(int)
    assert call.stats.speak.late == call.stats.listen.late == 0
    recorded_legs = LEGS if direction == "both" else (direction,)
    for channel, leg in enumerate(LEGS):
        values = np.abs(recorded[:, channel])
        if leg not in recorded_legs:
            assert not values.any()
            continue
        # A value that stands beside its neighbour is whole: a faded one does not.
        steps = np.flatnonzero(np.diff(values) == 1)
        whole = set(values[steps]) | set(values[steps + 1])
        kept: set[int] = set()
        for start, end in joined(visible[leg]):
            kept |= set(range(start + FADE + 1, end - FADE + 1))
        assert kept <= whole
        secret: set[int] = set()
        for start, end in hidden[leg]:
            secret |= set(range(start + 1, end + 1))
        assert not secret & runs(values)


def joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches that touch, as one."""
    out: list[tuple[int, int]] = []
    for start, end in stretches:
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    return out


def runs(values: np.ndarray[Any, Any]) -> set[int]:
    """Values in runs of 8 that count up: those of faded stretches do not."""
    steps = np.diff(values) == 1
    found: set[int] = set()
    for at in range(len(steps) - 7):
        if steps[at : at + 7].all():
            found |= set(values[at : at + 8].tolist())
    return found


@pytest.mark.parametrize("lead", [0, 160, 3200])
@pytest.mark.parametrize("leader", LEGS)
@pytest.mark.parametrize("direction", ["speak", "listen", "both"])
def test_a_digit_keyed_while_paused_ends_nothing(
    make_call: Callable[..., Call], leader: str, lead: int, direction: Any
) -> None:
    """In band, its tone fed while paused; and what is fed after the end of the pause is there."""
    call = make_call()
    action = call.record({**NO_LIMITS, "terminators": "#", "direction": direction})
    line = signals.noise(3, -50)

    def feed(audio: Pcm, other: Pcm) -> None:
        for at in range(0, len(audio), 160):
            call.feed(speak=audio[at : at + 160])
            call.feed(listen=other[at : at + 160])

    feed_leg(call, leader, line[:lead])
    feed(line[:4000], line[:4000])
    action.pause()
    feed(signals.dtmf("#", 0.2), line[:1600])
    action.resume()
    feed(line[:4000], line[:4000])
    assert action.state == "recording"
    feed(signals.dtmf("#", 0.2), line[:1600])
    feed(line[:1600], line[:1600])
    assert action.join(10).digit == "#"


@pytest.mark.parametrize("seed", range(60))
def test_a_tone_that_begins_right_after_a_pause_began(call: Call, seed: int) -> None:
    """Its onset is estimated up to a millisecond early."""
    rng = np.random.default_rng(seed)
    action = call.record({**NO_LIMITS, "terminators": "0123456789ABCD*#"})
    line = signals.noise(2, -60, seed=seed)
    start = int(rng.integers(3000, 5000))
    press = signals.dtmf(signals.KEYPAD[seed % 16], 0.1, level_dbm0=float(rng.uniform(-25, -5)))
    audio = line.copy()
    audio[start : start + len(press)] += press
    call.feed(speak=audio[:start])
    action.pause()
    call.feed(speak=audio[start : start + len(press) + 800])
    action.resume()
    call.feed(speak=audio[start + len(press) + 800 :])
    assert action.state == "recording"


def test_a_digit_reported_while_paused_is_nothing(call: Call) -> None:
    action = call.record({**NO_LIMITS, "terminators": "4"})
    call.feed(speak=signals.noise(1, -30))
    action.pause()
    call.digit("4")
    action.resume()
    call.feed(speak=signals.noise(1, -30))
    assert action.state == "recording"
    call.digit("4")
    assert action.join(10).digit == "4"


@pytest.mark.parametrize("behavior", ["skip", "silence"])
def test_what_was_played_while_paused_is_not_in_the_file(
    make_call: Callable[..., Call], behavior: Any
) -> None:
    """Also what is heard only after the pause."""
    call = make_call()
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    secret = signals.tone(2, -20, 8000, 1000)
    line = np.zeros(160, np.int16)
    for tick in range(200):
        if tick == 50:
            action.pause(behavior)
            call.play(secret)
        if tick == 100:
            action.resume()
        if tick == 170:
            call.play(signals.tone(0.4, -20, 8000, 500))
        call.feed(speak=line)
    action.stop()
    recorded = audio_of(action.join(10))
    found = np.flatnonzero(recorded[:, 1])
    length = 150 * 160 if behavior == "skip" else 200 * 160
    assert len(recorded) == length
    # The secret is heard up to tick 150; only the second prompt is there.
    assert len(found)
    assert found[0] >= length - 30 * 160
