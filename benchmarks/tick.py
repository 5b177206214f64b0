# SPDX-License-Identifier: MIT
"""What a tick costs: 20 ms of both legs at 8 kHz, recorded to a stereo WAV, from feed to file.

    python -m benchmarks.tick [--rounds 30] [--only NAME ...] [--directory DIR]

Each row measures two things in turns (A B B A ...) in one process and gives the median of the
rounds' ratios, with their quartiles. Cost is CPU time of all threads until everything is written;
the audio is fed as fast as it goes. An import's is the time it takes in a new interpreter. Files go
below DIR, /dev/shm where there is one, and are removed. Exit status 1 when a goal is missed.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pytest

from benchmarks import feeding, rivals
from benchmarks.feeding import IN_STEP, WAYS, ManyRecorded, Recorded

_FEED_ROUNDS: Final = 10  # 4,000 ticks, some 20 ms of work
_MANY: Final = 2000
_MANY_ROUNDS: Final = 25  # half a second of each call: each hands on one block
_MANY_PASSES: Final = 2
_PASSES: Final = 6  # in each everything is made anew: where it lies in memory matters
_SHM: Final = Path("/dev/shm")
_IMPORTS: Final = ("from recorder import Call", "import recorder")
_NUMPY: Final = "import numpy"
_IMPORT_GOAL: Final = 1.3


# Of both sides, by round.
Costs = list[tuple[float, float]]


class Work(Protocol):
    """Something to be measured."""

    def run(self, rounds: int) -> int:
        """Do it so often, and return how many ticks that was."""

    def close(self) -> None:
        """End it, and remove what it left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two things that a row compares."""

    name: str
    make: Callable[[Path], Work]
    rounds: int = _FEED_ROUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`a` against `b`; no goal where the ratio is only reported."""

    key: str
    a: Side
    b: Side
    goal: float | None = None
    passes: int = _PASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Medians of the cost of each side, and the ratios of all rounds."""

    a: float
    b: float
    ratios: Sequence[float]
    unit: str

    @property
    def ratio(self) -> float:
        return float(np.median(self.ratios))


# -- the rows ---------------------------------------------------------------------------------


def _way(name: str) -> Side:
    return Side(name=name, make=lambda folder: Recorded(WAYS[name], folder, stereo=True))


def _mp3(direction: str) -> Side:
    return Side(
        name=f"an MP3 of {direction}",
        make=lambda folder: Recorded(WAYS[IN_STEP], folder, format="mp3", direction=direction),
    )


def _lame(*, listen: bool) -> Side:
    audio = partial(feeding.mono, feeding.ticks(), listen=listen)
    return Side(name="LAME alone", make=lambda _: rivals.Lame(audio()))


def _pipecat(name: str, *, is_set_up: bool) -> Side:
    ticks = feeding.ticks()
    return Side(name=name, make=lambda _: rivals.Pipecat(ticks, is_set_up=is_set_up))


def _rows() -> list[Row]:
    both = _way(IN_STEP)
    many = Side(
        name=f"{_MANY:,} calls",
        make=lambda folder: ManyRecorded(_MANY, folder),
        rounds=_MANY_ROUNDS,
    )
    return [
        Row(key="pipecat", a=both, b=_pipecat("Pipecat, bare", is_set_up=False), goal=0.65),
        Row(key="pipecat", a=both, b=_pipecat("Pipecat, set up", is_set_up=True)),
        Row(key="at", a=_way("with at="), b=both, goal=1.15),
        Row(key="alone", a=_way("one leg alone"), b=both, goal=1.15),
        Row(key="apart", a=_way("legs apart"), b=both),
        Row(key="float32", a=_way("float32"), b=both, goal=1.6),
        Row(key="16k", a=_way("a leg at 16 kHz"), b=both, goal=2.0),
        Row(key="live", a=_way("live"), b=both),
        Row(key="live", a=_way("live, with its clock"), b=both),
        Row(key="calls", a=many, b=both, goal=1.4, passes=_MANY_PASSES),
        Row(key="mp3", a=_mp3("speak"), b=_lame(listen=False), goal=1.3),
        Row(key="mp3", a=_mp3("both"), b=_lame(listen=True)),
    ]


# -- measuring --------------------------------------------------------------------------------


def _cost(work: Work, rounds: int) -> float:
    """Microseconds of CPU time per tick."""
    gc.collect()
    start = time.process_time_ns()
    ticks = work.run(rounds)
    return (time.process_time_ns() - start) / ticks / 1000


def _measure(row: Row, rounds: int, folder: Path) -> Costs:
    """What each side costs, so many times in turns."""
    sides = row.a, row.b
    works: list[Work] = []
    costs: Costs = []
    try:
        for side in sides:
            works.append(side.make(folder))  # noqa: PERF401  # to be closed if the next fails
        for work in works:
            work.run(1)
        for number in range(rounds):
            taken = [0.0, 0.0]
            for index in (0, 1) if number % 2 else (1, 0):
                taken[index] = _cost(works[index], sides[index].rounds)
            costs.append((taken[0], taken[1]))
    finally:
        for work in works:
            work.close()
    return costs


def _measure_all(rows: Sequence[Row], rounds: int, folder: Path) -> list[Result | None]:
    """A result for each row, None where a rival is not installed.

    All rows are measured in turns, too: a busy moment of the machine is shared by all.
    """
    costs: list[Costs] = [[] for _ in rows]
    for number in range(_PASSES):
        for row, taken in zip(rows, costs, strict=True):
            if number < row.passes:
                try:
                    taken.extend(_measure(row, max(1, rounds // _PASSES), folder))
                except pytest.skip.Exception as missing:
                    if not number:
                        print(f"{row.b.name} is left out: {missing.msg}", file=sys.stderr)
    return [_result(taken, "us") if taken else None for taken in costs]


def _result(costs: Costs, unit: str) -> Result:
    a, b = np.median(costs, axis=0)
    return Result(a=float(a), b=float(b), ratios=[x / y for x, y in costs], unit=unit)


def _import_seconds(statement: str, cache: Path) -> tuple[float, float]:
    """What an import takes in a new interpreter, and what that takes as a whole."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    # Compiled once, as an installed package is, whatever the settings here.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(run.stdout), time.perf_counter() - start


