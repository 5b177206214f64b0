# SPDX-License-Identifier: MIT
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder import Call, RecordEvent
from recorder.background import DELIVERY, WRITING


def settle() -> None:
    """Let the background threads do all that they have to do."""
    for _ in range(2):  # a file that fails is told to its call, which then completes it
        assert WRITING.drain(30)
        assert DELIVERY.drain(30)


class Heard:
    """A call whose events are kept."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._events: list[RecordEvent] = []
        call.on("calling.call.record", self._events.append)

    @property
    def events(self) -> list[RecordEvent]:
        settle()
        return self._events

    @property
    def states(self) -> list[str]:
        return [event.state for event in self.events]


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
def heard(call: Call) -> Heard:
    return Heard(call)
