# SPDX-License-Identifier: MIT
"""What a crash left is found and reported; what lives is left alone."""

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import FileError, Recovered, recover
from recorder.writing.mp3 import info_frame
from recorder.writing.staged import StagedFile, staged_name
from recorder.writing.wav import header
from tests import signals
from tests.command import recorder
from tests.crash import kill_once
from tests.staging import Format, left_over, names, one, read

# -- what else lies there ------------------------------------------------------------------------


def test_what_is_being_recorded_is_busy(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "a.wav", "wav", 8000, 1)
    file.write(np.arange(4000, dtype=np.int16))
    content = file.staged.read_bytes()
    for _ in range(2):
        assert one(tmp_path) == Recovered(staged=file.staged, outcome="busy", size=8080)
    assert file.staged.read_bytes() == content
    file.write(np.arange(4000, dtype=np.int16))
    path, _ = file.publish()
    assert len(read(path, 1)) == 8000
    assert recover(tmp_path) == []


def test_several_and_twice(tmp_path: Path) -> None:
    """All that a folder holds, in the order of their names; nothing is overwritten."""
    audio = signals.noise(2, -20)
    for name in ("b", "c"):
        left_over(tmp_path, audio, "wav", name=name)
    left_over(tmp_path, audio[:8000], "wav", name="b")  # a second one of that name
    left_over(tmp_path, audio, "mp3", name="b")
    (tmp_path / "c.wav").write_bytes(b"precious")
    for other in ("d.wav", ".e.wav", ".f.part.ogg", "g.part.wav"):
        (tmp_path / other).write_bytes(b"no business of ours")
    below = tmp_path / "below"
    left_over(below, audio, "wav")
    found = recover(tmp_path)
    assert [(item.staged.name, item.outcome, item.path and item.path.name) for item in found] == [
        (".b.part-1.wav", "recovered", "b.wav"),
        (".b.part.mp3", "recovered", "b.mp3"),
        (".b.part.wav", "recovered", "b-1.wav"),
        (".c.part.wav", "recovered", "c-1.wav"),
    ]
    assert len(read(tmp_path / "b.wav", 1)) == 8000
    assert np.array_equal(read(tmp_path / "b-1.wav", 1), audio)
    assert (tmp_path / "c.wav").read_bytes() == b"precious"
    assert names(below) == [".a.part.wav"]
    before = {item: item.stat() for item in tmp_path.iterdir()}
    assert recover(tmp_path) == []
    assert {item: item.stat() for item in tmp_path.iterdir()} == before


def junk() -> dict[str, bytes]:
    wav, mp3 = header(8000, 1, 100) + bytes(200), info_frame(8000, 1, 3, 900, 100) + bytes(900)
    rng = np.random.default_rng(1)
    return {
        ".text.part.wav": b"no sound at all" * 20,
        ".text.part.mp3": b"no sound at all" * 200,
        ".short.part.wav": b"short",
        ".short.part.mp3": b"short",
        ".zeros.part.wav": bytes(5000),
        ".zeros.part.mp3": bytes(5000),
        ".eight.part.wav": wav[:70] + b"\x08\0" + wav[72:],  # 8 bits per sample
        ".many.part.wav": wav[:58] + b"\3\0" + wav[60:],  # channels
        ".none.part.wav": wav[:58] + b"\0\0" + wav[60:],
        ".swapped.part.mp3": wav,
        ".swapped.part.wav": mp3,
        ".tag.part.mp3": mp3[:40] + b"\xff" + mp3[41:],
        ".frames.part.mp3": mp3[:-900] + rng.bytes(3000),
    }


def test_what_cannot_be_understood_is_left_as_it_is(tmp_path: Path) -> None:
    for name, content in junk().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".folder.part.wav").mkdir()
    (tmp_path / ".link.part.wav").symlink_to(tmp_path / "nowhere")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / ".pipe.part.mp3")
    before = names(tmp_path)
    for _ in range(2):
        found = recover(tmp_path)
        assert [item.staged.name for item in found] == before
        for item in found:
            assert (item.outcome, item.path, item.duration) == ("unreadable", None, 0)
            assert item.reason
        assert names(tmp_path) == before
    for name, content in junk().items():
        assert (tmp_path / name).read_bytes() == content


def wav_of_rate(rate: int) -> bytes:
    """A WAV whose header agrees with itself, as far as its fields can hold the numbers."""
    per_second = (rate * 2 & 0xFFFFFFFF).to_bytes(4, "little")
    start = header(8000, 1, 100)
    return start[:60] + rate.to_bytes(4, "little") + per_second + start[68:] + bytes(200)