def _measure_imports(rounds: int, cache: Path) -> dict[str, Result]:
    """Of each of _IMPORTS, against numpy's, and of the whole of the last process."""
    statements = (*_IMPORTS, _NUMPY)
    for statement in statements:
        _import_seconds(statement, cache)  # compiles
    taken = [
        {statement: _import_seconds(statement, cache) for statement in statements}
        for _ in range(rounds)
    ]

    def against_numpy(statement: str, which: int) -> Result:
        costs = [(1000 * one[statement][which], 1000 * one[_NUMPY][which]) for one in taken]
        return _result(costs, "ms")

    results = {statement: against_numpy(statement, 0) for statement in _IMPORTS}
    results[f"python -c {_IMPORTS[-1]!r}"] = against_numpy(_IMPORTS[-1], 1)
    return results


# -- the table --------------------------------------------------------------------------------


def _print(names: tuple[str, str], result: Result, goal: float | None) -> bool:
    """Print a row; return whether its goal is met."""
    first, third = np.quantile(result.ratios, [0.25, 0.75])
    met = goal is None or round(result.ratio, 2) <= goal
    asked = "" if goal is None else f"<= {goal:g}" + ("" if met else " MISSED")
    print(
        f"| {names[0]} | {result.a:.2f} {result.unit} | {names[1]} | {result.b:.2f} {result.unit}"
        f" | {result.ratio:.2f} | {first:.2f} to {third:.2f} | {asked} |",
        flush=True,
    )
    return met


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; exit 1 when a goal is missed."""
    rows = _rows()
    keys = [*dict.fromkeys(row.key for row in rows), "import"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tick")
    parser.add_argument("--rounds", type=int, default=30, help="of each row")
    parser.add_argument("--only", choices=keys, action="append", help="only these rows")
    parser.add_argument("--directory", type=Path, default=_SHM if _SHM.is_dir() else None)
    chosen = parser.parse_args(arguments)
    only = chosen.only or keys
    met = True
    print("| | cost | against | cost | ratio | quartiles | goal |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory(dir=chosen.directory) as folder:
        rows = [row for row in rows if row.key in only]
        found = _measure_all(rows, chosen.rounds, Path(folder))
        for row, result in zip(rows, found, strict=True):
            if result is not None:
                met &= _print((row.a.name, row.b.name), result, row.goal)
        results = _measure_imports(chosen.rounds, Path(folder)) if "import" in only else {}
        for name, result in results.items():
            goal = _IMPORT_GOAL if name in _IMPORTS else None
            met &= _print((name, _NUMPY), result, goal)
    if not met:
        sys.exit(1)


if __name__ == "__main__":
    main()
