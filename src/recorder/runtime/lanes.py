# SPDX-License-Identifier: MIT
"""Jobs in the background: lanes that keep their order, and pools of threads that run them.

Safe in signal handlers. A handler of `signal.signal` runs in the main thread between any two steps
of Python code, also inside this module, and may call anything here. A lock held at that moment
would never be released, and a counter that was read but not yet written back would lose what the
handler adds. Hence the rules:

- Code that a user's thread may run (`put`, `pending`, `wait`, `lane`, `drain`) acquires no lock and
  changes shared data only by single operations of C types: `deque.append`, `SimpleQueue.put` (which
  is documented as reentrant), `set.add`, or storing a constant.
- What is counted is not kept but derived: `pending` sums a copy of the lane's jobs.
- A lane's turn is a lock that is tried and never waited for, and only by a pool's own threads.
- A pool's `_lock` is acquired by its own threads only. Signal handlers never run there. Finalizers
  may, but they are user code under the first rule.

No job is lost between two threads. A job is appended before its lane is scheduled. A thread that
takes the lane while another one runs it drops it, and the one that runs it looks at the lane's jobs
again after it has given up its turn, hence after the append.

Ctrl-C raises KeyboardInterrupt between any two of those steps, and each leaves all in order: see
`put`.
"""

import contextlib
import itertools
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from recorder.runtime.weakbag import WeakBag

Job = Callable[[], None]

_LOG: Final = logging.getLogger("recorder")
_STUCK_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25  # between two looks at what may have been missed


class Progress:
    """How jobs end, for threads that wait. A Condition is unsafe if its waiter is interrupted."""

    __slots__ = ("_ended", "_reports", "_wanted")

    def __init__(self) -> None:
        self._ended = 0
        self._reports: SimpleQueue[None] = SimpleQueue()
        self._wanted = False

    def report(self) -> None:
        """A job has ended. For the pool's threads."""
        # Two threads may count as one: only a change matters.
        self._ended += 1
        # One report is enough, and a flag that an interrupt left set does no harm.
        if self._wanted and self._reports.empty():
            self._reports.put(None)

    def wait(self, is_over: Callable[[], bool], patience: float) -> bool:
        """Wait until it is over; False when no job ends for `patience` seconds."""
        try:
            self._wanted = True
            ended, since = self._ended, time.monotonic()
            while not is_over():
                # With a second waiter, which may take the report or reset the flag, this one
                # looks by itself.
                with contextlib.suppress(Empty):
                    self._reports.get(timeout=min(_LOOK_SECONDS, patience))
                if self._ended != ended:
                    ended, since = self._ended, time.monotonic()
                elif time.monotonic() - since >= patience:
                    return is_over()
        finally:
            self._wanted = False
        return True


class Lane:
    """Jobs that are run one after the other. What one raises is logged."""

    __slots__ = ("__weakref__", "_jobs", "_pool", "_progress", "_turn")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self.restart()

    def restart(self) -> None:
        """Drop all jobs: after a fork they are the parent's."""
        self._jobs: deque[tuple[Job, int]] = deque()  # the first one may be running
        self._turn = threading.Lock()  # held while a thread runs a job of this lane
        self._progress = Progress()

    @property
    def pending(self) -> int:
        """The sum of the sizes of the jobs that have not ended."""
        return sum(size for _, size in self._jobs.copy())

    @property
    def has_jobs(self) -> bool:
        """Whether any job has not ended."""
        return bool(self._jobs)

    def put(self, job: Job, size: int = 0) -> None:
        """Have a job run once those before it have ended. Does not wait."""
        # Python looks for signals after a call has returned. An interrupt is therefore raised
        # before the append, and nothing was put, or inside the `try`, and the job will run.
        try:
            self._jobs.append((job, size))
        finally:
            self._pool.ready.put(self)
        if not self._pool.has_thread:  # only in a forked child
            with contextlib.suppress(RuntimeError):  # the next put tries again
                self._pool.ensure_thread()

    def wait(self, most: int, patience: float) -> bool:
        """Wait until no more than `most` is pending; False when no job ends for `patience` s."""
        return self._progress.wait(lambda: self.pending <= most, patience)

    # -- for the pool's threads ------------------------------------------------------------

    def claim(self) -> bool:
        """Whether the calling thread is to run the next job."""
        if not self._turn.acquire(blocking=False):
            return False
        if self._jobs:
            return True
        self._give_up_turn()
        return False

    def run_one(self) -> None:
        """Run the next job, after `claim`."""
        job, _ = self._jobs[0]
        try:
            job()
        except BaseException:
            with contextlib.suppress(BaseException):  # of a logging handler
                _LOG.exception("%r failed", job)
        self._jobs.popleft()
        self._progress.report()
        self._give_up_turn()

    def _give_up_turn(self) -> None:
        self._turn.release()
        if self._jobs:
            self._pool.ready.put(self)


