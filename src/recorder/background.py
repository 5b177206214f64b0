# SPDX-License-Identifier: MIT
"""Work that must not be done by the thread that has it: few threads, shared by all.

A lane is work that is to be done in order, such as one recording's writing. A pool's threads take
turns at the lanes that have any. A thread that one job has kept for long (a disk that stands
still, a handler that waits) is no longer counted on, and another takes its place.

After a fork the child has none of the threads: its pools start anew, and lanes from before it
are not to be used there.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

Job = Callable[[], None]

_STUCK_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25  # between two looks at whether threads are stuck


class Lane:
    """Jobs that are run one after the other. Jobs do not raise.

    `pending` is the sum of the sizes of those that have not ended.
    """

    __slots__ = ("_changed", "_ended", "_jobs", "_pool", "pending")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._changed = threading.Condition(threading.Lock())
        self._jobs: deque[tuple[Job, int]] = deque()  # the first one may be running
        self._ended = 0
        self.pending = 0

    def put(self, job: Job, size: int = 0) -> None:
        """Have a job run once those before it have ended. Does not wait."""
        with self._changed:
            self._jobs.append((job, size))
            self.pending += size
            is_first = len(self._jobs) == 1
        if is_first:
            self._pool.schedule(self)

    def wait(self, most: int, patience: float) -> bool:
        """Wait until no more than `most` is pending; False when no job ends for `patience` s."""
        with self._changed:
            ended, since = self._ended, time.monotonic()
            while self.pending > most:
                self._changed.wait(_LOOK_SECONDS)
                if self._ended != ended:
                    ended, since = self._ended, time.monotonic()
                elif time.monotonic() - since >= patience:
                    return False
                self._pool.grow()
        return True

    def run_one(self) -> bool:
        """Run the next job; return whether there is another. For the pool."""
        job, size = self._jobs[0]
        try:
            job()
        finally:
            with self._changed:
                self._jobs.popleft()
                self._ended += 1
                self.pending -= size
                self._changed.notify_all()
                more = bool(self._jobs)
        return more


class Pool:
    """Up to `few` threads that are not stuck, and `most` in all; gone with the process."""

    def __init__(self, name: str, few: int, most: int) -> None:
        self._name = name
        self._few = few
        self._most = most
        self.restart()

    def restart(self) -> None:
        """Begin without threads and work: what is left after a fork."""
        self._idle = threading.Condition(threading.Lock())
        self._ready: SimpleQueue[Lane] = SimpleQueue()
        self._lanes = 0  # that have work
        self._ended = 0  # jobs
        self._busy_since: dict[int, float | None] = {}  # by a thread's number
        self._started = 0

    def lane(self) -> Lane:
        """A lane of this pool. There is a thread from now on: at exit none can be started."""
        self.grow()
        return Lane(self)

    def schedule(self, lane: Lane) -> None:
        """A lane has got work. For the lane."""
        with self._idle:
            self._lanes += 1
        self._ready.put(lane)
        self.grow()

    def grow(self) -> None:
        """Start a thread if too few can be counted on."""
        now = time.monotonic()
        with self._idle:
            able = sum(
                since is None or now - since < _STUCK_SECONDS for since in self._busy_since.values()
            )
            if able >= self._few or len(self._busy_since) >= self._most:
                return
            number = self._started
            self._started += 1
            self._busy_since[number] = None
        name = f"recorder-{self._name}-{number}"
        threading.Thread(target=self._work, args=(number,), name=name, daemon=True).start()

    def _work(self, number: int) -> None:
        while True:
            lane = self._ready.get()
            self._busy_since[number] = started = time.monotonic()
            has_more = lane.run_one()
            if has_more:
                self._ready.put(lane)
            with self._idle:
                self._ended += 1
                self._lanes -= not has_more
                self._idle.notify_all()
            self._busy_since[number] = None
            if time.monotonic() - started >= _STUCK_SECONDS and self._is_superfluous(number):
                return

    def _is_superfluous(self, number: int) -> bool:
        """Whether another thread has taken this one's place; it is off the books then."""
        with self._idle:
            superfluous = len(self._busy_since) > self._few
            if superfluous:
                del self._busy_since[number]
            return superfluous

    def drain(self, patience: float) -> bool:
        """Wait until there is no work; False when no job ends for `patience` seconds."""
        with self._idle:
            while self._lanes:
                ended = self._ended
                if not self._idle.wait(patience) and self._ended == ended:
                    return False
        return True


# One core is left to who feeds: an encoder takes all it can get.
WRITING: Final = Pool("writing", few=max(1, (os.cpu_count() or 1) - 1), most=64)
DELIVERY: Final = Pool("delivery", few=2, most=64)


def _restart_all() -> None:
    for pool in (WRITING, DELIVERY):
        pool.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
