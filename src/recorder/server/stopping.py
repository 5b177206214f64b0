# SPDX-License-Identifier: MIT
"""How a server is ended."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


class Stop:
    """SIGINT and SIGTERM of this process, from now on. Within a running loop, in the main thread.

    `asked` is set by the first one, and `insisted` by the next.
    """

    def __init__(self) -> None:
        self.asked, self.insisted = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            # Not by the loop, which cannot on Windows.
            signal.signal(number, lambda *_: self._loop.call_soon_threadsafe(self._ask))

    def _ask(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()

    async def unless_insisted(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end, or until a second signal."""
        await first(work, self.insisted.wait())


async def first(*works: Coroutine[Any, Any, Any]) -> None:
    """Run until one of them has ended, and cancel the others. Raises what ended it."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()
