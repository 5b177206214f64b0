# SPDX-License-Identifier: MIT
"""`Call(live=...)`: the clock runs also when nothing is fed."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from recorder import Call, CallEndedError, OptionError
from tests.recordings import NO_LIMITS, SPEAK, STEREO, audio_of, result_of

SKEW = 0.5


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(make_call: Callable[..., Call], clock: Clock) -> Call:
    return make_call(live=clock)


def test_position_0_is_when_the_call_was_made(live: Call, clock: Clock) -> None:
    assert live.position == 0
    clock.seconds += 1.5
    assert live.position == 12000


def test_a_wire_that_sends_nothing_is_silence(live: Call, clock: Clock) -> None:
    action = live.record(STEREO)
    clock.seconds += 2
    action.stop()
    event = result_of(action)
    assert event.duration == 2.0
    assert not audio_of(event).any()


def test_a_timer_fires_with_the_skew_s_delay_and_the_same_file(live: Call, clock: Clock) -> None:
    action = live.record({"initial_timeout": 1})
    clock.seconds += 1 + SKEW - 0.01
    live.advance()
    assert not action.is_done
    clock.seconds += 0.02
    live.advance()
    event = result_of(action)
    assert (event.state, event.duration) == ("no_input", 1.0)


def test_a_digit_lies_where_it_came(live: Call, clock: Clock) -> None:
    action = live.record({**NO_LIMITS, "terminators": "#"})
    clock.seconds += 1.25
    live.digit("#")
    assert result_of(action).duration == 1.25


def test_audio_after_a_gap_lies_where_it_arrives(live: Call, clock: Clock) -> None:
    action = live.record(STEREO)
    clock.seconds += 0.02
    live.feed(speak=SPEAK[:160])
    clock.seconds += 2
    live.feed(speak=SPEAK[160:320])
    action.stop()
    recorded = audio_of(result_of(action))
    assert len(recorded) == 16160
    expected = np.zeros(16160, np.int16)
    expected[:160] = SPEAK[:160]
    expected[16000:] = SPEAK[160:320]
    assert np.array_equal(recorded[:, 0], expected)
    assert not recorded[:, 1].any()


def test_it_runs_by_itself(make_call: Callable[..., Call]) -> None:
    """Nobody feeds, commands or looks."""
    call = make_call(live=True, max_skew=0.05)
    action = call.record({**NO_LIMITS, "max_length": 0.1})
    began = time.monotonic()
    assert action.join(10).duration == 0.1
    assert time.monotonic() - began < 5


def test_its_time_ends_with_it(live: Call, clock: Clock) -> None:
    action = live.record(NO_LIMITS)
    clock.seconds += 1
    live.hangup()
    assert result_of(action).duration == 1.0
    position = live.position
    clock.seconds += 1
    assert live.position == position == 8000
    with pytest.raises(CallEndedError):
        live.advance()


def test_only_a_live_call_advances_without_a_position(call: Call) -> None:
    with pytest.raises(OptionError, match=r"^to: expected a position, .* got None"):
        call.advance()
