# SPDX-License-Identifier: MIT
"""One recording's life: what it keeps, and when and why it ends.

Pure: positions and edges in, decisions out. A decision about a position is made once everything
that may have happened up to it is known (`judge`), and what happened first, by position, wins.
The outcome is therefore a function of the audio and of the positions of the commands, however
the audio was cut into frames.

    created ──start──▶ recording ◀──resume── paused
       │                   │ └────pause────▶   │
       └───────────────────┴──────ends─────────┴─▶ finished | no_input | error
"""

import heapq
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

State = Literal["created", "recording", "paused", "finished", "no_input", "error"]
Reason = Literal[
    "terminator", "end_silence", "initial_timeout", "max_length", "stopped", "hangup", "error"
]
PauseBehavior = Literal["skip", "silence"]

PAUSE_BEHAVIORS: Final = ("skip", "silence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a recording ended: the position after its last sample, and why."""

    position: int
    state: Literal["finished", "no_input", "error"]
    reason: Reason
    digit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of the call as it stands in the file: the legs' audio, or silence.

    `joined_at` is where the stretch of audio that it belongs to began after a pause, `joins_at`
    where a pause ends it; None where it has no such join.
    """

    start: int
    end: int
    silent: bool = False
    joined_at: int | None = None
    joins_at: int | None = None


@dataclass(slots=True)
class Pause:
    """A stretch that is not recorded; `end` is None while it lasts.

    `paused` and `skipped` are the samples of all pauses before it: those during which the timers
    stood still, and those that are not in the file.
    """

    start: int
    end: int | None
    behavior: PauseBehavior
    paused: int
    skipped: int

    def until(self, position: int) -> int:
        """How much of it is before a position that is not before its start."""
        return (position if self.end is None else min(position, self.end)) - self.start

    def paused_until(self, position: int) -> int:
        """What the timers have stood still for by then, this pause included."""
        return self.paused + self.until(position)

    def skipped_until(self, position: int) -> int:
        """What is left out of the file by then, this pause included."""
        return self.skipped + (self.until(position) if self.behavior == "skip" else 0)


@dataclass(slots=True)
class _Stretch:
    """A stretch of voice; `end` is None while it lasts."""

    start: int
    end: int | None


# A leg, a digit, or what a revision says.
_Detail = str | tuple[str, int, tuple[tuple[int, int | None], ...]]

# Stretches of voice that may still be revised: they began within the last 4 s, at most one every
# 40 ms.
_KEPT: Final = 101


def _start_of(pause: Pause) -> int:
    return pause.start


class _Happening(IntEnum):
    """What may happen, in the order in which it takes effect at one position.

    What ends there comes before what begins there, and a pause before what it hides.
    """

    VOICE_REVISED = 0
    VOICE_END = 1
    PAUSE_OR_RESUME = 2  # they alternate
    DIGIT = 3
    VOICE_START = 4


class Recording:
    """The state machine. All positions and durations are in samples; None is no limit.

    `start` is where the file begins (after a beep); `max_length` bounds the file. Voice is told
    per leg; there is voice while there is any on one of them.
    """

    def __init__(
        self,
        *,
        start: int,
        initial_timeout: int | None,
        end_silence_timeout: int | None,
        max_length: int | None,
        terminators: str,
    ) -> None:
        self.start = start
        self.ending: Ending | None = None
        self.judged = start
        self._applied = start  # position of what was judged last
        self._initial_timeout = initial_timeout
        self._end_silence_timeout = end_silence_timeout
        self._max_length = max_length
        self._terminators = terminators
        self._heap: list[tuple[int, _Happening, int, _Detail]] = []
        self._count = 0
        self._pauses: list[Pause] = []
        # As of `judged`:
        self._pause: Pause | None = None
        self._pauses_begun = 0
        self._voice: dict[str, list[_Stretch]] = {}  # of each leg, as far back as it may change
        self._heard_for_good = False  # by voice that is not in there any more

    # -- what happens ----------------------------------------------------------------------

    def voice_start(self, leg: str, position: int) -> None:
        """Voice began on a leg."""
        self._push(position, _Happening.VOICE_START, leg)

    def voice_end(self, leg: str, position: int) -> None:
        """Voice ended on a leg."""
        self._push(position, _Happening.VOICE_END, leg)

    def voice_revised(
        self, leg: str, since: int, stretches: "Sequence[tuple[int, int | None]]", position: int
    ) -> None:
        """As of `position`, voice on a leg that began at `since` or later was this instead.

        Stretches are start and end; the last one's end may be None, when it lasts.
        """
        self._push(position, _Happening.VOICE_REVISED, (leg, since, tuple(stretches)))

    def press(self, digit: str, position: int) -> bool:
        """Tell a digit of the party; return whether it may end the recording.

        One whose tone began before the recording did was meant for something else.
        """
        counts = digit in self._terminators and position >= self.start
        if counts:
            self._push(position, _Happening.DIGIT, digit)
        return counts

    def _push(self, position: int, what: _Happening, detail: "_Detail" = "") -> None:
        self._count += 1
        at = max(position, self.judged)
        heapq.heappush(self._heap, (at, what, self._count, detail))

    # -- commands --------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether a pause lasts, as the user last commanded."""
        return bool(self._pauses) and self._pauses[-1].end is None

    def pause(self, position: int, behavior: PauseBehavior) -> None:
        """Leave out, or silence, what comes from here on."""
        if self.paused:
            return
        at = max(position, self.start)
        paused = skipped = 0
        if self._pauses:
            paused = self._pauses[-1].paused_until(at)
            skipped = self._pauses[-1].skipped_until(at)
        self._pauses.append(Pause(at, None, behavior, paused, skipped))
        self._push(at, _Happening.PAUSE_OR_RESUME)

    def resume(self, position: int) -> None:
        """Record again from here on."""
        if not self.paused:
            return
        pause = self._pauses[-1]
        pause.end = max(position, pause.start)
        self._push(pause.end, _Happening.PAUSE_OR_RESUME)

    def stop(self, position: int, reason: Reason, known: int) -> Ending:
        """End here, unless what is known by now ended it before."""
        self.judge(known, position)
        if self.ending is None:
            state: Literal["finished", "error"] = "error" if reason == "error" else "finished"
            self._end(position, state, reason)
        assert self.ending is not None
        return self.ending

    # -- judging ---------------------------------------------------------------------------

    def judge(self, known: int, upto: int = 0) -> None:
        """Decide all that can be: everything before `known` is known.

        From there to `upto` only what was told counts, and the file's length: nobody can say yet
        whether there was silence.
        """
        upto = max(known, upto)
        while self._heap and self._heap[0][0] <= upto and self.ending is None:
            position, what, _, detail = heapq.heappop(self._heap)
            self._run_timers(position, known)
            if self.ending is None:
                self._apply(position, what, detail)
                self._applied = position
        if self.ending is None:
            self._run_timers(upto, known)
        self.judged = max(self.judged, known)

    @property
    def next_change(self) -> int | None:
        """The position at which, if nothing else happens, there is something to decide."""
        deadline = min((position for position, _, _ in self._deadlines()), default=None)
        if self._heap and (deadline is None or self._heap[0][0] < deadline):
            return self._heap[0][0]
        return deadline

    def _apply(self, position: int, what: _Happening, detail: "_Detail") -> None:
        match what, detail:
            case _Happening.VOICE_START, str(leg):
                stretches = self._voice.setdefault(leg, [])
                self._forget(stretches)
                stretches.append(_Stretch(position, None))
            case _Happening.VOICE_END, str(leg):
                # A revision may have taken its stretch away, or ended it.
                newest = self._voice.get(leg, [])[-1:]
                if newest and newest[0].end is None:
                    newest[0].end = position
            case _Happening.VOICE_REVISED, (leg, since, revised):
                stretches = self._voice.setdefault(leg, [])
                stretches[:] = [old for old in stretches if old.start < since]
                stretches.extend(_Stretch(start, end) for start, end in revised)
            case _Happening.DIGIT, str(digit):
                if self._pause is None:
                    self._end(position, "finished", "terminator", digit)
            case _Happening.PAUSE_OR_RESUME, _:
                self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        if self._pause is None:
            self._pause = self._pauses[self._pauses_begun]
            self._pauses_begun += 1
        else:
            self._pause = None

    def _forget(self, stretches: "list[_Stretch]") -> None:
        """Let go of the oldest, which are past revision."""
        while len(stretches) > _KEPT:
            self._heard_for_good |= self._counts(stretches.pop(0))

    def _counts(self, stretch: "_Stretch") -> bool:
        """Whether a stretch of voice lasted while it was recorded."""
        if stretch.end is None:
            return self._pause is None
        return self._timer_time(stretch.end) > self._timer_time(stretch.start)

    def _timer_time(self, position: int) -> int:
        """A position on a clock that stands still while paused."""
        pause = self._pause_before(position)
        return position - self.start - (pause.paused_until(position) if pause else 0)

    def _pause_before(self, position: int) -> Pause | None:
        """The last pause that began before a position."""
        index = bisect_left(self._pauses, position, key=_start_of)
        return self._pauses[index - 1] if index else None

    def _heard(self) -> bool:
        return self._heard_for_good or any(
            self._counts(stretch) for stretches in self._voice.values() for stretch in stretches
        )

    def _silent_since(self) -> int | None:
        """The timers' time at which the last voice ended; None: it lasts, or there was none."""
        latest = None
        for stretches in self._voice.values():
            if stretches and stretches[-1].end is None:
                return None
            for stretch in reversed(stretches):
                if stretch.end is not None and self._counts(stretch):
                    end = self._timer_time(stretch.end)
                    latest = end if latest is None else max(latest, end)
                    break
        return latest

    def _deadlines(self) -> "Iterator[tuple[int, int, Reason]]":
        """The running timers' ends: position, rank at the same position, reason."""
        stood_still = skipped = 0  # finished pauses only, as far as judged
        if self._pauses_begun:
            last = self._pauses[self._pauses_begun - 1]
            until = last.start if self._pause is last or last.end is None else last.end
            stood_still, skipped = last.paused_until(until), last.skipped_until(until)
        elapsed = self.start + stood_still
        if self._pause is None:
            if self._initial_timeout is not None and not self._heard():
                yield elapsed + self._initial_timeout, 0, "initial_timeout"
            if self._end_silence_timeout is not None:
                silent_since = self._silent_since()
                if silent_since is not None:
                    yield elapsed + silent_since + self._end_silence_timeout, 1, "end_silence"
        if self._max_length is not None and (
            self._pause is None or self._pause.behavior == "silence"
        ):
            yield self.start + self._max_length + skipped, 2, "max_length"

    def _run_timers(self, upto: int, known: int) -> None:
        due = min(
            (
                (position, rank, reason)
                for position, rank, reason in self._deadlines()
                if position <= (upto if reason == "max_length" else min(upto, known))
            ),
            default=None,
        )
        if due is not None:
            position, _, reason = due
            # What was revised may put a deadline into the past: it ends now.
            position = max(position, self._applied)
            self._end(position, "no_input" if reason == "initial_timeout" else "finished", reason)

    def _end(
        self,
        position: int,
        state: Literal["finished", "no_input", "error"],
        reason: Reason,
        digit: str = "",
    ) -> None:
        position = max(position, self.start)
        self.ending = Ending(position=position, state=state, reason=reason, digit=digit)

    # -- the file --------------------------------------------------------------------------

    def keeps(self, start: int, end: int) -> "Iterator[tuple[int, int]]":
        """The parts of the stretch from `start` to `end` whose audio may be kept at all."""
        start = max(start, self.start)
        if not self._pauses:
            if start < end:
                yield start, end
            return
        for segment in self.segments(start, end):
            if not segment.silent:
                yield segment.start, segment.end

    def segments(self, start: int, end: int) -> "Iterator[Segment]":
        """How the stretch from `start` to `end` stands in the file, in order."""
        at = start
        joined_at: int | None = None
        index = bisect_left(self._pauses, start, key=_start_of)
        while index:  # the last one before may still last, or its join be near
            index -= 1
            if self._pauses[index].end != self._pauses[index].start:
                break
        while at < end and index < len(self._pauses):
            pause = self._pauses[index]
            index += 1
            if pause.end == pause.start:
                continue
            if at < min(pause.start, end):
                stop = min(pause.start, end)
                yield Segment(start=at, end=stop, joined_at=joined_at, joins_at=pause.start)
                at = stop
            pause_end = end if pause.end is None else min(pause.end, end)
            if at < pause_end:
                if pause.behavior == "silence":
                    yield Segment(start=at, end=pause_end, silent=True)
                at = pause_end
            joined_at = pause.end
        if at < end:
            yield Segment(start=at, end=end, joined_at=joined_at)

    def length(self, position: int) -> int:
        """The file's samples up to a position."""
        position = max(position, self.start)
        pause = self._pause_before(position)
        return position - self.start - (pause.skipped_until(position) if pause else 0)
