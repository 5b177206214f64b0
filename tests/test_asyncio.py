# SPDX-License-Identifier: MIT
"""The record API awaited, as in RELAY."""

import asyncio
import logging
import threading
from collections.abc import Callable

import numpy as np
import pytest

from recorder import Call, RecordAction, RecordEvent
from tests import signals
from tests.conftest import Events, settle
from tests.recordings import NO_LIMITS, SPEAK, audio_of, feed_frames, path_of


def test_the_seed_of_the_project(call: Call) -> None:
    audio = np.concatenate(
        [signals.silence(0.5), signals.speech(), signals.dtmf("#"), signals.silence(1)]
    )

    async def feed() -> None:
        for at in range(0, len(audio), 160):
            call.feed(speak=audio[at : at + 160], listen=signals.silence(0.02)[: len(audio) - at])
            await asyncio.sleep(0)

    async def main() -> RecordEvent:
        action = await call.record(
            audio={"beep": True, "end_silence_timeout": 3, "terminators": "#"}
        )
        feeder = asyncio.create_task(feed())
        event = await action.wait()
        await feeder
        return event

    event = asyncio.run(main())
    url = event.params.get("record", {}).get("url")
    assert url == path_of(event).as_uri()
    start = len(audio) - 8000 - 800
    assert abs(len(audio_of(event)) - (start - 2000)) <= 8


def test_commands_may_be_awaited(events: Events) -> None:
    async def main() -> None:
        action = await events.call.record(NO_LIMITS)
        assert (await action.pause("silence"))["code"] == "200"
        assert (await action.resume())["code"] == "200"
        assert (await action.stop())["code"] == "200"
        assert (await action.stop())["code"] == "404"
        assert await action.wait() is action.result
        assert action.is_done

    asyncio.run(main())
    assert events.states == ["recording", "paused", "recording", "finished"]


