# SPDX-License-Identifier: MIT
"""Calling a user's handler where it belongs: in its event loop, or in a background thread.

A handler that was registered while an event loop ran is called in that loop, and a coroutine
function becomes a task of it. One registered without is called in a background thread, a
coroutine function runs there to its end; one event after the other, and whatever a handler does
with its time only its own events wait for. What it raises is logged; SystemExit and
KeyboardInterrupt end the loop, as with all that runs in one.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final
from weakref import WeakSet

from recorder.background import DELIVERY
from recorder.errors import OptionError
from recorder.events import RecordEvent

Handler = Callable[[RecordEvent], Any]

_LOG: Final = logging.getLogger("recorder")
_ENDS_A_LOOP: Final = (SystemExit, KeyboardInterrupt)
# A loop holds its tasks by weak references only.
_tasks: Final[set[asyncio.Task[None]]] = set()
# Those that end with a handler: nothing else can be called in them later.
_own_loops: Final["WeakSet[asyncio.AbstractEventLoop]"] = WeakSet()


class Subscription:
    """A handler, and the loop it was registered in."""

    __slots__ = ("_handler", "_lane", "_loop")

    def __init__(self, handler: Handler) -> None:
        if not callable(handler):
            raise OptionError(f"a handler is {handler!r}: allowed are functions of one event")
        self._handler = handler
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None
        if self._loop in _own_loops:  # of a coroutine handler that runs to its end here
            self._loop = None
        self._lane = DELIVERY.lane()

    def deliver(self, event: RecordEvent) -> None:
        """Have the handler called with an event, after those before. Does not wait for it."""
        if self._loop is None:
            self._lane.put(lambda: self._call(event))
            return
        try:
            self._loop.call_soon_threadsafe(self._call, event)
        except RuntimeError:
            _LOG.exception("the event loop of %r is closed", self._handler)

    def _call(self, event: RecordEvent) -> None:
        try:
            result = self._handler(event)
            if not inspect.isawaitable(result):
                return
            if self._loop is None:
                asyncio.run(self._guard(result))
            else:
                task = self._loop.create_task(self._guard(result))
                _tasks.add(task)
                task.add_done_callback(_tasks.discard)
        except BaseException as error:
            _LOG.exception("%r failed", self._handler)
            # As any callback's, it ends the loop. A background thread is needed by others.
            if self._loop is not None and isinstance(error, _ENDS_A_LOOP):
                raise

    async def _guard(self, awaitable: Awaitable[Any]) -> None:
        if self._loop is None:
            _own_loops.add(asyncio.get_running_loop())
        try:
            await awaitable
        except (*_ENDS_A_LOOP, GeneratorExit):
            raise
        except BaseException:
            _LOG.exception("%r failed", self._handler)
