# SPDX-License-Identifier: MIT
"""A staged file plays after every block, is published whole, and meets nobody."""

import errno
import os
import shutil
import struct
import wave
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile

from recorder import FileError
from recorder.writing import StagedFile
from recorder.writing.mp3 import info_frame, parse_info_frame, playable
from recorder.writing.staged import final_name, staged_name
from recorder.writing.wav import HEADER_BYTES, header, parse_header
from tests import signals
from tests.signals import RATES, Pcm
from tests.test_files import decoded, need, output_of, probe

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


def start(path: Path, format_: Format = "wav", rate: int = 8000, channels: int = 1) -> StagedFile:
    return StagedFile(path, format_, rate, channels)


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format_", "staged", "final"),
    [
        ("mine.wav", "wav", ".mine.part.wav", "mine.wav"),
        ("mine.MP3", "mp3", ".mine.part.MP3", "mine.MP3"),
        ("a.part.wav", "wav", ".a.part.part.wav", "a.part.wav"),
        ("a.part-1.wav", "wav", ".a.part-1.part.wav", "a.part-1.wav"),
        (".hidden.tar.wav", "wav", "..hidden.tar.part.wav", ".hidden.tar.wav"),
        ("line\nbreak.wav", "wav", ".line\nbreak.part.wav", "line\nbreak.wav"),
        ("mine", "wav", ".mine.part.wav", "mine.wav"),
        ("mine.raw", "mp3", ".mine.raw.part.mp3", "mine.raw.mp3"),
    ],
)
def test_names(name: str, format_: Format, staged: str, final: str) -> None:
    folder = Path("/somewhere")
    assert staged_name(folder / name, format_) == folder / staged
    assert final_name(folder / staged) == folder / final
    again = staged_name(folder / name, format_, 12)
    assert again.name == staged.replace(".part" + again.suffix, ".part-12" + again.suffix)
    assert final_name(again) == folder / final


@pytest.mark.parametrize("name", ["a.wav", ".a.wav", ".part.wav", "a.part.wav", ".a.part.flac"])
def test_other_names_are_not_staged(name: str) -> None:
    assert final_name(Path(name)) is None


@pytest.mark.parametrize("name", ["x" * 250 + ".wav", "a\0b.wav", "no/folder.wav"])
def test_a_name_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match="cannot record to"):
        start(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_can_be_published(tmp_path: Path) -> None:
    name = "x" * 245 + ".wav"  # staged: 255 bytes
    file = start(tmp_path / name)
    file.write(np.arange(100, dtype=np.int16))
    assert file.publish() == (tmp_path / name, 280)
    with pytest.raises(FileError, match="cannot record to"):
        start(tmp_path / ("y" + name))


# -- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_a_header(rate: int, channels: int) -> None:
    frames = 12345
    found = header(rate, channels, frames)
    data = frames * 2 * channels
    assert len(found) == HEADER_BYTES == 80
    assert found[:12] == b"RIFF" + struct.pack("<I", 72 + data) + b"WAVE"
    assert found[12:48] == b"JUNK" + struct.pack("<I", 28) + bytes(28)
    assert found[48:56] == b"fmt " + struct.pack("<I", 16)
    assert struct.unpack("<HHIIHH", found[56:72]) == (
        *(1, channels, rate),
        *(rate * 2 * channels, 2 * channels, 16),
    )
    assert found[72:] == b"data" + struct.pack("<I", data)
    assert parse_header(found) == (rate, channels)


def test_a_header_past_4_gib_is_of_the_same_size() -> None:
    last = (0xFFFFFFFF - 72) // 2  # the most samples that fit
    assert header(8000, 1, last)[:8] == b"RIFF" + struct.pack("<I", 72 + 2 * last)
    frames = last + 1
    found = header(8000, 1, frames)
    assert found[:20] == b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28)
    assert struct.unpack("<QQQI", found[20:48]) == (72 + 2 * frames, 2 * frames, frames, 0)
    assert found[48:76] == header(8000, 1, 0)[48:76]
    assert found[76:] == b"\xff\xff\xff\xff"
    assert parse_header(found) == (8000, 1)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_an_info_frame_tells_what_it_was_told(rate: int, channels: int) -> None:
    for frames, less in ((0, 0), (1, 0), (100, 0), (100, 77), (1_000_000, 1)):
        samples = max(0, playable(rate, frames) - less)
        found = info_frame(rate, channels, frames, 1234, samples)
        assert parse_info_frame(found + b"more") == (rate, channels, frames, samples)
        with pytest.raises(ValueError, match="Info"):  # a bit that fell over
            parse_info_frame(found[:60] + bytes([found[60] ^ 1]) + found[61:])


