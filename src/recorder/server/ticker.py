# SPDX-License-Identifier: MIT
"""One clock of 20 ms for all calls of a server."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

_TICK_SECONDS: Final = 0.02
_LOG: Final = logging.getLogger("recorder")


class Ticker:
    """Calls each of its members once for every 20 ms that pass; after a delay, as often as due.

    A timer for each call would cost more than its audio. `on_tick` is called with how late a tick
    was, in seconds.
    """

    def __init__(self, on_tick: Callable[[float], None]) -> None:
        self._members: set[Callable[[], None]] = set()
        self._on_tick = on_tick

    def add(self, member: Callable[[], None]) -> None:
        """Call it from the next tick on, until it raises."""
        self._members.add(member)

    def discard(self, member: Callable[[], None]) -> None:
        """Call it no more."""
        self._members.discard(member)

    async def run(self) -> None:
        """Tick until cancelled."""
        now = asyncio.get_running_loop().time
        due = now()
        while True:
            due += _TICK_SECONDS
            # Also where it is late: what came in meanwhile is to be read in between.
            await asyncio.sleep(max(0.0, due - now()))
            self._on_tick(now() - due)
            for member in tuple(self._members):
                try:
                    member()
                except Exception:  # one call's failure is not the others'
                    _LOG.exception("%r failed: it is called no more", member)
                    self.discard(member)
