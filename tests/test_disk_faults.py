# SPDX-License-Identifier: MIT
"""A disk that is full, fails, or a process without descriptors: what is kept and reported."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import AudioOptions, Call, FileError, recover
from tests import signals
from tests.conftest import Events, settle
from tests.faults.running import ROOT, event_of, linux, output_of
from tests.marks import mostly_slow
from tests.recordings import (
    AUDIO,
    BOTH,
    NO_LIMITS,
    audio_of,
    check_failed,
    check_finished,
    feed_frames,
    names,
    path_of,
    result_of,
)
from tests.signals import Pcm


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    folders = []

    def mount(options: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"cannot mount a small disk: {error}")
        folders.append(folder)
        return folder

    yield mount
    settle()
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@linux
@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_full_disk(
    make_call: Callable[..., Call], mount: Callable[[str], Path], format_: Any, stereo: bool
) -> None:
    disk = mount("size=64k")
    call = make_call()
    options: AudioOptions = {**BOTH, "format": format_, "stereo": stereo}
    audio = signals.noise(30, -20)
    full = call.record(options, path=disk / f"a.{format_}")
    other = call.record(BOTH)
    feed_frames(call, audio, signals.silence(30))
    settle()
    kept = check_failed(full.join(0), "No space left on device")
    assert names(disk) == [f"a.{format_}"]
    assert 60_000 < path_of(full.result).stat().st_size <= 65536
    if format_ == "wav":
        left = kept[:, 0] if stereo else kept
        assert np.array_equal(left, audio[: len(left)])
    assert call.record(NO_LIMITS).stop()["code"] == "200"
    if format_ == "wav":
        with pytest.raises(FileError, match="No space left on device"):
            call.record(options, path=disk / "b.wav")
        assert names(disk) == ["a.wav"]
    path_of(full.result).unlink()
    again = call.record(options, path=disk / f"b.{format_}")
    feed_frames(call, audio[:8000], signals.silence(1))
    call.hangup()
    assert result_of(again).state == "finished"
    assert len(audio_of(again.join(10))) == 8000
    check_finished(other.join(10), np.concatenate([audio, audio[:8000]]))


@linux
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_disk_full_when_the_last_is_written(
    make_call: Callable[..., Call], mount: Callable[[str], Path], format_: Any
) -> None:
    disk = mount("size=64k")
    call = make_call(directory=disk)
    action = call.record({**NO_LIMITS, "format": format_})
    feed_frames(call, AUDIO[:16000])
    settle()
    with pytest.raises(OSError, match="No space"):
        (disk / "filler").write_bytes(bytes(65536))
    call.feed(speak=signals.noise(5, -20))
    action.stop()
    kept = check_failed(result_of(action), "No space left on device")
    assert len(kept) > 8000
    assert path_of(action.result).name[0] != "."


@linux
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_no_room_for_the_name(
    make_call: Callable[..., Call], mount: Callable[[str], Path], format_: Any
) -> None:
    """Everything is written, but the disk has no room for another name."""
    disk = mount("size=256k,nr_inodes=3")
    call = make_call(directory=disk)
    action = call.record({**NO_LIMITS, "format": format_})
    (disk / "filler").touch()
    feed_frames(call, AUDIO)
    action.stop()
    event = result_of(action)
    assert len(check_failed(event, "No space left on device")) == len(AUDIO)
    assert path_of(event).name.startswith(".")
    (disk / "filler").unlink()
    (found,) = recover(disk)
    assert (found.outcome, found.duration, found.size) == ("recovered", 3.0, event.size)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    library = tmp_path_factory.mktemp("shim") / "eio.so"
    source = ROOT / "tests" / "faults" / "eio.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@linux
@pytest.mark.parametrize("format_", mostly_slow(["wav", "mp3"], "mp3"))
@pytest.mark.parametrize(
    ("call", "after"),
    mostly_slow(
        [*(("write", n) for n in range(1, 8)), ("fsync", 0), ("fsync-folder", 0)],
        *(("write", 2), ("fsync", 0), ("fsync-folder", 0)),
    ),
)
def test_an_input_output_error(
    tmp_path: Path, shim: Path, format_: Any, call: str, after: int
) -> None:
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "FAULT_CALL": call,
        "FAULT_PATH": "/bad",
        "FAULT_AFTER": str(after),
    }
    (printed,) = output_of("two_disks", tmp_path, format_, env=environment)
    check_finished(event_of(printed["good"]), AUDIO)
    bad = event_of(printed["bad"])
    kept = check_failed(bad, "Input/output error")
    if call == "write":
        # A block is two writes: its samples, and the header that counts them.
        assert len(kept) <= (after - 1) // 2 * 4000
        if format_ == "wav":
            assert len(kept) >= (after - 1) // 2 * 3000
    else:
        assert len(kept) == len(AUDIO)
    if format_ == "wav":
        assert np.array_equal(kept, AUDIO[: len(kept)])
    is_named = call == "fsync-folder"
    assert names(tmp_path / "bad") == [f"a.{format_}" if is_named else f".a.part.{format_}"]
    assert [found.outcome for found in recover(tmp_path / "bad")] in (
        [[]] if is_named else [["recovered"], ["empty"]]
    )


@linux
def test_too_many_open_files(tmp_path: Path) -> None:
    (printed,) = output_of("open_files", tmp_path)
    assert len(printed["errors"]) == 3
    for error in printed["errors"]:
        assert "Too many open files" in error
    assert printed["staged"] == 4  # the first, and three more: nothing of those refused
    assert [params["state"] for params in printed["ended"]] == ["finished"] * 4
    check_finished(event_of(printed["ended"][0]), AUDIO)
    assert all(not name.startswith(".") for name in names(tmp_path))


@pytest.mark.parametrize("format_", ["wav", "mp3"])
@pytest.mark.parametrize("kind", [RuntimeError, OverflowError])
def test_what_breaks_while_writing_ends_that_recording_only(
    events: Events, monkeypatch: pytest.MonkeyPatch, format_: Any, kind: type[BaseException]
) -> None:
    call = events.call
    good = call.record(NO_LIMITS)
    bad = call.record({**NO_LIMITS, "format": format_, "direction": "listen"})
    file = call._recordings._running[1].writer.file
    blocks = iter([None, None, kind("broken")])
    write = file.write

    def break_once(block: Pcm) -> None:
        write(block)
        if (error := next(blocks, None)) is not None:
            raise error

    monkeypatch.setattr(file, "write", break_once)
    audio = signals.noise(4, -30)
    feed_frames(call, audio, audio)
    call.hangup()
    event = result_of(bad)
    assert (event.state, event.record["reason"]) == ("error", "error")
    assert str(file.path) in event.record["error"]
    kept = audio_of(event)
    assert event.duration == len(kept) / 8000
    if format_ == "wav":
        assert np.array_equal(kept, audio[: len(kept)])
    assert len(kept) >= 8000
    assert result_of(good).state == "finished"
    assert events.states.count("finished") == 1
