# SPDX-License-Identifier: MIT
"""Permissions, and what somebody else put where a recording is to go."""

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from recorder import Call, FileError
from recorder.writing.disk import free_number, give_name, make_folder
from tests.recordings import NO_LIMITS, path_of, result_of
from tests.staging import Format, read, start

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
AUDIO = np.arange(100, dtype=np.int16)


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- permissions ---------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("format_", ["wav", "mp3"])
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_files_have_exactly_their_mode(tmp_path: Path, format_: Format, mask: int) -> None:
    with umask(mask):
        usual = start(tmp_path / f"usual.{format_}", format_)
        shared = start(tmp_path / f"shared.{format_}", format_, mode=0o664)
        assert (mode_of(usual.staged), mode_of(shared.staged)) == (0o600, 0o664)
        for file in (usual, shared):
            file.write(AUDIO)
        assert mode_of(usual.publish()[0]) == 0o600
        assert mode_of(shared.publish()[0]) == 0o664


@posix
@pytest.mark.parametrize(
    ("mode", "folder_mode"), [(0o600, 0o700), (0o640, 0o750), (0o664, 0o775), (0o400, 0o700)]
)
@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_folders_are_made_for_whom_the_files_are(
    tmp_path: Path, mode: int, folder_mode: int, mask: int
) -> None:
    existing = tmp_path / "existing"
    existing.mkdir()
    existing.chmod(0o711)
    folder = existing / "a" / "b" / "c"
    with umask(mask):
        make_folder(folder, mode)
        make_folder(folder, 0o666)  # it is there
    for made in (folder, folder.parent, folder.parent.parent):
        assert mode_of(made) == folder_mode
    assert mode_of(existing) == 0o711
    make_folder(tmp_path / "usual")
    assert mode_of(tmp_path / "usual") == 0o700


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below", "nul\0", "x" * 300, "deep/" * 2000):
        with pytest.raises(FileError, match="cannot make the folder"):
            make_folder(tmp_path / name)
    (tmp_path / "link").symlink_to(tmp_path)
    make_folder(tmp_path / "link")  # it is there
    make_folder(tmp_path / "link" / "more")
    assert (tmp_path / "more").is_dir()


# -- planted -------------------------------------------------------------------------------------


def plant_folder(path: Path) -> None:
    path.mkdir()


def plant_link(path: Path) -> None:
    (path.parent / "target").write_bytes(b"precious")
    path.symlink_to(path.parent / "target")


def plant_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def plant_pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes")
    os.mkfifo(path)


def plant_socket(path: Path) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("needs sockets")
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # its whole path may be too long


def plant_foreign_file(path: Path) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root")
    path.write_bytes(b"somebody else's")
    path.chmod(0o600)
    os.chown(path, 12345, 12345)


PLANTED = [
    plant_folder,
    plant_link,
    plant_dangling_link,
    plant_pipe,
    plant_socket,
    plant_foreign_file,
]


@pytest.mark.parametrize("plant", PLANTED)
def test_what_is_planted_stops_no_recording(
    call: Call, tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    planted = tmp_path / ".mine.part.wav"
    plant(planted)
    before = planted.lstat()
    action = call.record(NO_LIMITS, path=tmp_path / "mine.wav")
    with pytest.raises(FileError, match="recorded already"):
        call.record(NO_LIMITS, path=tmp_path / "mine.wav")
    call.feed(speak=AUDIO)
    action.stop()
    assert path_of(result_of(action)) == tmp_path / "mine.wav"
    assert np.array_equal(read(tmp_path / "mine.wav", 1), AUDIO)
    after = planted.lstat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    if plant is plant_link:
        assert (tmp_path / "target").read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_link_to_a_file_that_is_being_recorded_is_not_followed(tmp_path: Path) -> None:
    other = start(tmp_path / "other.wav")
    (tmp_path / ".a.part.wav").symlink_to(other.staged)
    file = start(tmp_path / "a.wav")
    for made in (file, other):
        made.discard()


def test_a_lock_on_another_users_file_stops_no_recording(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    planted = tmp_path / ".a.part.wav"
    plant_foreign_file(planted)
    with planted.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        file = start(tmp_path / "a.wav")
    assert file.staged.name == ".a.part-1.wav"
    file.discard()


def test_a_live_recording_below_planted_numbers_is_found(tmp_path: Path) -> None:
    file = start(tmp_path / "a.wav")
    for number in range(1, 40):
        (tmp_path / f".a.part-{number}.wav").mkdir()
    with pytest.raises(FileError, match="recorded already"):
        start(tmp_path / "a.wav")
    file.close()
    again = start(tmp_path / "a.wav")
    assert again.staged.name == ".a.part-40.wav"
    again.discard()


def test_a_link_is_not_followed_when_it_is_planted_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    monkeypatch.setattr("os.path.lexists", lambda _: False)
    (tmp_path / ".a.part.wav").symlink_to(target)
    file = start(tmp_path / "a.wav")
    assert file.staged.name == ".a.part-1.wav"
    assert target.read_bytes() == b"precious"
    file.discard()


def test_a_dangling_link_takes_the_final_name(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileError, match="exists"):
        start(target)
    file = start(tmp_path / "b.wav")
    file.write(AUDIO)
    (tmp_path / "b.wav").symlink_to(tmp_path / "nowhere")
    assert file.publish()[0] == tmp_path / "b-1.wav"
    assert not (tmp_path / "nowhere").exists()


# -- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 7, 8, 9, 100, 1023])
@pytest.mark.parametrize("first", [0, 5])
def test_the_number_after_those_taken(tmp_path: Path, taken: int, first: int) -> None:
    for number in range(first, first + taken):
        (tmp_path / str(number)).touch()
    looks = []

    def name(number: int) -> Path:
        looks.append(number)
        return tmp_path / str(number)

    assert free_number(name, first) == first + taken
    assert len(looks) <= 25


def test_racing_processes_never_overwrite(tmp_path: Path) -> None:
    """Names that are given at once: each gets its own."""
    staged = [tmp_path / f"staged-{index}" for index in range(8 * 20)]
    for path in staged:
        path.write_text(path.name)
    given: list[Path] = []

    def give(paths: list[Path]) -> None:
        given.extend(give_name(path, tmp_path / "a.wav") for path in paths)

    threads = [threading.Thread(target=give, args=(staged[index::8],)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(given)) == len(staged)
    assert {path.read_text() for path in given} == {path.name for path in staged}
