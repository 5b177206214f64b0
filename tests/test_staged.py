# SPDX-License-Identifier: MIT
"""A staged file is published whole, replaces nothing, and follows nothing."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import FileError
from recorder.writing.staged import final_name, staged_name
from tests import signals
from tests.staging import Format, read, start

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
