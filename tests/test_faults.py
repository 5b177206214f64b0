# SPDX-License-Identifier: MIT
"""What goes wrong is made to go wrong: what is kept, and what the user is told.

docs/faults.md is the table of it. kill -9 is in tests/test_recovery.py and tests/crash.py.
"""

import asyncio
import json
import linecache
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

import recorder
from recorder import Call, FileError, OptionError, RecordAction, RecordEvent, recover
from recorder.background import Lane
from recorder.output import MOST_PENDING
from tests import signals
from tests.conftest import Heard, settle
from tests.faults.programs import AUDIO
from tests.signals import Pcm
from tests.test_call import NO_LIMITS, audio_of, feed_frames, path_of, result_of

if TYPE_CHECKING:
    from recorder.writing import StagedFile

ROOT = Path(__file__).parent.parent
BOTH = {**NO_LIMITS, "direction": "both"}
EVENT = "calling.call.record"

unix = pytest.mark.skipif(sys.platform == "win32", reason="there it is a fine name")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs root on a Unix"
)


def program(name: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    command += ["-m", "tests.faults.programs", name, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options
    )


def output_of(name: str, *arguments: object, status: int = 0, **options: Any) -> list[Any]:
    """What a program prints, once it has ended as it should and complained of nothing."""
    with program(name, *arguments, **options) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert status or "Exception ignored" not in err, err
    return [json.loads(line) for line in out.splitlines()]


def event_of(params: dict[str, Any]) -> RecordEvent:
    return RecordEvent(event_type=EVENT, timestamp=0.0, call_id=params["call_id"], params=params)


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def failed(event: RecordEvent, why: str) -> Pcm:
    """Check that it ended as error and told the truth about its file; what that plays."""
    assert (event.state, event.record["reason"]) == ("error", "error")
    assert why in event.record["error"]
    assert event.size == path_of(event).stat().st_size
    # Of an MP3 without audio players make nothing.
    audio = audio_of(event) if event.duration else AUDIO[:0]
    assert event.duration == len(audio) / 8000
    return audio


def check_finished(event: RecordEvent, audio: Pcm) -> None:
    assert event.state == "finished"
    assert event.size == path_of(event).stat().st_size
    assert event.duration == len(audio) / 8000
    if path_of(event).suffix == ".wav":
        assert np.array_equal(audio_of(event), audio)


# -- a full disk ---------------------------------------------------------------------------------


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
    make_call: Callable[..., Call], mount: Callable[[str], Path], format_: str, stereo: bool
) -> None:
    disk = mount("size=64k")
    call = make_call()
    options = {**BOTH, "format": format_, "stereo": stereo}
    audio = signals.noise(30, -20)
    full = call.record(options, path=disk / f"a.{format_}")
    other = call.record(BOTH)
    feed_frames(call, audio, signals.silence(30))
    settle()
    kept = failed(full.join(0), "No space left on device")
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
    make_call: Callable[..., Call], mount: Callable[[str], Path], format_: str
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
    kept = failed(result_of(action), "No space left on device")
    assert len(kept) > 8000
    assert path_of(action.result).name[0] != "."


@linux
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_no_room_for_the_name(
    make_call: Callable[..., Call], mount: Callable[[str], Path], format_: str
) -> None:
    """Everything is written, but the disk takes no more names."""
    disk = mount("size=256k,nr_inodes=3")
    call = make_call(directory=disk)
    action = call.record({**NO_LIMITS, "format": format_})
    (disk / "filler").touch()
    feed_frames(call, AUDIO)
    action.stop()
    event = result_of(action)
    assert len(failed(event, "No space left on device")) == len(AUDIO)
    assert path_of(event).name.startswith(".")
    (disk / "filler").unlink()
    (found,) = recover(disk)
    assert (found.outcome, found.duration, found.size) == ("recovered", 3.0, event.size)


# -- a disk that fails ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    library = tmp_path_factory.mktemp("shim") / "eio.so"
    source = ROOT / "tests" / "faults" / "eio.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@linux
