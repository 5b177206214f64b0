# SPDX-License-Identifier: MIT
"""A disk that stalls: the call continues, memory is bounded, and other recordings end."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from recorder import (
    Call,
    recover,
)
from recorder.runtime.lanes import Lane
from recorder.writing.writer import MOST_PENDING
from tests import signals
from tests.conftest import Events, settle
from tests.recordings import (
    AUDIO,
    NO_LIMITS,
    check_finished,
    feed_frames,
    names,
    path_of,
)
from tests.signals import Pcm

if TYPE_CHECKING:
    from recorder.writing.staged import StagedFile


class StalledDisk:
    """The disk of the recording that was started last: it has stalled until `go` is set."""

    def __init__(self, call: Call) -> None:
        self.go = threading.Event()
        self.at_it = threading.Event()
        self.file: StagedFile = call._recordings._running[-1].writer.file
        self._write = self.file.write
        self.file.write = self.write  # type: ignore[method-assign]

    def write(self, block: Pcm) -> None:
        self.at_it.set()
        assert self.go.wait(60)
        self._write(block)


@pytest.fixture
def stall(call: Call) -> Iterator[Callable[[], StalledDisk]]:
    disks: list[StalledDisk] = []

    def stall() -> StalledDisk:
        disks.append(StalledDisk(call))
        return disks[-1]

    yield stall
    for disk in disks:
        disk.go.set()


@pytest.fixture
def soon_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.runtime.lanes._STUCK_SECONDS", 0.02)
    monkeypatch.setattr("recorder.runtime.lanes._LOOK_SECONDS", 0.01)


@pytest.mark.usefixtures("soon_stuck")
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_disk_that_stalls(
    events: Events,
    stall: Callable[[], StalledDisk],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    format_: Any,
) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        "recorder.recording.session.time",
        SimpleNamespace(monotonic=lambda: clock[0], time=time.time),
    )
    # To wait in `feed`, for however long, would be an error.
    wait = Lane.wait
    monkeypatch.setattr(Lane, "wait", None)
    call = events.call
    good = call.record(NO_LIMITS)
    bad = call.record({**NO_LIMITS, "format": format_}, path=tmp_path / f"bad.{format_}")
    stalled = stall()
    audio = signals.noise(MOST_PENDING / 16000 + 3, -30)
    bound = None
    for at in range(0, len(audio), 160):
        call.feed(speak=audio[at : at + 160])
        clock[0] += 0.02
        if at % 8000 == 0:  # a live call leaves the other recording's writer this time
            assert wait(call._recordings._running[0].writer._lane, 0, 10)
        if bound is None and bad.is_done:
            bound = at + 160
    assert stalled.at_it.is_set()
    assert bound is not None
    assert 0 <= bound * 2 - MOST_PENDING <= 2 * 16000  # and a block or two
    event = bad.join(10)
    assert (event.state, event.record["reason"]) == ("error", "error")
    assert "the disk has stalled" in event.record["error"]
    assert event.duration == 0  # as far as the writes that ended say
    assert path_of(event) == stalled.file.staged
    # The others end, and new ones begin and end, while it stalls.
    new = call.record(NO_LIMITS, path=tmp_path / "new.wav")
    call.feed(speak=audio[:800])
    call.hangup()
    check_finished(good.join(10), np.concatenate([audio, audio[:800]]))
    check_finished(new.join(10), audio[:800])
    assert [found.outcome for found in recover(tmp_path)] == ["busy"]
    stalled.go.set()
    settle()
    assert events.states.count("error") == 1
    assert names(tmp_path) == [f".bad.part.{format_}", "new.wav", "recordings"]
    (found,) = recover(tmp_path)
    assert (found.outcome, found.path) == ("recovered", tmp_path / f"bad.{format_}")
    kept, _ = soundfile.read(found.path, dtype="int16")
    assert found.duration == len(kept) / 8000
    if format_ == "wav":
        assert len(kept) > 2000  # the block that it was asked to take, and no other
        assert np.array_equal(kept, audio[: len(kept)])


@pytest.mark.usefixtures("soon_stuck")
def test_what_ends_beside_a_stalled_disk_is_reported(
    call: Call, stall: Callable[[], StalledDisk], tmp_path: Path
) -> None:
    """Nobody feeds any more, and no bound is reached: a thread is found all the same."""
    stalled, bad = [], []
    for index in range(3):
        bad.append(call.record(NO_LIMITS, path=tmp_path / f"bad-{index}.wav"))
        stalled.append(stall())
    good = [call.record(NO_LIMITS) for _ in range(3)]
    feed_frames(call, AUDIO)
    call.hangup()
    for action in good:
        check_finished(action.join(10), AUDIO)
    assert [action.is_done for action in bad] == [False] * 3
    for disk in stalled:
        disk.go.set()
    for action in bad:
        check_finished(action.join(10), AUDIO)


def test_feeding_faster_than_real_time_waits_for_a_slow_disk(
    call: Call, stall: Callable[[], StalledDisk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.writing.writer.ENOUGH_PENDING", 65536)
    action = call.record(NO_LIMITS)
    disk = stall()
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


@pytest.mark.slow
@pytest.mark.usefixtures("soon_stuck")
def test_feeding_faster_than_real_time_does_not_wait_for_ever(
    call: Call, stall: Callable[[], StalledDisk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.writing.writer.ENOUGH_PENDING", 65536)
    monkeypatch.setattr("recorder.writing.writer.PATIENCE", 0.5)
    good = call.record(NO_LIMITS)
    bad = call.record(NO_LIMITS)
    stall()
    audio = signals.noise(10, -30)
    feed_frames(call, audio)
    assert bad.join(10).state == "error"
    good.stop()
    check_finished(good.join(10), audio)
