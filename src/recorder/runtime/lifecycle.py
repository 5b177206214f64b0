# SPDX-License-Identifier: MIT
"""What happens to calls when the interpreter exits or the process forks, and in which order.

At exit: calls are ended, their files written and sent (`at_exit`), then their handlers called.
After a fork, in the child: the pools begin anew, undelivered events are forgotten, files are closed
(`at_fork`), and only then calls are informed, which may use all of these.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from recorder.runtime import handlers
from recorder.runtime.lanes import WRITING
from recorder.runtime.threads import ERRANDS, HANDLERS
from recorder.runtime.weakbag import WeakBag

_LOG: Final = logging.getLogger("recorder")
# How long a stalled disk, or a handler that does not return, may keep the process from its end.
_EXIT_PATIENCE_SECONDS: Final = 10.0
_TICK_SECONDS: Final = 0.02


class Member(Protocol):
    """What the process's end or a fork concerns: a call."""

    def at_exit(self) -> None:
        """End and finish the files: a kept call, when the interpreter exits."""

    def leave_to_parent(self) -> None:
        """Belong to the parent: a kept call, in the child after a fork. Replaces its lock, too."""

    def renew_lock(self) -> None:
        """Replace the lock, which a thread may hold that is not in the child: any other call."""


class Live(Protocol):
    """A call whose clock runs by itself."""

    def tick(self) -> None:
        """Let the time pass. Must not wait for a lock, which would delay all other calls."""


_all: Final[WeakBag[Member]] = WeakBag()
_kept: Final[set[Member]] = set()
_fork_hooks: Final[list[Callable[[], None]]] = []
_exit_hooks: Final[list[Callable[[], None]]] = []


def register(call: Member) -> None:
    """Have a call informed after a fork, without keeping it alive."""
    _all.add(call)


def keep(call: Member) -> None:
    """Keep a call alive, and end it at exit: its recordings run, or its clock does."""
    _kept.add(call)


def release(call: Member) -> None:
    """Undo `keep`; once too often does no harm."""
    _kept.discard(call)


def at_fork(hook: Callable[[], None]) -> None:
    """Have a function called in the child after a fork, before calls are informed."""
    _fork_hooks.append(hook)


def at_exit(hook: Callable[[], None]) -> None:
    """Have a function called at exit, when the files are written and before handlers end."""
    _exit_hooks.append(hook)


def drain(patience: float) -> bool:
    """Wait for all background work; False when none of it ends for `patience` seconds."""
    # An errand after a failure has more written, and that, at its end, has handlers called.
    files = WRITING.drain(patience) and ERRANDS.drain(patience) and WRITING.drain(patience)
    return HANDLERS.drain(patience) and files


def _guarded(function: Callable[[], None]) -> None:
    """Call a function; what it raises is logged, so that the next one is called too."""
    try:
        function()
    except Exception:
        _LOG.exception("%r failed", function)


def _at_exit() -> None:
    for call in _kept.copy():
        _guarded(call.at_exit)
    if not WRITING.drain(_EXIT_PATIENCE_SECONDS):
        _LOG.error("the disk has stalled: recordings are left for `recorder recover`")
    elif ERRANDS.drain(_EXIT_PATIENCE_SECONDS):
        WRITING.drain(_EXIT_PATIENCE_SECONDS)  # of what the errands completed
    for hook in _exit_hooks:
        _guarded(hook)
    HANDLERS.drain(_EXIT_PATIENCE_SECONDS)


def _after_fork() -> None:
    for pool in (WRITING, ERRANDS, HANDLERS):
        pool.restart()
    handlers.restart()
    for hook in _fork_hooks:
        _guarded(hook)
    TICKER.restart()
    kept = _kept.copy()
    _kept.clear()
    for call in _all.snapshot():
        if call not in kept:
            _guarded(call.renew_lock)
    for call in kept:
        _guarded(call.leave_to_parent)


class Ticker:
    """One thread that has live calls tick; there is none when there are no live calls."""

    def __init__(self, pause: Callable[[float], None] = time.sleep) -> None:
        self._pause = pause
        self._calls: WeakBag[Live] = WeakBag()
        self.restart()

    def restart(self) -> None:
        """After a fork: the parent's calls do not tick here. One that is to may be added again."""
        self._calls.clear()
        self._turn = threading.Lock()  # held by the thread that ticks; never waited for

    def add(self, call: Live) -> None:
        """Have a call tick until it is removed or gone; RuntimeError if no thread can be started.

        Safe in a signal handler: it waits for nothing but the thread's start.
        """
        self._calls.add(call)
        if not self._turn.locked():
            try:  # if two callers come here, one of the threads ends at once
                threading.Thread(target=self._run, name="recorder-ticker", daemon=True).start()
            except BaseException:
                self._calls.discard(call)
                raise

    def remove(self, call: Live) -> None:
        """Undo `add`; once too often does no harm."""
        self._calls.discard(call)

    def _run(self) -> None:
        # Checked again after the turn was given up: a call that was added before found it taken.
        while self._calls and self._turn.acquire(blocking=False):
            try:
                self._tick_until_empty()
            finally:
                self._turn.release()

    def _tick_until_empty(self) -> None:
        due = time.monotonic()
        while self._calls:
            self._tick_all()
            now = time.monotonic()
            # After a stall, once is enough: a tick passes all time since the last.
            due = max(due + _TICK_SECONDS, now)
            self._pause(due - now)

    def _tick_all(self) -> None:
        for call in self._calls.snapshot():
            _guarded(call.tick)


TICKER: Final = Ticker()

atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
