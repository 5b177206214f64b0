# SPDX-License-Identifier: MIT
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder import Call, RecordEvent


class Heard:
    """A call whose events are kept."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.events: list[RecordEvent] = []
        call.on("calling.call.record", self.events.append)

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


@pytest.fixture
def call(make_call: Callable[..., Call]) -> Call:
    return make_call()


@pytest.fixture
def heard(call: Call) -> Heard:
    return Heard(call)
