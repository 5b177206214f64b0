# SPDX-License-Identifier: MIT
"""How good the digits are, beside rivals: every line of tests/dtmf_conformance.py.

    python -m benchmarks.digit_quality             # the table
    python -m benchmarks.digit_quality --talk-off  # speech and music at eight speeds as well

A rival that is not installed is left out, and so is what it cannot do.
"""

import argparse
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import numpy as np
import pytest

from benchmarks import rivals
from benchmarks.signals import RATE, frame_length, in_frames
from tests import dtmf_conformance as suite
from tests.dtmf_conformance import LINES, SPEEDS, Found, Line, Receiver, Recorder
from tests.signals import Pcm

_NAME_WIDTH: Final = 58
_GOAL_WIDTH: Final = 20
_VALUE_WIDTH: Final = 33


class Spandsp:
    """spandsp's receiver. A digit's place is the end of the frame that reported it."""

    name = "spandsp"
    rates = (RATE,)
    places = False

    def decode(self, pcm: Pcm, rate: int) -> list[Found]:
        assert rate == RATE
        receiver = rivals.Spandsp()
        size = frame_length()
        padded = np.concatenate([pcm, np.zeros(-len(pcm) % size, np.int16)])
        found = []
        for index, frame in enumerate(in_frames(padded)):
            receiver.by_frame([frame])
            end = (index + 1) * size
            found += [Found(digit=digit, start=end, end=end) for digit in receiver.found()]
        return found


def receivers() -> list[Receiver]:
    """Ours, and each rival that is installed."""
    chosen: list[Receiver] = [Recorder()]
    try:
        rivals.Spandsp()
    except pytest.skip.Exception as missing:
        print(f"left out: {missing.msg}")
    else:
        chosen.append(Spandsp())
    return chosen


def row(name: str, goal: str, values: list[str]) -> str:
    cells = "".join(f"  {value:<{_VALUE_WIDTH}}" for value in values)
    return f"{name:<{_NAME_WIDTH}}{goal:<{_GOAL_WIDTH}}{cells}".rstrip()


def line_rows(line: Line, chosen: list[Receiver]) -> Iterator[str]:
    """The line, and the details of what each receiver did."""
    values, details = [], []
    for receiver in chosen:
        why_not = line.why_not(receiver)
        if why_not is not None:
            values.append(f"({why_not})")
            continue
        result = line.measure(receiver)
        values.append(result.shown if result.met else f"{result.shown} MISSED")
        if result.detail:
            details.append(f"    {receiver.name}: {result.detail}")
    yield row(line.name, line.goal, values)
    yield from details


def sounds() -> Iterator[tuple[str, tuple[Pcm, ...]]]:
    """What holds no digit, by name."""
    for language in suite.languages():
        yield f"prompts {language}", suite.prompts(language)
    if suite.music():
        yield "music on hold", suite.music()


def talk_off_rows(chosen: list[Receiver], speeds: tuple[Fraction, ...]) -> Iterator[str]:
    """The digits found in speech and music, at each of the speeds together."""
    totals = [suite.TalkOff() for _ in chosen]
    for name, pieces in sounds():
        values = []
        for receiver, total in zip(chosen, totals, strict=True):
            here = suite.TalkOff()
            for speed in speeds:
                result = suite.talk_off(receiver, suite.played(pieces, speed))
                here.digits += result.digits
                here.hours += result.hours
            total.digits += here.digits
            total.hours += here.hours
            values.append(f"{here} {here.digits[:12]}")
        yield row(f"17 {name}, {_speeds(speeds)}: false digits", "0", values)
    if totals[0].hours:
        yield row(f"17 all, {_speeds(speeds)}: false digits", "0", [str(t) for t in totals])
    else:
        yield "17 left out: no prompts and no music of Asterisk are installed"


def _speeds(speeds: tuple[Fraction, ...]) -> str:
    return "as it is" if len(speeds) == 1 else f"at {len(speeds)} speeds"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="How good the digits are, beside rivals.")
    parser.add_argument("--talk-off", action="store_true", help="eight speeds as well; minutes")
    options = parser.parse_args(arguments)
    chosen = receivers()
    print(row("", "goal", [receiver.name for receiver in chosen]))
    for line in LINES:
        for text in line_rows(line, chosen):
            print(text, flush=True)
    for text in talk_off_rows(chosen, (Fraction(1),)):
        print(text, flush=True)
    if options.talk_off:
        for text in talk_off_rows(chosen, SPEEDS):
            print(text, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
