# SPDX-License-Identifier: MIT
"""Changes of one thing, one at a time: also where a signal handler comes in the middle of one."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

_LOG: Final = logging.getLogger("recorder")


def _nothing() -> None:
    pass


class Turns:
    """A lock, and who has the turn under it.

    `lock` is held while anything changes. A signal handler may interrupt that in the same thread,
    which a reentrant lock lets in: then `changing` is locked, and what it asks for is done right
    after the change that it interrupted. Both are released by whatever ends their blocks, so that
    an exception at any point leaves them free.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew: after a fork, threads that held the lock are not here."""
        self.lock = threading.RLock()
        self.changing = threading.Lock()
        self._postponed: deque[Callable[[], object]] = deque()

    def do(
        self, work: Callable[..., T], *args: Any, postponed: T, check: Callable[[], None] = _nothing
    ) -> T:
        """Do something as the only one; `postponed` is the answer where that is done later.

        `check` raises where it is not to be done at all.
        """
        with self.lock:
            check()
            if self.changing.locked():  # by this thread
                self._postponed.append(partial(work, *args))
                return postponed
            if self._postponed:  # of a change that was broken off
                self._do_postponed()
            with self.changing:
                check()  # again: a signal handler may have come in between
                result = work(*args)
            if self._postponed:
                self._do_postponed()
            return result

    def _do_postponed(self) -> None:
        while self._postponed and not self.changing.locked():
            try:
                work = self._postponed.popleft()
            except IndexError:  # a signal handler was here in between
                return
            with self.changing:
                try:
                    work()
                except Exception:  # the caller has its answer already
                    _LOG.exception("what a signal handler asked for failed")
