# SPDX-License-Identifier: MIT
"""The record API awaited, as in RELAY."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import Call, RecordEvent
from tests import signals
from tests.conftest import Heard, settle
from tests.test_call import NO_LIMITS, audio_of, feed_frames, path_of


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


def test_commands_may_be_awaited(heard: Heard) -> None:
    async def main() -> None:
        action = await heard.call.record(NO_LIMITS)
        assert (await action.pause("silence"))["code"] == "200"
        assert (await action.resume())["code"] == "200"
        assert (await action.stop())["code"] == "200"
        assert (await action.stop())["code"] == "404"
        assert await action.wait() is action.result
        assert action.is_done

    asyncio.run(main())
    assert heard.states == ["recording", "paused", "recording", "finished"]


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
    async def start() -> Any:
        action = await call.record(NO_LIMITS, on_completed=print)
        with pytest.raises(TimeoutError):
            await action.wait(timeout=0)
        return action

    action = asyncio.run(start())
    with caplog.at_level(logging.ERROR):
        action.stop()
        settle()
    assert action.is_done
    assert "loop" in caplog.text
    assert len(caplog.records) == 1


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
        assert not one._waiters
        answers = await asyncio.gather(one.stop(), two.stop())
        assert [answer["code"] for answer in answers] == ["200", "200"]
        settle()
        assert await one.wait(timeout=0) is one.result

    asyncio.run(main())
