# SPDX-License-Identifier: MIT
"""Each source under some damaged conversations: tests/fuzz/sources.py says what has to hold."""

import random
from pathlib import Path

import pytest

from recorder import Call
from tests.fuzz.sources import SOURCES, Tally, checked_log, run_case
from tests.fuzz.wires import Fault, Step, Wire, drive, weight
from tests.recordings import STEREO

pytest.importorskip("dpkt")
pytest.importorskip("pcapng")

CASES = 40


@pytest.mark.parametrize("name", SOURCES)
def test_damaged_conversations(tmp_path: Path, name: str) -> None:
    tally = Tally()
    with checked_log():
        for number in range(CASES):
            run_case(name, 1, number, tmp_path, tally)
    assert tally.cases == CASES
    if name not in {"telephone_event", "sip"}:
        assert 0 < tally.refused < CASES
        assert tally.recorded > 10


# -- that a fault would be one ---------------------------------------------------------------------


class Faulty:
    """A source with one fault."""

    raises_of_the_call = False
    ended = False

    def __init__(self, wire: Wire, fault: str) -> None:
        self.call = wire.open("x", 8000)
        self.fault = fault
        self.kept = b""

    def receive(self, message: bytes) -> list[object]:
        if self.fault == "keeps":
            self.kept += message
        elif self.fault == "raises":
            raise ZeroDivisionError
        elif self.fault == "runs away":
            self.call.feed(speak=bytes(320), at=16000)
        return [5] if self.fault == "sends" else []

    def end(self) -> None:
        if self.fault != "goes on":
            self.call.hangup()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("none", ""),
        ("keeps", "it keeps"),
        ("raises", "division|$"),
        ("runs away", r"the call is at 2.02 s instead of 0.1\d s"),
        ("sends", "it sends 5"),
        ("goes on", "the call goes on"),
    ],
)
def test_faults_are_found(tmp_path: Path, fault: str, says: str) -> None:
    wire = Wire(tmp_path, STEREO, is_live=False)
    source = Faulty(wire, fault)
    steps = [Step(0, bytes(100))] * 100
    try:
        if not says:
            drive(wire, source, steps, lambda *_: 1000)
            return
        with pytest.raises((Fault, ZeroDivisionError), match=says):
            drive(wire, source, steps, lambda *_: 1000)
    finally:
        source.call.hangup()


def test_what_something_weighs() -> None:
    assert 1000 <= weight([b"x" * 500, {"a": bytearray(500)}, Call()]) < 1100


def test_a_case_is_the_same_each_time(tmp_path: Path) -> None:
    found = [Tally(), Tally()]
    for tally in found:
        random.random()
        run_case("audiosocket", 7, 3, tmp_path, tally)
    assert found[0].recorded == found[1].recorded
    assert found[0].refused == found[1].refused
