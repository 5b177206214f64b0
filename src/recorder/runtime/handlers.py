# SPDX-License-Identifier: MIT
"""Calling a user's handlers where they belong: in their event loop, or in a background thread.

A handler that was registered while an event loop ran is called in that loop, and a coroutine
function becomes a task of it. One registered without a loop is called in a background thread, and a
coroutine function runs there to its end. When its loop is closed, a handler is called in a
background thread from then on, also with the events that the loop had accepted but not handled.

A handler gets its events in order, and a slow one delays only its own. What it raises is logged;
SystemExit and KeyboardInterrupt end its loop, as they do in any callback.
"""

import inspect
import itertools
import logging
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import OptionError, shown
from recorder.runtime.loops import running_loop
from recorder.runtime.threads import HANDLERS
from recorder.runtime.weakbag import WeakBag

if TYPE_CHECKING:
    import asyncio

    from recorder.events import Event

Handler = Callable[[Any], Any]
Done = Callable[[], None]

_LOG: Final = logging.getLogger("recorder")
_ENDS_A_LOOP: Final = (SystemExit, KeyboardInterrupt)
_LOOK_SECONDS: Final = 0.25  # between two looks at whether loops still run
# Tasks that have begun: a loop holds its tasks by weak references only.
_tasks: Final["set[asyncio.Task[None]]"] = set()
# Loops that end with the handler that runs in them: nothing can be called there later.
_own_loops: Final["set[asyncio.AbstractEventLoop]"] = set()
_subscriptions: Final["WeakBag[Subscription]"] = WeakBag()
# Tasks and threads that a handler starts by asyncio inherit it: the handler may wait for them.
_is_in_handler: Final = ContextVar("recorder_is_in_handler", default=False)


def in_handler() -> bool:
    """Whether the caller is a handler, or a task of one: it must not wait for handlers."""
    return _is_in_handler.get()


def restart() -> None:
    """After a fork: undelivered events are the parent's, and so are the loops."""
    for subscription in _subscriptions.snapshot():
        subscription.restart()


class Subscription:
    """A handler, and the loop that it was registered in."""

    __slots__ = ("__weakref__", "_events", "_handler", "_is_warned", "_lane", "_loop")

    def __init__(self, handler: Handler) -> None:
        if not callable(handler):
            raise OptionError(f"handler: expected a function of one event, got {shown(handler)}")
        self._handler = handler
        self._loop = running_loop()
        if self._loop in _own_loops:
            self._loop = None
        self._is_warned = False
        # Apart from the calls that are scheduled: when a loop is closed, some of those move to
        # threads while others are already there, and the events must stay in order.
        self._events: deque[tuple[Event, Done]] = deque()
        self._lane = HANDLERS.lane()
        _subscriptions.add(self)

    def restart(self) -> None:
        """After a fork: forget the parent's events and its loop."""
        self._events = deque()
        self._loop = None

    @property
    def is_stalled(self) -> bool:
        """Whether its loop is open but does not run: it is uncertain when the handler is called."""
        loop = self._loop
        return loop is not None and not loop.is_running() and not loop.is_closed()

    @property
    def runs_in_this_thread(self) -> bool:
        """Whether the handler cannot be called while the calling thread is blocked."""
        return self._loop is not None and self._loop is running_loop()

    def deliver(self, event: "Event", done: Done) -> None:
        """Have the handler called with an event, after those before. Does not wait for it.

        `done` is called once, when the handler has been called: a plain function has returned or
        raised, a coroutine function has run to its end in a thread, or its first step in a loop.
        """
        try:
            self._events.append((event, done))
        finally:  # also if an interrupt comes after the append
            loop = self._loop
            if loop is None:
                self._lane.put(self._call_in_thread)
            else:
                call = _LoopCall(self)
                with suppress(RuntimeError):  # closed: the call is dropped, see there
                    loop.call_soon_threadsafe(call)

    def leave_loop(self, job: Callable[[], None]) -> None:
        """The loop was closed, or ended, before it did what it had accepted: use a thread."""
        loop = self._loop
        if not self._is_warned:
            self._is_warned = True
            _LOG.warning(
                "the event loop of %r has ended: it is called in a background thread", self._handler
            )
        if loop is not None and loop.is_closed():
            self._loop = None
        self._lane.put(job)

    def loop_dropped_call(self) -> None:
        """The loop will not run a call that was scheduled there."""
        if self._events:  # otherwise another call has handled them, or they are the parent's
            self.leave_loop(self._call_in_thread)

    def call_in_loop(self) -> None:
        """Call the handler, in its loop, with the events that are there."""
        import asyncio  # here: whoever uses no event loop does not pay for it

        for _ in range(len(self._events)):
            event, done = self._events.popleft()
            mark = _is_in_handler.set(True)
            try:
                result = self._handler(event)
                if inspect.isawaitable(result):
                    steps = _Steps(self, result, done)
                    done = _nothing
                    # Its context is a copy of this one, with the mark.
                    task = asyncio.get_running_loop().create_task(steps)
                    with suppress(AttributeError):  # if dropped, a thread runs it: no error
                        task._log_destroy_pending = False  # type: ignore[attr-defined]
            except BaseException as error:
                self.log_failure()
                if isinstance(error, _ENDS_A_LOOP):
                    raise
            finally:
                _is_in_handler.reset(mark)
                done()

    def _call_in_thread(self) -> None:
        for _ in range(len(self._events)):
            event, done = self._events.popleft()
            self._run_in_thread(partial(self._handler, event), done)

    def finish_in_thread(self, awaitable: Awaitable[Any], done: Done) -> None:
        """Run to its end what the handler returned in a loop that has ended since."""
        self._run_in_thread(lambda: awaitable, done)

    def _run_in_thread(self, function: Callable[[], Any], done: Done) -> None:
        mark = _is_in_handler.set(True)
        try:
            result = function()
            if inspect.isawaitable(result):
                import asyncio

                asyncio.run(self._run_in_own_loop(result))
        except BaseException:  # the thread is needed by others
            self.log_failure()
        finally:
            _is_in_handler.reset(mark)
            done()

    async def _run_in_own_loop(self, awaitable: Awaitable[Any]) -> None:
        loop = running_loop()
        assert loop is not None
        _own_loops.add(loop)
        try:
            await awaitable
        except BaseException:  # a loop would log or raise some kinds in ways of its own
            self.log_failure()
        finally:
            _own_loops.discard(loop)

    def log_failure(self) -> None:
        """Log the exception that is being handled."""
        _LOG.exception("%r failed", self._handler)


