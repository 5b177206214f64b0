# SPDX-License-Identifier: MIT
"""Where the audio of the two legs belongs on the call's one clock, in samples."""

import numbers
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from recorder.errors import FrameError, shown

Leg = Literal["speak", "listen"]
P = TypeVar("P")

_BY_POSITION: Final = attrgetter("position")


class Span(NamedTuple, Generic[P]):
    """The next `n` samples of a leg, from `position` on.

    They are those of `payload` from its sample `offset` on, or silence when it is None.
    """

    leg: Leg
    position: int
    n: int
    payload: P | None
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStats:
    """What became of the audio of one leg so far, in samples of the call's rate.

    - `taken`: audio that has its place on the call's clock.
    - `filled`: silence put where no audio came. With `taken`, it makes up the leg.
    - `dropped`: audio that came twice or too late, when its place was taken.
    - `held`: audio that came after a break, of which it is not known yet whether it is late.
    """

    taken: int
    filled: int
    dropped: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStats:
    """What became of the audio of both legs so far."""

    speak: LegStats
    listen: LegStats


class _Leg:
    __slots__ = ("dropped", "filled", "name", "position")

    def __init__(self, name: Leg) -> None:
        self.name = name
        self.position = 0
        self.filled = 0
        self.dropped = 0

    def silence(self, n: int) -> Span[P]:
        position = self.position
        self.position = position + n
        self.filled += n
        return Span(self.name, position, n, None, 0)


