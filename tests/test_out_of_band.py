# SPDX-License-Identifier: MIT
"""Digits that arrive out of band, and one press that is seen both ways."""

from typing import Any

import numpy as np
import pytest

from recorder import (
    Call,
    OptionError,
)
from tests import signals
from tests.conftest import Events
from tests.recordings import (
    NO_LIMITS,
    SPEAK,
    audio_of,
    feed_frames,
    result_of,
)


def test_a_digit_reported_out_of_band_ends_it_at_once(events: Events) -> None:
    action = events.call.record({**NO_LIMITS, "terminators": "#"})
    feed_frames(events.call, signals.noise(1, -30))
    events.call.digit("4")
    assert not action.is_done
    events.call.digit("#")
    event = result_of(action)
    assert (event.record["reason"], event.record["digit"]) == ("terminator", "#")
    assert event.duration == 1.0


@pytest.mark.parametrize("after", [0.05, 0.1, 0.3])
def test_a_digit_reported_while_its_tone_sounds_ends_it_where_that_began(
    call: Call, after: float
) -> None:
    action = call.record({**NO_LIMITS, "terminators": "#"})
    audio = np.concatenate([signals.silence(0.5), signals.dtmf("#", 0.5)])
    feed_frames(call, audio[: 4000 + int(after * 8000)])
    call.digit("#")
    assert abs(result_of(action).duration - 0.5) < 0.001


def test_an_unconfirmed_tone_moves_nothing(call: Call) -> None:
    """The digit lies where the call is, and what sounds of the tone is in the file."""
    action = call.record({**NO_LIMITS, "terminators": "#"})
    audio = np.concatenate([signals.silence(0.5), signals.dtmf("#", 0.5)])
    feed_frames(call, audio[:4160])
    assert not action.is_done
    call.digit("#")
    assert np.array_equal(audio_of(result_of(action)), audio[:4160])
    feed_frames(call, audio[4160:])  # the rest of the press is nothing to the next one


@pytest.mark.parametrize("first", ["tone", "report"])
def test_one_press_seen_both_ways_counts_once(call: Call, first: str) -> None:
    """The press that ended one recording must not end the next, which begins at once."""
    press = np.concatenate([signals.silence(0.1), signals.dtmf("#", 0.1), signals.silence(0.2)])
    one = call.record({**NO_LIMITS, "terminators": "#"})
    if first == "report":
        call.digit("#")
    else:
        feed_frames(call, press)
    assert one.state == "finished"
    two = call.record({**NO_LIMITS, "terminators": "#"})
    if first == "report":
        feed_frames(call, press)
    else:
        call.digit("#")
    assert two.state == "recording"
    # A second press is one.
    feed_frames(call, np.concatenate([signals.silence(1), press]))
    assert result_of(two).record["digit"] == "#"


@pytest.mark.parametrize("digit", ["", "E", "12", 5, None, "##"])
def test_other_digits_are_refused(call: Call, digit: Any) -> None:
    with pytest.raises(OptionError, match=r"digit: expected .*, got"):
        call.digit(digit)


def test_digits_in_lower_case(call: Call) -> None:
    action = call.record({**NO_LIMITS, "terminators": "d"})
    call.digit("d")
    assert result_of(action).record["digit"] == "D"


def test_it_lies_at_the_leg_that_is_furthest_on(call: Call) -> None:
    """All audio up to there is in the file; the leg that is behind is silent."""
    action = call.record({**NO_LIMITS, "terminators": "#"})
    call.feed(listen=signals.silence(0.5))
    call.feed(speak=SPEAK[:1000])
    call.digit("#")
    assert np.array_equal(
        audio_of(action.join(10)), np.append(SPEAK[:1000], signals.silence(0.375))
    )


def test_one_press_counts_once_when_the_other_leg_is_ahead(call: Call) -> None:
    press = np.concatenate([signals.silence(0.1), signals.dtmf("#", 0.1), signals.silence(0.2)])
    one = call.record({**NO_LIMITS, "terminators": "#"})
    call.feed(listen=bytes(6400))
    call.digit("#")
    assert one.state == "finished"
    two = call.record({**NO_LIMITS, "terminators": "#"})
    for at in range(0, len(press), 160):
        call.feed(speak=press[at : at + 160])
        call.feed(listen=press[at : at + 160])
    assert two.state == "recording"
