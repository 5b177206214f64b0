# SPDX-License-Identifier: MIT
"""What a server counts: readings that add up over its processes."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from recorder.placement.timeline import CallStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One thing that is counted, or stands at a value."""

    kind: Literal["counter", "gauge", "histogram"]
    what: str
    labels: tuple[str, ...] = ()


METERS: Final[dict[str, Meter]] = {
    "connections": Meter(kind="counter", what="Connections that were taken"),
    "refusals": Meter(
        kind="counter", what="Connections that were refused or broken off", labels=("why",)
    ),
    "calls": Meter(kind="gauge", what="Calls that are open"),
    "unfinished_recordings": Meter(
        kind="gauge", what="Recordings that go on, or whose files are not complete yet"
    ),
    "recordings": Meter(
        kind="counter", what="Recordings that have ended", labels=("state", "reason")
    ),
    "recorded_bytes": Meter(kind="counter", what="Bytes of complete files"),
    "recorded_seconds": Meter(kind="counter", what="Seconds of audio in complete files"),
    "audio_seconds": Meter(
        kind="counter",
        what="Seconds of audio of the legs: taken, filled with silence, or dropped and why",
        labels=("leg", "what"),
    ),
    "tick_lateness_seconds": Meter(
        kind="histogram", what="By how much ticks of the 20 ms clock were late"
    ),
    "unsent_bytes": Meter(kind="gauge", what="Bytes that wait for peers to read"),
    "unwritten_bytes": Meter(kind="gauge", what="Bytes of audio that wait for the disk"),
    "unprinted_events": Meter(
        kind="gauge", what="Events that wait for the reader of standard output"
    ),
}
# Of the histogram, in seconds.
BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Readings:
    """Values of METERS, by name and labels. Of the histogram, by bucket's number, and "sum"."""

    def __init__(self, pairs: Iterable[tuple[Iterable[str], float]] = ()) -> None:
        self.values: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for key, value in pairs:
            self.values[tuple(key)] += value

    def add(self, name: str, *labels: str, value: float = 1) -> None:
        """Count something."""
        self.values[name, *labels] += value

    def add_audio(self, stats: "CallStats", rate: int) -> None:
        """Count what became of a call's audio."""
        for leg, one in (("speak", stats.speak), ("listen", stats.listen)):
            for what in ("taken", "filled", "late", "duplicate", "overlap"):
                self.add("audio_seconds", leg, what, value=getattr(one, what) / rate)

    def add_lateness(self, seconds: float) -> None:
        """Count a tick."""
        self.add("tick_lateness_seconds", str(bisect_left(BUCKETS, seconds)))
        self.add("tick_lateness_seconds", "sum", value=seconds)

    def add_all(self, other: "Readings") -> None:
        """Add those of another."""
        for key, value in other.values.items():
            self.values[key] += value

    def without_gauges(self) -> "Readings":
        """Return what a process that has ended had counted: nothing stands there any more."""
        return Readings(
            (key, value) for key, value in self.values.items() if METERS[key[0]].kind != "gauge"
        )

    def as_json(self) -> list[Any]:
        """Return what JSON can carry, and the constructor takes."""
        return list(self.values.items())