class Timeline(Generic[P]):
    """Hands out, in the order to be heard, what each leg consists of.

    All numbers are samples of the call's rate. Audio is a payload and its length: nothing here
    looks into it. Each leg's spans follow each other without gap or overlap, from 0 for ever.

    - A frame continues its leg, or has a position: then silence fills a gap before it, and what
      overlaps audio or silence that is already there is dropped.
    - Two legs fed together are of one moment. Without a position, that is where the leg furthest
      on is: the other is silent up to there.
    - A leg that is more than `max_skew` behind the other is filled with silence up to there.

    A leg that was filled and then goes on without positions may have stalled: what comes now is
    late, and time that has been filled must not be counted again. Or its source had nothing to
    say and sent nothing: what comes now is of now. So its frames are held, at most until the
    other leg has gone on by `hold`, and the pace tells:

    - It runs ahead of the other by `hold` or more: they are late. As much as was filled is
      dropped from the oldest on, then the leg continues. When all that was held has been dropped
      and more has been filled, what follows is held and judged anew.
    - The other went on by `hold` and it did not: they are of now. They end where the other leg
      was when the newest of them came, but do not overlap what is there (as far as they would
      for being late, they are dropped; that takes a `max_skew` below `hold`).
    - Not known yet, but known otherwise: a position, frames fed together, `advance` and `release`
      all take what is held to be of now.

    The first frame that a leg ever has is never late: if the leg was filled, the frame ends where
    the other leg is. Only one leg can be in doubt at a time: the one behind.

    Spans have at most `piece` samples. Where both legs get something for the same stretch, they
    alternate. `speak`, `listen`, `now` and `stats` are as after the last span returned.
    """

    __slots__ = (
        "_arrival",
        "_held",
        "_held_samples",
        "_hold",
        "_late",
        "_listen",
        "_max_skew",
        "_most_gap",
        "_owed",
        "_piece",
        "_since",
        "_speak",
    )

    def __init__(self, *, max_skew: int, hold: int, piece: int, most_gap: int) -> None:
        self._max_skew = max_skew
        self._hold = hold
        self._piece = piece
        self._most_gap = most_gap
        self._speak = _Leg("speak")
        self._listen = _Leg("listen")
        # The leg that was filled since it last had a frame of now, and by how much.
        self._late: _Leg | None = None
        self._owed = 0
        # Its frames in doubt; where the other leg was when the first and the newest came.
        self._held: deque[tuple[int, P]] = deque()
        self._held_samples = 0
        self._since = 0
        self._arrival = 0

    # -- where everything is -----------------------------------------------------------------

    @property
    def speak(self) -> int:
        """Where the speak leg continues."""
        return self._speak.position

    @property
    def listen(self) -> int:
        """Where the listen leg continues."""
        return self._listen.position

    @property
    def now(self) -> int:
        """The call's position: that of the leg furthest on."""
        return max(self._speak.position, self._listen.position)

    def furthest(self, legs: Iterable[Leg]) -> int:
        """The position of that of the legs which is furthest on."""
        return max(self.speak if leg == "speak" else self.listen for leg in legs)

    @property
    def stats(self) -> CallStats:
        """What became of all audio so far."""
        return CallStats(speak=self._stats_of(self._speak), listen=self._stats_of(self._listen))

    def _stats_of(self, leg: _Leg) -> LegStats:
        return LegStats(
            taken=leg.position - leg.filled,
            filled=leg.filled,
            dropped=leg.dropped,
            held=self._held_samples if leg is self._late else 0,
        )

    def check_at(self, at: int) -> int:
        """The position as a plain int; FrameError when no frame may have it.

        A position far ahead is a mistake: it would make the recording that long.
        """
        most = self.now + self._most_gap
        is_whole = type(at) is int or (isinstance(at, numbers.Integral) and type(at) is not bool)
        if not is_whole or not 0 <= at <= most:
            raise FrameError(
                f"at is {shown(at)}: allowed is a position in samples, from 0 to {most}"
                f" ({self._most_gap} past the call's)"
            )
        return int(at)

    # -- what comes --------------------------------------------------------------------------

    def place(self, leg: Leg, n: int, payload: P, at: int | None = None) -> Sequence[Span[P]]:
        """A frame of one leg alone; `at` has been checked."""
        if leg == "speak":
            mine, other = self._speak, self._listen
        else:
            mine, other = self._listen, self._speak
        position = mine.position
        if (
            (at is None or at == position)
            and mine is not self._late
            and 0 < n <= self._piece
            and not self._held
        ):
            mine.position = end = position + n
            span = Span(leg, position, n, payload, 0)
            behind = end - self._max_skew - other.position
            return (span,) if behind <= 0 else (span, self._fill(other, behind))
        spans: list[Span[P]] = []
        if n == 0:
            return spans
        if at is not None:
            if mine is self._late:
                self._settle(spans)
                if mine is self._late:
                    self._late = None  # it has told where it is
            self._lay(mine, at, n, payload, spans)
        elif mine is not self._late:
            self._lay(mine, position, n, payload, spans)
        elif position == mine.filled:  # the first that it has
            self._late = None
            self._lay(mine, max(position, other.position - n), n, payload, spans)
        else:
            if not self._held:
                self._since = other.position
            self._arrival = other.position
            self._held.append((n, payload))
            self._held_samples += n
            self._follow(mine, spans)
        return spans

    def in_step(self, n: int) -> int:
        """Frames of both legs, where nothing is in doubt: their position, as they are.

        -1 when there is more to it: then they are to be placed by `place_both`.
        """
        position = self._speak.position
        if self._late is None and position == self._listen.position and n <= self._piece:
            self._speak.position = self._listen.position = position + n
            return position
        return -1

    def place_both(self, n: int, speak: P, listen: P, at: int | None = None) -> Sequence[Span[P]]:
        """Frames of both legs, of the same length and moment; `at` has been checked."""
        spans: list[Span[P]] = []
        if n > 0:
            self._settle(spans)
            start = self.now if at is None else at
            self._lay_both(start, n, speak, listen, spans)
        return spans

    def advance(self, to: int) -> Sequence[Span[P]]:
        """Both legs are silent up to `to`; nothing happens when they are there already."""
        spans: list[Span[P]] = []
        if to > min(self._speak.position, self._listen.position):
            self._settle(spans)
            self._lay_both(to, 0, None, None, spans)
        return spans

    def release(self) -> Sequence[Span[P]]:
        """What is held, as of now: nothing that came is missing then."""
        spans: list[Span[P]] = []
        # With nothing held there is nothing to decide: a stall stays a stall.
        if self._held:
            self._settle(spans)
        return spans

    # -- laying out --------------------------------------------------------------------------

    def _pieces(
        self, leg: _Leg, start: int, n: int, payload: P | None, offset: int = 0
    ) -> Iterator[Span[P]]:
        """Silence up to `start`, then that of the payload which does not overlap."""
        while leg.position < start:
            yield leg.silence(min(self._piece, start - leg.position))
        done = min(n, leg.position - start)
        leg.dropped += done
        while done < n:
            length = min(self._piece, n - done)
            position = leg.position
            leg.position = position + length
            yield Span(leg.name, position, length, payload, offset + done)
            done += length

    def _lay(
        self, leg: _Leg, start: int, n: int, payload: P, spans: list[Span[P]], offset: int = 0
    ) -> None:
        other = self._other(leg)
        for span in self._pieces(leg, start, n, payload, offset):
            spans.append(span)
            self._follow(other, spans)

    def _lay_both(
        self, start: int, n: int, speak: P | None, listen: P | None, spans: list[Span[P]]
    ) -> None:
        self._late = None
        spans += merge(
            self._pieces(self._speak, start, n, speak),
            self._pieces(self._listen, start, n, listen),
            key=_BY_POSITION,
        )

    def _follow(self, leg: _Leg, spans: list[Span[P]]) -> None:
        """The other leg went on, or frames of this one are held: see to it that it keeps up."""
        other = self._other(leg)
        if self._held and leg is self._late:
            self._judge(leg, other, spans)
            if self._held:
                return
        while (behind := other.position - self._max_skew - leg.position) > 0:
            spans.append(self._fill(leg, min(self._piece, behind)))

    def _fill(self, leg: _Leg, n: int) -> Span[P]:
        if leg is not self._late:
            self._late = leg
            self._owed = 0
        self._owed += n
        return leg.silence(n)

    def _other(self, leg: _Leg) -> _Leg:
        return self._listen if leg is self._speak else self._speak

    # -- late or of now ----------------------------------------------------------------------

    def _judge(self, leg: _Leg, other: _Leg, spans: list[Span[P]]) -> None:
        passed = other.position - self._since
        if self._held_samples >= passed + self._hold:
            late = min(self._owed, self._held_samples)
            still_owed = self._owed - late
            self._hand_out(leg, leg.position, late, spans)
            if still_owed:
                self._late = leg
                self._owed = still_owed
        elif passed >= self._hold:
            overlap = leg.position + self._held_samples - self._arrival
            late = min(self._owed, max(0, overlap))
            self._hand_out(leg, leg.position - min(0, overlap), late, spans)

    def _settle(self, spans: list[Span[P]]) -> None:
        """Take what is held to be of now."""
        leg = self._late
        self._late = None
        if leg is not None and self._held:
            self._hand_out(leg, self._arrival - self._held_samples, 0, spans)
            self._follow(leg, spans)

    def _hand_out(self, leg: _Leg, start: int, late: int, spans: list[Span[P]]) -> None:
        """Lay out what is held, from `start` or the leg's position on, but for its `late` first."""
        held, self._held = self._held, deque()
        self._held_samples = 0
        self._late = None
        leg.dropped += late
        for n, payload in held:
            skipped = min(late, n)
            late -= skipped
            start = max(start, leg.position)
            self._lay(leg, start, n - skipped, payload, spans, skipped)
