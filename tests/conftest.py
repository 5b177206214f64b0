# SPDX-License-Identifier: MIT
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder import Call, RecordEvent
from recorder.runtime.lanes import WRITING
from recorder.runtime.threads import ERRANDS, HANDLERS

# In the order in which work passes from one to the next.
POOLS = (WRITING, ERRANDS, HANDLERS)


def pytest_collection_finish() -> None:
    """Set the imported modules and the tests aside: to look through them at each collection of
    garbage would take a quarter of the time.
    """
    gc.collect()
    gc.freeze()


def settle() -> None:
    """Let the background threads do all that they have to do."""
    for _ in range(2):  # a file that fails is reported to its call, which then completes it
        for pool in (WRITING, ERRANDS, HANDLERS):
            assert pool.drain(30)


class Events:
    """A call whose events are kept."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._received: list[RecordEvent] = []
        call.on("calling.call.record", self._received.append)

    @property
    def received(self) -> list[RecordEvent]:
        settle()
        return self._received

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.received]


@pytest.fixture
def untraced() -> Iterator[None]:
    """No coverage in this thread: a signal handler would interrupt it with its lock held."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)


@pytest.fixture
def make_call(tmp_path: Path) -> Iterator[Callable[..., Call]]:
    calls = []

    def make(sample_rate: int = 8000, **options: Any) -> Call:
        calls.append(Call(sample_rate, **{"directory": tmp_path / "recordings", **options}))
        return calls[-1]

    yield make
    for call in calls:
        call.hangup()
    settle()


@pytest.fixture
def call(make_call: Callable[..., Call]) -> Call:
    return make_call()


@pytest.fixture
def events(call: Call) -> Events:
    return Events(call)
