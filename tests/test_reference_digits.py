# SPDX-License-Identifier: MIT
"""The C core's digits are the reference's, position for position."""

from collections.abc import Iterable

import numpy as np
import pytest
import soundfile

from recorder import detect
from tests import signals
from tests.marks import mostly_slow
from tests.reference.digits import digits
from tests.signals import KEYPAD, RATES, Pcm

# An edge is where an envelope crosses half. Float32 in the core puts it off by far less than a
# sample, so that a position can at most be rounded the other way.
TOLERANCE = 1

# Mean square of two tones at -10 dBm0 each, full scale being 3.14 dBm0 of one sine.
PRESS_DBFS = -10 - 3.14


def agree(audio: Pcm, rate: int = 8000) -> str:
    """Both find the same digits in the same places; returns which."""
    found = [(digit.digit, digit.start, digit.end) for digit in detect(audio, rate).digits]
    expected = digits(audio, rate)
    assert [digit for digit, _, _ in found] == [digit for digit, _, _ in expected]
    for (_, *core), (_, *reference) in zip(found, expected, strict=True):
        assert core == pytest.approx(reference, abs=TOLERANCE)
    return "".join(digit for digit, _, _ in found)


def between(parts: Iterable[Pcm], off: float, rate: int = 8000) -> Pcm:
    """The parts with silence about them."""
    pause = signals.silence(off, rate)
    return np.concatenate([pause, *(piece for part in parts for piece in (part, pause))])


def mixed(a: Pcm, b: Pcm) -> Pcm:
    n = min(len(a), len(b))
    return signals.to_int16(a[:n].astype(float) + b[:n])


@pytest.mark.parametrize("on", [0.04, 0.05, 0.08])
@pytest.mark.parametrize("rate", RATES)
def test_all_digits(rate: int, on: float) -> None:
    """At every place relative to the blocks, too: the pauses make no whole number of them."""
    audio, _ = signals.presses(KEYPAD, on, 0.0617, rate)
    assert agree(audio, rate) == KEYPAD


@pytest.mark.parametrize("snr", mostly_slow([20, 10], 10))
@pytest.mark.parametrize("rate", RATES)
def test_noise(rate: int, snr: int) -> None:
    audio, _ = signals.presses(KEYPAD * 3, 0.05, 0.05, rate)
    noise = signals.noise(len(audio) / rate + 0.1, PRESS_DBFS - snr, rate, seed=rate + snr)
    assert agree(mixed(audio, noise), rate) == KEYPAD * 3


@pytest.mark.parametrize("snr", mostly_slow([2, 1, 0], 2))
def test_noise_in_which_some_are_lost(snr: int) -> None:
    """Decisions near their limits, many of them."""
    audio, _ = signals.presses(KEYPAD * 8, 0.06, 0.06)
    noise = signals.noise(len(audio) / 8000 + 0.1, PRESS_DBFS - snr, seed=3)
    assert 0 < len(agree(mixed(audio, noise))) < len(KEYPAD) * 8


@pytest.mark.parametrize("rate", RATES)
def test_durations(rate: int) -> None:
    """Half a millisecond apart, from too short for any to long enough for all."""
    lengths = np.arange(0.0232, 0.0452, 0.0005)
    audio = between((signals.dtmf("5", length, rate) for length in lengths), 0.09, rate)
    assert 0 < len(agree(audio, rate)) < len(lengths)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_twist(rate: int) -> None:
    twists = np.arange(-8.75, 13.0, 0.5)
    audio = between((signals.dtmf("9", 0.06, rate, twist_db=twist) for twist in twists), 0.07, rate)
    assert 0 < len(agree(audio, rate)) < len(twists)


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("digit", ["1", "D"])
def test_frequency_offsets(rate: int, digit: str) -> None:
    offsets = np.arange(-0.0365, 0.037, 0.001)  # the limits, 2.0 and 1.9 %, are between two
    low = [signals.dtmf(digit, 0.06, rate, low_factor=1 + offset) for offset in offsets]
    high = [signals.dtmf(digit, 0.06, rate, high_factor=1 + offset) for offset in offsets]
    assert 0 < len(agree(between(low, 0.07, rate), rate)) < len(offsets)
    assert 0 < len(agree(between(high, 0.07, rate), rate)) < len(offsets)


