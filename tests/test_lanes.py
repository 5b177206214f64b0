# SPDX-License-Identifier: MIT
"""Background jobs: order, threads that block, signals, interrupts, forks."""

import gc
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import recorder
from recorder.runtime.lanes import Lane, Pool, Writers
from recorder.runtime.threads import Threads
from recorder.runtime.weakbag import WeakBag

PACKAGE = str(Path(recorder.__file__).parent / "runtime")
POOLS: list[Callable[[], Pool]] = [
    lambda: Threads("test"),
    lambda: Writers("test", few=1, most=8),
    lambda: Writers("test", few=3, most=8),
]
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX")


@pytest.fixture(params=POOLS, ids=["threads", "one writer", "three writers"])
def pool(request: pytest.FixtureRequest) -> Pool:
    pool = request.param()
    assert isinstance(pool, Pool)
    return pool


@pytest.fixture
def soon_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.runtime.lanes._STUCK_SECONDS", 0.02)
    monkeypatch.setattr("recorder.runtime.lanes._LOOK_SECONDS", 0.01)


class Blocked:
    """A job that does not end until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.has_begun = threading.Event()

    def __call__(self) -> None:
        self.has_begun.set()
        assert self.go.wait(60)


@contextmanager
def at_each_line(do: Callable[[], None]) -> Iterator[None]:
    """Do something at each line that the package runs in this thread, as a signal handler may."""
    is_doing = False

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        nonlocal is_doing
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if what == "line" and not is_doing:
            is_doing = True
            try:
                do()
            finally:
                is_doing = False
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


# -- order -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_each_lane_keeps_its_order(pool: Pool, seed: int) -> None:
    lanes = [pool.lane() for _ in range(7)]
    ran: list[list[int]] = [[] for _ in lanes]
    at_once = [0] * len(lanes)
    rng = random.Random(seed)
    jobs = [rng.randrange(len(lanes)) for _ in range(2000)]

    def job(lane: int, n: int) -> None:
        at_once[lane] += 1
        assert at_once[lane] == 1
        ran[lane].append(n)
        at_once[lane] -= 1

    for n, lane in enumerate(jobs):
        lanes[lane].put(lambda lane=lane, n=n: job(lane, n))  # type: ignore[misc]
    assert pool.drain(30)
    assert ran == [[n for n, of in enumerate(jobs) if of == lane] for lane in range(len(lanes))]


def test_putting_from_many_threads_loses_nothing(pool: Pool) -> None:
    lanes = [pool.lane() for _ in range(3)]
    ran: list[tuple[int, int]] = []
    together = threading.Barrier(6)

    def put(thread: int) -> None:
        together.wait(10)
        for n in range(500):
            lanes[n % 3].put(lambda: ran.append((thread, n)), size=n)  # noqa: B023

    threads = [threading.Thread(target=put, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.drain(30)
    assert len(ran) == 3000
    assert [lane.pending for lane in lanes] == [0, 0, 0]


def test_pending_is_what_has_not_ended(pool: Pool) -> None:
    lane = pool.lane()
    first, second = Blocked(), Blocked()
    lane.put(first, size=5)
    lane.put(second, size=7)
    lane.put(lambda: None)
    assert first.has_begun.wait(10)
    assert lane.pending == 12
    first.go.set()
    assert second.has_begun.wait(10)
    assert lane.pending == 7
    second.go.set()
    assert pool.drain(10)
    assert lane.pending == 0


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_a_job_raises_is_logged(
    pool: Pool, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    lane = pool.lane()
    ran = []

    def fail() -> None:
        raise error("on purpose")

    with caplog.at_level(logging.ERROR, logger="recorder"):
        for _ in range(5):
            lane.put(fail)
        lane.put(lambda: ran.append(1))
        assert pool.drain(10)
    assert caplog.text.count(f"{error.__name__}: on purpose") == 5
    assert ran == [1]


def test_a_lane_is_not_kept_alive(pool: Pool) -> None:
    pool.lane()
    gc.collect()
    assert not pool._lanes


# -- waiting ---------------------------------------------------------------------------------------


def test_waiting_for_a_slow_disk(pool: Pool) -> None:
    lane = pool.lane()
    slow = Blocked()
    lane.put(slow, size=10)
    lane.put(lambda: None, size=10)
    assert slow.has_begun.wait(10)
    assert lane.wait(20, 10)
    assert not lane.wait(10, 0.01)
    assert not pool.drain(0.01)
    slow.go.set()
    assert lane.wait(0, 10)
    assert pool.drain(10)


def test_waiting_may_be_interrupted_at_any_line(pool: Pool) -> None:
    lane = pool.lane()
    for line in range(60):
        slow = Blocked()
        lane.put(slow, size=1)
        lane.put(slow.go.clear, size=1)
        left = line

        def interrupt(slow: Blocked = slow) -> None:
            nonlocal left
            slow.go.set()
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt), at_each_line(interrupt):
            assert lane.wait(0, 10)
        slow.go.set()
        assert lane.wait(0, 10)
        assert pool.drain(10)
    assert lane._progress._reports.qsize() <= 1


# -- threads that block ----------------------------------------------------------------------------


def test_jobs_that_block_delay_no_other_lane() -> None:
    pool = Threads("test")
    blocked = [Blocked() for _ in range(70)]
    try:
        for job in blocked:
            pool.lane().put(job)
        lanes = [pool.lane() for _ in blocked]
        for job in blocked:
            assert job.has_begun.wait(10)
        done = threading.Event()
        lanes[0].put(done.set)
        assert done.wait(10)
        # Still, and once more behind one that blocks.
        late = Blocked()
        lanes[1].put(late)
        assert late.has_begun.wait(10)
        blocked.append(late)
        done.clear()
        lanes[2].put(done.set)
        assert done.wait(10)
    finally:
        for job in blocked:
            job.go.set()
    assert pool.drain(10)


def test_quick_jobs_need_few_threads() -> None:
    pool = Threads("test")
    lanes = [pool.lane() for _ in range(50)]
    names = set()
    for lane in lanes:
        lane.put(lambda: names.add(threading.current_thread().name))
        assert pool.drain(10)
    assert len(names) <= 3
    assert all(name.startswith("recorder-test-") for name in names)


def test_idle_threads_retire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.runtime.threads._RETIRE_SECONDS", 0.01)
    pool = Threads("retiring")
    blocked = [Blocked() for _ in range(20)]
    for job in blocked:
        pool.lane().put(job)
    for job in blocked:
        assert job.has_begun.wait(10)
    threads = [t for t in threading.enumerate() if t.name.startswith("recorder-retiring-")]
    assert len(threads) in {20, 21}  # the last spare one may be about to start
    for job in blocked:
        job.go.set()
    assert pool.drain(10)
    for _ in range(100):
        if len(threads) == 2:
            break
        threads[0].join(0.1)
        threads = [t for t in threading.enumerate() if t.name.startswith("recorder-retiring-")]
    assert len(threads) == 2
    done = threading.Event()
    pool.lane().put(done.set)
    assert done.wait(10)


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Threads("test")
    start = threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        pool.lane()
    monkeypatch.setattr(threading.Thread, "start", start)
    lane = pool.lane()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    ran: list[int] = []
    for n in range(10):
        lane.put(lambda n=n: ran.append(n))  # type: ignore[misc]
        pool.lane().put(lambda: ran.append(-1))
    assert pool.drain(10)
    assert sorted(ran) == [-1] * 10 + list(range(10))


def test_writers_are_few() -> None:
    pool = Writers("test", few=2, most=8)
    blocked = [Blocked() for _ in range(5)]
    for job in blocked:
        pool.lane().put(job)
    begun: list[Blocked] = []
    for job in blocked[:2]:
        assert job.has_begun.wait(10)
        begun.append(job)
    assert len(pool._busy) + pool._idle == 2
    for job in blocked:
        job.go.set()
    assert pool.drain(10)


@pytest.mark.usefixtures("soon_stuck")
@pytest.mark.parametrize("few", [1, 3])
def test_stuck_writers_are_replaced(few: int) -> None:
    pool = Writers("test", few=few, most=12)
    blocked = [Blocked() for _ in range(10)]
    lanes = [pool.lane() for _ in range(11)]
    try:
        for lane, job in zip(lanes, blocked, strict=False):
            lane.put(job)
        done = threading.Event()
        lanes[10].put(done.set)
        assert done.wait(10)
        assert all(job.has_begun.wait(10) for job in blocked)
        assert len(pool._busy) + pool._idle <= 12
    finally:
        for job in blocked:
            job.go.set()
    assert pool.drain(10)
    # Some of those that were stuck have ended.
    assert pool._able() <= max(few, 2)


# -- signals ---------------------------------------------------------------------------------------


def test_a_signal_handler_may_put_at_any_line(pool: Pool) -> None:
    """Also on the lane that is being put on: with a lock in `put` this would never end."""
    ran: list[int] = []
    count = 0

    def signalled() -> None:
        nonlocal count
        if count > 1000:  # `pending` has a line for each job: where none is run, they would double
            return
        for lane in lanes:
            lane.put(lambda: ran.append(1), size=3)
            assert lane.pending >= 0
            count += 1
        extra = pool.lane()
        extra.put(lambda: ran.append(1))
        extras.append(extra)
        count += 1

    extras: list[Lane] = []
    lanes = [pool.lane(), pool.lane()]
    with at_each_line(signalled):
        for _ in range(20):
            lanes[0].put(lambda: ran.append(0), size=2)
            assert lanes[0].pending >= 0
        pool.lane()
        assert lanes[0].wait(10**6, 10)
    assert pool.drain(30)
    assert count > 100
    assert (ran.count(0), ran.count(1)) == (20, count)
    assert [lane.pending for lane in lanes] == [0, 0]


def test_the_first_lane_may_be_made_at_any_line() -> None:
    for make in POOLS:
        pool = make()
        ran: list[int] = []
        count = 0

        lanes: list[Lane] = []

        def signalled(pool: Pool = pool, ran: list[int] = ran, lanes: list[Lane] = lanes) -> None:
            nonlocal count
            lane = pool.lane()
            lane.put(lambda: ran.append(1))
            lanes.append(lane)
            count += 1

        with at_each_line(signalled):
            lanes.append(pool.lane())
        assert pool.drain(10)
        assert len(ran) == count > 0


@posix
@pytest.mark.usefixtures("untraced")
def test_signals_for_real(pool: Pool) -> None:
    lane = pool.lane()
    ran: list[int] = []
    count = 0

    def handler(_: int, __: FrameType | None) -> None:
        nonlocal count
        count += 1
        lane.put(lambda: ran.append(1), size=1)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        puts = 0
        while count < 200:
            lane.put(lambda: ran.append(0), size=2)
            puts += 1
            if lane.pending > 100:
                assert lane.wait(0, 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert pool.drain(30)
    assert (ran.count(0), ran.count(1), lane.pending) == (puts, count, 0)


def test_put_may_be_interrupted_at_any_line(pool: Pool) -> None:
    lane = pool.lane()
    for line in range(1, 8):
        ran: list[int] = []
        left = line

        def interrupt() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        with suppress(KeyboardInterrupt), at_each_line(interrupt):
            lane.put(lambda ran=ran: ran.append(0))  # type: ignore[misc]
        lane.put(lambda ran=ran: ran.append(1))  # type: ignore[misc]
        assert pool.drain(10)
        assert ran in ([0, 1], [1])
        assert lane.pending == 0


@posix
@pytest.mark.usefixtures("untraced")
def test_an_interrupt_for_real_loses_no_job(pool: Pool) -> None:
    """What was appended runs, though nothing more is put and nobody drains."""
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(50):
            lane = pool.lane()
            ended: list[int] = []
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                while True:
                    lane.put(lambda ended=ended: ended.append(1), size=1)  # type: ignore[misc]
                    if lane.pending > 100:
                        lane.wait(0, 10)
            assert lane.wait(0, 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# -- fork ------------------------------------------------------------------------------------------


def in_child(do: Callable[[], bool]) -> bool:
    """Whether something holds in a forked child, which has ten seconds."""
    child = os.fork()
    if not child:
        # Without coverage: another thread may have held its lock.
        sys.settrace(None)
        threading.settrace(None)
        signal.alarm(10)
        good = False
        try:
            good = do()
        finally:
            os._exit(0 if good else 1)
    return os.waitpid(child, 0)[1] == 0


@posix
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_fork_while_a_job_runs(pool: Pool) -> None:
    lane = pool.lane()
    blocked = Blocked()
    lane.put(blocked, size=1)
    lane.put(lambda: None, size=1)
    assert blocked.has_begun.wait(10)

    def use() -> bool:
        pool.restart()
        done = threading.Event()
        assert lane.pending == 0
        lane.put(done.set)
        assert done.wait(5)
        return pool.drain(5)

    try:
        assert in_child(use)
    finally:
        blocked.go.set()
    assert pool.drain(10)


# -- weak bags -------------------------------------------------------------------------------------


class Thing:
    pass


def test_a_weak_bag_may_change_while_it_is_read() -> None:
    bag: WeakBag[Thing] = WeakBag()
    kept = [Thing() for _ in range(1000)]
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            bag.add(Thing())
            for thing in kept[:10]:
                bag.add(thing)
                bag.discard(thing)

    for thing in kept[10:]:
        bag.add(thing)
        bag.add(thing)
    changer = threading.Thread(target=change)
    changer.start()
    try:
        for _ in range(200):
            assert set(kept[10:]) <= set(bag.snapshot())
    finally:
        stop.set()
        changer.join()
    gc.collect()
    assert set(bag.snapshot()) == set(kept[10:])
    bag.discard(kept[10])
    assert set(bag.snapshot()) == set(kept[11:])
