# SPDX-License-Identifier: MIT
"""Legs into a file's samples."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from recorder.writing import mixing

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


FADE = 32


def faded(first: int, last: int | None, n: int = 200) -> "NDArray[np.int64]":
    """A constant level of which a stretch is hidden."""
    audio = np.full(n, 10000, np.int16).tobytes()
    return np.frombuffer(mixing.hide(audio, 0, [(first, last)], FADE), np.int16).astype(np.int64)


def test_audio_fades_next_to_what_is_hidden() -> None:
    audio = faded(80, 120)
    assert not audio[80:120].any()
    assert np.all(audio[:48] == 10000)
    assert np.all(audio[152:] == 10000)
    assert np.all(np.diff(audio[47:81]) <= 0)
    assert np.all(np.diff(audio[119:153]) >= 0)
    assert np.max(np.abs(np.diff(audio))) <= 10000 / FADE + 1
    assert audio[79] == audio[120] < 400
    assert np.array_equal(audio, audio[::-1])  # both sides alike


def test_what_is_hidden_without_end() -> None:
    audio = faded(80, None)
    assert not audio[80:].any()
    assert np.array_equal(audio[:80], faded(80, 120)[:80])


def test_it_is_the_same_wherever_it_is_cut() -> None:
    audio = np.random.default_rng(1).integers(-30000, 30000, 300).astype(np.int16)
    hidden: list[tuple[int, int | None]] = [(1050, 1090), (1100, 1130), (1260, None)]
    whole = mixing.hide(audio.tobytes(), 1000, hidden, FADE)
    parts = [
        mixing.hide(audio[at : at + 7].tobytes(), 1000 + at, hidden, FADE)
        for at in range(0, 300, 7)
    ]
    assert b"".join(parts) == whole


def test_without_a_fade_nothing_beside_it_changes() -> None:
    audio = np.arange(1, 51, dtype=np.int16)
    found = np.frombuffer(mixing.hide(audio.tobytes(), 0, [(10, 20)], 0), np.int16)
    assert np.array_equal(found, np.where((audio > 10) & (audio <= 20), 0, audio))


def test_far_from_what_is_hidden_nothing_changes() -> None:
    audio = np.arange(50, dtype=np.int16).tobytes()
    assert mixing.hide(audio, 0, [], FADE) == audio
    assert mixing.hide(audio, 0, [(50 + FADE, None)], FADE) == audio
    assert mixing.hide(audio, 1000, [(900, 1000 - FADE)], FADE) == audio