@pytest.mark.parametrize("rate", [0, 1 << 31, 0xFFFFFFFF])
def test_an_impossible_sample_rate_is_unreadable_and_the_others_are_recovered(
    tmp_path: Path, rate: int
) -> None:
    bad = tmp_path / ".a.part.wav"
    bad.write_bytes(wav_of_rate(rate))
    left_over(tmp_path, signals.noise(2, -20), "wav", name="b")
    found = recover(tmp_path)
    assert [item.outcome for item in found] == ["unreadable", "recovered"]
    assert bad.read_bytes() == wav_of_rate(rate)
    assert names(tmp_path) == [".a.part.wav", "b.wav"]


def test_whatever_one_file_raises_the_others_are_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".a.part.mp3").write_bytes(b"whatever")
    left_over(tmp_path, signals.noise(2, -20), "wav", name="b")

    def surprise(_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("recorder.writing.recovery.is_cut_info_frame", surprise)
    first, second = recover(tmp_path)
    assert (first.outcome, first.reason) == ("unreadable", "ZeroDivisionError")
    assert second.outcome == "recovered"


@pytest.mark.slow
def test_thousands_of_one_name(tmp_path: Path) -> None:
    """The folder is listed once, and a number is found with a few dozen looks."""
    content = header(8000, 1, 100) + bytes(200)
    for number in range(2000):
        staged_name(tmp_path / "a.wav", "wav", number).write_bytes(content)
    before = time.process_time()
    file = StagedFile(tmp_path / "a.wav", "wav", 8000, 1)
    assert time.process_time() - before < 0.5
    assert file.staged.name == ".a.part-2000.wav"
    file.discard()
    before = time.process_time()
    found = recover(tmp_path)
    assert time.process_time() - before < 4  # 12 s when each tries every number
    assert [item.outcome for item in found] == ["recovered"] * 2000
    assert names(tmp_path) == sorted(["a.wav", *(f"a-{number}.wav" for number in range(1, 2000))])


def test_recovery_keeps_the_permissions(tmp_path: Path) -> None:
    staged, _ = left_over(tmp_path, signals.noise(2, -20), "wav")
    staged.chmod(0o640)
    path = one(tmp_path).path
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_name_that_a_sync_does_not_secure_is_reported_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_over(tmp_path, signals.noise(2, -20), "wav")

    def refuse(_: Path) -> None:
        raise OSError(errno.EIO, "it is refused")

    monkeypatch.setattr("recorder.writing.recovery.sync_folder", refuse)
    found = one(tmp_path)
    assert (found.outcome, found.path) == ("recovered", tmp_path / "a.wav")
    assert "it is refused" in found.reason


def test_random_bytes_harm_nothing(tmp_path: Path) -> None:
    """A file with any few bytes changed is published or left alone, and never raises."""
    rng = np.random.default_rng(5)
    formats: tuple[Format, Format] = ("wav", "mp3")
    for format_ in formats:
        path, _ = left_over(tmp_path, signals.noise(2, -20), format_)
        content = path.read_bytes()
        for _ in range(150):
            changed = bytearray(content)
            for at in rng.integers(0, 100 if rng.random() < 0.5 else len(content), 2):
                changed[int(at)] = int(rng.integers(0, 256))
            path.write_bytes(changed)
            found = one(tmp_path)
            assert found.outcome in {"recovered", "unreadable"}
            if found.outcome == "unreadable":
                assert path.read_bytes() == changed
            for item in tmp_path.iterdir():
                item.unlink()


@pytest.mark.parametrize("format_", ["wav", "mp3"])
@pytest.mark.parametrize("taken", [False, True])
def test_killed_between_the_two_names(tmp_path: Path, format_: Format, taken: bool) -> None:
    """It has its final name already, and its staged one still."""
    file = StagedFile(tmp_path / f"a.{format_}", format_, 8000, 1)
    file.write(signals.noise(2, -20))
    if taken:
        (tmp_path / f"a.{format_}").write_bytes(b"precious")
    staged = file.staged
    path, size = file.publish()
    staged.hardlink_to(path)
    content, before = path.read_bytes(), path.stat().st_mtime_ns
    assert one(tmp_path) == Recovered(
        staged=staged, outcome="recovered", path=path, duration=2.0, size=size
    )
    assert names(tmp_path) == ([f"a-1.{format_}", f"a.{format_}"] if taken else [f"a.{format_}"])
    assert path.read_bytes() == content
    assert path.stat().st_mtime_ns == before
    assert recover(tmp_path) == []


def test_a_second_name_elsewhere_is_none(tmp_path: Path) -> None:
    """A backup by hard links, say."""
    folder = tmp_path / "recordings"
    staged, _ = left_over(folder, signals.noise(2, -20), "wav")
    (tmp_path / "backup").hardlink_to(staged)
    assert one(folder).path == folder / "a.wav"
    assert names(folder) == ["a.wav"]


# -- what the system refuses ---------------------------------------------------------------------


@pytest.mark.parametrize("refused", ["open", "lock", "fsync", "link"])
def test_a_file_that_the_system_refuses_is_reported_and_the_others_are_recovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    audio = signals.noise(2, -20)
    for name in ("a", "b"):
        left_over(tmp_path, audio, "wav", name=name)
    calls = []
    owner, attribute = {
        "open": ("recorder.writing.recovery", "open_existing"),
        "lock": ("recorder.writing.recovery", "lock"),
        "fsync": ("os", "fsync"),
        "link": ("os", "link"),
    }[refused]
    import importlib

    real = getattr(importlib.import_module(owner), attribute)

    def refuse(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError(errno.EIO, "it is refused")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(f"{owner}.{attribute}", refuse)
        first, second = recover(tmp_path)
    assert (first.outcome, first.path, first.duration) == ("unreadable", None, 0)
    assert "it is refused" in first.reason
    assert first.size == first.staged.stat().st_size
    assert (second.outcome, second.path) == ("recovered", tmp_path / "b.wav")
    assert names(tmp_path) == [".a.part.wav", "b.wav"]
    assert one(tmp_path).path == tmp_path / "a.wav"
    assert np.array_equal(read(tmp_path / "a.wav", 1), audio)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything"
)
def test_a_file_without_permission(tmp_path: Path) -> None:
    staged, _ = left_over(tmp_path, signals.noise(2, -20), "wav")
    staged.chmod(0o400)
    assert one(tmp_path).outcome == "unreadable"
    staged.chmod(0o600)
    assert one(tmp_path).outcome == "recovered"


def test_a_file_that_goes_meanwhile_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another `recover` was quicker, before this one could lock the file."""
    left_over(tmp_path, signals.noise(2, -20), "wav")
    from recorder.writing.disk import lock

    def late(file: Any) -> None:
        monkeypatch.setattr("recorder.writing.recovery.lock", lock)
        assert one(tmp_path).outcome == "recovered"
        lock(file)

    monkeypatch.setattr("recorder.writing.recovery.lock", late)
    assert recover(tmp_path) == []
    assert names(tmp_path) == ["a.wav"]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "file", "nul\0"):
        with pytest.raises(FileError, match=name[:3]):
            recover(tmp_path / name)
    assert recover(str(tmp_path)) == []


# -- the command ---------------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    left_over(tmp_path / "calls", signals.noise(2, -20), "wav")
    (tmp_path / "calls" / ".b.part.mp3").write_bytes(b"")
    result = recorder("recover", "calls", folder=tmp_path)
    assert (result.status, result.err) == (0, "")
    found = [json.loads(line) for line in result.out.splitlines()]
    assert found == [
        {
            "staged": str(tmp_path / "calls" / ".a.part.wav"),
            "outcome": "recovered",
            "path": str(tmp_path / "calls" / "a.wav"),
            "duration": 2.0,
            "size": 32080,
            "reason": "",
        },
        {
            "staged": str(tmp_path / "calls" / ".b.part.mp3"),
            "outcome": "empty",
            "path": None,
            "duration": 0.0,
            "size": 0,
            "reason": "",
        },
    ]
    result = recorder("recover", "calls", folder=tmp_path)
    assert (result.status, result.out, result.err) == (0, "", "")
    (tmp_path / "calls" / ".c.part.wav").write_bytes(b"junk")
    result = recorder("recover", "calls", folder=tmp_path)
    assert (result.status, json.loads(result.out)["outcome"]) == (1, "unreadable")
    result = recorder("recover", "nowhere", folder=tmp_path)
    assert (result.status, result.out) == (1, "")
    assert "nowhere" in result.err
    assert "Traceback" not in result.err


# -- killed --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_that_is_killed_loses_a_second_at_most(tmp_path: Path) -> None:
    """Twenty recordings at once; tests/crash.py kills as often as one likes."""
    pytest.importorskip("fcntl")
    files = kill_once(tmp_path, seed=1)
    assert len(files) == 20
    for file in files:
        assert file.recovered == 1
        assert file.lost <= 1, file
        assert file.wrong == 0, file
    assert recover(tmp_path) == []
