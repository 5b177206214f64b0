# SPDX-License-Identifier: MIT
"""The rules of the timeline, sample by sample: slow and obvious.

A leg is a list: what is at each position, which is None for silence and else a sample's name.
Samples come as lists of names.
"""

from collections import Counter
from collections.abc import Sequence

from recorder.placement.timeline import Leg, Loss

Name = tuple[int, int]
LEGS: tuple[Leg, Leg] = ("speak", "listen")
PLAYED = -1  # the number of the frame whose samples are what plays


class Model:
    """A call, live or not; positions are in samples."""

    def __init__(self, max_skew: int, hold: int, *, is_live: bool = False) -> None:
        self.max_skew = max_skew
        self.hold = hold
        self.is_live = is_live
        self.clock = 0
        self.laid: dict[Leg, list[Name | None]] = {"speak": [], "listen": []}
        self.dropped: dict[Leg, list[Name]] = {"speak": [], "listen": []}
        self.losses: dict[Leg, Counter[Loss]] = {"speak": Counter(), "listen": Counter()}
        self.held: dict[Leg, list[Sequence[Name]]] = {"speak": [], "listen": []}
        self.came: dict[Leg, bool] = {"speak": False, "listen": False}
        self.is_played: dict[Leg, bool] = {"speak": False, "listen": False}
        self.is_in_frame: dict[Leg, bool] = {"speak": False, "listen": False}
        self.owed: dict[Leg, int] = {"speak": 0, "listen": 0}  # silence since the last audio
        self.alone: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.newest: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.since: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.arrival: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.coming: dict[Leg, int] = {"speak": 0, "listen": 0}
        self.limited: dict[Leg, int | None] = {"speak": None, "listen": None}

    # -- what is done ------------------------------------------------------------------------

    def place(self, leg: Leg, names: Sequence[Name], at: int | None = None, slack: int = 0) -> None:
        n = len(names)
        if n == 0:
            return
        other = self.other(leg)
        self.alone[leg] += n
        self.alone[other] = 0
        self.newest[leg] = n
        if at is not None:
            self.settle(leg)
            self.limited[leg] = None
            continues = abs(at - self.position(leg)) <= slack
            self.lay(leg, self.position(leg) if continues else at, names, lead=0)
        elif self.is_live:
            self.place_live(leg, names)
        elif self.held[leg] or (self.owed[leg] and self.came[other] and not self.owed[other]):
            if not self.held[leg]:
                self.since[leg] = self.position(other)
            self.arrival[leg] = self.position(other)
            self.coming[leg] = self.if_long(self.newest[other])
            self.held[leg].append(names)
            self.follow(leg, 0)
        elif self.owed[leg] or self.is_played[leg]:
            self.lay(leg, max(self.position(leg), self.now() - n), names, lead=n)
        else:
            self.place_next(leg, names)

    def place_live(self, leg: Leg, names: Sequence[Name]) -> None:
        if self.has_gap(leg):
            start = max(self.position(leg), self.clock - len(names))
            self.lay(leg, start, names, lead=0)
        elif self.position(leg) > self.clock + self.max_skew:
            self.lose(leg, "late", names)
        else:
            self.lay(leg, self.position(leg), names, lead=0)

    def place_next(self, leg: Leg, names: Sequence[Name]) -> None:
        """Continue a leg, unless it runs ahead of one that keeps coming."""
        other, n = self.other(leg), len(names)
        lead = self.position(leg) - self.position(other)
        limited = self.limited[leg]
        if limited is not None:
            other_is_quiet = self.alone[leg] > 40 * self.hold
            if lead > self.hold and not other_is_quiet:
                self.limited[leg] = self.position(other)
                self.lose(leg, "late", names)
                return
            has_passed = self.position(other) - limited >= self.hold
            if lead > self.hold or (has_passed and lead >= -self.hold):
                self.limited[leg] = None
        elif self.keeps_coming(other) and lead + n > max(self.max_skew, n):
            lead_when_the_other_came = lead + n - self.alone[leg]
            if lead_when_the_other_came > self.hold + self.if_long(n):
                self.lose(leg, "late", names)
                return
        stalls = self.limited[leg] is None and self.alone[leg] > max(self.max_skew, n)
        is_filled = stalls or not self.keeps_coming(other)
        self.lay(leg, self.position(leg), names, lead=n if is_filled else lead + n)

    def place_both(
        self, speak: Sequence[Name], listen: Sequence[Name], at: int | None = None
    ) -> None:
        n = len(speak)
        if n == 0:
            return
        for leg in LEGS:
            self.settle(leg)
        start = max(map(self.position, LEGS)) if at is None else at
        if at is None and self.is_live and any(map(self.has_gap, LEGS)):
            start = max(start, self.clock - n)
        self.lay_beside("speak", start, speak)
        self.lay_beside("listen", start, listen)
        self.limited = {"speak": None, "listen": None}
        self.alone = {"speak": 0, "listen": 0}
        self.newest = {"speak": n, "listen": n}

    def advance(self, to: int) -> None:
        if all(len(laid) >= to for laid in self.laid.values()):
            return
        for leg in LEGS:
            self.settle(leg)
            self.lay_beside(leg, to, ())

    def tick(self, clock: int) -> None:
        self.clock = max(self.clock, clock)
        for leg in LEGS:
            self.lay_beside(leg, self.clock - self.max_skew, ())

    def release(self) -> None:
        for leg in LEGS:
            self.settle(leg)

    def play(self, to: int, n: int, silent_since: int) -> None:
        """The listen leg is filled, and `n` samples up to `silent_since` carry what plays."""
        self.lay_beside("listen", to, ())
        for position in range(silent_since - n, silent_since):
            self.laid["listen"][position] = PLAYED, position
        self.came["listen"] = self.is_played["listen"] = True
        self.owed["listen"] = self.position("listen") - silent_since

    # -- where everything is -----------------------------------------------------------------

    def position(self, leg: Leg) -> int:
        return len(self.laid[leg])

    def now(self) -> int:
        return max(self.clock, *map(self.position, LEGS))

    def other(self, leg: Leg) -> Leg:
        return "listen" if leg == "speak" else "speak"

    def has_gap(self, leg: Leg) -> bool:
        return self.owed[leg] > 0 or self.is_played[leg] or not self.came[leg]

    def if_long(self, n: int) -> int:
        return n if n > self.hold // 2 else 0

    def keeps_coming(self, leg: Leg) -> bool:
        return not self.has_gap(leg) and self.limited[leg] is None

    # -- what follows ------------------------------------------------------------------------

    def lose(self, leg: Leg, why: Loss, names: Sequence[Name]) -> None:
        self.dropped[leg] += names
        self.losses[leg][why] += len(names)

    def silence(self, leg: Leg) -> None:
        self.laid[leg].append(None)
        self.owed[leg] += 1

    def audio(self, leg: Leg, name: Name) -> None:
        self.laid[leg].append(name)
        self.came[leg] = True
        self.is_played[leg] = False
        self.owed[leg] = 0

    def without_overlap(self, leg: Leg, start: int, names: Sequence[Name]) -> Sequence[Name]:
        """Lose those that lie where the leg has been already."""
        taken = self.laid[leg][start : start + len(names)]
        if taken:
            why: Loss = "duplicate" if len(taken) == len(names) else "overlap"
            self.lose(leg, "late" if None in taken else why, names[: len(taken)])
        return names[len(taken) :]

    def lay(self, leg: Leg, start: int, names: Sequence[Name], lead: int) -> None:
        """One sample after the other, and the other leg follows each."""
        self.is_in_frame[leg] = True
        while self.position(leg) < start:
            self.silence(leg)
            self.follow(self.other(leg), lead)
        for name in self.without_overlap(leg, start, names):
            self.audio(leg, name)
            self.follow(self.other(leg), lead)
        self.is_in_frame[leg] = False

    def lay_beside(self, leg: Leg, start: int, names: Sequence[Name]) -> None:
        """The same for a leg that advances together with the other."""
        while self.position(leg) < start:
            self.silence(leg)
        for name in self.without_overlap(leg, start, names):
            self.audio(leg, name)

    def follow(self, leg: Leg, lead: int) -> None:
        if self.is_live or self.is_in_frame[leg]:
            return
        if self.held[leg]:
            self.judge(leg)
        reach = self.position(self.other(leg)) - max(self.max_skew, lead)
        while not self.held[leg] and self.position(leg) < reach:
            self.silence(leg)

    def judge(self, leg: Leg) -> None:
        there = self.position(self.other(leg))
        passed = there - self.since[leg]
        before_newest = sum(map(len, self.held[leg][:-1]))
        if before_newest >= passed + self.hold + self.coming[leg]:
            self.limited[leg] = there
            reach = max(self.position(leg), there + self.hold)
            frames, self.held[leg] = self.held[leg], []
            late = min(self.owed[leg], sum(map(len, frames)))
            self.owed[leg] -= late
            for names in frames:
                self.lose(leg, "late", names[:late])
                rest, late = names[late:], max(0, late - len(names))
                kept = rest[: max(0, reach - self.position(leg))]
                self.lay(leg, self.position(leg), kept, lead=len(kept))
                self.lose(leg, "late", rest[len(kept) :])
        elif passed >= self.hold:
            self.settle(leg)

    def settle(self, leg: Leg) -> None:
        frames, self.held[leg] = self.held[leg], []
        start = self.arrival[leg] - sum(map(len, frames))
        for names in frames:
            start = max(start, self.position(leg))
            self.lay(leg, start, names, lead=len(names))
            start += len(names)
