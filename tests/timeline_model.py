# SPDX-License-Identifier: MIT
"""The rules of the timeline, sample by sample: slow and obvious.

A leg is a list: what is at each position, which is None for silence and else a sample's name.
Samples come as lists of names.
"""

from collections.abc import Sequence

from recorder.placement.timeline import Leg

Name = tuple[int, int]
LEGS: tuple[Leg, Leg] = ("speak", "listen")


class Model:
    """A call that is not live."""

    def __init__(self, max_skew: int, hold: int) -> None:
        self.max_skew = max_skew
        self.hold = hold
        self.laid: dict[Leg, list[Name | None]] = {"speak": [], "listen": []}
        self.dropped: dict[Leg, list[Name]] = {"speak": [], "listen": []}
        self.held: dict[Leg, list[Sequence[Name]]] = {"speak": [], "listen": []}
        self.came: dict[Leg, bool] = {"speak": False, "listen": False}
        self.owed: dict[Leg, int] = {"speak": 0, "listen": 0}  # silence since the last audio
        self.alone: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.since: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.arrival: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.limited: dict[Leg, int | None] = {"speak": None, "listen": None}

    # -- what is done ------------------------------------------------------------------------

    def place(self, leg: Leg, names: Sequence[Name], at: int | None = None) -> None:
        if not names:
            return
        other = self.other(leg)
        self.alone[leg] += len(names)
        self.alone[other] = 0
        if at is not None:
            self.settle(leg)
            self.limited[leg] = None
            self.lay(leg, at, names, lead=0)
        elif self.held[leg] or (self.owed[leg] and self.came[other] and not self.owed[other]):
            if not self.held[leg]:
                self.since[leg] = self.position(other)
            self.arrival[leg] = self.position(other)
            self.held[leg].append(names)
            self.follow(leg, 0)
        elif self.owed[leg]:
            self.lay(leg, max(self.position(leg), self.now() - len(names)), names)
        elif self.runs_ahead(leg, len(names)):
            self.dropped[leg] += names
        else:
            self.lay(leg, self.position(leg), names)

    def place_both(
        self, speak: Sequence[Name], listen: Sequence[Name], at: int | None = None
    ) -> None:
        if not speak:
            return
        for leg in LEGS:
            self.settle(leg)
        start = self.now() if at is None else at
        self.lay_beside("speak", start, speak)
        self.lay_beside("listen", start, listen)
        self.limited = {"speak": None, "listen": None}
        self.alone = {"speak": 0, "listen": 0}

    def advance(self, to: int) -> None:
        if all(len(laid) >= to for laid in self.laid.values()):
            return
        for leg in LEGS:
            self.settle(leg)
            self.lay_beside(leg, to, ())

    def release(self) -> None:
        for leg in LEGS:
            self.settle(leg)

    # -- what follows ------------------------------------------------------------------------

    def position(self, leg: Leg) -> int:
        return len(self.laid[leg])

    def now(self) -> int:
        return max(len(laid) for laid in self.laid.values())

    def other(self, leg: Leg) -> Leg:
        return "listen" if leg == "speak" else "speak"

    def runs_ahead(self, leg: Leg, n: int) -> bool:
        other = self.other(leg)
        lead = self.position(leg) - self.position(other)
        limited = self.limited[leg]
        if limited is not None:
            if lead > self.hold:
                self.limited[leg] = self.position(other)
                return True
            if self.position(other) - limited >= self.hold:
                self.limited[leg] = None
            return False
        if not self.came[other] or self.owed[other] or lead + n <= max(self.max_skew, n):
            return False
        return self.alone[leg] < lead + n - self.hold

    def silence(self, leg: Leg) -> None:
        self.laid[leg].append(None)
        self.owed[leg] += 1

    def audio(self, leg: Leg, position: int, name: Name) -> bool:
        """Lay a sample at a position; False where the leg has been there already."""
        if position < self.position(leg):
            self.dropped[leg].append(name)
            return False
        self.laid[leg].append(name)
        self.came[leg] = True
        self.owed[leg] = 0
        return True

    def lay(self, leg: Leg, start: int, names: Sequence[Name], lead: int | None = None) -> None:
        """One sample after the other, and the other leg follows each."""
        lead = len(names) if lead is None else lead
        while self.position(leg) < start:
            self.silence(leg)
            self.follow(self.other(leg), lead)
        for position, name in enumerate(names, start):
            if self.audio(leg, position, name):
                self.follow(self.other(leg), lead)

    def lay_beside(self, leg: Leg, start: int, names: Sequence[Name]) -> None:
        """The same for a leg that advances together with the other."""
        while self.position(leg) < start:
            self.silence(leg)
        for position, name in enumerate(names, start):
            self.audio(leg, position, name)

    def follow(self, leg: Leg, lead: int) -> None:
        if self.held[leg]:
            self.judge(leg)
        reach = self.position(self.other(leg)) - max(self.max_skew, lead)
        while not self.held[leg] and self.position(leg) < reach:
            self.silence(leg)

    def judge(self, leg: Leg) -> None:
        there = self.position(self.other(leg))
        passed = there - self.since[leg]
        before_newest = sum(map(len, self.held[leg][:-1]))
        if before_newest >= passed + self.hold:
            self.limited[leg] = there
            reach = max(self.position(leg), there + self.hold)
            frames, self.held[leg] = self.held[leg], []
            late = min(self.owed[leg], sum(map(len, frames)))
            self.owed[leg] -= late
            for names in frames:
                self.dropped[leg] += names[:late]
                rest, late = names[late:], max(0, late - len(names))
                kept = rest[: max(0, reach - self.position(leg))]
                self.lay(leg, self.position(leg), kept)
                self.dropped[leg] += rest[len(kept) :]
        elif passed >= self.hold:
            self.settle(leg)

    def settle(self, leg: Leg) -> None:
        frames, self.held[leg] = self.held[leg], []
        start = self.arrival[leg] - sum(map(len, frames))
        for names in frames:
            start = max(start, self.position(leg))
            self.lay(leg, start, names)
            start += len(names)
