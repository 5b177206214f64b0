# SPDX-License-Identifier: MIT
"""Where and when a user's handlers are called, and how to wait for them."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from recorder import OptionError, RecordEvent
from recorder.runtime.handlers import Delivery, Handler, Subscription, in_handler
from recorder.runtime.threads import HANDLERS
from tests.marks import mostly_slow
from tests.test_lanes import in_child, posix

PLAIN = pytest.mark.parametrize("plain", [True, False], ids=["plain", "coroutine"])


def event(n: int = 0) -> RecordEvent:
    params = {"control_id": str(n), "state": "finished"}
    return RecordEvent(event_type="test", timestamp=0.0, call_id="call", params=params)


class Log:
    """Handlers that note what happens, in order."""

    def __init__(self, *, plain: bool = True) -> None:
        self.entries: list[str] = []
        self.threads: list[int] = []
        self._plain = plain

    def note(self, what: str) -> Callable[[], None]:
        return lambda: self.entries.append(what)

    @property
    def handler(self) -> Handler:
        return self._handle if self._plain else self._handle_later

    def _handle(self, event: RecordEvent) -> None:
        self.threads.append(threading.get_ident())
        self.entries.append(f"event {event.control_id}")

    async def _handle_later(self, event: RecordEvent) -> None:
        self._handle(event)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def subscribed(loop: asyncio.AbstractEventLoop, handler: Handler) -> Subscription:
    async def subscribe() -> Subscription:
        return Subscription(handler)

    return loop.run_until_complete(subscribe())


def settle() -> None:
    assert HANDLERS.drain(10)


def test_a_handler_must_be_callable() -> None:
    with pytest.raises(OptionError, match="handler: expected a function of one event, got 5"):
        Subscription(5)  # type: ignore[arg-type]


# -- done ------------------------------------------------------------------------------------------


@PLAIN
def test_in_a_thread_done_is_called_after_the_handler(plain: bool) -> None:
    log = Log(plain=plain)
    subscription = Subscription(log.handler)
    for n in range(50):
        subscription.deliver(event(n), log.note(f"done {n}"))
    settle()
    assert log.entries == [f"{what} {n}" for n in range(50) for what in ("event", "done")]
    assert threading.get_ident() not in log.threads


@PLAIN
def test_in_a_loop_done_is_called_after_the_handler(plain: bool) -> None:
    log = Log(plain=plain)

    async def main() -> None:
        subscription = Subscription(log.handler)
        done = asyncio.Event()
        for n in range(50):
            subscription.deliver(event(n), log.note(f"done {n}"))
        subscription.deliver(event(50), done.set)
        assert not log.entries
        await asyncio.wait_for(done.wait(), 10)

    asyncio.run(main())
    assert log.entries == [
        *(f"{what} {n}" for n in range(50) for what in ("event", "done")),
        "event 50",
    ]
    assert set(log.threads) == {threading.get_ident()}


def test_a_coroutine_in_a_loop_may_wait_for_done() -> None:
    """Done after its first step, not after its end: otherwise this would never end."""
    entries: list[str] = []

    async def main() -> None:
        done, over = asyncio.Event(), asyncio.Event()

        async def handler(_: RecordEvent) -> None:
            entries.append("first step")
            await done.wait()
            await asyncio.sleep(0)
            entries.append("end")
            over.set()

        def is_done() -> None:
            entries.append("done")
            done.set()

        Subscription(handler).deliver(event(), is_done)
        await asyncio.wait_for(over.wait(), 10)

    asyncio.run(main())
    assert entries == ["first step", "done", "end"]


def test_a_coroutine_in_a_thread_runs_to_its_end() -> None:
    entries: list[str] = []

    async def handler(_: RecordEvent) -> None:
        for _step in range(3):
            await asyncio.sleep(0)
        entries.append("end")

    Subscription(handler).deliver(event(), lambda: entries.append("done"))
    settle()
    assert entries == ["end", "done"]


def test_any_awaitable_may_be_returned() -> None:
    entries: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        entries.append("work")

    async def main() -> None:
        done = asyncio.Event()
        subscription = Subscription(lambda _: asyncio.ensure_future(work()))
        subscription.deliver(event(), done.set)
        await asyncio.wait_for(done.wait(), 10)
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert entries == ["work"]


def test_what_a_handler_registers_in_its_own_loop_is_called_in_a_thread() -> None:
    log = Log()

    async def handler(_: RecordEvent) -> None:
        subscriptions.append(Subscription(log.handler))

    subscriptions: list[Subscription] = []
    Subscription(handler).deliver(event(), log.note("done"))
    settle()
    subscriptions[0].deliver(event(1), log.note("done too"))
    settle()
    assert log.entries == ["done", "event 1", "done too"]


# -- handlers that block, or raise -----------------------------------------------------------------


@PLAIN
def test_blocked_handlers_delay_only_their_own_events(plain: bool) -> None:
    go = threading.Event()
    begun = threading.Barrier(71)

    def block(_: RecordEvent) -> None:
        begun.wait(10)
        assert go.wait(60)

    async def block_later(event: RecordEvent) -> None:
        block(event)

    log = Log(plain=plain)
    try:
        for _ in range(70):
            Subscription(block if plain else block_later).deliver(event(), log.note("done"))
        begun.wait(10)
        done = threading.Event()
        other = Subscription(log.handler)
        other.deliver(event(1), log.note("done 1"))
        other.deliver(event(2), done.set)
        assert done.wait(10)
        assert log.entries == ["event 1", "done 1", "event 2"]
    finally:
        go.set()
    settle()
    assert log.entries[3:] == ["done"] * 70


@PLAIN
@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
def test_what_is_raised_in_a_thread_is_logged(
    error: type[BaseException], plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    def fail(event: RecordEvent) -> None:
        log.entries.append(f"event {event.control_id}")
        raise error("on purpose")

    async def fail_later(event: RecordEvent) -> None:
        await asyncio.sleep(0)
        fail(event)

    subscription = Subscription(fail if plain else fail_later)
    with caplog.at_level(logging.ERROR, logger="recorder"):
        for n in range(3):
            subscription.deliver(event(n), log.note(f"done {n}"))
        settle()
    assert log.entries == [f"{what} {n}" for n in range(3) for what in ("event", "done")]
    assert caplog.text.count(f"{error.__name__}: on purpose") == 3
    assert "fail" in caplog.messages[0]


@PLAIN
@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(
    "error",
    mostly_slow(
        [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit],
        *(ValueError, SystemExit),
    ),
)
def test_what_is_raised_in_a_loop(
    error: type[BaseException], step: int, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What ends a loop ends this one too; anything else is logged only."""
    log = Log()

    def fail(event: RecordEvent) -> None:
        log.entries.append("failed")
        raise error("on purpose")

    async def fail_later(event: RecordEvent) -> None:
        if step == 2:
            await asyncio.sleep(0)
        fail(event)

    async def main() -> None:
        done = asyncio.Event()
        Subscription(fail if plain else fail_later).deliver(event(), log.note("done"))
        Subscription(log.handler).deliver(event(1), done.set)
        await asyncio.wait_for(done.wait(), 10)
        for _ in range(3):
            await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR, logger="recorder"):
        if error in {SystemExit, KeyboardInterrupt}:
            with pytest.raises(error, match="on purpose"):
                asyncio.run(main())
        else:
            asyncio.run(main())
        gc.collect()
    settle()
    assert sorted(log.entries) == ["done", "event 1", "failed"]
    assert [r.levelname for r in caplog.records if r.name == "recorder"].count("ERROR") == 1
    assert "on purpose" in caplog.text


