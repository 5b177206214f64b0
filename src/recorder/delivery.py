# SPDX-License-Identifier: MIT
"""Calling a user's handler where it belongs: in its event loop, or in the thread at hand.

A handler that was registered while an event loop ran is called in that loop; one registered
without is called in the thread that brought the event. Coroutine functions run as tasks of their
loop, or, without one, to their end in a thread of their own. What a handler raises is logged.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

from recorder.errors import OptionError
from recorder.events import RecordEvent

Handler = Callable[[RecordEvent], Any]

_LOG: Final = logging.getLogger("recorder")
# A loop holds its tasks by weak references only.
_tasks: Final[set[asyncio.Task[None]]] = set()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of the calling thread, if one runs there."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Subscription:
    """A handler, and the loop it was registered in."""

    __slots__ = ("_handler", "_loop", "_thread")

    def __init__(self, handler: Handler) -> None:
        if not callable(handler):
            raise OptionError(f"a handler is {handler!r}: allowed are functions of one event")
        self._handler = handler
        self._loop = running_loop()
        self._thread: threading.Thread | None = None

    def deliver(self, event: RecordEvent) -> None:
        """Call the handler, or have its loop call it."""
        if self._loop is None or self._loop is running_loop():
            self._call(event)
            return
        try:
            self._loop.call_soon_threadsafe(self._call, event)
        except RuntimeError:
            _LOG.exception("the event loop of %r is closed", self._handler)

    def _call(self, event: RecordEvent) -> None:
        try:
            result = self._handler(event)
        except (Exception, asyncio.CancelledError):
            _LOG.exception("%r failed", self._handler)
            return
        if not inspect.isawaitable(result):
            return
        if self._loop is None:
            # One after the other: each waits for the one before.
            self._thread = threading.Thread(target=self._run, args=(result, self._thread))
            self._thread.start()
        else:
            task = self._loop.create_task(self._guard(result))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def _run(self, awaitable: Awaitable[Any], previous: threading.Thread | None) -> None:
        if previous is not None:
            previous.join()
        asyncio.run(self._guard(awaitable))

    async def _guard(self, awaitable: Awaitable[Any]) -> None:
        try:
            await awaitable
        except (Exception, asyncio.CancelledError):
            _LOG.exception("%r failed", self._handler)
