# SPDX-License-Identifier: MIT
"""`mask_digits`: DTMF tones are silence in the file, from onset to end."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import Call, RecordAction, RecordOptions, detect
from tests import signals
from tests.conftest import settle
from tests.recordings import (
    NO_LIMITS,
    audio_of,
    kept,
    path_of,
    snippets,
)
from tests.signals import Pcm


def masked(call: Call, audio: Pcm, rate: int, **options: Any) -> tuple[RecordAction, Pcm]:
    audio_options = RecordOptions(**{**NO_LIMITS, "mask_digits": True, **options})
    action = call.record(audio_options)
    for at in range(0, len(audio), rate // 50):
        call.feed(speak=audio[at : at + rate // 50], listen=audio[at : at + rate // 50])
    action.stop()
    return action, audio_of(action.join(10))


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("direction", ["speak", "listen"])
def test_tones_are_silence_from_onset_to_end(
    make_call: Callable[..., Call], rate: int, direction: str
) -> None:
    noise = signals.noise(0.7, -35, rate, seed=4)
    presses, _ = signals.presses("159D#0", 0.09, 0.13, rate)
    audio = np.concatenate([noise, presses, noise])
    _, recorded = masked(make_call(rate), audio, rate, direction=direction)
    tones = [(digit.start, digit.end) for digit in detect(audio, rate).digits]
    assert len(tones) == 6
    expected = audio.copy()
    for start, end in tones:
        expected[start:end] = 0
    assert np.array_equal(recorded, expected)
    assert not detect(recorded, rate).digits


def test_a_tone_that_is_cut_off_is_masked_too(call: Call) -> None:
    audio = np.concatenate([signals.noise(0.5, -35), signals.dtmf("5", 0.2)])
    action = call.record({**NO_LIMITS, "terminators": "", "mask_digits": True})
    call.feed(speak=audio)
    action.stop()
    recorded = audio_of(action.join(10))
    assert len(recorded) == len(audio)
    assert np.array_equal(recorded[:3990], audio[:3990])
    assert not recorded[4010:].any()


def test_a_tone_of_many_seconds_is_written_while_it_lasts(call: Call) -> None:
    """Nothing is held back until it ends, and none of it is in the staged file."""
    audio = np.concatenate([signals.noise(0.5, -35), signals.dtmf("5", 6)])
    action = call.record({**NO_LIMITS, "terminators": "", "mask_digits": True})
    call.feed(speak=audio[:4000])
    for at in range(4000, len(audio), 160):
        call.feed(speak=audio[at : at + 160])
    settle()
    (staged,) = call.directory.iterdir()
    assert staged.stat().st_size > 2 * 8000 * 5
    assert not snippets(audio[4100:]) & kept(call.directory)
    action.stop()
    assert path_of(action.join(10)).exists()


def test_digits_are_still_reported(call: Call) -> None:
    audio = np.concatenate([signals.noise(0.5, -35), signals.dtmf("#", 0.1), signals.silence(0.5)])
    action = call.record({**NO_LIMITS, "terminators": "#", "mask_digits": True})
    call.feed(speak=audio)
    event = action.join(10)
    assert (event.record["reason"], event.record["digit"]) == ("terminator", "#")


def test_tones_over_one_another_are_masked_to_the_end_of_the_last(call: Call) -> None:
    """Both are confirmed, and sound, when the first one ends."""
    audio = np.zeros(8000)
    for digit, start, seconds, level in (("5", 800, 0.25, -5.9), ("A", 1384, 0.282, -13.1)):
        tone = signals.dtmf(digit, seconds, level_dbm0=level)
        audio[start : start + len(tone)] += tone
    line = signals.to_int16(audio + signals.noise(1, -70))
    tones = detect(line, 8000).digits
    assert [tone.digit for tone in tones] == ["5", "A"]
    start, end = tones[0].start, tones[1].end
    assert tones[1].start < tones[0].end < end - 800
    _, recorded = masked(call, line, 8000)
    assert not recorded[start:end].any()
    assert np.array_equal(recorded[:start], line[:start])
    assert np.array_equal(recorded[end:], line[end:])
