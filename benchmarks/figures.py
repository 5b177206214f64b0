# SPDX-License-Identifier: MIT
"""What a benchmark comes down to: one number in a unit that means something on the telephone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pytest_benchmark.fixture import BenchmarkFixture

OWN: Final = "recorder"  # whom the others in a group are compared with


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table at the end of the run."""

    group: str
    name: str
    value: float
    unit: str
    note: str = ""


class Measure:
    """Times a function with pytest-benchmark, and keeps figures made of the median.

    Nothing is kept where timing is off (`--benchmark-disable`): the function then just runs once.
    """

    def __init__(self, benchmark: BenchmarkFixture, figures: list[Figure]) -> None:
        self._benchmark = benchmark
        self._figures = figures

    @property
    def enabled(self) -> bool:
        """Whether there is a median."""
        return bool(self._benchmark.enabled)

    @property
    def median(self) -> float:
        """Seconds per run of the function."""
        stats: Any = self._benchmark.stats
        return float(stats.stats.median)

    def run(self, target: Callable[[], Any]) -> None:
        """As often as the settings of pytest-benchmark say."""
        self._benchmark(target)

    def run_rounds(
        self, target: Callable[[], Any], rounds: int, setup: Callable[[], None] | None = None
    ) -> None:
        """Exactly so often, for what leaves something behind or takes long."""
        pedantic: Any = self._benchmark.pedantic  # it has no types
        pedantic(target, setup=setup, rounds=rounds)

    def per_frame(self, group: str, name: str, frames: int, note: str = "") -> float:
        """Keep nanoseconds per 20 ms frame, and return them."""
        value = self.median / frames * 1e9
        self._keep(
            "ns_per_frame",
            Figure(group=group, name=name, value=value, unit="ns per frame", note=note),
        )
        return value

    def times_real_time(self, group: str, name: str, seconds: float, note: str = "") -> None:
        """Keep how many seconds of sound one second of work is enough for."""
        value = seconds / self.median
        self._keep(
            "times_real_time",
            Figure(group=group, name=name, value=value, unit="x real time", note=note),
        )

    def note(self, key: str, value: float) -> None:
        """Store another number beside them."""
        self._benchmark.extra_info[key] = value

    def _keep(self, key: str, figure: Figure) -> None:
        self.note(key, figure.value)
        self._figures.append(figure)


def table(figures: list[Figure]) -> list[str]:
    """The lines to print, group by group, with each figure's ratio to recorder's own."""
    lines = []
    for group in dict.fromkeys(figure.group for figure in figures):
        members = [figure for figure in figures if figure.group == group]
        own = next((figure.value for figure in members if figure.name == OWN), None)
        lines.append(group)
        for figure in members:
            ratio = f"{figure.value / own:8.2f} times {OWN}" if own and figure.name != OWN else ""
            value = f"  {figure.name:<20}{figure.value:12,.0f} {figure.unit:<13}"
            lines.append(f"{value}{ratio:<24}{figure.note}".rstrip())
    return lines
