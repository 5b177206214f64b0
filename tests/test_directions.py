# SPDX-License-Identifier: MIT
"""Which legs a recording has, and how they become its channels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import AudioOptions, Call
from tests import signals
from tests.conftest import Events
from tests.recordings import (
    LISTEN,
    NO_LIMITS,
    SPEAK,
    audio_of,
    feed_frames,
    result_of,
)
from tests.signals import Pcm


@pytest.mark.parametrize(
    ("direction", "stereo", "expected"),
    [
        ("speak", False, SPEAK),
        ("listen", False, LISTEN),
        ("both", False, np.clip(SPEAK.astype(int) + LISTEN, -32768, 32767)),
        ("speak", True, np.stack([SPEAK, SPEAK * 0], axis=1)),
        ("listen", True, np.stack([LISTEN * 0, LISTEN], axis=1)),
        ("both", True, np.stack([SPEAK, LISTEN], axis=1)),
    ],
)
def test_what_each_direction_records(
    call: Call, direction: Any, stereo: bool, expected: Pcm
) -> None:
    action = call.record({**NO_LIMITS, "direction": direction, "stereo": stereo})
    feed_frames(call, SPEAK, LISTEN)
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), expected)


def test_silence_is_judged_on_the_legs_of_the_direction(call: Call) -> None:
    audio: AudioOptions = {"end_silence_timeout": 0.5, "initial_timeout": 0.5}
    speak, both = call.record(audio), call.record({**audio, "direction": "both"})
    feed_frames(call, signals.silence(1), signals.noise(1, -20))
    assert result_of(speak).state == "no_input"
    assert not both.is_done


def test_a_leg_that_never_comes_is_silence(call: Call) -> None:
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    feed_frames(call, SPEAK)
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), np.stack([SPEAK, SPEAK * 0], axis=1))


def test_legs_fed_in_turn_stay_aligned(call: Call) -> None:
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    for at in range(0, 8000, 160):
        call.feed(speak=SPEAK[at : at + 160])
        call.feed(listen=LISTEN[at : at + 160])
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), np.stack([SPEAK, LISTEN], axis=1))


def test_a_leg_behind_by_more_than_the_skew_is_filled(make_call: Callable[..., Call]) -> None:
    call = make_call(max_skew=0.25)
    action = call.record(
        {**NO_LIMITS, "direction": "both", "initial_timeout": 0.5, "max_length": 2}
    )
    feed_frames(call, signals.silence(0.7))
    assert not action.is_done  # listen may still come
    feed_frames(call, signals.silence(0.05))
    assert result_of(action).state == "no_input"


def test_several_at_once_are_independent(events: Events) -> None:
    call = events.call
    one = call.record(NO_LIMITS, control_id="one")
    feed_frames(call, SPEAK)
    two = call.record({**NO_LIMITS, "direction": "listen"}, control_id="two")
    feed_frames(call, SPEAK, LISTEN)
    one.stop()
    feed_frames(call, SPEAK, LISTEN)
    two.stop()
    assert np.array_equal(audio_of(one.join(10)), np.concatenate([SPEAK, SPEAK]))
    assert np.array_equal(audio_of(two.join(10)), np.concatenate([LISTEN, LISTEN]))
    assert [(e.control_id, e.state) for e in events.received] == [
        ("one", "recording"),
        ("two", "recording"),
        ("one", "finished"),
        ("two", "finished"),
    ]