class Pool(ABC):
    """Daemon threads that run the jobs of lanes. Kinds of pools differ in when they start one.

    A thread that takes a job when no other one is idle starts another first. So the number of
    threads follows the number of jobs that block, and quick jobs need few.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lanes: WeakBag[Lane] = WeakBag()
        self.restart()

    def restart(self) -> None:
        """Begin without threads and jobs: what is left after a fork."""
        self._lock = threading.Lock()  # for the pool's threads only
        self._progress = Progress()
        self._numbers = itertools.count()
        self._idle = 0  # threads without a job, and those being started
        self._busy: dict[int, float] = {}  # since when a thread has run its job, by its identity
        # For the lanes:
        self.ready: SimpleQueue[Lane] = SimpleQueue()  # that may have jobs
        self.has_thread = False
        for lane in self._lanes.snapshot():
            lane.restart()

    def lane(self) -> Lane:
        """A new lane; RuntimeError when there is no thread and none can be started.

        There is a thread from now on, since at exit none can be started.
        """
        self.ensure_thread()
        lane = Lane(self)
        self._lanes.add(lane)
        return lane

    @property
    def pending(self) -> int:
        """The sum of the sizes of the jobs of all lanes."""
        return sum(lane.pending for lane in self._lanes.snapshot())

    def ensure_thread(self) -> None:
        """Start the first thread; RuntimeError when it cannot be started."""
        if not self.has_thread:
            # If two callers come here, two are started, and the second one ends.
            self._start(self._work_as_first)
            self.has_thread = True

    def drain(self, patience: float) -> bool:
        """Wait until there are no jobs; False when none ends for `patience` seconds."""
        while lanes := [lane for lane in self._lanes.snapshot() if lane.has_jobs]:
            for lane in lanes:  # also if `put` was interrupted before it scheduled the lane
                self.ready.put(lane)
            if not self._progress.wait(partial(_are_done, lanes), patience):
                return False
        return True

    # -- in the pool's threads -------------------------------------------------------------

    @abstractmethod
    def _may_start(self) -> bool:
        """Whether another thread may be started. Called with the lock."""

    def _is_superfluous(self) -> bool:
        """Whether a thread that has ended its job is not needed any more. Called with the lock."""
        return False

    def _next_lane(self) -> Lane | None:
        """Wait for a lane that may have jobs; None when the thread is to end."""
        return self.ready.get()

    def _work_as_first(self) -> None:
        with self._lock:
            if self._idle or self._busy:
                return
            self._idle = 1
        self._work()

    def _work(self) -> None:
        while (lane := self._next_lane()) is not None:
            if not lane.claim():
                continue
            self._begin()
            lane.run_one()
            self._progress.report()
            if not self._end():
                return

    def _begin(self) -> None:
        with self._lock:
            self._idle -= 1
            self._busy[threading.get_ident()] = time.monotonic()
            another = not self._idle and self._may_start()
            if another:
                self._idle += 1
        if another:
            self._start_counted()

    def _end(self) -> bool:
        with self._lock:
            del self._busy[threading.get_ident()]
            if self._is_superfluous():
                return False
            self._idle += 1
            return True

    def _start_counted(self) -> None:
        """Start a thread that is counted as idle already; if that fails, do without."""
        try:
            self._start(self._work)
        except RuntimeError:
            with self._lock:
                self._idle -= 1

    def _start(self, work: Job) -> None:
        name = f"recorder-{self._name}-{next(self._numbers)}"
        threading.Thread(target=work, name=name, daemon=True).start()


def _are_done(lanes: list[Lane]) -> bool:
    """Whether no lane has jobs; forgets those that have none."""
    while lanes and not lanes[-1].has_jobs:
        lanes.pop()
    return not lanes


class Writers(Pool):
    """At most `few` threads that make progress, and `most` in all.

    Encoders take all the processor time that they can get, hence few. A thread that a stalled disk
    has kept for long does not count, and a keeper, a thread too, starts another in its place.
    """

    def __init__(self, name: str, few: int, most: int) -> None:
        self._few = few
        self._most = most
        super().__init__(name)

    def restart(self) -> None:
        """Begin without threads and jobs: what is left after a fork."""
        super().restart()
        self._has_keeper = False
        self._keeper_rests = False
        self._begun: SimpleQueue[None] = SimpleQueue()  # ends the keeper's rest

    def _able(self) -> int:
        """How many threads are idle, or busy and not stuck."""
        now = time.monotonic()
        seconds = [now - since for since in self._busy.values()]
        # Where one is stuck, many will be: they share a disk.
        patience = _LOOK_SECONDS if max(seconds, default=0) >= _STUCK_SECONDS else _STUCK_SECONDS
        return self._idle + sum(busy < patience for busy in seconds)

    def _may_start(self) -> bool:
        return self._able() < self._few and self._idle + len(self._busy) < self._most

    def _is_superfluous(self) -> bool:
        return self._able() >= self._few

    def _begin(self) -> None:
        super()._begin()
        with self._lock:  # after this thread counts as busy: the keeper rests when none does
            needs_keeper = not self._has_keeper
            self._has_keeper = True
            if self._keeper_rests:
                self._keeper_rests = False
                self._begun.put(None)
        if needs_keeper:
            try:
                self._start(self._keep)
            except RuntimeError:  # the next job tries again
                self._has_keeper = False

    def _keep(self) -> None:
        """Replace threads that are stuck, for as long as any is busy."""
        while True:
            with self._lock:
                rests = self._keeper_rests = not self._busy
                another = bool(self._busy) and not self._idle and self._may_start()
                if another:
                    self._idle += 1
            if rests:
                self._begun.get()
            if another:
                self._start_counted()
            time.sleep(_LOOK_SECONDS)


# One core is left to the threads that feed.
WRITING: Final = Writers("writing", few=max(1, (os.cpu_count() or 1) - 1), most=64)