def test_a_timeout_of_wait_harms_nothing(call: Call) -> None:
    async def main() -> None:
        action = call.record({**NO_LIMITS, "max_length": 0.5})
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await action.wait(timeout=0)
        waiting = asyncio.create_task(action.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert action.state == "recording"
        feed_frames(call, signals.noise(1, -30))
        assert (await action.wait(timeout=30)).duration == 0.5

    asyncio.run(main())


def test_waiting_while_another_thread_feeds(call: Call) -> None:
    async def main() -> tuple[RecordEvent, ...]:
        action = await call.record({**NO_LIMITS, "max_length": 0.5})
        feeder = threading.Thread(target=feed_frames, args=(call, signals.noise(1, -30)))
        feeder.start()
        events = await asyncio.gather(*(action.wait(30) for _ in range(5)))
        feeder.join()
        return tuple(events)

    assert {event.duration for event in asyncio.run(main())} == {0.5}


@pytest.mark.parametrize("fed_by", ["loop", "thread"])
def test_handlers_are_called_in_the_loop_that_registered_them(call: Call, fed_by: str) -> None:
    threads: list[int] = []
    order: list[str] = []

    async def completed(event: RecordEvent) -> None:
        threads.append(threading.get_ident())
        await asyncio.sleep(0)
        order.append(f"completed {event.state}")

    def listener(event: RecordEvent) -> None:
        asyncio.get_running_loop()
        threads.append(threading.get_ident())
        order.append(event.state)

    async def main() -> None:
        call.on("calling.call.record", listener)
        action = await call.record({**NO_LIMITS, "max_length": 0.5}, on_completed=completed)
        if fed_by == "loop":
            feed_frames(call, signals.noise(1, -30))
        else:
            await asyncio.to_thread(feed_frames, call, signals.noise(1, -30))
        await action.wait()
        await asyncio.sleep(0)  # for the coroutine

    asyncio.run(main())
    assert set(threads) == {threading.get_ident()}
    # A coroutine function's task may overtake the other handlers of its event.
    assert order[0] == "recording"
    assert sorted(order[1:]) == ["completed finished", "finished"]


def test_a_closed_loop_harms_nothing(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """The handler is called in a background thread instead, with one warning."""
    called: list[tuple[RecordEvent, int]] = []

    async def start() -> RecordAction:
        action = await call.record(
            NO_LIMITS, on_completed=lambda event: called.append((event, threading.get_ident()))
        )
        with pytest.raises(TimeoutError):
            await action.wait(timeout=0)
        return action

    action = asyncio.run(start())
    with caplog.at_level(logging.WARNING, "recorder"):
        action.stop()
        event = action.join(10)
        settle()
    assert [one for one, _ in called] == [event]
    assert called[0][1] != threading.get_ident()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "loop" in record.getMessage()


def test_what_a_coroutine_handler_raises_is_logged(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(event: RecordEvent) -> None:
        raise ValueError(f"no {event.state}")

    async def main() -> None:
        call = make_call()
        action = await call.record(NO_LIMITS, on_completed=fail)
        await action.stop()
        await action.wait(10)
        settle()
        for _ in range(5):
            await asyncio.sleep(0)
        assert action.completed

    with caplog.at_level(logging.ERROR, logger="recorder"):
        asyncio.run(main())
    assert "ValueError: no finished" in caplog.text


def test_waiting_for_what_is_done_needs_no_time(call: Call) -> None:
    async def main() -> None:
        one, two = call.record(NO_LIMITS), call.record(NO_LIMITS)
        for _ in range(20):
            with pytest.raises(TimeoutError):
                await one.wait(timeout=0)
        assert not one._is_done._waiters
        assert not one._delivered._waiters
        answers = await asyncio.gather(one.stop(), two.stop())
        assert [answer["code"] for answer in answers] == ["200", "200"]
        settle()
        assert await one.wait(timeout=0) is one.result

    asyncio.run(main())


def test_record_may_be_made_a_task(call: Call) -> None:
    async def main() -> None:
        one, two = await asyncio.gather(
            asyncio.create_task(call.record(NO_LIMITS)), call.record(NO_LIMITS)
        )
        assert (one.state, two.state) == ("recording", "recording")
        assert await one is one  # again
        pending = asyncio.create_task(one.stop())
        assert (await pending)["code"] == "200"
        two.stop()

    asyncio.run(main())


def test_leaving_the_block_hangs_up_and_waits(make_call: Callable[..., Call]) -> None:
    """For the files, and until all handlers of both kinds were called."""
    called: list[str] = []

    async def completed(event: RecordEvent) -> None:
        called.append(f"in the loop {event.reason}")

    async def main() -> RecordAction:
        async with make_call() as call:
            action = await call.record(NO_LIMITS, on_completed=completed)
            feed_frames(call, SPEAK)
        assert called == ["in the loop hangup"]
        assert action.result is not None
        return action

    action = asyncio.run(main())
    assert np.array_equal(audio_of(action.join(0)), SPEAK)


def test_hangup_may_be_awaited(events: Events) -> None:
    async def main() -> RecordEvent:
        action = await events.call.record(NO_LIMITS)
        answer = await events.call.hangup(reason="busy")
        assert answer["code"] == "200"
        return await action.wait(10)

    assert asyncio.run(main()).reason == "hangup"
    assert events.states == ["recording", "finished"]


@pytest.mark.parametrize("registered", ["loop", "thread"])
@pytest.mark.parametrize("waits", ["loop", "thread"])
def test_wait_returns_after_the_handlers(call: Call, registered: str, waits: str) -> None:
    """Of the same loop, another thread, or both."""
    called: list[int] = []

    def handler(event: RecordEvent) -> None:
        sum(range(100_000))  # slow, beside one that waits
        called.append(1)

    async def main() -> None:
        for number in range(30):
            if registered == "loop":
                action = await call.record(NO_LIMITS, on_completed=handler)
            else:
                action = await asyncio.to_thread(call.record, NO_LIMITS, on_completed=handler)
            action.stop()
            if waits == "loop":
                await action.wait(10)
            else:
                await asyncio.to_thread(action.join, 10)
            assert len(called) == number + 1

    asyncio.run(main())
