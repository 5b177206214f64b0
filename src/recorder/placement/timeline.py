# SPDX-License-Identifier: MIT
"""Where the audio of the two legs belongs on the call's one clock, in samples."""

import numbers
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from recorder.errors import FrameError, shown

Leg = Literal["speak", "listen"]
Loss = Literal["late", "duplicate", "overlap"]
P = TypeVar("P")

_BY_POSITION: Final = attrgetter("position")
_REMEMBERED_GAPS: Final = 64
# Times `hold`: a leg that comes alone for longer is no burst, but the other one is quiet.
_LONGEST_BURST: Final = 40


class Stretch(NamedTuple, Generic[P]):
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
    - `late`: audio dropped because its time had passed, or faster than it can be spoken.
    - `duplicate`: audio dropped because audio of the same position was there already.
    - `overlap`: the part of a frame dropped because audio of an earlier one was there.
    - `held`: audio that came after a break, while it is undecided whether it is late.
    """

    taken: int
    filled: int
    late: int
    duplicate: int
    overlap: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStats:
    """What became of the audio of both legs so far."""

    speak: LegStats
    listen: LegStats


class _Leg(Generic[P]):
    __slots__ = (
        "alone",
        "arrival",
        "came",
        "coming",
        "filled",
        "gaps",
        "held",
        "held_samples",
        "is_in_frame",
        "is_played",
        "limited_since",
        "lost",
        "name",
        "newest",
        "owed",
        "position",
        "since",
    )

    def __init__(self, name: Leg) -> None:
        self.name = name
        self.position = 0
        self.filled = 0
        self.lost: dict[Loss, int] = {"late": 0, "duplicate": 0, "overlap": 0}
        self.came = False  # whether it ever had audio
        self.is_played = False  # whether the last of it was played, not fed
        self.is_in_frame = False  # whether a frame of it is being placed, which silence cannot part
        self.alone = 0  # fed since the other leg last was
        self.newest = 0  # samples of its newest frame; 0 where that was a short one
        self.owed = 0  # silence put since its last audio
        self.gaps: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_GAPS)
        # Frames in doubt; where the other leg was when the first and the newest came.
        self.held: deque[tuple[int, P]] = deque()
        self.held_samples = 0
        self.since = 0
        self.arrival = 0
        self.coming = 0  # of the other leg's next frame, when the newest came
        # Where the other leg was when this one last came faster than it can be spoken.
        self.limited_since: int | None = None

    @property
    def has_gap(self) -> bool:
        """Whether its next frame does not simply follow the last one."""
        return self.owed > 0 or self.is_played or not self.came


class Timeline(Generic[P]):
    """Decides, frame by frame, what each leg consists of.

    All numbers are samples of the call's rate. Audio is a payload and its length: nothing here
    looks into it. Each leg's stretches follow each other without gap or overlap, from 0 for ever.

    - A frame continues its leg, or has a position: then silence fills a gap before it, and what
      overlaps audio or silence that is already there is dropped. `slack` is by how many samples a
      position may miss the leg's end and still continue it.
    - Two legs fed together are of one moment. Without a position, that is where the leg furthest
      on is: the other is silent up to there.
    - A leg that is more than `max_skew` behind the other is filled with silence up to there; the
      length of the newest frame does not count as lead, unless it has a position.

    A leg that was filled and then continues without positions is at the present: its first frame
    ends where the other leg is. Unless what comes is a burst: audio that a stall made late, or
    that is still to be heard. So its frames are held until the other leg has advanced by `hold`:

    - By then it ran ahead of the other, its newest frame aside, by `hold` or more: a burst. As
      much as was filled is dropped from the oldest on, then the leg continues, but not past the
      other leg by more than `hold`: what is further ahead cannot have happened, and is dropped,
      unless the other has not come for 40 times `hold`: that one is quiet.
    - It did not: the frames end where the other leg was when the newest came, but do not overlap
      what is there.
    - A position, frames fed together, `advance` and `release` settle it as the latter.

    A leg may also run ahead of one that keeps coming, and must not move it. What would leave that
    one more than `max_skew` behind is dropped if it was more than `hold` behind already when it
    last came, and does not fill it before all that was fed since is more than `max_skew`: then it
    stalls. A leg that came in a burst does not keep coming until it is at most `hold` behind.

    A leg in long frames jumps ahead, and the other one beside it: where one is longer than half
    of `hold`, its length is added to `hold`, for being a burst as for running ahead.

    A live call has a clock besides (`now` is passed in): each leg is filled up to `max_skew`
    before it, and the first frame after a longer break ends at the present.

    Stretches have at most `piece` samples. Where both legs get something for the same time, they
    alternate. Positions are as after the last stretch returned.
    """

    __slots__ = (
        "_clock",
        "_hold",
        "_is_live",
        "_listen",
        "_max_skew",
        "_most_gap",
        "_on_loss",
        "_piece",
        "_speak",
    )

    def __init__(
        self,
        *,
        max_skew: int,
        hold: int,
        piece: int,
        most_gap: int,
        is_live: bool = False,
        on_loss: Callable[[Leg, Loss, int], None] | None = None,
    ) -> None:
        self._max_skew = max_skew
        self._hold = hold
        self._piece = piece
        self._most_gap = most_gap
        self._is_live = is_live
        self._on_loss = on_loss
        self._clock = 0
        self._speak: _Leg[P] = _Leg("speak")
        self._listen: _Leg[P] = _Leg("listen")

    # -- where everything is ---------------------------------------------------------------

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
        """The call's position: that of the leg furthest on, or of a live call's clock."""
        return max(self._speak.position, self._listen.position, self._clock)

    @property
    def present(self) -> int:
        """Where what plays is heard: a live call's clock, which a leg may be ahead of by jitter."""
        return max(self._clock, self._listen.position) if self._is_live else self.now

    def position(self, leg: Leg) -> int:
        """Where a leg continues."""
        return self._leg(leg).position

    def is_quiet(self, leg: Leg) -> bool:
        """Whether nothing is fed on a leg: silence was put on it since, or it never came."""
        one = self._leg(leg)
        return not one.held and one.has_gap

    def came(self, leg: Leg) -> bool:
        """Whether a leg ever had audio."""
        return self._leg(leg).came

    @property
    def stats(self) -> CallStats:
        """What became of all audio so far."""
        return CallStats(speak=self._stats_of(self._speak), listen=self._stats_of(self._listen))

    def _stats_of(self, leg: _Leg[P]) -> LegStats:
        return LegStats(
            taken=leg.position - leg.filled, filled=leg.filled, **leg.lost, held=leg.held_samples
        )

    def check_at(self, at: object) -> int:
        """Return the position as a plain int; FrameError when no frame may have it.

        A position far ahead is a mistake: it would make the recording that long.
        """
        most = self.now + self._most_gap
        is_whole = isinstance(at, numbers.Integral) and not isinstance(at, bool)
        if not is_whole or not 0 <= at <= most:  # type: ignore[operator]  # it is a number
            raise FrameError(
                f"at: expected a position in samples from 0 to {most} ({self._most_gap} past the"
                f" call's), got {shown(at)}"
            )
        return int(at)  # type: ignore[call-overload, no-any-return]

    def alone(self, leg: Leg) -> int:
        """Samples fed on a leg since the other one last was."""
        return self._leg(leg).alone

    def expected(self, leg: Leg, n: int, at: int | None, *, both: bool) -> int:
        """Where the next frame of a leg, or of both, n samples long, will lie as far as decided."""
        one = self._leg(leg)
        if at is not None:
            return one.position if abs(at - one.position) <= 1 else at
        if both:
            return self._start_of_both(n)
        if self._is_live:
            return max(one.position, self._clock - n) if one.has_gap else one.position
        return max(one.position, self.now - n) if one.owed or one.is_played else one.position

    # -- the common frame, which is taken elsewhere ----------------------------------------

    def mode(self, leg: Leg) -> Literal["ask", "continues", "quiet"]:
        """How the next frame of a leg alone is placed: here, or as the leg's next samples.

        "quiet": there is no such frame, and the leg is filled as the other one advances.
        """
        one = self._leg(leg)
        other = self._other(one)
        # What is held of either leg is judged as the other advances.
        if self._is_live or one.held or other.held or one.limited_since is not None:
            return "ask"
        if one.owed:
            return "quiet" if other.came else "ask"
        return "continues" if one.came and not one.is_played else "ask"

    def took(self, leg: Leg, position: int, alone: int) -> None:
        """Take over what a leg got elsewhere, by its mode: audio, or silence if it is quiet."""
        one = self._leg(leg)
        one.alone = alone
        if one.owed and position > one.position:
            self._note_silence(one, position - one.position)
        elif position > one.position:
            one.newest = 0
        one.position = position

    def step(self, n: int) -> None:
        """Take over that both legs, in step, got their next n samples elsewhere."""
        speak, listen = self._speak, self._listen
        speak.position += n
        listen.position += n
        speak.alone = listen.alone = 0
        speak.newest = listen.newest = n

    def moved(self, leg: Leg, position: int) -> None:
        """Take a leg to be where it is: what was to be laid there may have been interrupted."""
        self._leg(leg).position = position

    # -- incoming audio --------------------------------------------------------------------

    def place(
        self, leg: Leg, n: int, payload: P, at: int | None = None, slack: int = 0
    ) -> Sequence[Stretch[P]]:
        """Place a frame of one leg alone; `at` has been checked."""
        stretches: list[Stretch[P]] = []
        if n == 0:
            return stretches
        mine = self._leg(leg)
        other = self._other(mine)
        mine.alone += n
        mine.newest = n
        other.alone = 0
        if at is not None:
            self._settle(mine, stretches)
            mine.limited_since = None
            start = mine.position if abs(at - mine.position) <= slack else at
            self._lay(mine, start, n, payload, stretches, lead=0)
        elif self._is_live:
            self._place_live(mine, n, payload, stretches)
        elif mine.held or (mine.owed and other.came and not other.owed):
            if not mine.held:
                mine.since = other.position
            mine.arrival = other.position
            # Of the other leg's next frame, a part has passed already.
            mine.coming = self._if_long(other.newest)
            mine.held.append((n, payload))
            mine.held_samples += n
            self._follow(mine, 0, stretches)
        elif mine.owed or mine.is_played:  # there is no pace to follow: it begins at the present
            self._lay(mine, max(mine.position, self.now - n), n, payload, stretches)
        elif self._runs_ahead(mine, other, n):
            self._lose(mine, "late", n)
        else:
            lead = n if self._stalls(other, n) else mine.position + n - other.position
            self._lay(mine, mine.position, n, payload, stretches, lead=lead)
        return stretches

    def _place_live(self, leg: _Leg[P], n: int, payload: P, stretches: list[Stretch[P]]) -> None:
        if leg.has_gap:
            self._lay(leg, max(leg.position, self._clock - n), n, payload, stretches)
        elif leg.position - self._clock > self._max_skew:
            self._lose(leg, "late", n)
        else:
            self._lay(leg, leg.position, n, payload, stretches)

    def _runs_ahead(self, leg: _Leg[P], other: _Leg[P], n: int) -> bool:
        """Whether a frame cannot have happened yet, since the other leg keeps coming."""
        lead = leg.position - other.position
        if leg.limited_since is not None:
            if lead > self._hold:
                is_burst = leg.alone <= _LONGEST_BURST * self._hold
                leg.limited_since = other.position if is_burst else None
                return is_burst
            if other.position - leg.limited_since >= self._hold and lead >= -self._hold:
                leg.limited_since = None
            return False
        if not self._keeps_coming(other) or lead + n <= max(self._max_skew, n):
            return False
        # Where all of the lead is from after the other's last frame, that one stalls. One that is
        # fed beside long frames may lie as much too early.
        lead_before = lead + n - leg.alone
        return lead_before > self._hold + self._if_long(n)

    def _if_long(self, n: int) -> int:
        """The length of a frame, if `hold` does not cover it."""
        return n if n > self._hold // 2 else 0

    def _stalls(self, leg: _Leg[P], n: int) -> bool:
        """Whether a leg is filled as the other one advances, now by n samples."""
        other = self._other(leg)
        if self._keeps_coming(leg):
            return other.limited_since is None and other.alone > max(self._max_skew, n)
        return True

    def _keeps_coming(self, leg: _Leg[P]) -> bool:
        """Whether a leg continues, and is none that came in a burst and has not caught up."""
        return not leg.has_gap and leg.limited_since is None

    def place_both(self, n: int, speak: P, listen: P, at: int | None = None) -> list[Stretch[P]]:
        """Place frames of both legs, of the same length and moment; `at` has been checked."""
        stretches: list[Stretch[P]] = []
        if n > 0:
            self._settle(self._speak, stretches)
            self._settle(self._listen, stretches)
            start = self._start_of_both(n) if at is None else at
            self._lay_both(start, n, speak, listen, stretches)
            for leg in (self._speak, self._listen):
                leg.limited_since = None
                leg.alone = 0
                leg.newest = n
        return stretches

    def _start_of_both(self, n: int) -> int:
        start = max(self._speak.position, self._listen.position)
        if self._is_live and (self._speak.has_gap or self._listen.has_gap):
            start = max(start, self._clock - n)
        return start

    def advance(self, to: int) -> list[Stretch[P]]:
        """Make both legs silent up to `to`; nothing happens when they are there already."""
        stretches: list[Stretch[P]] = []
        if to > min(self._speak.position, self._listen.position):
            self._settle(self._speak, stretches)
            self._settle(self._listen, stretches)
            self._lay_both(to, 0, None, None, stretches)
        return stretches

    def tick(self, clock: int) -> list[Stretch[P]]:
        """Let a live call's clock be there: what is long overdue is silence."""
        self._clock = max(self._clock, clock)
        stretches: list[Stretch[P]] = []
        overdue = self._clock - self._max_skew
        if overdue > min(self._speak.position, self._listen.position):
            self._lay_both(overdue, 0, None, None, stretches)
        return stretches

    def release(self) -> list[Stretch[P]]:
        """Place what is held at the present: nothing that came is missing then."""
        stretches: list[Stretch[P]] = []
        for leg in (self._speak, self._listen):
            # With nothing held there is nothing to decide: a stall stays a stall.
            if leg.held:
                self._settle(leg, stretches)
        return stretches

    def fill(self, leg: Leg, to: int) -> list[Stretch[P]]:
        """Put silence on one leg up to a position, which does not move the other."""
        stretches: list[Stretch[P]] = []
        one = self._leg(leg)
        while (behind := to - one.position) > 0:
            stretches.append(self._silence(one, min(self._piece, behind)))
        return stretches

    def played(self, n: int, silent_since: int) -> None:
        """Note that of the silence last put on the listen leg `n` samples carry what plays.

        From `silent_since` on it is silence.
        """
        leg = self._listen
        leg.filled -= n
        leg.came = leg.is_played = True
        leg.owed = leg.position - silent_since
        if leg.gaps and leg.gaps[-1][1] == leg.position:
            start, end = leg.gaps.pop()
            around = (start, silent_since - n), (silent_since, end)
            leg.gaps.extend((a, b) for a, b in around if a < b)

    # -- laying out ------------------------------------------------------------------------

    def _silence(self, leg: _Leg[P], n: int) -> Stretch[P]:
        position = leg.position
        self._note_silence(leg, n)
        leg.position = position + n
        return Stretch(leg.name, position, n, None, 0)

    def _note_silence(self, leg: _Leg[P], n: int) -> None:
        leg.filled += n
        leg.owed += n
        start = leg.position
        if leg.gaps and leg.gaps[-1][1] == start:
            start = leg.gaps.pop()[0]
        leg.gaps.append((start, leg.position + n))

    def _pieces(
        self, leg: _Leg[P], start: int, n: int, payload: P | None, offset: int = 0
    ) -> Iterator[Stretch[P]]:
        """Silence up to `start`, then that of the payload which does not overlap."""
        while leg.position < start:
            yield self._silence(leg, min(self._piece, start - leg.position))
        done = min(n, leg.position - start)
        if done:
            self._lose(leg, self._why_dropped(leg, start, done, n), done)
        if done < n:
            leg.came, leg.is_played = True, False
            leg.owed = 0
        while done < n:
            length = min(self._piece, n - done)
            position = leg.position
            leg.position = position + length
            yield Stretch(leg.name, position, length, payload, offset + done)
            done += length

    def _lay(
        self,
        leg: _Leg[P],
        start: int,
        n: int,
        payload: P,
        stretches: list[Stretch[P]],
        offset: int = 0,
        lead: int | None = None,
    ) -> None:
        other = self._other(leg)
        leg.is_in_frame = True
        try:
            for stretch in self._pieces(leg, start, n, payload, offset):
                stretches.append(stretch)
                self._follow(other, n if lead is None else lead, stretches)
        finally:
            leg.is_in_frame = False

    def _lay_both(
        self, start: int, n: int, speak: P | None, listen: P | None, stretches: list[Stretch[P]]
    ) -> None:
        stretches += merge(
            self._pieces(self._speak, start, n, speak),
            self._pieces(self._listen, start, n, listen),
            key=_BY_POSITION,
        )

    def _follow(self, leg: _Leg[P], lead: int, stretches: list[Stretch[P]]) -> None:
        """Keep a leg up after the other advanced, or frames of it were held.

        The other's newest frame, `lead` long, does not count as its lead.
        """
        if self._is_live or leg.is_in_frame:
            return
        other = self._other(leg)
        if leg.held:
            self._judge(leg, other, stretches)
            if leg.held:
                return
        reach = other.position - max(self._max_skew, lead)
        while (behind := reach - leg.position) > 0:
            stretches.append(self._silence(leg, min(self._piece, behind)))

    def _leg(self, leg: Leg) -> _Leg[P]:
        return self._speak if leg == "speak" else self._listen

    def _other(self, leg: _Leg[P]) -> _Leg[P]:
        return self._listen if leg is self._speak else self._speak

    # -- what is dropped -------------------------------------------------------------------

    def _lose(self, leg: _Leg[P], why: Loss, n: int) -> None:
        leg.lost[why] += n
        if self._on_loss is not None:
            self._on_loss(leg.name, why, n)

    def _why_dropped(self, leg: _Leg[P], start: int, n: int, whole: int) -> Loss:
        """Why `n` samples from `start` on, of a frame of `whole`, lie where the leg has been."""
        if any(a < start + n and start < b for a, b in leg.gaps):
            return "late"
        return "duplicate" if n == whole else "overlap"

    # -- late, or at the present -----------------------------------------------------------

    def _judge(self, leg: _Leg[P], other: _Leg[P], stretches: list[Stretch[P]]) -> None:
        passed = other.position - leg.since
        before_newest = leg.held_samples - leg.held[-1][0]
        if before_newest >= passed + self._hold + leg.coming:
            late = min(leg.owed, leg.held_samples)
            leg.owed -= late
            leg.limited_since = other.position
            reach = max(leg.position, other.position + self._hold)
            self._hand_out(leg, leg.position, late, reach, stretches)
        elif passed >= self._hold:
            self._settle(leg, stretches)

    def _settle(self, leg: _Leg[P], stretches: list[Stretch[P]]) -> None:
        """Place what is held at the present."""
        if leg.held:
            self._hand_out(leg, leg.arrival - leg.held_samples, 0, None, stretches)

    def _hand_out(
        self, leg: _Leg[P], start: int, late: int, reach: int | None, stretches: list[Stretch[P]]
    ) -> None:
        """Lay out what is held, from `start` or the leg's position on.

        Without its `late` first samples, and without what would lie from `reach` on.
        """
        held, leg.held = leg.held, deque()
        leg.held_samples = 0
        if late:
            self._lose(leg, "late", late)
        for n, payload in held:
            skipped = min(late, n)
            late -= skipped
            start = max(start, leg.position)
            kept = n - skipped if reach is None else max(0, min(n - skipped, reach - start))
            if kept:
                self._lay(leg, start, kept, payload, stretches, skipped)
            if kept < n - skipped:
                self._lose(leg, "late", n - skipped - kept)