# -- while it is written -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_a_wav_plays_after_every_block(tmp_path: Path, rate: int, channels: int) -> None:
    audio = shaped(stereo_noise(5, rate), channels)
    file = start(tmp_path / "a.wav", "wav", rate, channels)
    assert len(read(file.staged, channels)) == 0
    written = 0
    for block in blocks(audio, rate):
        file.write(block)
        written += len(block)
        assert file.samples == written
        assert np.array_equal(read(file.staged, channels), audio[:written])
        with wave.open(str(file.staged)) as found:
            assert found.getnframes() == written
            assert found.readframes(written) == audio[:written].tobytes()
        assert file.size == file.staged.stat().st_size == 80 + written * 2 * channels
    path, size = file.publish()
    assert (path, size) == (tmp_path / "a.wav", 80 + written * 2 * channels)
    assert np.array_equal(read(path, channels), audio[:written])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_an_mp3_plays_after_every_block(tmp_path: Path, rate: int, channels: int) -> None:
    """What it plays is what the complete file plays there, and a third of a second is missing."""
    audio = shaped(stereo_noise(8, rate), channels)
    file = start(tmp_path / "a.mp3", "mp3", rate, channels)
    given, copies = 0, []
    for number, block in enumerate(blocks(audio, rate)):
        file.write(block)
        given += len(block)
        assert 0 <= given - file.samples < rate / 3 or given < rate / 2
        assert file.size == file.staged.stat().st_size
        copy = tmp_path / f"{number}.mp3"
        shutil.copy(file.staged, copy)
        copies.append((copy, file.samples))
    path, _ = file.publish()
    assert file.samples == given
    whole = read(path, channels)
    assert len(whole) == given
    for copy, samples in copies:
        assert np.array_equal(read(copy, channels), whole[:samples])


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_what_is_written_plays_in_ffmpeg_and_sox(tmp_path: Path, format_: Format) -> None:
    need("ffmpeg", "ffprobe", "sox")
    audio = stereo_noise(5, 8000)
    file = start(tmp_path / "a.wav", format_, 8000, 2)
    copies = []
    for number, block in enumerate(blocks(audio, 8000)):
        file.write(block)
        copy = tmp_path / f"{number}.{format_}"
        shutil.copy(file.staged, copy)
        copies.append((copy, file.samples))
    whole = decoded(file.publish()[0], 2)
    for copy, samples in copies:
        assert np.array_equal(decoded(copy, 2), whole[:samples])
        if format_ == "wav":
            assert int(output_of("sox", "--i", "-s", copy)) == samples
            heard = output_of("sox", copy, "-t", "raw", "-")
            assert heard == audio[:samples].tobytes()
        else:  # ffprobe adds frames up: the two delays, the rest of the last, and the Info frame
            told = float(probe(copy)["duration"])
            assert samples / 8000 <= told < samples / 8000 + 4 * 576 / 8000