@pytest.mark.parametrize("format_", ["wav", "mp3"])
@pytest.mark.parametrize(
    ("call", "after"), [*(("write", n) for n in range(1, 8)), ("fsync", 0), ("fsync-folder", 0)]
)
def test_an_input_output_error(
    tmp_path: Path, shim: Path, format_: str, call: str, after: int
) -> None:
    environment = {
        **os.environ,
        "LD_PRELOAD": str(shim),
        "FAULT_CALL": call,
        "FAULT_PATH": "/bad",
        "FAULT_AFTER": str(after),
    }
    (told,) = output_of("two_disks", tmp_path, format_, env=environment)
    check_finished(event_of(told["good"]), AUDIO)
    bad = event_of(told["bad"])
    kept = failed(bad, "Input/output error")
    if call == "write":
        # A block is two writes: its samples, and the header that tells them.
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


# -- a folder that goes --------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be moved there")
@pytest.mark.parametrize("moment", ["while", "publish"])
@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_folder_that_goes(heard: Heard, tmp_path: Path, how: str, moment: str) -> None:
    call = heard.call
    action = call.record(NO_LIMITS)
    other = call.record(NO_LIMITS, path=tmp_path / "other.wav")
    feed_frames(call, AUDIO[:8000])
    settle()
    rest = AUDIO[8000:] if moment == "while" else AUDIO[:0]
    moved = tmp_path / "moved"
    if how == "removed":
        shutil.rmtree(call.directory)
    else:
        call.directory.rename(moved)
    feed_frames(call, rest) if len(rest) else None
    call.hangup()
    event = result_of(action)
    assert (event.state, event.size) == ("error", 0)
    assert "No such file or directory" in event.record["error"]
    assert path_of(event).parent == call.directory
    check_finished(other.join(10), np.concatenate([AUDIO[:8000], rest]))
    assert heard.states.count("error") == 1
    if how == "renamed":  # it is all there
        (found,) = recover(moved)
        assert found.duration == event.duration == 1 + len(rest) / 8000


def test_a_folder_that_went_before_is_made_again(call: Call) -> None:
    for _ in range(2):
        action = call.record(NO_LIMITS)
        feed_frames(call, AUDIO)
        action.stop()
        check_finished(action.join(10), AUDIO)
        shutil.rmtree(call.directory)


@linux
@root
@pytest.mark.parametrize("moment", ["before", "while", "publish"])
def test_a_folder_without_permission(moment: str) -> None:
    import tempfile

    # Where nobody may go: pytest's own folder is root's.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.parent.stat()
        os.chown(folder, 65534, 65534)
        *refused, told, recovered = output_of("no_permission", folder, moment)
        if moment == "before":
            assert ["Permission denied" in error for error in refused] == [True]
            check_finished(event_of(told), AUDIO)
            assert recovered == []
            return
        assert refused == []
        assert told["state"] == "error"
        assert "Permission denied" in told["record"]["error"]
        assert (told["duration"], told["size"]) == (3.0, 80 + 2 * len(AUDIO))
        ((path, duration),) = recovered
        assert duration == 3.0
        assert np.array_equal(soundfile.read(path, dtype="int16")[0], AUDIO)


@linux
def test_too_many_open_files(tmp_path: Path) -> None:
    (told,) = output_of("open_files", tmp_path)
    assert len(told["errors"]) == 3
    for error in told["errors"]:
        assert "Too many open files" in error
    assert told["staged"] == 4  # the first, and three more: nothing of those refused
    assert [params["state"] for params in told["told"]] == ["finished"] * 4
    check_finished(event_of(told["told"][0]), AUDIO)
    assert all(not name.startswith(".") for name in names(tmp_path))


# -- a disk that stands still --------------------------------------------------------------------


class Standing:
    """The disk of the recording that was started last: it takes nothing until it is let go."""

    def __init__(self, call: Call) -> None:
        self.go = threading.Event()
        self.at_it = threading.Event()
        self.file: StagedFile = call._running[-1].capture._output.file
        self._write = self.file.write
        self.file.write = self.write  # type: ignore[method-assign]

    def write(self, block: Pcm) -> None:
        self.at_it.set()
        assert self.go.wait(60)
        self._write(block)


@pytest.fixture
def stand_still(call: Call) -> Iterator[Callable[[], Standing]]:
    disks: list[Standing] = []

    def stand_still() -> Standing:
        disks.append(Standing(call))
        return disks[-1]

    yield stand_still
    for disk in disks:
        disk.go.set()


