# SPDX-License-Identifier: MIT
"""The handle on a recording."""

import contextlib
import threading
import time
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any, Self

from recorder.errors import OptionError
from recorder.recording.state import PAUSE_BEHAVIORS, PauseBehavior
from recorder.runtime.handlers import in_handler

if TYPE_CHECKING:
    import asyncio

    from recorder.call import Call
    from recorder.events import RecordEvent
    from recorder.recording.session import Session
    from recorder.recording.state import State
    from recorder.runtime.handlers import Delivery


class _Immediate(Coroutine[Any, None, Any]):
    """May be awaited, or made a task, which returns it at once."""

    def __await__(self) -> Generator[Any, None, Self]:
        return self
        yield

    def send(self, value: None) -> Any:
        """Be done."""
        del value
        raise StopIteration(self)

    def throw(self, *error: Any) -> Any:
        """Raise what is thrown."""
        raise error[0]

    def close(self) -> None:
        """There is nothing to close."""


class Acknowledgement(dict[str, str], _Immediate):
    """RELAY's answer to a command: `code`, `message`, `call_id`, `control_id`.

    Code 200: done, or so already. Code 404: the recording has ended, nothing was changed. It may be
    awaited, which returns it at once.
    """

    __hash__ = object.__hash__  # type: ignore[assignment]  # asyncio.gather wants one


class Latch:
    """Something that happens once; threads and tasks can wait for it."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()

    @property
    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._event.is_set()

    def set(self) -> None:
        """It happens; again, it does nothing."""
        self._event.set()
        for loop, waiter in tuple(self._waiters):
            with contextlib.suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(_resolve, waiter)

    def wait(self, timeout: float | None) -> None:
        """Block the thread until it happens; TimeoutError when it does not in time."""
        if not self._event.wait(timeout):
            raise TimeoutError

    async def happened(self, timeout: float | None = None) -> None:
        """Wait until it happens; TimeoutError when it does not in time, which harms nothing."""
        import asyncio  # here: whoever uses no event loop does not pay for it

        loop = asyncio.get_running_loop()
        waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]
        waiter = (loop, loop.create_future())
        self._waiters.add(waiter)
        try:
            if not self.is_set:  # asked only now: from here on it resolves the waiter
                await asyncio.wait_for(waiter[1], timeout)
        finally:
            self._waiters.discard(waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class RecordAction(Coroutine[Any, Any, "RecordAction"]):
    """A running recording, as `Call.record` returns it.

    Its methods may be called from any thread, plainly or awaited. The action itself may be awaited
    or made a task: that returns it once its file is open, and raises FileError if it cannot be.
    """

    def __init__(self, call: "Call", session: "Session") -> None:
        self.call = call
        self.control_id = session.identity.control_id
        self.recording_id = session.identity.recording_id
        self._session = session
        self._event: RecordEvent | None = None
        self._error: Exception | None = None  # instead of an event
        self._opened = Latch()
        self._is_done = Latch()
        self._delivered = Latch()  # after the handlers of the event were called
        self._delivery: Delivery | None = None
        self._is_awaited = False
        self._coroutine: Coroutine[Any, Any, RecordAction] | None = None

    def __repr__(self) -> str:
        return f"<RecordAction {self.control_id!r} {self.state}>"

    # -- awaited ---------------------------------------------------------------------------

    async def _when_open(self) -> "RecordAction":
        self._is_awaited = True
        await self._opened.happened()
        if self._error is not None:
            raise self._error
        return self

    def __await__(self) -> Generator[Any, Any, "RecordAction"]:
        return self._when_open().__await__()

    def _awaiting(self) -> "Coroutine[Any, Any, RecordAction]":
        if self._coroutine is None:
            self._coroutine = self._when_open()
        return self._coroutine

    def send(self, value: Any) -> Any:
        """Continue as a task."""
        return self._awaiting().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error in the task."""
        return self._awaiting().throw(*error)

    def close(self) -> None:
        """End the task, not the recording."""
        if self._coroutine is not None:
            self._coroutine.close()

    # -- state ----------------------------------------------------------------------------

    @property
    def state(self) -> "State":
        """`created`, `recording`, `paused`, `finished`, `no_input` or `error`."""
        return self._session.state

    @property
    def is_done(self) -> bool:
        """Whether the terminal event is there."""
        return self._is_done.is_set

    @property
    def completed(self) -> bool:
        """The same, by RELAY's other name."""
        return self._is_done.is_set

    @property
    def result(self) -> "RecordEvent | None":
        """The terminal event, None before it is there."""
        return self._event

    # -- commands --------------------------------------------------------------------------

    def stop(self) -> Acknowledgement:
        """End now, as `finished`: the file holds all audio up to here."""
        return self.call._command(self, "stop")

    def pause(self, behavior: PauseBehavior | None = None) -> Acknowledgement:
        """Record nothing and react to nothing until `resume`; the timers do not run.

        With `skip` (the default) the paused stretch is left out of the file; with `silence` it is
        there as silence. OptionError for another `behavior`.
        """
        if behavior is None:
            behavior = "skip"
        if behavior not in PAUSE_BEHAVIORS:
            choices = ", ".join(PAUSE_BEHAVIORS)
            raise OptionError(f"behavior: expected one of {choices}, got {behavior!r}")
        return self.call._command(self, "pause", behavior)

    def resume(self) -> Acknowledgement:
        """Continue after `pause`."""
        return self.call._command(self, "resume")

    # -- its end ---------------------------------------------------------------------------

    async def wait(self, timeout: float | None = None) -> "RecordEvent":
        """Wait for the terminal event, and until its handlers were called.

        TimeoutError when that takes longer than `timeout` seconds; the recording continues, and
        waiting again works. FileError when the file could not be opened, CallEndedError in a
        process forked from that of the call. In a handler it does not wait for handlers.
        """
        latch = self._is_done if in_handler() else self._delivered
        await latch.happened(timeout)
        return self._outcome()

    def join(self, timeout: float | None = None) -> "RecordEvent":
        """Block the thread as `wait` blocks a task.

        Not for the thread that feeds the call. It does not wait for handlers that have to run in
        the calling thread's own event loop.
        """
        self._settle(timeout)
        return self._outcome()

    def _settle(self, timeout: float | None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        self._is_done.wait(timeout)
        if self._delivery is not None:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._delivery.wait(left):
                raise TimeoutError

    def _outcome(self) -> "RecordEvent":
        if self._event is None:
            assert self._error is not None
            raise self._error
        return self._event

    # -- for the call ----------------------------------------------------------------------

    def _finish(self, event: "RecordEvent", delivery: "Delivery") -> None:
        """The terminal event is there, and about to be delivered."""
        self._event = event
        self._delivery = delivery
        self._is_done.set()

    def _refuse(self, error: Exception) -> None:
        """Nothing comes: whoever waits gets an error."""
        self._error = error
        for latch in (self._opened, self._is_done, self._delivered):
            latch.set()

    def _leave_to_parent(self, error: Exception) -> None:
        """After a fork: nothing comes here."""
        self._session.final = "error"
        self._event = self._delivery = None
        self._opened, self._is_done, self._delivered = Latch(), Latch(), Latch()
        self._refuse(error)
