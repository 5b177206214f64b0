# SPDX-License-Identifier: MIT
"""The C core's voice is the reference's, frame for frame."""

import numpy as np
import pytest

from recorder import detect
from tests import signals
from tests.marks import mostly_slow
from tests.reference.voice import high_pass, voice
from tests.signals import RATES, Pcm


def agree(audio: Pcm, rate: int = 8000, sensitivity: float = 44.0) -> None:
    found = [(span.start, span.end) for span in detect(audio, rate, sensitivity).voice]
    assert found == voice(audio, rate, sensitivity)


@pytest.mark.parametrize("rate", RATES)
def test_levels(rate: int) -> None:
    audio = np.concatenate(
        [
            signals.noise(0.3, -30, rate),
            signals.tone(0.3, -50, rate, 90),
            signals.noise(0.2, -70, rate),
        ]
    )
    audio = signals.to_int16(audio.astype(float) + 5000)
    n = rate // 50
    filtered = high_pass(audio, rate)[: len(audio) // n * n].reshape(-1, n)
    expected = 10 * np.log10(np.mean(filtered**2, axis=1) / 32768**2)
    assert detect(audio, rate).levels == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("rate", mostly_slow([8000, 16000, 44100], 8000))
def test_a_line_of_everything(rate: int) -> None:
    """Quiet, noise that sets in, bursts over it, a tone, lost packets, zeros, noise again."""
    rng = np.random.default_rng(5)
    levels = [-70.0] * 20 + [-38.0] * 60 + [-70.0] * 12 + [-36.0] * 50
    parts = [signals.noise(0.1, level, rate, seed=i) for i, level in enumerate(levels)]
    audio = np.concatenate(
        [*parts, signals.silence(1.2, rate), signals.noise(4, -37, rate, seed=99)]
    )
    for at in rng.uniform(2.5, 12, 25):
        start, n = int(at * rate), int(rng.uniform(0.05, 0.4) * rate)
        audio[start : start + n] = signals.noise(1, -24, rate, seed=int(at * 1000))[:n]
    start = 9 * rate
    audio[start : start + rate // 2] = signals.tone(0.5, -33, rate, 800)
    for at in rng.uniform(0, 14, 20):
        audio[int(at * 50) * (rate // 50) :][: rate // 50] = 0
    agree(audio, rate)


@pytest.mark.parametrize("level", [-60, -46, -43, -40, -33])
def test_the_message_on_lines_of_all_levels(level: int) -> None:
    speech = np.concatenate([signals.speech(), signals.silence(5)]).astype(float)
    agree(signals.to_int16(speech + signals.noise(len(speech) / 8000, level)))


@pytest.mark.slow
@pytest.mark.parametrize("sensitivity", [20.0, 36.0, 44.0, 60.0])
def test_prompts(sensitivity: float) -> None:
    prompts = signals.prompts()[: 8000 * 20]
    if not len(prompts):
        pytest.skip("needs Debian's asterisk-core-sounds-en-gsm")
    noise = signals.noise(20, -48, seed=3)[: len(prompts)]
    agree(signals.to_int16(prompts.astype(float) + noise), sensitivity=sensitivity)
