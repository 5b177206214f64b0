# SPDX-License-Identifier: MIT
"""What a crash left of a file is completed, wherever it was cut off."""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from recorder import Recovered
from recorder.writing.mp3 import info_frame
from recorder.writing.staged import StagedFile
from recorder.writing.wav import HEADER_BYTES, header
from tests import signals
from tests.marks import mostly_slow
from tests.signals import RATES, Pcm
from tests.staging import (
    GIB,
    Format,
    check_long,
    left_over,
    names,
    one,
    read,
    shaped,
    stereo_noise,
)
from tests.test_files import decoded

# -- cut off anywhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_cut_anywhere_has_all_its_whole_samples(tmp_path: Path, channels: int) -> None:
    audio = shaped(stereo_noise(2, 8000), channels)
    staged, _ = left_over(tmp_path, audio, "wav")
    content = staged.read_bytes()
    rng = np.random.default_rng(channels)
    cuts = [*range(80, 96), *map(int, rng.integers(96, len(content), 40)), len(content)]
    for size in cuts:
        staged.write_bytes(content[:size])
        frames = (size - 80) // (2 * channels)
        found = one(tmp_path)
        if frames == 0:
            assert found == Recovered(staged=staged, outcome="empty")
            assert names(tmp_path) == []
            continue
        path = tmp_path / "a.wav"
        assert found == Recovered(
            staged=staged,
            outcome="recovered",
            path=path,
            duration=frames / 8000,
            size=80 + frames * 2 * channels,
        )
        assert names(tmp_path) == ["a.wav"]
        assert path.read_bytes()[:80] == header(8000, channels, frames)
        assert path.stat().st_size == found.size
        assert np.array_equal(read(path, channels), audio[:frames])
        path.unlink()


@pytest.mark.parametrize("channels", mostly_slow([1, 2], 2))
@pytest.mark.parametrize("rate", mostly_slow(RATES, 8000))
def test_an_mp3_cut_anywhere_plays_a_prefix(tmp_path: Path, rate: int, channels: int) -> None:
    audio = shaped(stereo_noise(4, rate), channels)
    whole_file = StagedFile(tmp_path / "whole.mp3", "mp3", rate, channels)
    whole_file.write(audio)
    whole = read(whole_file.publish()[0], channels)
    folder = tmp_path / "left"
    staged, written = left_over(folder, audio, "mp3", rate)
    content = staged.read_bytes()
    first = len(info_frame(rate, channels, 0, 0, 0))
    rng = np.random.default_rng(rate)
    lengths = {}
    for size in [*map(int, rng.integers(first, len(content), 15)), len(content) - 1, len(content)]:
        staged.write_bytes(content[:size])
        found = one(folder)
        path = folder / "a.mp3"
        if found.outcome == "empty":  # cut within the encoder's delay
            assert size < 6 * first
            continue
        assert (found.path, found.size) == (path, path.stat().st_size)
        assert size - 1500 < found.size <= size  # at most a frame is cut off
        kept = read(path, channels)
        assert found.duration == len(kept) / rate
        assert np.array_equal(kept, whole[: len(kept)])
        if shutil.which("ffmpeg") and len(kept) > rate // 10:  # of one frame it makes nothing
            assert len(decoded(path, channels)) == len(kept)
        lengths[size] = len(kept)
        path.unlink()
    assert sorted(lengths.values()) == [lengths[size] for size in sorted(lengths)]
    assert lengths[len(content)] == written


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_file_that_was_killed_at_once_is_removed(tmp_path: Path, format_: Format) -> None:
    start = header(48000, 2, 0) if format_ == "wav" else info_frame(48000, 2, 0, 0, 0)
    staged = tmp_path / f".a.part.{format_}"
    for size in (0, 1, 3, 4, 50, 79, len(start) - 1, len(start)):
        staged.write_bytes(start[:size])
        assert one(tmp_path) == Recovered(staged=staged, outcome="empty")
        assert names(tmp_path) == []


def test_zeros_at_the_end_are_no_mp3(tmp_path: Path) -> None:
    """After a power cut a file may be longer than what came to the disk."""
    staged, samples = left_over(tmp_path, signals.noise(3, -20), "mp3")
    size = staged.stat().st_size
    os.truncate(staged, size + 5000)
    found = one(tmp_path)
    assert (found.outcome, found.size, found.duration) == ("recovered", size, samples / 8000)


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_complete_file_is_published_as_it_is(tmp_path: Path, format_: Format) -> None:
    """Killed just before it got its name: an MP3 keeps its exact length."""
    audio = signals.noise(1.2345, -20)
    file = StagedFile(tmp_path / f"a.{format_}", format_, 8000, 1)
    file.write(audio)
    file.close()
    content = file.staged.read_bytes()
    found = one(tmp_path)
    assert (found.outcome, found.duration) == ("recovered", len(audio) / 8000)
    assert found.path == tmp_path / f"a.{format_}"
    assert found.path.read_bytes() == content
    assert len(read(found.path, 1)) == len(audio)


def test_a_wav_past_4_gib(tmp_path: Path) -> None:
    """By its real size: the file is sparse up to there."""
    audio = stereo_noise(1, 48000)
    staged, _ = left_over(tmp_path, audio, "wav", 48000)
    os.truncate(staged, HEADER_BYTES + 5 * GIB)
    with staged.open("ab") as file:
        file.write(audio[:100].tobytes() + b"\1")
    frames = 5 * GIB // 4 + 100
    found = one(tmp_path)
    assert found.path is not None
    assert (found.duration, found.size) == (frames / 48000, HEADER_BYTES + 4 * frames)
    written = read_start(found.path, len(audio))
    check_long(found.path, 48000, written, audio[:100], 5 * GIB // 4)
    assert np.array_equal(written[: len(audio) // 2], audio[: len(audio) // 2])


def read_start(path: Path, n: int) -> Pcm:
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        return np.frombuffer(file.read(4 * n), np.int16).reshape(-1, 2)


def test_an_mp3_with_a_hole_of_16_gib_is_not_read_to_its_end(tmp_path: Path) -> None:
    staged, samples = left_over(tmp_path, signals.noise(3, -20), "mp3")
    size = staged.stat().st_size
    os.truncate(staged, 16 * GIB)
    before = time.process_time()
    found = one(tmp_path)
    assert time.process_time() - before < 2
    assert (found.outcome, found.size, found.duration) == ("recovered", size, samples / 8000)


def test_of_zeros_without_end_a_bounded_part_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system that does not report holes: the file is left as it is."""
    monkeypatch.setattr("recorder.writing.disk._SEEK_DATA", None)
    staged, _ = left_over(tmp_path, signals.noise(3, -20), "mp3")
    os.truncate(staged, 16 * GIB)
    before = time.process_time()
    found = one(tmp_path)
    assert time.process_time() - before < 2
    assert (found.outcome, found.size) == ("unreadable", 16 * GIB)
    assert "expected at most" in found.reason
    assert staged.stat().st_size == 16 * GIB


@pytest.mark.parametrize("after", [1 << 16, 8 << 20])
def test_sound_behind_a_hole_is_not_cut_off(tmp_path: Path, after: int) -> None:
    staged, _ = left_over(tmp_path, signals.noise(3, -20), "mp3")
    with staged.open("ab") as file:
        file.seek(after, os.SEEK_END)
        file.write(b"something")
    size = staged.stat().st_size
    assert (one(tmp_path).outcome, staged.stat().st_size) == ("unreadable", size)
