# SPDX-License-Identifier: MIT
"""Attempts that may fail: when the next one is, and which failures are for good."""

import heapq
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

_LOG: Final = logging.getLogger("recorder")
_FIRST_SECONDS: Final = 1.0
_DOUBLINGS: Final = 20


class Hopeless(Exception):  # noqa: N818  # it is no error of the program
    """Another attempt would fail too; the message says why."""


def backoff(failures: int, most: float, chance: random.Random) -> float:
    """Seconds until the next attempt: doubled by each failure, half of it left to chance.

    Without chance, all that failed at once would come back at once.
    """
    longest: float = min(most, _FIRST_SECONDS * 2.0 ** min(failures - 1, _DOUBLINGS))
    return longest * (0.5 + 0.5 * chance.random())


class Clock:
    """The time, and what is to be done later, by a thread that there is once it is needed.

    `after` may be called by background threads only: it waits for a lock.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget what was to be done: after a fork it is the parent's."""
        self._changed = threading.Condition()
        self._numbers = itertools.count()  # of two at the same time the earlier one is first
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._has_thread = False

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def after(self, seconds: float, job: Callable[[], None]) -> None:
        """Have something done that does not take long; in vain once the interpreter ends."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), job))
            if not self._has_thread:
                try:
                    threading.Thread(
                        target=self._run, name="recorder-publishing-clock", daemon=True
                    ).start()
                except RuntimeError:  # what is pending stays in the outbox
                    return
                self._has_thread = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    left = self._due[0][0] - time.monotonic() if self._due else None
                    self._changed.wait(left)
                job = heapq.heappop(self._due)[2]
            try:
                job()
            except Exception:
                _LOG.exception("%r failed", job)
