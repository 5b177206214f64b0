# SPDX-License-Identifier: MIT
"""A recorded leg on which nothing comes is silence up to now, like any other."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import Call
from tests import signals
from tests.recordings import NO_LIMITS, audio_of, feed_leg

LEGS = ("speak", "listen")


def other(leg: str) -> str:
    return LEGS[leg == "speak"]


def feed(call: Call, leg: str, seconds: float) -> None:
    for _ in range(round(seconds * 50)):
        feed_leg(call, leg, bytes(320))


@pytest.mark.parametrize("direction", ["speak", "listen", "both"])
@pytest.mark.parametrize("fed", LEGS)
def test_stop_counts_it(call: Call, direction: Any, fed: str) -> None:
    action = call.record({**NO_LIMITS, "direction": direction})
    feed(call, fed, 1)
    action.stop()
    event = action.join(10)
    assert event.duration == 1.0
    assert len(audio_of(event)) == 8000


@pytest.mark.parametrize("direction", ["speak", "listen", "both"])
@pytest.mark.parametrize("fed", LEGS)
@pytest.mark.parametrize("terminators", ["", "#"])
@pytest.mark.parametrize(
    ("limit", "state"), [({"initial_timeout": 1.0}, "no_input"), ({"max_length": 1.0}, "finished")]
)
def test_timers_count_it(
    call: Call, direction: Any, fed: str, limit: Any, state: str, terminators: str
) -> None:
    action = call.record({**NO_LIMITS, **limit, "direction": direction, "terminators": terminators})
    feed(call, fed, 1.0)
    event = action.join(10)
    assert (event.state, event.duration) == (state, 1.0)


@pytest.mark.parametrize("direction", ["speak", "listen", "both"])
@pytest.mark.parametrize("ahead", LEGS)
@pytest.mark.parametrize("lead", [0, 160, 1000, 3999, 20000])
def test_a_digit_out_of_band_lies_at_the_call_s_position(
    call: Call, direction: Any, ahead: str, lead: int
) -> None:
    audio = {leg: signals.noise(5, -30, seed=seed) for seed, leg in enumerate(LEGS)}
    action = call.record({**NO_LIMITS, "terminators": "#", "direction": direction, "stereo": True})
    for at in range(0, 8000, 160):
        for leg in LEGS:
            feed_leg(call, leg, audio[leg][at : at + 160])
    for at in range(8000, 8000 + lead, 160):
        end = min(at + 160, 8000 + lead)
        feed_leg(call, ahead, audio[ahead][at:end])
    position = call.position
    assert position == 8000 + lead
    call.digit("#")
    event = action.join(10)
    assert (event.digit, event.duration) == ("#", position / 8000)
    recorded = audio_of(event)
    for channel, leg in enumerate(LEGS):
        expected = audio[leg][:position].copy()
        expected[position if leg == ahead else 8000 :] = 0
        if direction not in ("both", leg):
            expected[:] = 0
        assert np.array_equal(recorded[:, channel], expected)


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_all_audio_up_to_a_digit_is_in_the_file(make_call: Callable[..., Call], rate: int) -> None:
    """Also what a resampler still holds."""
    call = make_call(speak_rate=rate)
    action = call.record({**NO_LIMITS, "terminators": "5"})
    tone = signals.tone(1, -20, rate, 440)
    for at in range(0, rate, rate // 50):
        call.feed(speak=tone[at : at + rate // 50])
    call.digit("5")
    recorded = audio_of(action.join(10)).astype(float)
    expected = signals.tone(1, -20, 8000, 440).astype(float)
    assert len(recorded) == 8000
    inner = slice(400, -100)
    error = recorded[inner] - expected[inner]
    assert 10 * np.log10(np.mean(expected[inner] ** 2) / (np.mean(error**2) + 1e-9)) > 40


@pytest.mark.parametrize("frame_ms", [20, 180, 240, 1000])
def test_a_bot_in_long_frames(make_call: Callable[..., Call], frame_ms: int) -> None:
    """The caller in frames of 20 ms, the bot alone in longer ones, each when it is over."""
    call = make_call()
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    bot = signals.tone(3, -20, 8000, 1000)
    size = frame_ms * 8
    fed = 0
    for tick in range(400):
        call.feed(speak=bytes(320))
        spoken = (tick + 1) * 160 - 24000
        while fed + size <= min(spoken, len(bot)):
            call.feed(listen=bot[fed : fed + size])
            fed += size
    call.hangup()
    recorded = audio_of(action.join(10))
    assert call.stats.listen.late == 0
    assert call.stats.listen.taken == fed >= len(bot) - size
    found = np.flatnonzero(np.abs(recorded[:, 1]) > 300)
    assert abs(found[0] - 24000) <= size
    assert abs(found[-1] - 24000 - fed) <= size


def test_a_rounded_position_is_no_gap(make_call: Callable[..., Call]) -> None:
    """Positions of a leg at a rate of its own are off by their rounding."""
    call = make_call(speak_rate=11025)
    action = call.record(NO_LIMITS)
    tone = signals.tone(3, -20, 11025, 440)
    for index in range(0, len(tone), 220):
        position = round(index * 8000 / 11025)
        call.feed(speak=tone[index : index + 220], at=position)
    action.stop()
    recorded = audio_of(action.join(10)).astype(float)
    expected = signals.tone(3, -20, 8000, 440).astype(float)
    n = min(len(recorded), len(expected))
    assert abs(len(recorded) - len(expected)) <= 2
    error = recorded[400 : n - 400] - expected[400 : n - 400]
    assert np.max(np.abs(error)) < 0.05 * np.max(expected)
    assert call.stats.speak.filled == call.stats.speak.overlap == 0
