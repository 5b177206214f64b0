# SPDX-License-Identifier: MIT
"""Staged files for tests: made, read, left over as by a crash."""

import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile

from recorder import Recovered, recover
from recorder.writing.staged import StagedFile
from recorder.writing.wav import HEADER_BYTES
from tests import signals
from tests.signals import Pcm
from tests.test_files import probe

Format = Literal["wav", "mp3"]
GIB = 1 << 30


def stereo_noise(duration: float, rate: int, seed: int = 1) -> Pcm:
    """Noise, then silence, so that LAME's frames are full and empty."""
    loud = [signals.noise(duration / 2, -20, rate, seed + leg) for leg in (0, 1)]
    audio = np.stack(loud, axis=1)
    return np.concatenate([audio, np.zeros_like(audio)])


def shaped(audio: Pcm, channels: int) -> Pcm:
    return audio if channels == 2 else audio[:, 0]


def blocks(audio: Pcm, rate: int, seed: int = 1) -> list[Pcm]:
    """Half seconds, and pieces of any size."""
    rng = np.random.default_rng(seed)
    sizes = [rate // 2] * 4 + [int(size) for size in rng.integers(1, rate // 2, 8)]
    return signals.cut(audio, sizes)[:-1]


def read(path: Path, channels: int) -> Pcm:
    audio, _ = soundfile.read(path, dtype="int16", always_2d=True)
    return shaped(np.asarray(audio), channels)


def start(
    path: Path, format_: Format = "wav", rate: int = 8000, channels: int = 1, mode: int = 0o600
) -> StagedFile:
    return StagedFile(path, format_, rate, channels, mode)


def check_long(path: Path, rate: int, first: Pcm, last: Pcm, before: int) -> None:
    """A file that starts with `first`, and has `last` behind so many samples."""
    frames = before + len(last)
    long = HEADER_BYTES + 4 * frames > 4 * GIB
    with soundfile.SoundFile(path) as found:
        assert (found.format, found.frames) == ("RF64" if long else "WAV", frames)
        assert (found.samplerate, found.channels) == (rate, 2)
        assert np.array_equal(found.read(len(first), dtype="int16"), first)
        found.seek(before)
        assert np.array_equal(found.read(dtype="int16"), last)
    if shutil.which("ffprobe"):
        found_by = probe(path)
        assert (found_by["codec_name"], found_by["channels"]) == ("pcm_s16le", 2)
        assert float(found_by["duration"]) == pytest.approx(frames / rate, abs=1e-3)


def left_over(
    folder: Path, audio: Pcm, format_: Format, rate: int = 8000, name: str = "a"
) -> tuple[Path, int]:
    """What a process that was killed leaves of a recording, and the samples it plays."""
    channels = audio.ndim
    folder.mkdir(exist_ok=True)
    file = StagedFile(folder / f"{name}.{format_}", format_, rate, channels)
    for block in signals.cut(audio, [rate // 2] * (2 * len(audio) // rate)):
        file.write(block)
    copy, samples = folder / "copy", file.samples
    shutil.copy(file.staged, copy)
    file.close()
    copy.replace(file.staged)
    return file.staged, samples


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def one(folder: Path) -> Recovered:
    (found,) = recover(folder)
    return found