@pytest.fixture
def soon_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.background._STUCK_SECONDS", 0.02)
    monkeypatch.setattr("recorder.background._LOOK_SECONDS", 0.01)


@pytest.mark.usefixtures("soon_stuck")
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_disk_that_stands_still(
    heard: Heard,
    stand_still: Callable[[], Standing],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    format_: str,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("recorder.capture.time", SimpleNamespace(monotonic=lambda: clock[0]))
    # To wait in `feed`, for however long, would be an error.
    wait = Lane.wait
    monkeypatch.setattr(Lane, "wait", None)
    call = heard.call
    good = call.record(NO_LIMITS)
    bad = call.record({**NO_LIMITS, "format": format_}, path=tmp_path / f"bad.{format_}")
    standing = stand_still()
    audio = signals.noise(MOST_PENDING / 16000 + 3, -30)
    bound = None
    for at in range(0, len(audio), 160):
        call.feed(speak=audio[at : at + 160])
        clock[0] += 0.02
        if at % 8000 == 0:  # a live call leaves the other recording's writer this time
            assert wait(call._running[0].capture._output._lane, 0, 10)
        if bound is None and bad.is_done:
            bound = at + 160
    assert standing.at_it.is_set()
    assert bound is not None
    assert 0 <= bound * 2 - MOST_PENDING <= 2 * 16000  # and a block or two
    event = bad.join(0)
    assert (event.state, event.record["reason"]) == ("error", "error")
    assert "the disk takes nothing" in event.record["error"]
    assert event.duration == 0  # as far as is known
    assert path_of(event) == standing.file.staged
    # The others end, and new ones begin and end, while it stands still.
    new = call.record(NO_LIMITS, path=tmp_path / "new.wav")
    call.feed(speak=audio[:800])
    call.hangup()
    check_finished(good.join(10), np.concatenate([audio, audio[:800]]))
    check_finished(new.join(10), audio[:800])
    assert [found.outcome for found in recover(tmp_path)] == ["busy"]
    standing.go.set()
    settle()
    assert heard.states.count("error") == 1
    assert names(tmp_path) == [f".bad.part.{format_}", "new.wav", "recordings"]
    (found,) = recover(tmp_path)
    assert (found.outcome, found.path) == ("recovered", tmp_path / f"bad.{format_}")
    kept, _ = soundfile.read(found.path, dtype="int16")
    assert found.duration == len(kept) / 8000
    if format_ == "wav":
        assert len(kept) > 2000  # the block that it was asked to take, and no other
        assert np.array_equal(kept, audio[: len(kept)])


@pytest.mark.usefixtures("soon_stuck")
def test_what_ends_beside_a_standing_disk_is_told(
    call: Call, stand_still: Callable[[], Standing], tmp_path: Path
) -> None:
    """Nobody feeds any more, and no bound is reached: a thread is found all the same."""
    standing, bad = [], []
    for index in range(3):
        bad.append(call.record(NO_LIMITS, path=tmp_path / f"bad-{index}.wav"))
        standing.append(stand_still())
    good = [call.record(NO_LIMITS) for _ in range(3)]
    feed_frames(call, AUDIO)
    call.hangup()
    for action in good:
        check_finished(action.join(10), AUDIO)
    assert [action.is_done for action in bad] == [False] * 3
    for disk in standing:
        disk.go.set()
    for action in bad:
        check_finished(action.join(10), AUDIO)


def test_who_feeds_faster_than_real_time_waits_for_a_slow_disk(
    call: Call, stand_still: Callable[[], Standing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.output.ENOUGH_PENDING", 65536)
    action = call.record(NO_LIMITS)
    disk = stand_still()
    waits = []
    real = Lane.wait

    def wait(lane: Lane, most: int, patience: float) -> bool:
        waits.append(lane.pending)
        disk.go.set()  # it was only slow
        return real(lane, most, patience)

    monkeypatch.setattr(Lane, "wait", wait)
    audio = signals.noise(60, -30)
    feed_frames(call, audio)
    action.stop()
    check_finished(action.join(10), audio)
    assert waits
    assert max(waits) < 65536 + 16000


@pytest.mark.usefixtures("soon_stuck")
def test_who_feeds_faster_than_real_time_does_not_wait_for_ever(
    call: Call, stand_still: Callable[[], Standing], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.output.ENOUGH_PENDING", 65536)
    monkeypatch.setattr("recorder.output.PATIENCE", 0.5)
    good = call.record(NO_LIMITS)
    bad = call.record(NO_LIMITS)
    stand_still()
    audio = signals.noise(10, -30)
    feed_frames(call, audio)
    assert bad.join(0).state == "error"
    good.stop()
    check_finished(good.join(10), audio)


# -- handlers ------------------------------------------------------------------------------------

RAISED = [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("error", RAISED)
def test_a_handler_that_raises(
    heard: Heard, caplog: pytest.LogCaptureFixture, error: type[BaseException], plain: bool
) -> None:
    call = heard.call
    seen = []

    def fail(event: RecordEvent) -> None:
        seen.append(event.state)
        raise error("on purpose")

    async def fail_later(event: RecordEvent) -> None:
        await asyncio.sleep(0)
        fail(event)

    handler = fail if plain else fail_later
    call.on(EVENT, handler)
    action = call.record(NO_LIMITS, on_completed=handler)
    other = call.record(NO_LIMITS)
    with caplog.at_level(logging.ERROR, logger="recorder"):
        feed_frames(call, AUDIO)
        action.stop()
        call.hangup()
        check_finished(action.join(10), AUDIO)
        check_finished(other.join(10), AUDIO)
        assert sorted(heard.states) == ["finished", "finished", "recording", "recording"]
    assert sorted(seen) == ["finished"] * 3 + ["recording"] * 2
    assert caplog.text.count("on purpose") >= 5
    assert "on_completed" not in caplog.text
    settle()  # the threads are all there


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("error", RAISED)
def test_a_handler_that_raises_in_a_loop(
    make_call: Callable[..., Call], error: type[BaseException], plain: bool
) -> None:
    """What ends a loop ends the loop; the file and the other handlers lose nothing by it."""
    call = make_call()
    heard = Heard(call)  # in a thread
    actions: list[RecordAction] = []

    def fail(event: RecordEvent) -> None:
        raise error("on purpose")

    async def fail_later(event: RecordEvent) -> None:
        await asyncio.sleep(0)
        fail(event)

    async def main() -> None:
        handler = fail if plain else fail_later
        actions.append(await call.record(NO_LIMITS, on_completed=handler))
        actions.append(await call.record(NO_LIMITS))
        feed_frames(call, AUDIO)
        await actions[0].stop()
        for _ in range(2):
            await actions[0].wait(10)
            settle()
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)

    if error in {SystemExit, KeyboardInterrupt}:
        with pytest.raises(error, match="on purpose"):
            asyncio.run(main())
    else:
        asyncio.run(main())
    feed_frames(call, AUDIO)
    call.hangup()
    check_finished(actions[0].join(10), AUDIO)
    check_finished(actions[1].join(10), np.concatenate([AUDIO, AUDIO]))
    assert sorted(heard.states) == ["finished", "finished", "recording", "recording"]


@pytest.mark.usefixtures("soon_stuck")
@pytest.mark.parametrize("plain", [True, False])
def test_handlers_that_do_not_return(make_call: Callable[..., Call], plain: bool) -> None:
    """More of them than there are threads to begin with."""
    call = make_call()
    heard: list[str] = []
    go = threading.Event()
    blocked = [threading.Event() for _ in range(4)]

    def block(index: int) -> Callable[[RecordEvent], Any]:
        def wait(event: RecordEvent) -> None:
            blocked[index].set()
            assert go.wait(60)

        async def wait_later(event: RecordEvent) -> None:
            wait(event)

        return wait if plain else wait_later

    try:
        for index in range(3):
            call.on(EVENT, block(index))
        done = threading.Event()

        def listen(event: RecordEvent) -> None:
            heard.append(event.state)
            if len(heard) == 4:
                done.set()

        call.on(EVENT, listen)
        action = call.record(NO_LIMITS, on_completed=block(3))
        other = call.record(NO_LIMITS)
        feed_frames(call, AUDIO)
        action.stop()
        call.hangup()
        check_finished(action.join(10), AUDIO)
        check_finished(other.join(10), AUDIO)
        assert done.wait(10)
        assert sorted(heard) == ["finished", "finished", "recording", "recording"]
        assert all(event.wait(10) for event in blocked)
    finally:
        go.set()


@linux
@pytest.mark.parametrize("kind", ["handler", "coroutine", "disk"])
def test_what_never_returns_does_not_keep_the_process(tmp_path: Path, kind: str) -> None:
    (told,) = output_of("handler_for_ever", tmp_path, kind)
    check_finished(event_of(told), AUDIO)
    hidden = [name for name in names(tmp_path) if name.startswith(".")]
    assert hidden == ([".stuck.part.wav"] if kind == "disk" else [])


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("in_loop", [True, False])
@pytest.mark.parametrize("state", ["recording", "finished"])
def test_a_handler_that_calls_back(
    make_call: Callable[..., Call], state: str, in_loop: bool, plain: bool
) -> None:
    call = make_call()
    answers: list[str] = []
    fed, done = threading.Event(), threading.Event()
    actions: dict[str, RecordAction] = {}

    def call_back(event: RecordEvent) -> None:
        if answers or (event.control_id, event.state) != ("first", state):
            return
        first = actions["first"]
        answers.extend([first.pause()["code"], first.resume()["code"]])
        call.feed(speak=AUDIO[:160])
        actions["more"] = call.record(NO_LIMITS, on_completed=hang_up)
        answers.append(first.stop()["code"])
        answers.append(first.join(10).state)
        actions["more"].stop()

    def hang_up(_: RecordEvent) -> None:
        assert fed.wait(10)
        call.hangup()
        done.set()

    async def call_back_later(event: RecordEvent) -> None:
        await asyncio.sleep(0)
        call_back(event)

    def start() -> None:
        call.on(EVENT, call_back if plain else call_back_later)
        actions["other"] = call.record(NO_LIMITS)
        with call._lock:  # the handler finds it in `actions`
            actions["first"] = call.record(NO_LIMITS, control_id="first")
        feed_frames(call, AUDIO)
        if state == "finished":
            actions["first"].stop()
        fed.set()

    async def main() -> None:
        start()
        assert await asyncio.to_thread(done.wait, 10)

    if in_loop:
        asyncio.run(main())
    else:
        start()
    assert done.wait(10)
    code = "200" if state == "recording" else "404"
    assert answers == [code, code, code, "finished"]
    assert {action.join(10).state for action in actions.values()} == {"finished"}
    assert result_of(actions["other"]).duration == (len(AUDIO) + 160) / 8000


# -- the same names ------------------------------------------------------------------------------


def test_two_calls_with_the_same_ids_in_the_same_second(
    make_call: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.0)
    calls = [make_call(call_id="same", node_id="same") for _ in range(2)]
    actions = [call.record(NO_LIMITS, control_id="same") for call in calls]
    for call, audio in zip(calls, (AUDIO, AUDIO[::-1]), strict=True):
        feed_frames(call, audio)
        call.hangup()
    check_finished(actions[0].join(10), AUDIO)
    check_finished(actions[1].join(10), AUDIO[::-1])
    assert len({action.recording_id for action in actions}) == 2


@pytest.mark.parametrize("path", ["", "mine.wav"])
def test_two_processes_with_the_same_ids(tmp_path: Path, path: str) -> None:
    target = str(tmp_path / path) if path else ""
    processes = [program("together", tmp_path, target) for _ in range(2)]

    def lines(text: str = "") -> list[Any]:
        for process in processes:
            assert process.stdin is not None
            with_newline = text + "\n"
            if process.poll() is None:
                process.stdin.write(with_newline)
                process.stdin.flush()
        return [process.stdout and process.stdout.readline() for process in processes]

    try:
        ready = [process.stdout and process.stdout.readline() for process in processes]
        assert ready == ['"ready"\n'] * 2
        second = sorted(map(json.loads, lines()))
        outputs = [process.communicate("\n", timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    told = [json.loads(output) for output in outputs if output]
    if path:
        assert second[1] == "recording"
        assert "mine.wav" in second[0]
        assert "it is being recorded already" in second[0]
        assert len(told) == 1
    else:
        assert second == ["recording"] * 2
        assert len({params["url"] for params in told}) == 2
    for params in told:
        check_finished(event_of(params), AUDIO)
    assert len(names(tmp_path)) == len(told)


# -- a clock that jumps --------------------------------------------------------------------------

YEAR = 365 * 86400.0


def test_a_clock_that_jumps(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1e9]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    action = heard.call.record({**NO_LIMITS, "max_length": 3})
    for at in range(0, 24000, 8000):
        feed_frames(heard.call, AUDIO[at : at + 4000])
        clock[0] += (-1) ** (at // 8000) * 30 * YEAR
        feed_frames(heard.call, AUDIO[at + 4000 : at + 8000])
        if at == 0:
            action.pause("silence")
            action.resume()
    event = result_of(action)
    check_finished(event, AUDIO)
    assert event.record["reason"] == "max_length"
    assert heard.states == ["recording", "paused", "recording", "finished"]
    later = 1e9 + 30 * YEAR
    assert [event.timestamp for event in heard.events] == [1e9, later, later, later]
    assert (event.params["start_time"], event.params["end_time"]) == (1e9, later)


# -- garbage -------------------------------------------------------------------------------------


def released() -> memoryview:
    view = memoryview(bytes(320))
    view.release()
    return view


BAD_FRAMES: list[Any] = [
    b"odd",
    bytearray(1),
    "text",
    5,
    [0] * 160,
    object(),
    np.zeros((80, 2), np.int16),
    np.zeros((), np.int16),
    np.zeros(160, np.int32),
    np.zeros(160, np.uint8),
    np.zeros(160, ">i2"),
    np.zeros(160, object),
    np.zeros(160, np.complex128),
    np.full(160, np.nan),
    np.full(160, np.inf, np.float32),
    np.full(160, 2.0),
    memoryview(bytes(320)).cast("d"),
    memoryview(bytes(320)).cast("h", (80, 2)),
    released(),
]
BAD_POSITIONS: list[Any] = [
    -1,
    True,
    np.True_,
    1.0,
    np.float64(5),
    float("nan"),
    "5",
    b"5",
    [],
    10**12,
    2**63,
    -(2**70),
    np.int64(-1),
]


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_garbage_changes_nothing(make_call: Callable[..., Call], format_: str) -> None:
    """A recording that is fed garbage in between is the same, byte for byte, as one that is not."""
    content = []
    for garbage in (False, True):
        call = make_call()
        heard = Heard(call)
        action = call.record({**BOTH, "format": format_, "stereo": True})
        for at in range(0, len(AUDIO), 800):
            frame = AUDIO[at : at + 800]
            call.feed(speak=frame, listen=frame[::-1])
            if not garbage:
                continue
            before = call.stats
            for bad in BAD_FRAMES:
                for frames in (
                    {"speak": bad},
                    {"listen": bad},
                    {"speak": bytes(320), "listen": bad},
                ):
                    with pytest.raises(ValueError, match=r"."):
                        call.feed(**frames)
            for bad in BAD_POSITIONS:
                with pytest.raises(ValueError, match="at is"):
                    call.feed(speak=bytes(320), at=bad)
            with pytest.raises(OptionError, match="encoding"):
                call.feed(speak=bytes(320), encoding="mp3")  # type: ignore[arg-type]
            for nothing in ({}, {"speak": b""}, {"listen": np.zeros(0, np.int16)}):
                call.feed(**nothing)
            assert call.stats == before
        action.stop()
        content.append(path_of(result_of(action)).read_bytes())
        assert heard.states == ["recording", "finished"]
    assert content[0] == content[1]


def test_odd_frames_are_taken(call: Call) -> None:
    """Every second sample of a view, numpy's integers as positions, one sample at a time."""
    position: list[Any] = [np.int64(0), np.uint16(1000)]
    action = call.record(BOTH)
    call.feed(speak=memoryview(AUDIO[:1600].data)[::2], at=position[0])
    for at in range(800, 1000):
        call.feed(speak=AUDIO[at : at + 1])
    call.feed(speak=AUDIO[1000:1800].astype(np.float32) / 32768, at=position[1])
    action.stop()
    kept = np.concatenate([AUDIO[:1600:2], AUDIO[800:1800]])
    check_finished(action.join(10), kept)


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_frame_of_an_hour(call: Call, format_: str) -> None:
    hour = np.tile(AUDIO, 1200)
    action = call.record({**NO_LIMITS, "format": format_})
    short = call.record({**NO_LIMITS, "max_length": 1})
    call.feed(speak=hour.tobytes())
    check_finished(short.join(10), AUDIO[:8000])
    action.stop()
    event = action.join(60)
    check_finished(event, hour)
    assert event.duration == 3600


# -- names ---------------------------------------------------------------------------------------

HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "a\0b",
    "\n\r\t",
    "x" * 10_000,
    "é" * 10_000,
    "ａ／．．／ｂ",
    "\u202egnp.exe",
    "\ud800",
    "CON",
    "a:b|c?*",
    "%2e%2e%2f",
    "'; DROP TABLE recordings; --",
]


@pytest.mark.parametrize("base_url", [None, "https://example.org/r"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_ids(
    make_call: Callable[..., Call], tmp_path: Path, hostile: str, base_url: str | None
) -> None:
    call = make_call(call_id=hostile, node_id=hostile, base_url=base_url)
    heard = Heard(call)
    action = call.record(NO_LIMITS, control_id=hostile)
    feed_frames(call, AUDIO)
    action.stop()
    event = result_of(action)
    told = [(e.params["call_id"], e.params["node_id"], e.control_id) for e in heard.events]
    assert told == [(hostile, hostile, hostile)] * 2
    assert names(tmp_path) == ["recordings"]
    (name,) = names(call.directory)
    assert len(os.fsencode(name)) < 200
    assert name.isascii()
    assert name.isprintable()
    assert event.url.endswith(f"/{name}")
    assert np.array_equal(soundfile.read(call.directory / name, dtype="int16")[0], AUDIO)


@unix
@pytest.mark.parametrize(
    "path",
    [
        "a\0b.wav",
        "\ud800.wav",
        "x" * 300 + ".wav",
        "x/" * 5000,
        "",
        ".",
        "..",
        "/",
        "/dev/null",
        "/proc/a.wav",
        "no/such/a.wav",
        "a.mp3",
        b"a.wav",
        5,
        [],
    ],
)
def test_a_hostile_path(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    running = heard.call.record(NO_LIMITS, path="good.wav")
    with pytest.raises((FileError, OptionError)):
        heard.call.record(NO_LIMITS, path=path)
    assert names(tmp_path) == [".good.part.wav"]
    feed_frames(heard.call, AUDIO)
    running.stop()
    check_finished(running.join(10), AUDIO)
    assert heard.states == ["recording", "finished"]


@unix
@pytest.mark.parametrize("directory", ["a\0b", "\ud800", "x" * 300])
def test_a_hostile_directory(
    make_call: Callable[..., Call], tmp_path: Path, directory: str
) -> None:
    call = make_call(directory=tmp_path / directory)
    with pytest.raises(FileError, match="cannot make the folder"):
        call.record(NO_LIMITS)
    call.feed(speak=AUDIO)
    assert names(tmp_path) == []


# -- how a process ends --------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("end", 0),
        ("collected", 0),
        ("sys.exit", 3),
        ("exception", 1),
        ("_exit", 4),
        ("SIGTERM", -15),
    ],
)
def test_a_process_that_ends_without_a_hangup(tmp_path: Path, how: str, status: int) -> None:
    output_of("leave", tmp_path, how, status=status)
    killed = how in {"_exit", "SIGTERM"}
    assert all(name.startswith(".") == killed for name in names(tmp_path))
    found = recover(tmp_path)
    assert [item.outcome for item in found] == ["recovered"] * (2 * killed)
    mp3, wav = sorted(tmp_path.iterdir(), key=lambda path: path.suffix)
    kept, _ = soundfile.read(wav, dtype="int16")
    assert np.array_equal(kept, AUDIO[: len(kept)])
    lengths = [len(kept), soundfile.info(mp3).frames]
    if killed:
        assert all(len(AUDIO) - 8000 <= length <= len(AUDIO) for length in lengths)
    else:
        assert lengths == [len(AUDIO)] * 2


# -- fork ----------------------------------------------------------------------------------------


@linux
def test_fork_while_recording(tmp_path: Path) -> None:
    (told,) = output_of("fork", tmp_path)
    child = told["child"]
    assert len(child["refused"]) == 5
    for refusal in child["refused"]:
        assert "belongs to the process that this one was forked from" in refusal
    assert (child["answer"], child["state"]) == ("404", "error")
    check_finished(event_of(child["own"]), AUDIO[:8000])
    assert child["busy"] == told["busy"] == ["busy"]
    check_finished(event_of(told["told"]), AUDIO)
    assert [name[0] == "." for name in names(tmp_path)] == [False, False]


@linux
def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    with program("parent_dies", tmp_path) as process:
        process.wait(60)
        (found,) = recover(tmp_path)
        assert found.outcome == "recovered"
        assert found.duration > 2


@linux
def test_multiprocessing_by_fork(tmp_path: Path) -> None:
    (told,) = output_of("multiprocess", tmp_path)
    assert told["status"] == 0
    check_finished(event_of(told["told"]), AUDIO)
    child, parent = names(tmp_path)
    assert (child[:6], parent[:6]) == ("child_", "parent")
    assert np.array_equal(soundfile.read(tmp_path / child, dtype="int16")[0], AUDIO[:8000])


# -- Ctrl-C --------------------------------------------------------------------------------------


@linux
def test_interrupts_for_real(tmp_path: Path) -> None:
    (told,) = output_of("interrupted", tmp_path)
    event = event_of(told["told"])
    assert event.state == "finished"
    assert len(audio_of(event)) == event.duration * 8000 == told["position"]
    # Of an interrupted frame all is there, or nothing.
    assert 0 <= told["position"] / 160 - told["frames"] <= 100


class Interrupt:
    """Raises KeyboardInterrupt at the nth line that the package runs in this thread.

    But at no `with`: leaving one is a line too, where Python never looks for signals.
    """

    def __init__(self, n: int) -> None:
        self.left = n
        self.happened = False
        self._package = str(Path(recorder.__file__).parent)

    def __call__(self, frame: FrameType, what: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._package):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if what == "line" and not self.happened and not line.lstrip().startswith("with "):
            if self.left == 0:
                self.happened = True
                raise KeyboardInterrupt
            self.left -= 1
        return self


def interrupted(n: int, use: Callable[[], object]) -> bool:
    """Do something, interrupted at its nth line; False when it has fewer."""
    interrupt = Interrupt(n)
    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        use()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return interrupt.happened


@pytest.mark.parametrize("what", ["block", "one leg", "end", "stop", "hangup"])
def test_an_interrupt_at_any_line(make_call: Callable[..., Call], what: str) -> None:
    """Wherever Ctrl-C comes, afterwards the call goes on, and all recordings end."""
    n = 0
    happened = True
    while happened:
        call = make_call()
        limit = {"max_length": 0.5} if what == "end" else {}
        action = call.record({**BOTH, "stereo": True, **limit})
        other = call.record({**NO_LIMITS, "terminators": "#"})
        one = slice(0, 3900)
        call.feed(speak=AUDIO[one], listen=AUDIO[one])
        two = slice(3900, 4060)
        feed = partial(call.feed, speak=AUDIO[two], listen=AUDIO[two])
        uses: dict[str, Callable[[], object]]
        uses = {"block": feed, "end": feed, "stop": action.stop, "hangup": call.hangup}
        uses["one leg"] = partial(call.feed, speak=AUDIO[two])
        happened = interrupted(n, uses[what])
        if what != "hangup":
            call.feed(speak=AUDIO[:8000], listen=AUDIO[:8000])
            assert action.state in {"recording", "finished"}
        call.hangup()
        for recording in (action, other):
            event = result_of(recording)
            kept = audio_of(event)
            assert (event.state, event.duration) == ("finished", len(kept) / 8000), n
            assert len(kept) in {3900, 4000, 4060, 11900, 12060}, n
            if what in {"block", "one leg"}:  # both legs, from here on, are where they belong
                legs = kept if kept.ndim == 2 else kept[:, np.newaxis]
                assert all(np.array_equal(leg[-8000:], AUDIO[:8000]) for leg in legs.T), n
        n += 1
    assert n > 20
    settle()
