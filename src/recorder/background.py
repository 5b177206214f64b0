# SPDX-License-Identifier: MIT
"""Work that must not be done by the thread that has it: few threads, shared by all.

A lane is work that is to be done in order, such as one recording's writing. A pool's threads take
turns at the lanes that have any. A thread that one job has kept for long (a disk that stands
still, a handler that waits) is no longer counted on, and another takes its place: a keeper, a
thread too, sees to that while there is work.

Who puts a job may be interrupted anywhere (Ctrl-C raises in the main thread, between any two of its
steps). What it does there is therefore single steps of C, each of which leaves all in order.

After a fork the child has none of the threads: its pools start anew, and lanes from before it
are not to be used there.
"""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

Job = Callable[[], None]

_LOG: Final = logging.getLogger("recorder")
_STUCK_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25  # between two looks at whether threads are stuck


class Lane:
    """Jobs that are run one after the other. Jobs do not raise; one that does is logged.

    `pending` is the sum of the sizes of those that have not ended.
    """

    __slots__ = ("_ended", "_lock", "_pool", "_progress", "_waits", "jobs", "pending", "runs")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._ended = 0
        # A Condition would not stand an interrupt of who waits.
        self._progress: SimpleQueue[None] = SimpleQueue()
        self._waits = False
        self.pending = 0
        # For the pool:
        self.jobs: deque[tuple[Job, int]] = deque()  # the first one may be running
        self.runs = False  # whether a thread is at it

    def put(self, job: Job, size: int = 0) -> None:
        """Have a job run once those before it have ended. Does not wait."""
        with self._lock:
            self.jobs.append((job, size))
            self.pending += size
        self._pool.schedule(self)

    def wait(self, most: int, patience: float) -> bool:
        """Wait until no more than `most` is pending; False when no job ends for `patience` s."""
        self._waits = True
        ended, since = self._ended, time.monotonic()
        try:
            while self.pending > most:
                with contextlib.suppress(Empty):
                    self._progress.get(timeout=_LOOK_SECONDS)
                if self._ended != ended:
                    ended, since = self._ended, time.monotonic()
                elif time.monotonic() - since >= patience:
                    return False
        finally:
            self._waits = False
        return True

    def run_one(self) -> None:
        """Run the next job. For the pool."""
        job, size = self.jobs[0]
        try:
            job()
        except BaseException:  # the thread is needed by others
            _LOG.exception("%r failed", job)
        with self._lock:
            self.jobs.popleft()
            self._ended += 1
            self.pending -= size
        if self._waits:
            self._progress.put(None)


class Pool:
    """Up to `few` threads that are not stuck, and `most` in all; gone with the process."""

    def __init__(self, name: str, few: int, most: int) -> None:
        self._name = name
        self._few = few
        self._most = most
        self.restart()

    def restart(self) -> None:
        """Begin without threads and work: what is left after a fork."""
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)  # told when a job has ended, or none is left
        self._begun = threading.Condition(self._lock)  # told when one begins, if the keeper sleeps
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._ready: deque[Lane] = deque()  # that may have work
        self._active = 0  # threads at work
        self._ended = 0  # jobs
        self._busy_since: dict[int, float | None] = {}  # by a thread's number
        self._started = 0
        self._has_keeper = False
        self._keeper_sleeps = False

    def lane(self) -> Lane:
        """A lane of this pool; RuntimeError when there is no thread and none can be started.

        There is a thread from now on: at exit none can be started.
        """
        self._grow()
        if not self._has_keeper:
            self._start(self._keep, "keeper")
            self._has_keeper = True  # interrupted just before, there will be two: no harm
        return Lane(self)

    def schedule(self, lane: Lane) -> None:
        """A lane has got work. For the lane; once too often does no harm."""
        self._ready.append(lane)
        self._wake.put(None)

    def _start(self, work: Job, name: object) -> None:
        name = f"recorder-{self._name}-{name}"
        threading.Thread(target=work, name=name, daemon=True).start()

    def _grow(self) -> None:
        """Start a thread if too few can be counted on; RuntimeError when that leaves none."""
        now = time.monotonic()
        with self._lock:
            busy = [now - since for since in self._busy_since.values() if since is not None]
            # Where one is stuck, many will be: their disk is the same.
            patience = _LOOK_SECONDS if max(busy, default=0) >= _STUCK_SECONDS else _STUCK_SECONDS
            able = len(self._busy_since) - sum(seconds >= patience for seconds in busy)
            if able >= self._few or len(self._busy_since) >= self._most:
                return
            number = self._started
            self._started += 1
            # Until it runs it counts as busy: one that never comes is not counted on for long.
            self._busy_since[number] = now
        try:
            self._start(lambda: self._work(number), number)
        except RuntimeError:
            del self._busy_since[number]
            if not self._busy_since:
                raise

    def _keep(self) -> None:
        """Replace threads that are stuck, for as long as there is work."""
        while True:
            with self._lock:
                while not self._active:
                    self._keeper_sleeps = True
                    self._begun.wait()
                    self._keeper_sleeps = False
            time.sleep(_LOOK_SECONDS)
            with contextlib.suppress(RuntimeError):
                self._grow()

    def _work(self, number: int) -> None:
        self._busy_since[number] = None
        while True:
            self._wake.get()
            while (lane := self._take(number)) is not None:
                lane.run_one()
                if not self._is_free_again(number, lane):
                    return

    def _take(self, number: int) -> Lane | None:
        """A lane that has work and that no other thread is at, if there is one."""
        with self._lock:
            while self._ready:
                lane = self._ready.popleft()
                if lane.jobs and not lane.runs:
                    lane.runs = True
                    self._active += 1
                    self._busy_since[number] = time.monotonic()
                    if self._keeper_sleeps:
                        self._begun.notify()
                    return lane
            self._idle.notify_all()
        return None

    def _is_free_again(self, number: int, lane: Lane) -> bool:
        """A job has ended; whether this thread is still needed: another may be in its place."""
        with self._lock:
            lane.runs = False
            if lane.jobs:
                self.schedule(lane)
            self._active -= 1
            self._ended += 1
            self._idle.notify_all()
            since, self._busy_since[number] = self._busy_since[number], None
            assert since is not None
            superfluous = len(self._busy_since) > self._few
            if superfluous and time.monotonic() - since >= _STUCK_SECONDS:
                del self._busy_since[number]
                return False
            return True

    def drain(self, patience: float) -> bool:
        """Wait until there is no work; False when no job ends for `patience` seconds."""
        self._wake.put(None)  # should who put the last job have been interrupted
        with self._lock:
            while self._active or self._ready:
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
