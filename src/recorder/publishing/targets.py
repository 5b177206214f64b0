# SPDX-License-Identifier: MIT
"""Who does the work: a few threads for each host, so that one that hangs holds up no other."""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from recorder.publishing.attempts import Clock
from recorder.runtime.lanes import Lane
from recorder.runtime.threads import Threads

_LOG: Final = logging.getLogger("recorder")
_AT_ONCE: Final = 4  # jobs of one host

PUBLISHING: Final = Threads("publishing")


class Target:
    """The jobs of one host, a few of them at once. For background threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._idle = [PUBLISHING.lane() for _ in range(_AT_ONCE)]

    def put(self, job: Callable[[], None]) -> None:
        """Have a job done as soon as one of the host's threads is free."""
        with self._lock:
            self._waiting.append(job)
            if not self._idle:
                return
            lane = self._idle.pop()
        lane.put(partial(self._work, lane))

    def _work(self, lane: Lane) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._idle.append(lane)
                    return
                job = self._waiting.popleft()
            try:
                job()
            except Exception:
                _LOG.exception("%r failed", job)


class Means:
    """What all that is to be sent shares: the clock, chance, and the targets by their host."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.chance = random.Random()
        self.restart()

    def restart(self) -> None:
        """After a fork: nothing of this is here."""
        self.clock.restart()
        self._lock = threading.Lock()
        self._last = 0
        self._targets: WeakValueDictionary[str, Target] = WeakValueDictionary()
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()

    def number(self) -> int:
        """Return the time in Unix nanoseconds, and more than ever before."""
        with self._lock:
            self._last = max(self._last + 1, int(self.clock.now() * 1e9))
            return self._last

    def lane(self, call_id: str) -> Lane:
        """Return what does the jobs of a call in order. Waits for no lock."""
        lane = self._lanes.get(call_id)
        return lane or self._lanes.setdefault(call_id, PUBLISHING.lane())

    def target(self, host: str) -> Target:
        """Return what does the jobs of a host; RuntimeError when no thread can be started."""
        with self._lock:
            target = self._targets.get(host)
            if target is None:
                target = self._targets[host] = Target()
            return target