# -- loops that end --------------------------------------------------------------------------------


@PLAIN
def test_a_loop_closed_before_the_event(
    loop: asyncio.AbstractEventLoop, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(plain=plain)
    subscription = subscribed(loop, log.handler)
    loop.close()
    with caplog.at_level(logging.WARNING, logger="recorder"):
        for n in range(3):
            subscription.deliver(event(n), log.note(f"done {n}"))
        settle()
    assert log.entries == [f"{what} {n}" for n in range(3) for what in ("event", "done")]
    assert threading.get_ident() not in log.threads
    (message,) = caplog.messages
    assert log.handler.__qualname__ in message
    assert "event loop" in message


@PLAIN
def test_a_loop_closed_before_it_calls(
    loop: asyncio.AbstractEventLoop, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(plain=plain)
    subscription = subscribed(loop, log.handler)
    for n in range(3):
        subscription.deliver(event(n), log.note(f"done {n}"))
    settle()
    assert not log.entries
    with caplog.at_level(logging.WARNING, logger="recorder"):
        loop.close()
        subscription.deliver(event(3), log.note("done 3"))
        gc.collect()
        settle()
    assert log.entries == [f"{what} {n}" for n in range(4) for what in ("event", "done")]
    assert threading.get_ident() not in log.threads
    # Not what asyncio says of a loop of another test, whose garbage is collected here.
    (message,) = [r.getMessage() for r in caplog.records if r.name == "recorder"]
    assert log.handler.__qualname__ in message


@pytest.mark.parametrize("how", ["cancelled", "dropped"])
def test_a_loop_that_ends_before_the_first_step(
    loop: asyncio.AbstractEventLoop, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The coroutine was made, but its task never ran."""
    log = Log(plain=False)

    async def main() -> Subscription:
        subscription = Subscription(log.handler)
        subscription.deliver(event(1), log.note("done 1"))
        return subscription  # the task is made in the loop's last round

    with caplog.at_level(logging.WARNING):
        if how == "cancelled":
            subscription = asyncio.run(main())
        else:
            subscription = subscribed(loop, log.handler)
            subscription.deliver(event(1), log.note("done 1"))
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()
        gc.collect()
        settle()
    assert log.entries == ["event 1", "done 1"]
    assert threading.get_ident() not in log.threads
    assert [record.name for record in caplog.records] == ["recorder"]
    subscription.deliver(event(2), log.note("done 2"))
    settle()
    assert log.entries[2:] == ["event 2", "done 2"]


def test_a_loop_closed_while_threads_deliver(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="recorder")
    for _ in range(20):
        log = Log()
        loop = asyncio.new_event_loop()
        subscription = subscribed(loop, log.handler)
        together = threading.Barrier(2)

        def deliver(subscription: Subscription, log: Log, together: threading.Barrier) -> None:
            together.wait(10)
            for n in range(200):
                subscription.deliver(event(n), log.note(f"done {n}"))

        deliverer = threading.Thread(target=deliver, args=(subscription, log, together))
        deliverer.start()
        together.wait(10)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        deliverer.join()
        settle()
        assert log.entries == [f"{what} {n}" for n in range(200) for what in ("event", "done")]


# -- waiting for handlers --------------------------------------------------------------------------


@PLAIN
def test_then_comes_after_all_handlers(plain: bool) -> None:
    go = threading.Event()
    entries: list[str] = []

    def handler(_: RecordEvent) -> None:
        assert go.wait(10)
        entries.append("called")

    async def handler_later(event: RecordEvent) -> None:
        handler(event)

    subscriptions = [Subscription(handler if plain else handler_later) for _ in range(5)]
    delivery = Delivery(event(), subscriptions, lambda: entries.append("then"))
    delivery.start()
    assert not delivery.wait(0)
    assert not entries
    go.set()
    waiters = [threading.Thread(target=delivery.wait) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    assert delivery.wait(10)
    settle()
    for waiter in waiters:
        waiter.join(10)
        assert not waiter.is_alive()
    assert entries == ["called"] * 5 + ["then"]


def test_then_comes_at_once_without_handlers() -> None:
    entries: list[str] = []
    delivery = Delivery(event(), [], lambda: entries.append("then"))
    delivery.start()
    assert entries == ["then"]
    assert delivery.wait(0)


def test_then_comes_after_handlers_in_loops_and_threads() -> None:
    log = Log()

    async def main() -> None:
        loop, then = asyncio.get_running_loop(), asyncio.Event()

        def all_called() -> None:
            log.entries.append("then")
            loop.call_soon_threadsafe(then.set)

        in_thread = await asyncio.to_thread(Subscription, log.handler)
        delivery = Delivery(event(), [Subscription(log.handler), in_thread], all_called)
        waiting = asyncio.create_task(asyncio.to_thread(delivery.wait, 10))
        await asyncio.to_thread(delivery.start)
        await asyncio.wait_for(then.wait(), 10)
        assert await waiting

    asyncio.run(main())
    assert log.entries == ["event 0", "event 0", "then"]
    assert len(set(log.threads)) == 2


@PLAIN
@pytest.mark.parametrize("in_loop", [True, False])
def test_a_handler_does_not_wait_for_handlers(in_loop: bool, plain: bool) -> None:
    seen: list[bool] = []
    called = threading.Event()
    deliveries: list[Delivery] = []

    def handler(_: RecordEvent) -> None:
        seen.extend([in_handler(), deliveries[0].wait(10)])

    async def handler_later(event: RecordEvent) -> None:
        handler(event)
        await asyncio.sleep(0)
        seen.append(in_handler())
        seen.append(await asyncio.create_task(asyncio.to_thread(in_handler)))
        called.set()

    def deliver() -> None:
        subscription = Subscription(handler if plain else handler_later)
        deliveries.append(Delivery(event(), [subscription], then))
        deliveries[0].start()

    def then() -> None:
        seen.append(in_handler())
        if plain:
            called.set()

    async def main() -> None:
        deliver()
        assert await asyncio.to_thread(called.wait, 10)

    if in_loop:
        asyncio.run(main())
    else:
        deliver()
        assert called.wait(10)
    settle()
    if not plain and in_loop:  # `then` after its first step
        assert seen[:2] == [True, True]
        assert sum(seen) >= len(seen) - 1
    else:
        assert seen == [*([True] * (2 if plain else 4)), False]
    assert not in_handler()


def test_a_thread_that_runs_a_loop_does_not_wait_for_its_handlers() -> None:
    log = Log()

    async def main() -> None:
        delivery = Delivery(event(), [Subscription(log.handler)], log.note("then"))
        delivery.start()
        assert delivery.wait(60)
        assert not log.entries
        while "then" not in log.entries:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert log.entries == ["event 0", "then"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_stopped_loop_is_not_waited_for(loop: asyncio.AbstractEventLoop, when: str) -> None:
    log = Log()
    other = Subscription(log.handler)
    delivery: Delivery

    async def main() -> Delivery:
        delivery = Delivery(event(), [Subscription(log.handler), other], log.note("then"))
        if when == "after":
            delivery.start()
        return delivery

    loop.call_soon(loop.stop)
    loop.run_forever()
    delivery = loop.run_until_complete(main())
    if when == "before":
        delivery.start()
    assert delivery.wait(10)
    settle()
    loop.run_until_complete(asyncio.sleep(0))
    assert sorted(log.entries) == ["event 0", "event 0", "then"]
    if when == "before":
        assert log.entries == ["event 0", "then", "event 0"]


# -- fork ------------------------------------------------------------------------------------------


@posix
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_events_of_its_own_only(loop: asyncio.AbstractEventLoop) -> None:
    from recorder.runtime import lifecycle  # noqa: F401  # it has pools and handlers begin anew

    log = Log()
    subscription = subscribed(loop, log.handler)
    subscription.deliver(event(1), log.note("done 1"))

    def use() -> bool:
        loop.close()
        subscription.deliver(event(2), log.note("done 2"))
        return HANDLERS.drain(5) and log.entries == ["event 2", "done 2"]

    assert in_child(use)
    loop.run_until_complete(asyncio.sleep(0))
    assert log.entries == ["event 1", "done 1"]
