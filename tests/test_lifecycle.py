# SPDX-License-Identifier: MIT
"""Exit, fork, and the clock of live calls."""

import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

import pytest

from recorder.runtime import lifecycle
from recorder.runtime.lifecycle import Ticker
from recorder.runtime.threads import HANDLERS
from tests.marks import mostly_slow
from tests.test_lanes import Blocked, in_child, posix

forks = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


class FakeCall:
    """A call that notes what it is asked to do."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.notes: list[str] = []
        lifecycle.register(self)

    def at_exit(self) -> None:
        self.notes.append("at_exit")

    def leave_to_parent(self) -> None:
        self.renew_lock()
        self.notes.append("leave_to_parent")

    def renew_lock(self) -> None:
        self.lock = threading.RLock()
        self.notes.append("renew_lock")


# -- fork ------------------------------------------------------------------------------------------


@posix
@forks
def test_every_call_gets_a_new_lock_in_the_child() -> None:
    """The thread that holds the old one is not in the child."""
    idle, recording, released = FakeCall(), FakeCall(), FakeCall()
    calls = [idle, recording, released]
    lifecycle.keep(recording)
    lifecycle.keep(released)
    lifecycle.release(released)
    lifecycle.release(released)
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        with idle.lock, recording.lock, released.lock:
            held.set()
            assert go.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)

    def use() -> bool:
        free = [call.lock.acquire(timeout=1) for call in calls]
        return (
            all(free)
            and idle.notes == released.notes == ["renew_lock"]
            and recording.notes == ["renew_lock", "leave_to_parent"]
            and not lifecycle._kept
        )

    try:
        assert in_child(use)
    finally:
        go.set()
        holder.join(10)
        lifecycle.release(recording)
    assert [call.notes for call in calls] == [[], [], []]


@posix
@forks
def test_the_order_after_a_fork(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle, "_fork_hooks", [])
    order: list[str] = []
    call = FakeCall()
    call.notes = order

    def fail() -> None:
        lane = HANDLERS.lane()
        lane.put(lambda: order.append("job"), size=1)  # the pools can be used already
        assert lane.wait(0, 5)
        raise ValueError("on purpose")

    lifecycle.at_fork(fail)
    lifecycle.at_fork(lambda: order.append("hook"))

    def use() -> bool:
        return order == ["job", "hook", "renew_lock"] and "on purpose" in caplog.text

    with caplog.at_level(logging.ERROR, logger="recorder"):
        assert in_child(use)


def test_calls_are_not_kept_alive_until_they_are_to_be() -> None:
    call = FakeCall()
    alive = weakref.ref(call)
    lifecycle.keep(call)
    del call
    gc.collect()
    kept = alive()
    assert kept is not None
    lifecycle.release(kept)
    del kept
    gc.collect()
    assert alive() is None


# -- exit ------------------------------------------------------------------------------------------

AT_EXIT = """
import logging, sys, threading
from recorder import RecordEvent
from recorder.runtime import lifecycle
from recorder.runtime.handlers import Subscription
from recorder.runtime.lanes import WRITING
from recorder.runtime.threads import ERRANDS

logging.basicConfig(format="%(message)s", stream=sys.stdout)
what = sys.argv[1]
lifecycle._EXIT_PATIENCE_SECONDS = 0.3 if what == "stalled" else 20


def say(line):
    sys.stdout.write(line + "\\n")  # one write: the threads share the stream


class Call:
    def __init__(self, name):
        self.name, self.lane, self.errand = name, WRITING.lane(), ERRANDS.lane()
        self.handler = Subscription(lambda event: say(f"handler {self.name}"))
        lifecycle.register(self)
        lifecycle.keep(self)

    def at_exit(self):
        if what == "raises":
            self.lane.put(self.write)
            raise ValueError("on purpose")
        self.lane.put(self.stall if what == "stalled" else self.write)

    def stall(self):
        threading.Event().wait()

    def write(self):
        say(f"write {self.name}")
        self.errand.put(lambda: self.lane.put(self.complete))

    def complete(self):
        say(f"complete {self.name}")
        event = RecordEvent(event_type="", timestamp=0, call_id="", params={})
        self.handler.deliver(event, lambda: say(f"done {self.name}"))


