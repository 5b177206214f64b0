# SPDX-License-Identifier: MIT
"""Legs into a file's samples."""

import numpy as np
import pytest

from recorder import mixing

A = np.array([100, -200, 30000, -30000], np.int16)
B = np.array([1, 2, 10000, -10000], np.int16)


def test_mono_is_one_leg_as_it_is() -> None:
    assert mixing.mix(A, None, stereo=False).tolist() == A.tolist()
    assert mixing.mix(None, B, stereo=False).tolist() == B.tolist()


def test_mono_both_is_the_sum_saturated_never_wrapped() -> None:
    assert mixing.mix(A, B, stereo=False).tolist() == [101, -198, 32767, -32768]


@pytest.mark.parametrize(("speak", "listen"), [(A, B), (A, None), (None, B)])
def test_stereo_is_left_speak_right_listen(
    speak: mixing.Samples | None, listen: mixing.Samples | None
) -> None:
    both = mixing.mix(speak, listen, stereo=True)
    nothing = np.zeros(4, np.int16)
    assert both[:, 0].tolist() == (nothing if speak is None else speak).tolist()
    assert both[:, 1].tolist() == (nothing if listen is None else listen).tolist()


def test_fade_is_the_same_wherever_it_is_cut() -> None:
    audio = np.full((100, 2), 10000, np.int16)
    whole = mixing.fade(audio, since_join=0, until_join=100, length=32)
    parts = [
        mixing.fade(audio[at : at + 7], since_join=at, until_join=100 - at, length=32)
        for at in range(0, 100, 7)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.all(np.diff(whole[:33, 0].astype(int)) >= 0)
    assert np.all(np.diff(whole[67:, 0].astype(int)) <= 0)
    assert np.max(np.abs(np.diff(whole[:, 0].astype(int)))) <= 10000 / 32 + 1
    assert abs(int(whole[0, 0])) < 400
    assert np.all(whole[32:68] == 10000)


def test_far_from_a_join_nothing_changes() -> None:
    audio = np.arange(50, dtype=np.int16)
    assert mixing.fade(audio, since_join=None, until_join=None, length=32) is audio
    assert mixing.fade(audio, since_join=32, until_join=82, length=32) is audio
