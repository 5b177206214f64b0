# SPDX-License-Identifier: MIT
"""The rules of the timeline, sample by sample: slow and obvious.

A leg is a list: what is heard at each position, which is None for silence and else a sample's
name. Samples come as lists of names.
"""

from collections.abc import Sequence

from recorder.timeline import Leg

Name = tuple[int, int]
LEGS: tuple[Leg, Leg] = ("speak", "listen")


class Model:
    def __init__(self, max_skew: int, hold: int) -> None:
        self.max_skew = max_skew
        self.hold = hold
        self.heard: dict[Leg, list[Name | None]] = {"speak": [], "listen": []}
        self.dropped: dict[Leg, list[Name]] = {"speak": [], "listen": []}
        self.held: dict[Leg, list[Name]] = {"speak": [], "listen": []}
        self.owed: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.since: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.arrival: dict[Leg, int] = {"speak": 0, "listen": 0}

    def place(self, leg: Leg, names: Sequence[Name], at: int | None = None) -> None:
        if not names:
            return
        other = self.other(leg)
        if at is not None:
            self.settle(leg)
            self.owed[leg] = 0
            self.lay(leg, at, names)
        elif not self.owed[leg]:
            self.lay(leg, len(self.heard[leg]), names)
        elif not any(self.heard[leg]):
            self.owed[leg] = 0
            self.lay(leg, max(len(self.heard[leg]), len(self.heard[other]) - len(names)), names)
        else:
            if not self.held[leg]:
                self.since[leg] = len(self.heard[other])
            self.arrival[leg] = len(self.heard[other])
            self.held[leg] += names
            self.follow(leg)

    def place_both(
        self, speak: Sequence[Name], listen: Sequence[Name], at: int | None = None
    ) -> None:
        if not speak:
            return
        for leg in LEGS:
            self.settle(leg)
        start = self.now() if at is None else at
        self.lay_silent("speak", start, speak)
        self.lay_silent("listen", start, listen)
        self.owed = {"speak": 0, "listen": 0}

    def advance(self, to: int) -> None:
        if all(len(heard) >= to for heard in self.heard.values()):
            return
        for leg in LEGS:
            self.settle(leg)
        self.lay_silent("speak", to, ())
        self.lay_silent("listen", to, ())
        self.owed = {"speak": 0, "listen": 0}

    def release(self) -> None:
        for leg in LEGS:
            if self.held[leg]:
                self.settle(leg)

    # -- what happens -----------------------------------------------------------------------

    def now(self) -> int:
        return max(len(heard) for heard in self.heard.values())

    def other(self, leg: Leg) -> Leg:
        return "listen" if leg == "speak" else "speak"

    def lay(self, leg: Leg, start: int, names: Sequence[Name]) -> None:
        """One sample after the other, and the other leg follows each."""
        while len(self.heard[leg]) < start:
            self.heard[leg].append(None)
            self.follow(self.other(leg))
        for position, name in enumerate(names, start):
            if position < len(self.heard[leg]):
                self.dropped[leg].append(name)
            else:
                self.heard[leg].append(name)
                self.follow(self.other(leg))

    def lay_silent(self, leg: Leg, start: int, names: Sequence[Name]) -> None:
        """The same for a leg that goes on together with the other."""
        heard = self.heard[leg]
        heard += [None] * (start - len(heard))
        late = min(len(names), len(heard) - start)
        self.dropped[leg] += names[:late]
        heard += names[late:]

    def follow(self, leg: Leg) -> None:
        if self.held[leg]:
            self.judge(leg)
        while not self.held[leg] and (
            len(self.heard[leg]) < len(self.heard[self.other(leg)]) - self.max_skew
        ):
            self.heard[leg].append(None)
            self.owed[leg] += 1

    def judge(self, leg: Leg) -> None:
        held = self.held[leg]
        passed = len(self.heard[self.other(leg)]) - self.since[leg]
        if len(held) >= passed + self.hold:
            while held and self.owed[leg]:
                self.dropped[leg].append(held.pop(0))
                self.owed[leg] -= 1
            if not self.owed[leg]:
                self.held[leg] = []
                self.lay(leg, len(self.heard[leg]), held)
        elif passed >= self.hold:
            while self.owed[leg] and len(self.heard[leg]) + len(held) > self.arrival[leg]:
                self.dropped[leg].append(held.pop(0))
                self.owed[leg] -= 1
            self.settle(leg)

    def settle(self, leg: Leg) -> None:
        held, self.held[leg] = self.held[leg], []
        self.owed[leg] = 0
        if held:
            self.lay(leg, max(len(self.heard[leg]), self.arrival[leg] - len(held)), held)
            self.follow(leg)
