# SPDX-License-Identifier: MIT
"""Handlers that raise, block or call back harm nobody."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import AudioOptions, Call, RecordAction, RecordEvent
from tests import signals
from tests.conftest import Events, settle
from tests.recordings import (
    AUDIO,
    NO_LIMITS,
    SPEAK,
    check_finished,
    feed_frames,
    result_of,
)


def test_what_handlers_raise_is_logged_and_harms_nothing(
    events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: RecordEvent) -> None:
        raise ValueError(f"no {event.state}")

    events.call.on("calling.call.record", fail)
    action = events.call.record(NO_LIMITS, on_completed=fail)
    with caplog.at_level(logging.ERROR, logger="recorder"):
        feed_frames(events.call, SPEAK)
        action.stop()
    assert events.states == ["recording", "finished"]
    assert caplog.text.count("ValueError: no finished") == 2
    assert action.is_done


def test_handlers_may_call_back(events: Events) -> None:
    call = events.call
    half_a_second: AudioOptions = {**NO_LIMITS, "max_length": 0.5}
    following: list[RecordAction] = []

    def record_again(event: RecordEvent) -> None:
        if len(following) < 2:
            following.append(call.record(half_a_second, on_completed=record_again))

    call.record(half_a_second, on_completed=record_again)
    for _ in range(3):
        feed_frames(call, signals.noise(1, -30))
        settle()
    assert [result_of(action).duration for action in following] == [0.5, 0.5]
    assert events.states == ["recording", "finished"] * 3


def test_a_coroutine_function_without_a_loop_runs_to_its_end(call: Call) -> None:
    done = threading.Event()
    seen = []

    async def completed(event: RecordEvent) -> None:
        seen.append(event.state)
        done.set()

    call.record({**NO_LIMITS, "max_length": 0.1}, on_completed=completed)
    feed_frames(call, SPEAK)
    assert done.wait(30)
    assert seen == ["finished"]


def test_a_command_in_a_handler_is_done_when_it_returns(call: Call) -> None:
    other = call.record(NO_LIMITS)
    seen = []

    def stop_the_other(_: RecordEvent) -> None:
        other.stop()
        seen.append((other.state, other.join(timeout=10).state))

    call.record(NO_LIMITS, on_completed=stop_the_other).stop()
    settle()
    assert seen == [("finished", "finished")]


RAISED = [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("error", RAISED)
def test_a_handler_that_raises(
    events: Events, caplog: pytest.LogCaptureFixture, error: type[BaseException], plain: bool
) -> None:
    call = events.call
    seen = []

    def fail(event: RecordEvent) -> None:
        seen.append(event.state)
        raise error("on purpose")

    async def fail_later(event: RecordEvent) -> None:
        await asyncio.sleep(0)
        fail(event)

    handler = fail if plain else fail_later
    call.on("calling.call.record", handler)
    action = call.record(NO_LIMITS, on_completed=handler)
    other = call.record(NO_LIMITS)
    with caplog.at_level(logging.ERROR, logger="recorder"):
        feed_frames(call, AUDIO)
        action.stop()
        call.hangup()
        check_finished(action.join(10), AUDIO)
        check_finished(other.join(10), AUDIO)
        assert sorted(events.states) == ["finished", "finished", "recording", "recording"]
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
    events = Events(call)  # in a thread
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
    assert sorted(events.states) == ["finished", "finished", "recording", "recording"]


@pytest.mark.parametrize("plain", [True, False])
def test_handlers_that_do_not_return(make_call: Callable[..., Call], plain: bool) -> None:
    """More of them than there are threads to begin with."""
    call = make_call()
    seen: list[str] = []
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
            call.on("calling.call.record", block(index))
        done = threading.Event()

        def listen(event: RecordEvent) -> None:
            seen.append(event.state)
            if len(seen) == 4:
                done.set()

        call.on("calling.call.record", listen)
        action = call.record(NO_LIMITS, on_completed=block(3))
        other = call.record(NO_LIMITS)
        feed_frames(call, AUDIO)
        action.stop()
        call.hangup()
        assert done.wait(10)
        assert sorted(seen) == ["finished", "finished", "recording", "recording"]
        assert all(event.wait(10) for event in blocked)
        for recording in (action, other):  # complete, but not all of its handlers were called
            assert recording.is_done
            assert recording.result is not None
            check_finished(recording.result, AUDIO)
            with pytest.raises(TimeoutError):
                recording.join(0.01)
    finally:
        go.set()
    assert action.join(10) is action.result
    assert other.join(10) is other.result


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("in_loop", [True, False])
@pytest.mark.parametrize("state", ["recording", "finished"])
def test_a_handler_that_calls_back(
    make_call: Callable[..., Call], state: str, in_loop: bool, plain: bool
) -> None:
    call = make_call()
    answers: list[str] = []
    started, fed, done = threading.Event(), threading.Event(), threading.Event()
    actions: dict[str, RecordAction] = {}

    def call_back(event: RecordEvent) -> None:
        if answers or (event.control_id, event.state) != ("first", state):
            return
        assert started.wait(10)
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
        call.on("calling.call.record", call_back if plain else call_back_later)
        actions["other"] = call.record(NO_LIMITS)
        actions["first"] = call.record(NO_LIMITS, control_id="first")
        started.set()
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
