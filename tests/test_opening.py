# SPDX-License-Identifier: MIT
"""A file that takes long to open keeps `record` waiting in a thread, and nothing else."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import Call, FileError, RecordAction
from recorder.writing.writer import Writer
from tests import signals
from tests.conftest import settle
from tests.recordings import NO_LIMITS, audio_of

SPEAK = signals.noise(1, -30, seed=3)


class SlowDisk:
    """Opening waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.go = threading.Event(), threading.Event()
        open_file = Writer.open

        def wait(writer: Writer) -> None:
            self.asked.set()
            assert self.go.wait(30)
            open_file(writer)

        monkeypatch.setattr(Writer, "open", wait)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.go.set()
    settle()


def test_feed_does_not_wait_for_record(call: Call, slow_disk: SlowDisk) -> None:
    actions: list[RecordAction] = []
    recording = threading.Thread(target=lambda: actions.append(call.record(NO_LIMITS)))
    recording.start()
    assert slow_disk.asked.wait(30)
    call.feed(speak=SPEAK)  # would wait for ever
    assert call.position == 8000
    slow_disk.go.set()
    recording.join(30)
    call.feed(speak=SPEAK)
    call.hangup()
    assert np.array_equal(audio_of(actions[0].join(10)), SPEAK)  # from when it was there


@pytest.mark.parametrize("how", ["awaited", "task", "plain"])
def test_the_loop_does_not_wait_for_record(
    make_call: Callable[..., Call], slow_disk: SlowDisk, how: str
) -> None:
    """It records from the call of `record` on; events wait until the file's name is known."""
    call = make_call()
    states: list[str] = []

    async def main() -> RecordAction:
        call.on("calling.call.record", lambda event: states.append(event.state))
        action: RecordAction | None = None
        task: Any = None
        if how == "plain":
            action = call.record(NO_LIMITS)
        elif how == "task":
            task = asyncio.create_task(call.record(NO_LIMITS))
        else:
            task = asyncio.ensure_future(call.record(NO_LIMITS))
        await asyncio.sleep(0)
        call.feed(speak=SPEAK)
        assert await asyncio.to_thread(slow_disk.asked.wait, 30)
        assert not states
        if task is not None:
            assert not task.done()
        slow_disk.go.set()
        if task is not None:
            action = await task
        assert action is not None
        await action.stop()
        event = await action.wait(10)
        assert event.state == "finished"
        return action

    action = asyncio.run(main())
    assert states == ["recording", "finished"]
    assert np.array_equal(audio_of(action.result), SPEAK)


def test_nothing_is_written_before_the_file_is_to_be_opened(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's opening is put before anything that another thread feeds."""
    free: list[bool] = []
    open_later = Writer.open_later

    def put(writer: Writer, then: Callable[[FileError | None], None]) -> None:
        def feed() -> None:
            free.append(call._turns.lock.acquire(blocking=False))
            if free[-1]:
                call._turns.lock.release()

        thread = threading.Thread(target=feed)
        thread.start()
        thread.join(10)
        open_later(writer, then)

    monkeypatch.setattr(Writer, "open_later", put)

    async def main() -> RecordAction:
        action = await call.record(NO_LIMITS)
        call.feed(speak=SPEAK)
        await action.stop()
        await action.wait(10)
        return action

    assert np.array_equal(audio_of(asyncio.run(main()).result), SPEAK)
    assert free == [False]


@pytest.mark.parametrize("how", ["awaited", "task"])
def test_a_file_that_cannot_be_opened_is_raised_where_it_is_awaited(
    make_call: Callable[..., Call], tmp_path: Path, how: str
) -> None:
    call = make_call()
    events: list[Any] = []

    async def main() -> None:
        call.on("calling.call.record", events.append)
        path = tmp_path / "no" / "such" / "a.wav"
        action = call.record(NO_LIMITS, path=path, control_id="mine")
        with pytest.raises(FileError, match="no/such"):
            await (action if how == "awaited" else asyncio.create_task(action))
        action = await call.record(NO_LIMITS, control_id="mine")  # nothing has been started
        call.feed(speak=SPEAK)
        await action.stop()
        await action.wait(10)

    asyncio.run(main())
    settle()
    assert [event.state for event in events] == ["recording", "finished"]


def test_a_file_that_cannot_be_opened_ends_a_recording_that_is_not_awaited(
    make_call: Callable[..., Call], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    call = make_call()
    events: list[Any] = []

    async def main() -> None:
        with caplog.at_level(logging.CRITICAL, logger="recorder"):
            action = call.record(
                NO_LIMITS, path=tmp_path / "no" / "such" / "a.wav", on_completed=events.append
            )
            call.feed(speak=SPEAK)
            event = await action.wait(10)
        assert (event.state, event.reason, event.size) == ("error", "error", 0)
        assert event.error is not None
        assert "no/such" in event.error
        assert action.state == "error"
        assert events == [event]
        assert (await action.stop())["code"] == "404"
        assert len(call._recordings) == 0

    asyncio.run(main())


def test_a_recording_that_ends_before_its_file_is_open(
    make_call: Callable[..., Call], slow_disk: SlowDisk
) -> None:
    call = make_call()
    states: list[str] = []

    async def main() -> RecordAction:
        call.on("calling.call.record", lambda event: states.append(event.state))
        action = call.record(NO_LIMITS)
        call.feed(speak=SPEAK[:4000])
        action.pause("silence")
        call.feed(speak=SPEAK[:4000])
        action.resume()
        action.stop()
        assert await asyncio.to_thread(slow_disk.asked.wait, 30)
        slow_disk.go.set()
        await action.wait(10)
        return action

    action = asyncio.run(main())
    assert states == ["recording", "paused", "recording", "finished"]
    assert len(audio_of(action.result)) == 8000
