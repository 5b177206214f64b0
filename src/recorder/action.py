# SPDX-License-Identifier: MIT
"""The handle on a recording."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Literal, Self

from recorder.errors import OptionError
from recorder.events import RecordEvent
from recorder.recording import PAUSE_BEHAVIORS, PauseBehavior

if TYPE_CHECKING:
    from recorder.call import Call
    from recorder.recording import State

CommandName = Literal["stop", "pause", "resume"]


class Acknowledgement(dict[str, str]):
    """RELAY's answer to a command: `code`, `message`, `call_id`, `control_id`.

    Code 200: done, or so already. Code 404: the recording has ended, nothing was changed. It may be
    awaited, which returns it at once.
    """

    __hash__ = object.__hash__  # type: ignore[assignment]  # asyncio.gather wants one

    def __await__(self) -> Generator[Any, None, Self]:
        return self
        yield


class RecordAction:
    """A recording on its way. Made by `Call.record`; may be awaited, which returns it at once.

    Its methods may be called from any thread, plainly or awaited.
    """

    def __init__(
        self,
        call: "Call",
        control_id: str,
        recording_id: str,
    ) -> None:
        self.call = call
        self.control_id = control_id
        self.recording_id = recording_id
        self._final_state: State = "created"  # once the recording has ended
        self._is_told = False
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()
        self._done: concurrent.futures.Future[RecordEvent] = concurrent.futures.Future()

    def __await__(self) -> Generator[Any, None, Self]:
        return self
        yield

    def __repr__(self) -> str:
        return f"<RecordAction {self.control_id!r} {self.state}>"

    @property
    def state(self) -> "State":
        """`created`, `recording`, `paused`, `finished`, `no_input` or `error`."""
        return self.call._state_of(self)

    @property
    def is_done(self) -> bool:
        """Whether the terminal event is there."""
        return self._done.done()

    @property
    def completed(self) -> bool:
        """The same, by RELAY's other name."""
        return self._done.done()

    @property
    def result(self) -> RecordEvent | None:
        """The terminal event, None before it is there."""
        return self._done.result() if self._done.done() and not self._done.exception() else None

    def stop(self) -> Acknowledgement:
        """End now, as `finished`: the file holds all audio fed up to here."""
        return self.call._command(self, "stop")

    def pause(self, behavior: PauseBehavior | None = None) -> Acknowledgement:
        """Record nothing and listen to nothing until `resume`; the timers stand still.

        With `skip` (the default) the paused stretch is left out of the file; with `silence` it is
        there as silence.
        """
        if behavior is None:
            behavior = "skip"
        if behavior not in PAUSE_BEHAVIORS:
            allowed = ", ".join(PAUSE_BEHAVIORS)
            raise OptionError(f"behavior is {behavior!r}: allowed are {allowed}")
        return self.call._command(self, "pause", behavior)

    def resume(self) -> Acknowledgement:
        """Go on after `pause`."""
        return self.call._command(self, "resume")

    async def wait(self, timeout: float | None = None) -> RecordEvent:
        """Wait for the terminal event, at most `timeout` seconds.

        TimeoutError when it has not come by then; the recording goes on, and waiting again works.
        """
        loop = asyncio.get_running_loop()
        waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]
        waiter = (loop, loop.create_future())
        self._waiters.add(waiter)
        try:
            if not self._is_told:  # asked only now: from here on it wakes the waiter
                await asyncio.wait_for(waiter[1], timeout)
        finally:
            self._waiters.discard(waiter)
        return self._done.result()

    def join(self, timeout: float | None = None) -> RecordEvent:
        """Block the thread until the terminal event is there: `wait` without an event loop.

        Not for the thread that feeds the call.
        """
        return self._done.result(timeout)

    def _finish(self, event: RecordEvent, state: "State") -> None:
        """The terminal event is there."""
        self._final_state = state
        self._done.set_result(event)

    def _wake_waiters(self) -> None:
        """It has been told: who awaits it goes on, after the handlers in the same loop."""
        self._is_told = True
        for loop, woken in tuple(self._waiters):
            with contextlib.suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(_wake, woken)

    def _leave_to_parent(self, error: Exception) -> None:
        """After a fork: nothing will come here; who asks is told so."""
        self._final_state = "error"
        self._is_told = True
        self._waiters = set()
        self._done = concurrent.futures.Future()
        self._done.set_exception(error)


def _wake(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)