@pytest.mark.parametrize("rate", RATES)
def test_ffmpeg_seeks_in_an_mp3(tmp_path: Path, rate: int) -> None:
    """In the complete one and in one that was cut off: what it lands on is what is there."""
    need("ffmpeg")
    audio = signals.noise(30, -20, rate)
    samples_per_frame = 1152 if rate >= 32000 else 576
    file = start(tmp_path / "a.mp3", "mp3", rate)
    for block in signals.cut(audio, [rate // 2] * 59):
        file.write(block)
    cut = tmp_path / "cut.mp3"
    shutil.copy(file.staged, cut)
    path, _ = file.publish()
    whole = decoded(path, 1)
    for copy in (path, cut):
        for second in (1, 7.5, 20, 28):
            command = ["ffmpeg", "-v", "error", "-ss", str(second), "-i", str(copy)]
            raw = output_of(*command, "-t", "0.5", "-f", "s16le", "-")
            found = np.frombuffer(raw, "<i2").astype(float)
            # The decoder starts without what is before: skip its first frames.
            probe_ = found[rate // 5 : rate // 5 + rate // 10]
            expected = round(second * rate) + rate // 5
            around = whole[expected - rate // 5 : expected + 2 * rate // 5].astype(float)
            lag = int(np.argmax(np.correlate(around, probe_, "valid"))) - rate // 5
            assert abs(lag) <= samples_per_frame, (rate, second, lag)


def test_a_wav_that_passes_4_gib_becomes_an_rf64(tmp_path: Path) -> None:
    """By its real size: the file is sparse up to there."""
    rate = 48000
    audio = stereo_noise(4, rate)
    file = start(tmp_path / "long.wav", "wav", rate, 2)
    file.write(audio[:rate])
    before = GIB - rate  # at 4 bytes each
    os.truncate(file.staged, HEADER_BYTES + 4 * before)
    file._encoder.samples = before
    file.write(audio[:100])
    check_long(file.staged, rate, audio[:rate], audio[:100], before)
    file.write(audio)
    check_long(file.staged, rate, audio[:rate], audio, before + 100)
    path, size = file.publish()
    assert size == path.stat().st_size == HEADER_BYTES + 4 * (before + 100 + len(audio)) > 4 * GIB
    check_long(path, rate, audio[:rate], audio, before + 100)


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
        told = probe(path)
        assert (told["codec_name"], told["channels"]) == ("pcm_s16le", 2)
        assert float(told["duration"]) == pytest.approx(frames / rate, abs=1e-3)


# -- locks and left-overs ------------------------------------------------------------------------


def test_a_file_that_is_being_recorded_is_not_recorded_twice(tmp_path: Path) -> None:
    file = start(tmp_path / "a.wav")
    with pytest.raises(FileError, match="recorded already"):
        start(tmp_path / "a.wav")
    file.close()


def test_what_a_crash_left_blocks_nothing_and_stays(tmp_path: Path) -> None:
    left = tmp_path / ".a.part.wav"
    left.write_bytes(b"left over")
    for number in (1, 2):
        file = start(tmp_path / "a.wav")
        assert file.staged == tmp_path / f".a.part-{number}.wav"
        with pytest.raises(FileError, match="recorded already"):
            start(tmp_path / "a.wav")
        file.write(np.arange(100, dtype=np.int16))
        file.close()
    assert left.read_bytes() == b"left over"
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        ".a.part-1.wav",
        ".a.part-2.wav",
        ".a.part.wav",
    ]


@pytest.mark.parametrize("how", ["publish", "close"])
def test_nothing_is_left_open_or_held(tmp_path: Path, how: str) -> None:
    fcntl = pytest.importorskip("fcntl")
    file = start(tmp_path / "a.wav")
    duplicate = os.dup(file._file.fileno())  # as a process that was forked has it
    file.write(np.arange(100, dtype=np.int16))
    getattr(file, how)()
    assert file._file.closed
    path = tmp_path / ("a.wav" if how == "publish" else ".a.part.wav")
    with path.open("rb") as found:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(duplicate)


def test_a_file_system_without_locks_records_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("recorder.writing.staged.lock", refuse)
    file = start(tmp_path / "a.wav")
    with pytest.raises(FileError, match="cannot record"):
        start(tmp_path / "a.wav")
    assert file.publish()[0] == tmp_path / "a.wav"


# -- failures ------------------------------------------------------------------------------------


class Failing:
    """os.fsync that fails a number of times, and what it was called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail: set[int]) -> None:
        self.calls: list[bool] = []  # whether it was a folder's
        self._fail = fail
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        import stat

        self.calls.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        if len(self.calls) in self._fail:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._fsync(descriptor)


@pytest.mark.parametrize("format_", ["wav", "mp3"])
@pytest.mark.parametrize("fail", [1, 2])
def test_a_disk_that_fails_while_it_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: Format, fail: int
) -> None:
    """First the file's, then the folder's; publish says so, and may be called again."""
    target = tmp_path / f"a.{format_}"
    file = start(target, format_)
    file.write(signals.noise(2, -20))
    syncs = Failing(monkeypatch, {fail})
    with pytest.raises(OSError, match="Input/output error") as caught:
        file.publish()
    assert caught.value.errno == errno.EIO
    assert syncs.calls == [False, True][:fail]
    assert file.staged == (target if fail == 2 else tmp_path / f".a.part.{format_}")
    assert file.publish() == (target, target.stat().st_size)
    assert syncs.calls == ([False, False, True] if fail == 1 else [False, True, True])
    assert [item.name for item in tmp_path.iterdir()] == [target.name]
    assert len(read(target, 1)) == 16000


def test_a_disk_that_never_syncs_leaves_the_file_where_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, failing in (("file.wav", {1, 2}), ("folder.wav", {2, 3})):
        file = start(tmp_path / name)
        file.write(signals.noise(1, -20))
        with monkeypatch.context() as patch:
            Failing(patch, failing)
            for _ in range(2):
                with pytest.raises(OSError, match="Input/output"):
                    file.publish()
        assert file.close() == file.size == 80 + 16000 == file.staged.stat().st_size
        assert file._file.closed


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_full_disk_leaves_whole_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: Format
) -> None:
    """A write that is cut short in the middle of a block, at an odd byte."""
    resource = pytest.importorskip("resource")
    import signal

    audio = signals.noise(4, -20)
    file = start(tmp_path / f"a.{format_}", format_)
    file.write(audio[:16000])
    samples, size = file.samples, file.size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 301, limits[1]))
    try:
        with pytest.raises(OSError, match="large") as caught:
            file.write(audio[16000:])
        assert caught.value.errno == errno.EFBIG
        assert (file.samples, file.size) == (samples, size)
        assert len(read(file.staged, 1)) >= samples  # it plays, whatever is behind
        if format_ == "mp3":
            with pytest.raises(OSError, match="large"):
                file.publish()
        path, published = file.publish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert published == path.stat().st_size == size
    kept = read(path, 1)
    assert len(kept) == file.samples == samples
    if format_ == "wav":
        assert np.array_equal(kept, audio[:samples])


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_folder_that_vanishes(tmp_path: Path, format_: Format) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    file = start(folder / "a.wav", format_)
    file.write(signals.noise(1, -20))
    shutil.rmtree(folder)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            file.publish()
    assert file.close() == file.size == 0
    assert file._file.closed