Call("a")
"""


@pytest.mark.parametrize("what", mostly_slow(["ends", "raises", "stalled"], "ends", "raises"))
def test_at_exit_files_are_written_then_handlers_called(what: str) -> None:
    command = [sys.executable, "-W", "error", "-c", AT_EXIT, what]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = run.stdout.splitlines()
    assert "Exception ignored" not in run.stderr
    if what == "stalled":
        assert lines == ["the disk has stalled: recordings are left for `recorder recover`"]
    else:
        printed = [line for line in lines if line.endswith(" a")]
        assert printed == ["write a", "complete a", "handler a", "done a"]
        assert ("ValueError: on purpose" in lines) == (what == "raises")


def test_drain() -> None:
    lane, blocked = HANDLERS.lane(), Blocked()
    lane.put(blocked)
    assert not lifecycle.drain(0.01)
    blocked.go.set()
    assert lifecycle.drain(10)


# -- live calls ------------------------------------------------------------------------------------


class LiveCall:
    def __init__(self, do: Callable[[], None] = lambda: None) -> None:
        self.ticks: SimpleQueue[int] = SimpleQueue()
        self._do = do

    def tick(self) -> None:
        self.ticks.put(threading.get_ident())
        self._do()


class Pause:
    """A ticker's pauses, ended by the test."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[float] = SimpleQueue()
        self.go: SimpleQueue[None] = SimpleQueue()

    def __call__(self, seconds: float) -> None:
        self.begun.put(seconds)
        self.go.get(timeout=60)


def thread_of(ticker: Ticker) -> threading.Thread | None:
    run = [t for t in threading.enumerate() if t.name == "recorder-ticker"]
    return run[0] if run else None


def test_live_calls_tick_until_none_is_left() -> None:
    pause = Pause()
    ticker = Ticker(pause)
    one, two = LiveCall(), LiveCall()
    ticker.add(one)
    first = one.ticks.get(timeout=10)
    assert 0 < pause.begun.get(timeout=10) <= 0.02
    ticker.add(two)
    assert two.ticks.empty()
    for _ in range(3):
        pause.go.put(None)
        pause.begun.get(timeout=10)
        assert one.ticks.get_nowait() == two.ticks.get_nowait() == first
    thread = thread_of(ticker)
    assert thread is not None
    assert thread.daemon
    ticker.remove(one)
    ticker.remove(one)
    pause.go.put(None)
    pause.begun.get(timeout=10)
    assert one.ticks.empty()
    two.ticks.get_nowait()
    alive = weakref.ref(two)
    del two
    gc.collect()
    assert alive() is None  # it ticked by weak reference only
    pause.go.put(None)
    thread.join(10)
    assert not thread.is_alive()
    # And again.
    ticker.add(one)
    one.ticks.get(timeout=10)
    thread = thread_of(ticker)
    ticker.remove(one)
    pause.go.put(None)
    assert thread is not None
    thread.join(10)


def test_what_a_tick_raises_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    pause = Pause()
    ticker = Ticker(pause)

    def fail() -> None:
        raise ValueError("on purpose")

    calls = [LiveCall(fail), LiveCall(), LiveCall(fail)]
    with caplog.at_level(logging.ERROR, logger="recorder"):
        for call in calls:
            ticker.add(call)
        pause.begun.get(timeout=10)
        pause.go.put(None)
        pause.begun.get(timeout=10)
        for call in calls:
            call.ticks.get(timeout=10)
            ticker.remove(call)
        pause.go.put(None)
    assert caplog.text.count("ValueError: on purpose") >= 2


def test_a_ticker_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ticker = Ticker()
    call = LiveCall()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            ticker.add(call)
    assert not ticker._calls


@posix
@forks
def test_after_a_fork_only_new_calls_tick() -> None:
    old, new = LiveCall(), LiveCall()
    lifecycle.TICKER.add(old)
    old.ticks.get(timeout=10)

    def use() -> bool:
        seen = old.ticks.qsize()
        lifecycle.TICKER.add(new)
        new.ticks.get(timeout=5)
        new.ticks.get(timeout=5)
        return old.ticks.qsize() == seen

    assert in_child(use)
    old.ticks.get(timeout=10)
    lifecycle.TICKER.remove(old)
