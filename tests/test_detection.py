# SPDX-License-Identifier: MIT
"""Digits, voice and levels on one leg."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from recorder import Detector, OptionError, VoiceSpan, detect
from tests import signals
from tests.signals import KEYPAD, RATES, Pcm

# -- digits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [None, "pcmu", "pcma"])
@pytest.mark.parametrize("rate", RATES)
def test_all_digits_with_their_edges(rate: int, encoding: Literal["pcmu", "pcma"] | None) -> None:
    audio, truth = signals.presses(KEYPAD, 0.05, 0.05, rate)
    if encoding is not None:
        audio = signals.through_g711(audio, encoding)
    found = detect(audio, rate).digits
    assert "".join(digit.digit for digit in found) == KEYPAD
    for digit, (_, start, end) in zip(found, truth, strict=True):
        assert abs(digit.start - start) <= 0.001 * rate
        assert abs(digit.end - end) <= 0.001 * rate


@pytest.mark.parametrize(
    ("press", "accepted"),
    [
        ({"duration": 0.040}, True),
        ({"duration": 0.023}, False),
        ({"level_dbm0": -25.0}, True),
        ({"level_dbm0": -3.0}, True),
        ({"level_dbm0": -46.0}, False),
        ({"twist_db": 8.0}, True),
        ({"twist_db": -4.0}, True),
        ({"low_factor": 1.015, "high_factor": 1.015}, True),
        ({"low_factor": 0.985, "high_factor": 0.985}, True),
        ({"low_factor": 1.035}, False),
        ({"high_factor": 1.035}, False),
        ({"low_factor": 0.965}, False),
        ({"high_factor": 0.965}, False),
    ],
)
def test_what_q24_accepts_and_rejects(press: dict[str, Any], accepted: bool) -> None:
    for digit in KEYPAD:
        audio = np.concatenate(
            [signals.silence(0.06), signals.dtmf(digit, **{"duration": 0.05, **press})]
        )
        audio = np.concatenate([audio, signals.silence(0.1)])
        assert [d.digit for d in detect(audio, 8000).digits] == ([digit] if accepted else [])


def test_a_dropout_leaves_one_digit_and_a_pause_makes_two() -> None:
    press = signals.dtmf("8", 0.1)
    dropped = press.copy()
    dropped[360:440] = 0  # 10 ms
    gap = signals.silence(0.2)
    assert [d.digit for d in detect(np.concatenate([gap, dropped, gap]), 8000).digits] == ["8"]
    twice, _ = signals.presses("88", 0.05, 0.04)
    assert [d.digit for d in detect(np.concatenate([twice, gap]), 8000).digits] == ["8", "8"]


def test_a_digit_that_sounds_at_the_end_is_closed_there() -> None:
    audio = np.concatenate([signals.silence(0.1), signals.dtmf("4", 0.2)])
    (digit,) = detect(audio, 8000).digits
    assert digit.digit == "4"
    assert abs(digit.start - 800) <= 8
    assert 2300 <= digit.end <= 2400


@pytest.mark.parametrize("rate", [8000, 48000])
def test_noise_tones_and_speech_are_no_digits(rate: int) -> None:
    dial_tone = signals.tone(5, -13, rate, 350) + signals.tone(5, -13, rate, 440)
    for audio in (signals.noise(30, -20, rate), dial_tone):
        assert detect(audio, rate).digits == ()
    assert detect(signals.speech(), 8000).digits == ()


@pytest.mark.slow
def test_an_hour_of_prompts_holds_no_digit() -> None:
    prompts = signals.prompts()
    if len(prompts) < 3600 * 8000:
        pytest.skip("needs an hour of prompts: Debian's asterisk-core-sounds-{en,es,fr}-gsm")
    assert detect(prompts, 8000).digits == ()


# -- voice: the gate ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("sensitivity", [20.0, 44.0, 60.0])
def test_the_gate_is_at_minus_s_dbfs(rate: int, sensitivity: float) -> None:
    loud = signals.tone(0.5, -sensitivity + 0.3, rate)
    quiet = signals.tone(0.5, -sensitivity - 0.3, rate)
    assert detect(loud, rate, sensitivity).voice == (VoiceSpan(start=0, end=len(loud)),)
    assert detect(quiet, rate, sensitivity).voice == ()


def test_the_ends_of_the_sensitivity_scale() -> None:
    square = np.tile(np.repeat(np.array([32767, -32768], np.int16), 4), 1000)
    assert detect(square, 8000, 0).voice == ()
    faint = np.zeros(8000, np.int16)
    faint[::160] = 1  # one step in each frame
    faint[80::160] = -1
    assert detect(faint, 8000, 100).voice != ()
    assert detect(faint, 8000, 99).voice == ()
    assert detect(np.full(8000, 1234, np.int16), 8000, 100).voice == ()


def test_dc_and_hum_are_not_input() -> None:
    t = np.arange(16000) / 8000
    hum = signals.to_int16(9000 + 1000 * np.sin(2 * np.pi * 50 * t))
    levels = detect(hum, 8000).levels
    hum_alone = 20 * math.log10(1000 / math.sqrt(2) / 32768)
    # Butterworth at 120 Hz, second order: 15.3 dB down at 50 Hz.
    assert levels[10:].max() == pytest.approx(hum_alone - 15.3, abs=0.3)


@pytest.mark.parametrize(
    ("loud_frames", "voice"),
    [
        ([5], None),
        ([5, 6], None),
        ([5, 6, 7], (5, 8)),
        ([5, 7, 9], (5, 10)),
        ([5, 8, 10], None),
        ([5, 6, 7, 8, 30, 31], (5, 9)),
    ],
)
def test_three_frames_of_five_are_input(
    loud_frames: list[int], voice: tuple[int, int] | None
) -> None:
    audio = signals.silence(1.0)
    for frame in loud_frames:
        # Whole periods with a soft start: nothing of it reaches the next frame's level.
        audio[frame * 160 : (frame + 1) * 160] = signals.tone(0.02, -20, hz=500)
    expected = () if voice is None else (VoiceSpan(start=voice[0] * 160, end=voice[1] * 160),)
    assert detect(audio, 8000).voice == expected


def test_levels_of_a_known_tone() -> None:
    found = detect(np.concatenate([signals.tone(0.5, -20), signals.silence(0.5)]), 8000)
    assert found.levels.shape == (50,)
    assert found.levels[3:25] == pytest.approx(-20, abs=0.05)
    assert np.all(np.isneginf(found.levels[26:]))


def test_what_it_suggests_lies_between_noise_and_speech() -> None:
    speech = signals.speech()
    line = signals.noise(len(speech) / 8000, -55)
    found = detect(signals.to_int16(speech.astype(float) + line), 8000)
    assert found.noise_floor == pytest.approx(-55.5, abs=1.5)
    assert found.speech_level is not None
    assert -30 < found.speech_level < -18
    assert found.suggested_input_sensitivity is not None
    assert -found.speech_level + 6 < found.suggested_input_sensitivity < 52


def test_where_nothing_stands_out_it_suggests_nothing() -> None:
    for audio in (signals.noise(5, -40), signals.silence(1), signals.silence(0)):
        found = detect(audio, 8000)
        assert found.speech_level is None
        assert found.suggested_input_sensitivity is None
    assert detect(signals.silence(1), 8000).noise_floor is None


@pytest.mark.parametrize("zeros", [0.11, 0.6])
def test_digital_silence_is_the_quietest_noise(zeros: float) -> None:
    """As between the words of synthesised speech: the gate is to lie below it, not in it."""
    speech = signals.speech()
    found = detect(np.concatenate([speech, signals.silence(len(speech) / 8000 * 3 * zeros)]), 8000)
    assert found.noise_floor == -math.inf
    assert found.speech_level is not None
    assert found.suggested_input_sensitivity == round(24 - found.speech_level)


def test_the_levels_are_not_in_the_repr() -> None:
    assert repr(detect(signals.silence(1), 8000)) == "Detection(digits=(), voice=())"


# -- live -----------------------------------------------------------------------------------------


def material(rate: int) -> Pcm:
    digits, _ = signals.presses("19#D", 0.06, 0.09, rate)
    return np.concatenate(
        [
            signals.noise(0.4, -60, rate),
            signals.tone(0.33, -30, rate, 300),
            digits,
            signals.noise(0.5, -30, rate),
            signals.silence(0.3, rate),
            signals.dtmf("7", 0.2, rate),
        ]
    )


@pytest.mark.parametrize("rate", RATES)
@seed(20)
@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), max_size=40))
def test_live_is_the_whole_file_however_it_is_cut(rate: int, sizes: list[int]) -> None:
    audio = material(rate)
    whole = detect(audio, rate)
    detector = Detector(rate)
    edges = [
        edge for piece in signals.cut(audio, sizes) for edge in detector.process(piece)
    ] + list(detector.finish())
    digits = sorted((e.position, e.digit) for e in edges if e.kind == "digit_start")
    assert digits == [(d.start, d.digit) for d in whole.digits]
    assert sorted(e.position for e in edges if e.kind == "digit_end") == sorted(
        d.end for d in whole.digits
    )
    assert [e.position for e in edges if e.kind == "voice_start"] == [v.start for v in whole.voice]
    assert [e.position for e in edges if e.kind == "voice_end"] == [v.end for v in whole.voice]
    assert "".join(d.digit for d in whole.digits) == "19#D7"


def test_a_digit_is_reported_within_60_ms_of_its_onset() -> None:
    detector = Detector(8000)
    audio = np.concatenate([signals.silence(0.113), signals.dtmf("6", 0.3)])
    for at in range(0, len(audio), 80):
        starts = [e for e in detector.process(audio[at : at + 80]) if e.kind == "digit_start"]
        if starts:
            assert starts[0].digit == "6"
            assert at + 80 - 904 <= 0.060 * 8000 + 80
            return
    pytest.fail("the digit was not reported")


@pytest.mark.parametrize("encoding", ["pcmu", "pcma"])
def test_encodings_reach_the_detector(encoding: Literal["pcmu", "pcma"]) -> None:
    audio, _ = signals.presses("42", 0.06, 0.06)
    found = detect(signals.g711(audio, encoding), 8000, encoding=encoding)
    assert found.digits == detect(signals.through_g711(audio, encoding), 8000).digits
    assert [digit.digit for digit in found.digits] == ["4", "2"]


@pytest.mark.parametrize("rate", [0, -8000, 11025, 8000.5, "8000", None, True])
def test_other_rates_are_refused(rate: Any) -> None:
    with pytest.raises(
        OptionError,
        match=r"^sample_rate: expected one of 8000, 16000, 24000, 32000, 44100, 48000, got",
    ):
        detect(b"", rate)
    with pytest.raises(OptionError):
        Detector(rate)


@pytest.mark.parametrize("sensitivity", [-1, 101, math.nan, "44", None, True])
def test_other_sensitivities_are_refused(sensitivity: Any) -> None:
    with pytest.raises(
        OptionError, match=r"^input_sensitivity: expected a number from 0 to 100, got"
    ):
        detect(b"", 8000, sensitivity)
    with pytest.raises(OptionError):
        Detector(8000, sensitivity)


def test_the_sample_is_what_its_script_says(tmp_path: Path) -> None:
    audio, rate = soundfile.read(signals.VOICEMAIL, dtype="int16")
    found = detect(audio, rate)
    assert [digit.digit for digit in found.digits] == ["#"]
    assert len(found.voice) > 5