def _nothing() -> None:
    pass


class _LoopCall:
    """A call scheduled in a loop. A loop that is closed drops what it has not called."""

    __slots__ = ("_is_called", "_subscription")

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._is_called = False

    def __call__(self) -> None:
        self._is_called = True
        self._subscription.call_in_loop()

    def __del__(self) -> None:
        if not self._is_called and not sys.is_finalizing():
            self._subscription.loop_dropped_call()


class _Steps(Coroutine[Any, Any, None]):
    """What a handler returned, as the coroutine of a task.

    Calls `done` after the first step. A task that is dropped or cancelled before that would lose
    the event: a thread runs the awaitable then. A native coroutine would not notice.
    """

    __slots__ = ("_awaitable", "_coroutine", "_done", "_is_moved", "_subscription")

    def __init__(self, subscription: Subscription, awaitable: Awaitable[Any], done: Done) -> None:
        self._subscription = subscription
        self._awaitable = awaitable
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._done: Done | None = done
        self._is_moved = False

    def send(self, value: Any) -> Any:
        """Run the next step."""
        if self._coroutine is None:
            import asyncio

            self._coroutine = _await(self._awaitable)
            if (task := asyncio.current_task()) is not None:
                _tasks.add(task)
                task.add_done_callback(_tasks.discard)
        return self._step(partial(self._coroutine.send, value))

    def throw(self, *error: Any) -> Any:
        """Raise an exception where it waits: it was cancelled."""
        if self._coroutine is None:
            self._move()
            raise error[0]
        return self._step(partial(self._coroutine.throw, *error))

    def close(self) -> None:
        """End without further steps."""
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("only a task runs this")

    def __del__(self) -> None:
        if self._coroutine is None and not self._is_moved and not sys.is_finalizing():
            self._move()

    def _step(self, resume: Callable[[], Any]) -> Any:
        try:
            return resume()
        except StopIteration:
            raise
        except BaseException as error:
            self._subscription.log_failure()
            if isinstance(error, _ENDS_A_LOOP):
                raise
            raise StopIteration from None
        finally:
            done, self._done = self._done, None
            if done is not None:
                done()

    def _move(self) -> None:
        done, self._done, self._is_moved = self._done, None, True
        assert done is not None
        finish = partial(self._subscription.finish_in_thread, self._awaitable, done)
        self._subscription.leave_loop(finish)


async def _await(awaitable: Awaitable[Any]) -> None:
    await awaitable


class Delivery:
    """One event on its way to several handlers; `then` is called once all have been called.

    `then` is called by the thread that called the last handler. A handler whose loop is open but
    does not run is not waited for: its loop may never run again.
    """

    def __init__(self, event: "Event", subscriptions: Sequence[Subscription], then: Done) -> None:
        self._event = event
        self._subscriptions = tuple(subscriptions)
        self._then = then
        self._left = set(self._subscriptions)
        # A count in C: two threads may have called handlers at once, and one of them is the last.
        self._calls = itertools.count()
        self._is_complete = False
        self._completed: SimpleQueue[None] = SimpleQueue()

    def start(self) -> None:
        """Have the handlers called. Does not wait for them."""
        for subscription in self._subscriptions:
            called = partial(self._called, subscription)
            if subscription.is_stalled:
                subscription.deliver(self._event, _nothing)
                called()
            else:
                subscription.deliver(self._event, called)
        self._called(None)

    def _called(self, subscription: Subscription | None) -> None:
        if subscription is not None:
            self._left.discard(subscription)
        if next(self._calls) == len(self._subscriptions):
            self._is_complete = True
            self._completed.put(None)
            self._then()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until all handlers have been called; False when `timeout` seconds have passed.

        Does not wait for what would never come: within a handler it returns at once, and it does
        not wait for handlers of a loop that runs in the calling thread, or that does not run.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not (self._is_complete or in_handler() or self._is_blocked()):
            patience = _LOOK_SECONDS if end is None else min(_LOOK_SECONDS, end - time.monotonic())
            if patience <= 0:
                return False
            with suppress(Empty):
                self._completed.get(timeout=patience)
                self._completed.put(None)  # for other waiters
        return True

    def _is_blocked(self) -> bool:
        left = self._left.copy()
        return all(item.is_stalled or item.runs_in_this_thread for item in left)