def test_levels() -> None:
    loudness = np.arange(-48.3, 0.0, 1.0)
    audio = between((signals.dtmf("#", 0.06, level_dbm0=level) for level in loudness), 0.07)
    assert 0 < len(agree(audio)) < len(loudness)


@pytest.mark.parametrize("rate", [8000, 48000])
def test_dropouts(rate: int) -> None:
    """One to 44 ms out of 120, early and late: still one press, or two."""
    presses = []
    for milliseconds in range(1, 45):
        press = signals.dtmf("7", 0.12, rate)
        start = rate * (23 + milliseconds % 3 * 17) // 1000
        press[start : start + rate * milliseconds // 1000] = 0
        presses.append(press)
    assert len(agree(between(presses, 0.07, rate), rate)) > len(presses)


def test_pauses_between_presses_of_one_digit() -> None:
    presses = [signals.dtmf("0", 0.06)]
    for milliseconds in range(20, 45):
        presses += [signals.silence(milliseconds / 1000), signals.dtmf("0", 0.06)]
    assert 0 < len(agree(np.concatenate([*presses, signals.silence(0.1)]))) < 26


@pytest.mark.slow
def test_one_press_after_another() -> None:
    """All lengths, levels and pauses: a tracker may outlast the press that it was made for."""
    rng = np.random.default_rng(11)
    for rate in RATES:
        parts = []
        for digit in rng.permutation(list(KEYPAD * 10)):
            press = signals.dtmf(
                digit,
                rng.uniform(0.025, 0.12),
                rate,
                level_dbm0=rng.uniform(-44, -4),
                low_factor=1 + rng.normal(0, 0.01),
                high_factor=1 + rng.normal(0, 0.01),
                twist_db=rng.uniform(-7, 7),
            )
            parts += [press, signals.silence(rng.uniform(0.02, 0.1), rate)]
        assert 0 < len(agree(np.concatenate(parts), rate)) < 160


def test_digits_over_one_another() -> None:
    """More of them at a time than there are trackers."""
    lines = []
    for i, digit in enumerate("159D3"):
        press = signals.dtmf(digit, 0.055, level_dbm0=-8.0 - 3 * i)
        lines.append(between([press] * 40, 0.043 + 0.004 * i)[:30000])
    assert agree(signals.to_int16(np.sum(lines, axis=0, dtype=float)))


@pytest.mark.parametrize("rate", RATES)
def test_ends_of_the_leg(rate: int) -> None:
    """Tones from the first sample on, and legs cut off anywhere in one."""
    assert agree(signals.dtmf("4", 0.06, rate), rate) == "4"
    audio, _ = signals.presses("8", 0.06, 0.05, rate)
    for end in np.linspace(0.08, 0.15, 12):
        agree(audio[: int(end * rate)], rate)
    assert agree(audio[:0], rate) == ""


def test_a_message() -> None:
    """The sample message: voice, and the digit that ends it."""
    audio, rate = soundfile.read(signals.VOICEMAIL, dtype="int16")
    assert agree(audio, rate) == "#"


def test_speech_over_presses() -> None:
    speech = signals.speech()
    for level in (-22, -16, -10):
        audio, _ = signals.presses(KEYPAD * 4, 0.07, 0.06, level_dbm0=level)
        assert agree(mixed(speech, audio))


def two_minutes_of_prompts() -> Pcm:
    """The first of signals.prompts(), without reading the two hours after them."""
    parts = [signals.silence(0)]
    for file in sorted(signals.PROMPTS.rglob("*.gsm")):
        if sum(map(len, parts)) >= 8000 * 120:
            break
        audio, _ = soundfile.read(
            str(file), dtype="int16", format="RAW", subtype="GSM610", samplerate=8000, channels=1
        )
        parts.append(audio)
    return np.concatenate(parts)[: 8000 * 120]


@pytest.mark.slow
def test_prompts() -> None:
    """As they are, then with presses all over them."""
    prompts = two_minutes_of_prompts()
    if not len(prompts):
        pytest.skip("needs Debian's asterisk-core-sounds-en-gsm")
    agree(prompts)
    audio, _ = signals.presses(KEYPAD * 60, 0.06, 0.06, level_dbm0=-18)
    assert agree(mixed(prompts, audio))
