# SPDX-License-Identifier: MIT
"""One recording's life: what it keeps, and when and why it ends.

Pure: positions and edges in, decisions out. A decision about a position is made once everything
that may have happened up to it is settled (`judge`), and what happened first, by position, wins.
The outcome is therefore a function of the audio and of the positions of the commands, however
the audio was cut into frames.

A pause acts on each leg where that leg is when the command comes: what is fed in between is
hidden, whichever leg is ahead. On the clock, the pause is what lies between both on all legs of
the recording: that is left out of the file, and there the timers do not run.

    created ──start──▶ recording ◀──resume── paused
       │                   │ └────pause────▶   │
       └───────────────────┴──────ends─────────┴─▶ finished | no_input | error
"""

import heapq
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recorder.placement.timeline import Leg

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


@dataclass(slots=True)
class Pause:
    """A stretch of the clock that is not recorded; `end` is None while it lasts.

    `paused` and `skipped` are the samples of all pauses before it: those during which the timers
    did not run, and those that are not in the file.
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
        """For how long the timers have not run by then, this pause included."""
        return self.paused + self.until(position)

    def skipped_until(self, position: int) -> int:
        """What is left out of the file by then, this pause included."""
        return self.skipped + (self.until(position) if self.behavior == "skip" else 0)


@dataclass(slots=True)
class Hidden:
    """What was fed on one leg while the recording was paused; `end` is None while it is."""

    start: int
    end: int | None


@dataclass(slots=True)
class _Stretch:
    """A stretch of voice; `end` is None while it lasts."""

    start: int
    end: int | None


# A digit; or the leg of voice and, of a revision, since when which stretches hold instead.
_Detail = str | tuple["Leg", int, tuple[tuple[int, int | None], ...]]

# Stretches of voice that may still be revised: they began within the last 4 s, at most one every
# 40 ms.
_KEPT: Final = 101


def _start_of(pause: Pause | Hidden) -> int:
    return pause.start


def _first(stretch: tuple[int, int | None]) -> int:
    return stretch[0]


class _Happening(IntEnum):
    """What may happen, in the order in which it takes effect at one position.

    What ends there comes before what begins there, and a pause before what it hides.
    """

    VOICE_REVISED = 0
    VOICE_END = 1
    PAUSE_OR_RESUME = 2  # they alternate
    DIGIT = 3
    VOICE_START = 4


_VOICE: Final = (_Happening.VOICE_START, _Happening.VOICE_END)


class Recording:
    """The state machine. All positions and durations are in samples; None is no limit.

    - `legs`: those that are recorded. Voice is reported per leg; there is voice while there is
      any on one of them.
    - `start`: where the file begins (after a beep). `max_length` bounds the file.
    - `voice_slack`, `tone_slack`: by how much the position of a voice edge, and of a tone's
      onset, may be off the audio that made it.
    """

    def __init__(
        self,
        *,
        legs: "Sequence[Leg]",
        start: int,
        initial_timeout: int | None,
        end_silence_timeout: int | None,
        max_length: int | None,
        terminators: str,
        voice_slack: int = 0,
        tone_slack: int = 0,
    ) -> None:
        self.start = start
        self.ending: Ending | None = None
        self.judged = start
        self._legs = legs
        self._applied = start  # position of what was judged last
        self._initial_timeout = initial_timeout
        self._end_silence_timeout = end_silence_timeout
        self._max_length = max_length
        self._has_timers = (initial_timeout, end_silence_timeout, max_length) != (None,) * 3
        self._terminators = terminators
        self._voice_slack = voice_slack
        self._tone_slack = tone_slack
        self._heap: list[tuple[int, _Happening, int, _Detail]] = []
        self._count = 0
        self._urgent = 0  # of those that happen, all but the begin and end of voice
        self._pauses: list[Pause] = []
        self._hidden: dict[Leg, list[Hidden]] = {"speak": [], "listen": []}
        # What was played while paused, where it is heard on the listen leg.
        self._hidden_playing: list[tuple[int, int]] = []
        # As of `judged`:
        self._pause: Pause | None = None
        self._pauses_begun = 0
        # Voice of each leg, as far back as it may change.
        self._voice: dict[Leg, list[_Stretch]] = {"speak": [], "listen": []}
        self._had_voice_before = False  # by voice that is not in there any more

    def begin_at(self, start: int) -> None:
        """Begin elsewhere: the beep moved. Only before anything happened."""
        self.start = self.judged = self._applied = start

    # -- what happens ----------------------------------------------------------------------

    def voice_start(self, leg: "Leg", position: int) -> None:
        """Voice began on a leg."""
        self._push(position, _Happening.VOICE_START, (leg, 0, ()))

    def voice_end(self, leg: "Leg", position: int) -> None:
        """Voice ended on a leg."""
        self._push(position, _Happening.VOICE_END, (leg, 0, ()))

    def voice_revised(
        self, leg: "Leg", since: int, stretches: "Sequence[tuple[int, int | None]]", position: int
    ) -> None:
        """As of `position`, voice on a leg that began at `since` or later was this instead.

        Stretches are start and end; the last one's end may be None, when it lasts.
        """
        self._push(position, _Happening.VOICE_REVISED, (leg, since, tuple(stretches)))

    def press(self, digit: str, position: int) -> bool:
        """Take a digit of the party; return whether it may end the recording.

        One whose tone began before the recording did was meant for something else, and one that
        began while it was paused is nothing to it.
        """
        counts = (
            digit in self._terminators
            and position >= self.start
            and not self._is_hidden("speak", position, self._tone_slack)
        )
        if counts:
            self._push(position, _Happening.DIGIT, digit)
        return counts

    def _push(self, position: int, what: _Happening, detail: "_Detail" = "") -> None:
        self._count += 1
        self._urgent += what not in _VOICE
        at = max(position, self.judged)
        heapq.heappush(self._heap, (at, what, self._count, detail))

    # -- commands --------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether a pause lasts, as the user last commanded."""
        return bool(self._pauses) and self._pauses[-1].end is None

    def pause(self, positions: "Mapping[Leg, int]", behavior: PauseBehavior) -> int:
        """Leave out, or silence, what comes from here on; return the pause's position."""
        if self.paused:
            return self._pauses[-1].start
        at = max(self.start, *(positions[leg] for leg in self._legs))
        paused = skipped = 0
        if self._pauses:
            paused = self._pauses[-1].paused_until(at)
            skipped = self._pauses[-1].skipped_until(at)
        self._pauses.append(Pause(at, None, behavior, paused, skipped))
        for leg, hidden in self._hidden.items():
            hidden.append(Hidden(positions[leg], None))
        self._push(at, _Happening.PAUSE_OR_RESUME)
        return at

    def resume(self, positions: "Mapping[Leg, int]") -> int:
        """Record again from here on; return the position at which the clock runs again."""
        pause = self._pauses[-1]
        if pause.end is not None:
            return pause.end
        pause.end = max(pause.start, min(positions[leg] for leg in self._legs))
        for leg, hidden in self._hidden.items():
            hidden[-1].end = positions[leg]
            if positions[leg] <= hidden[-1].start:
                hidden.pop()
        self._push(pause.end, _Happening.PAUSE_OR_RESUME)
        return pause.end

    def hide_playing(self, start: int, end: int) -> None:
        """Hide what was played while paused, wherever it is heard."""
        playing = self._hidden_playing
        if playing and playing[-1][1] >= start:
            start = playing.pop()[0]
        playing.append((start, end))

    def clear_playing(self, position: int) -> None:
        """What was to be heard from a position on was taken back."""
        self._hidden_playing = [
            (start, min(end, position)) for start, end in self._hidden_playing if start < position
        ]

    def stop(self, position: int, reason: Reason, settled: int) -> Ending:
        """End here, unless what is settled by now ended it before."""
        self.judge(settled, position)
        if self.ending is None:
            state: Literal["finished", "error"] = "error" if reason == "error" else "finished"
            self._end(position, state, reason)
        assert self.ending is not None
        return self.ending

    # -- judging ---------------------------------------------------------------------------

    def judge(self, settled: int, upto: int = 0) -> None:
        """Decide all that can be: everything before `settled` has been reported.

        From there to `upto` only what was reported counts, and the file's length: whether there
        was silence is undecided.
        """
        upto = max(settled, upto)
        while self._heap and self._heap[0][0] <= upto and self.ending is None:
            position, what, _, detail = heapq.heappop(self._heap)
            self._urgent -= what not in _VOICE
            self._run_timers(position, settled)
            if self.ending is None:
                self._apply(position, what, detail)
                self._applied = position
        if self.ending is None:
            self._run_timers(upto, settled)
        self.judged = max(self.judged, settled)

    @property
    def next_deadline(self) -> int | None:
        """The position before which, if nothing else happens, there is nothing to decide."""
        deadline = min((position for position, _, _ in self._deadlines()), default=None)
        if not self._heap:
            return deadline
        # Voice that began or ended decides nothing at once: it moves deadlines.
        first = self._heap[0][0]
        if not self._urgent:
            if self._end_silence_timeout is None:
                return deadline
            first += self._end_silence_timeout
        return first if deadline is None else min(deadline, first)

    def _apply(self, position: int, what: _Happening, detail: "_Detail") -> None:
        match what, detail:
            case _Happening.VOICE_START, (leg, _, _):
                stretches = self._voice[leg]
                self._forget(leg, stretches)
                stretches.append(_Stretch(position, None))
            case _Happening.VOICE_END, (leg, _, _):
                # A revision may have taken its stretch away, or ended it.
                newest = self._voice[leg][-1:]
                if newest and newest[0].end is None:
                    newest[0].end = position
            case _Happening.VOICE_REVISED, (leg, since, revised):
                stretches = self._voice[leg]
                stretches[:] = [old for old in stretches if old.start < since]
                stretches.extend(_Stretch(start, end) for start, end in revised)
            case _Happening.DIGIT, str(digit):
                self._end(position, "finished", "terminator", digit)
            case _Happening.PAUSE_OR_RESUME, _:
                self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        if self._pause is None:
            self._pause = self._pauses[self._pauses_begun]
            self._pauses_begun += 1
        else:
            self._pause = None

    def _forget(self, leg: "Leg", stretches: "list[_Stretch]") -> None:
        """Let go of the oldest, which are past revision."""
        while len(stretches) > _KEPT:
            self._had_voice_before |= self._counts(leg, stretches.pop(0))

    def _counts(self, leg: "Leg", stretch: "_Stretch") -> bool:
        """Whether a stretch of voice lasted while it was recorded."""
        if stretch.end is None:
            return self._pause is None
        seen = stretch.start
        slack = self._voice_slack
        for start, end in self.hidden(leg, seen - slack, stretch.end + slack):
            if start - slack > seen:
                break
            if end is None:
                return False
            seen = max(seen, end + slack)
        return seen < stretch.end

    def _is_hidden(self, leg: "Leg", position: int, slack: int) -> bool:
        """Whether what began there, or up to `slack` later, was fed while paused."""
        hidden = self._hidden[leg]
        index = bisect_right(hidden, position + slack, key=_start_of)
        if not index:
            return False
        end = hidden[index - 1].end
        return end is None or position < end

    def _timer_time(self, position: int) -> int:
        """A position on a clock that does not run while paused."""
        pause = self._pause_before(position)
        return position - self.start - (pause.paused_until(position) if pause else 0)

    def _pause_before(self, position: int) -> Pause | None:
        """The last pause that began before a position."""
        index = bisect_left(self._pauses, position, key=_start_of)
        return self._pauses[index - 1] if index else None

    def _had_voice(self) -> bool:
        return self._had_voice_before or any(
            self._counts(leg, stretch)
            for leg, stretches in self._voice.items()
            for stretch in stretches
        )

    def _silent_since(self) -> int | None:
        """The timers' time at which the last voice ended; None: it lasts, or there was none."""
        latest = None
        for leg, stretches in self._voice.items():
            if stretches and stretches[-1].end is None:
                return None
            for stretch in reversed(stretches):
                if stretch.end is not None and self._counts(leg, stretch):
                    end = self._timer_time(stretch.end)
                    latest = end if latest is None else max(latest, end)
                    break
        return latest

    def _deadlines(self) -> "Iterator[tuple[int, int, Reason]]":
        """The running timers' ends: position, rank at the same position, reason."""
        not_run = skipped = 0  # finished pauses only, as far as judged
        if self._pauses_begun:
            last = self._pauses[self._pauses_begun - 1]
            until = last.start if self._pause is last or last.end is None else last.end
            not_run, skipped = last.paused_until(until), last.skipped_until(until)
        elapsed = self.start + not_run
        if self._pause is None:
            if self._initial_timeout is not None and not self._had_voice():
                yield elapsed + self._initial_timeout, 0, "initial_timeout"
            if self._end_silence_timeout is not None:
                silent_since = self._silent_since()
                if silent_since is not None:
                    yield elapsed + silent_since + self._end_silence_timeout, 1, "end_silence"
        if self._max_length is not None and (
            self._pause is None or self._pause.behavior == "silence"
        ):
            yield self.start + self._max_length + skipped, 2, "max_length"

    def _run_timers(self, upto: int, settled: int) -> None:
        if not self._has_timers:
            return
        due = min(
            (
                (position, rank, reason)
                for position, rank, reason in self._deadlines()
                if position <= (upto if reason == "max_length" else min(upto, settled))
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

    def kept(self, start: int, end: int) -> "Iterator[tuple[int, int]]":
        """The parts of the clock from `start` to `end` that are in the file, in order."""
        at = start
        index = max(0, bisect_left(self._pauses, start, key=_start_of) - 1)
        while at < end and index < len(self._pauses):
            pause = self._pauses[index]
            index += 1
            if pause.behavior != "skip":
                continue
            if at < min(pause.start, end):
                yield at, min(pause.start, end)
                at = pause.start
            at = max(at, end if pause.end is None else pause.end)
        if at < end:
            yield at, end

    def hidden(self, leg: "Leg", start: int, end: int) -> "Sequence[tuple[int, int | None]]":
        """What of a leg from `start` to `end` is hidden, in order; the last one's end may be open.

        Of each, all of it, also where it begins before or ends after that.
        """
        hidden = self._hidden[leg]
        found: list[tuple[int, int | None]] = []
        if hidden:
            first = max(0, bisect_left(hidden, start, key=_start_of) - 1)
            last = bisect_left(hidden, end, key=_start_of)
            found += [
                (one.start, one.end)
                for one in hidden[first:last]
                if one.end is None or one.end > start
            ]
        if leg == "listen" and self._hidden_playing:
            found += [(a, b) for a, b in self._hidden_playing if a < end and b > start]
            found.sort(key=_first)
        return found

    def length(self, position: int) -> int:
        """The file's samples up to a position."""
        position = max(position, self.start)
        pause = self._pause_before(position)
        return position - self.start - (pause.skipped_until(position) if pause else 0)
