# SPDX-License-Identifier: MIT
"""`detect` on the path of a file."""

import logging
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import FileDetection, FileError, OptionError, detect
from tests import signals
from tests.command import read, write
from tests.signals import VOICEMAIL


@pytest.mark.parametrize("kind", [str, Path])
def test_a_mono_file_is_the_speak_leg(kind: type) -> None:
    found = detect(kind(VOICEMAIL))
    audio = read(VOICEMAIL)
    whole = detect(audio, 8000)
    assert isinstance(found, FileDetection)
    assert found.listen is None
    assert list(found.legs) == ["speak"]
    assert (found.sample_rate, found.duration) == (8000, len(audio) / 8000)
    for leg in (found, found.speak):
        assert (leg.digits, leg.voice) == (whole.digits, whole.voice)
        assert np.array_equal(leg.levels, whole.levels)


def test_both_legs_of_a_stereo_file(tmp_path: Path) -> None:
    """Longer than the blocks that it is read in: levels, digits and voice are as of the whole."""
    rng = np.random.default_rng(7)
    legs = []
    for number in range(2):
        presses, _ = signals.presses("".join(rng.choice(list("0123456789*#"), 90)), 0.06, 0.09)
        legs.append(presses + signals.noise(len(presses) / 8000, -52, seed=number))
    path = write(tmp_path / "a.wav", np.stack(legs, axis=1))
    assert len(legs[0]) > 12 * 8000
    found = detect(path)
    assert found.listen is not None
    for leg, audio in zip((found.speak, found.listen), legs, strict=True):
        whole = detect(audio, 8000)
        assert len(leg.digits) == 90
        assert (leg.digits, leg.voice) == (whole.digits, whole.voice)
        assert np.array_equal(leg.levels, whole.levels)


@pytest.mark.parametrize("rate", [11025, 22050, 44100, 96000])
def test_other_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    tone = signals.dtmf("5", 0.1, rate)
    write(
        tmp_path / "a.wav",
        np.concatenate([signals.silence(0.5, rate), tone, signals.silence(0.5, rate)]),
        rate,
    )
    found = detect(tmp_path / "a.wav")
    assert found.sample_rate == {11025: 16000, 22050: 24000}.get(rate, min(rate, 48000))
    (digit,) = found.digits
    assert digit.digit == "5"
    assert digit.start / found.sample_rate == pytest.approx(0.5, abs=0.001)
    assert digit.end / found.sample_rate == pytest.approx(0.6, abs=0.001)
    assert found.duration == pytest.approx(1.1, abs=0.0002)


def test_raw_audio(tmp_path: Path) -> None:
    audio, _ = signals.presses("42", 0.06, 0.06)
    (tmp_path / "a.raw").write_bytes(signals.g711(audio, "pcmu"))
    (tmp_path / "a.ulaw").write_bytes(signals.g711(audio, "pcmu"))
    expected = detect(signals.g711(audio, "pcmu"), 8000, encoding="pcmu")
    assert detect(tmp_path / "a.raw", 8000, encoding="pcmu").digits == expected.digits
    assert detect(tmp_path / "a.ulaw", 8000).digits == expected.digits
    (tmp_path / "a.raw").write_bytes(audio.tobytes())
    assert detect(tmp_path / "a.raw", 8000).digits == detect(audio, 8000).digits


def test_channels(tmp_path: Path) -> None:
    audio = np.stack([signals.dtmf(digit, 0.1) for digit in "1234"], axis=1)
    path = write(tmp_path / "a.wav", audio)
    found = detect(path, channels=(4, 2))
    assert found.listen is not None
    assert found.digits[0].digit + found.listen.digits[0].digit == "42"
    assert detect(path, channels=[3]).digits[0].digit == "3"


def test_the_sensitivity_reaches_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", signals.tone(1, -50))
    assert not detect(path).voice
    assert detect(path, input_sensitivity=60).voice


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"pcm": "nothing.wav"}, FileError, "cannot read nothing.wav: No such file"),
        ({"pcm": "."}, FileError, "cannot read ."),
        ({"pcm": "text.txt"}, FileError, "it is no audio that libsndfile reads"),
        ({"pcm": "a\0.wav"}, FileError, "null"),
        ({"pcm": "x.raw"}, OptionError, "sample_rate=8000"),
        ({"pcm": "x.raw", "sample_rate": 8000.5}, OptionError, "sample_rate: expected a whole"),
        ({"pcm": "x.raw", "sample_rate": 8000, "encoding": "mp3"}, OptionError, "encoding: "),
        ({"pcm": "a.wav", "sample_rate": 8000}, OptionError, "a.wav has a header"),
        ({"pcm": "a.wav", "encoding": "pcmu"}, OptionError, "sample_rate=8000"),
        ({"pcm": "a.wav", "channels": (2,)}, OptionError, "out of 1 to 1"),
        ({"pcm": "a.wav", "channels": ("1",)}, OptionError, "got 1"),
        ({"pcm": "a.wav", "input_sensitivity": 101}, OptionError, "input_sensitivity"),
        ({"pcm": bytes(8), "sample_rate": 8000, "channels": (1,)}, OptionError, "channels"),
        ({"pcm": bytes(8), "sample_rate": 8000, "encoding": "gsm"}, OptionError, "encoding"),
        ({"pcm": bytes(8)}, OptionError, "sample_rate"),
    ],
)
def test_what_it_refuses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: type[Exception],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("a.wav"), signals.silence(0.1))
    Path("x.raw").write_bytes(bytes(800))
    Path("text.txt").write_text("hello")
    with pytest.raises(error) as raised:
        detect(**arguments)
    assert says in str(raised.value)


def test_a_cut_file_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.wav", signals.silence(2))
    os.truncate(path, 44 + 16000)
    with caplog.at_level(logging.WARNING, logger="recorder"):
        assert detect(path).duration == 1
    (record,) = caplog.records
    assert record.getMessage().endswith("its header promises 2.00 s, and 1.00 s can be read")


def peak(path: Path) -> int:
    """Bytes that Python and numpy held at most."""
    tracemalloc.start()
    try:
        detect(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """But for what was found, and a level of 4 bytes for each 20 ms."""
    minute = np.stack([signals.noise(60, -30)] * 2, axis=1)
    short = write(tmp_path / "short.wav", minute)
    long = write(tmp_path / "long.wav", np.concatenate([minute] * 10))
    detect(short)  # imports
    grown = peak(long) - peak(short)
    assert grown < 9 * 60 * 50 * 4 * 2 * 2.5  # levels of both legs, and their copy
