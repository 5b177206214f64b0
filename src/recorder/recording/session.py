# SPDX-License-Identifier: MIT
"""One recording from `record` to its terminal event: its state, progress, failure and times."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recorder.detection.masking import DigitMask
from recorder.errors import FileError
from recorder.events import RecordEvent, record_event
from recorder.options import RecordOptions, timer, whole_samples
from recorder.placement.legs import LEGS
from recorder.recording.state import PauseBehavior, Reason, Recording, State
from recorder.writing import mixing
from recorder.writing.writer import Outcome, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from recorder.detection.core import Edge, VoiceTap
    from recorder.placement.legs import Legs
    from recorder.placement.timeline import Leg

_BLOCK_SECONDS: Final = 0.5  # what is handed on at once
_NEVER: Final = 1 << 60
_JITTER_SECONDS: Final = 2.0  # that a live call may be ahead of the clock
# Levels are measured over frames of 20 ms: voice may begin in one that a pause cuts.
_VOICE_SLACK_SECONDS: Final = 0.02
# A tone's onset is estimated up to 1 ms early; at 44.1 kHz, or in noise, a little more.
_TONE_SLACK_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the events of a recording name."""

    call_id: str
    node_id: str
    control_id: str
    recording_id: str


class Session:
    """Owns one recording. The call's lock is held for all methods but `completed` and `opened`.

    `url_of` gives the URL of a path. `connect` is to follow before it is used.

    A failure while writing ends it with the state `error`; no method raises for it.
    """

    def __init__(
        self,
        identity: Identity,
        options: RecordOptions,
        legs: "Legs",
        target: Path,
        *,
        mode: int,
        makes_folder: bool,
        url_of: Callable[[Path], str],
    ) -> None:
        self.identity = identity
        self.options = options
        self.writer = Writer(
            target, options, legs.sample_rate, mode=mode, makes_folder=makes_folder
        )
        self.final: State | None = None  # what the file made of it
        self.start_time: float | None = None
        self._legs = legs
        self._rate = legs.sample_rate
        self._url_of = url_of
        self._fade = whole_samples(mixing.FADE_SECONDS, self._rate)
        self._block = whole_samples(_BLOCK_SECONDS, self._rate)
        self._created_at = time.monotonic()
        self._taps: dict[Leg, VoiceTap] = {}
        self._masks: dict[Leg, DigitMask] = {}
        self._began = False
        self._takes_no_more = False  # it has ended at the present: nothing more is to be awaited
        # Events wait until the file is open, and its name certain.
        self._is_open = self._is_complete = False
        self._announcing = threading.Lock()
        self._unannounced: deque[tuple[State, int]] = deque()
        rate = self._rate
        self._tone_slack = whole_samples(_TONE_SLACK_SECONDS, rate)
        end_silence = timer(options.end_silence_timeout, rate)
        self._end_silence = _NEVER if end_silence is None else end_silence
        self.recording = Recording(
            legs=options.legs,
            start=0,
            initial_timeout=timer(options.initial_timeout, rate),
            end_silence_timeout=end_silence,
            max_length=timer(options.max_length, rate),
            terminators=options.terminators,
            voice_slack=whole_samples(_VOICE_SLACK_SECONDS, rate),
            tone_slack=self._tone_slack,
        )
        self.written = 0  # everything of the call before this position is handed on
        self._write_at = 0
        self.due = 0  # `judge` has nothing to do before a leg is there

    def connect(
        self,
        *,
        publish: Callable[[RecordEvent, bool], None],
        failed: Callable[[], None],
        note: Callable[[RecordEvent, Path], None] | None = None,
    ) -> None:
        """Have its events published, with whether that is the last, and failures reported.

        `note` is called in between, with how it stands and where the file is: once the file is
        there, before all events, and once it is written, before it has its name.
        """
        self._publish = publish
        self._note = note
        self.writer.failed = failed

    # -- state ----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state as a user sees it."""
        if self.final is not None:
            return self.final
        ending = self.recording.ending
        if ending is not None:
            return "error" if self.writer.failure else ending.state
        if not self._began:
            return "created"
        return "paused" if self.recording.paused else "recording"

    @property
    def has_ended(self) -> bool:
        """Whether it is decided how it ends."""
        return self.recording.ending is not None

    @property
    def can_complete(self) -> bool:
        """Whether it has ended, and it is final where tones are up to there."""
        ending = self.recording.ending
        if ending is None:
            return False
        return self._takes_no_more or all(
            until >= ending.position for until in self._masked_until()
        )

    @property
    def path(self) -> Path:
        """Where the file is to be."""
        return self.writer.target

    # -- its start -------------------------------------------------------------------------

    def attach(self, start: int) -> None:
        """Follow the legs from a position on."""
        options = self.options
        for leg in options.legs:
            self._taps[leg] = self._legs.attach(
                leg,
                start,
                options.input_sensitivity,
                noise_tracking=options.noise_tracking,
                voice_only=options.voice_only,
                quiet_blocks=options.quiet_blocks,
            )
            if self._end_silence >= 2 * self._block:  # looked at before it could be over
                self._taps[leg].be_patient()
            if options.mask_digits:
                self._legs.decode(leg)
                self._masks[leg] = DigitMask(self._rate)
                self._masks[leg].note(self._legs.sounding(leg))
        self._set_start(start)

    def begin_at(self, start: int) -> None:
        """Begin elsewhere: the beep has moved, and has not ended yet."""
        for tap in self._taps.values():
            tap.move(start)
        self._set_start(start)

    def _set_start(self, start: int) -> None:
        self.recording.begin_at(start)
        self.written = self.due = start
        self._write_at = start + self._block

    def detach(self) -> None:
        """Follow the legs no more."""
        for tap in self._taps.values():
            self._legs.detach(tap)

    @property
    def sources(self) -> "Iterator[tuple[int, Leg]]":
        """Whose edges are this recording's, and of which leg they are."""
        return ((tap.source, leg) for leg, tap in self._taps.items())

    # -- what was found --------------------------------------------------------------------

    def voice(self, leg: "Leg", edges: "Sequence[Edge]") -> None:
        """Take edges of its detector on a leg."""
        recording = self.recording
        rest = iter(edges)
        for edge in rest:
            position = max(edge.position, edge.settled)
            if edge.kind == "voice_start":
                recording.voice_start(leg, position)
            elif edge.kind == "voice_end":
                recording.voice_end(leg, position)
                self.due = min(self.due, position + self._end_silence)
            else:
                instead = [next(rest).position for _ in range(edge.replaced_by)]
                stretches = list(zip_longest(instead[::2], instead[1::2]))
                recording.voice_revised(leg, edge.position, stretches, edge.settled)
                self.due = 0

    def tones(self, leg: "Leg", edges: "Sequence[Edge]") -> None:
        """Take edges of a leg's digit decoder, to mask them."""
        if leg in self._masks:
            self._masks[leg].note(edges)

    def press(self, digit: str, position: int) -> None:
        """Take a digit of the party, which began at a position."""
        if self.recording.press(digit, position):
            self.due = 0

    def press_now(self, digit: str, position: int) -> None:
        """Take a digit that was reported out of band: nothing before it is to be waited for."""
        recording = self.recording
        if not recording.paused and recording.press(digit, position):
            recording.judge(self._settled_until(), position)
            self._takes_no_more = self.has_ended
            self.due = 0

    # -- judging ---------------------------------------------------------------------------

    def judge(self, now: int) -> None:
        """Decide and hand on what can be, `now` being how far the legs are processed."""
        if self.has_ended:
            return
        if not self._began:
            if now < self.recording.start:
                return
            self._begin()
        settled = self._settled_until()
        self.recording.judge(settled)
        if self.has_ended:
            return
        if now >= self._write_at:
            # A pause may come at any moment, and what is before it fades out.
            final = min(self._legs.processed(leg) for leg in self._taps) - self._fade
            self._hand_on(min(self.recording.judged, final, *self._masked_until()))
            self._write_at = now + self._block
            self._check_writer()
            if self.has_ended:
                return
        deadline = self.recording.next_deadline
        self.due = self._write_at if deadline is None else min(self._write_at, deadline)

    def _settled_until(self) -> int:
        """Everything that happened before this position has been reported."""
        legs = self._legs
        settled = _NEVER
        for leg, tap in self._taps.items():
            until = tap.settled_until
            if not legs.came(leg):  # silence, up to now
                until = max(until, legs.processed_by_any)
            settled = min(settled, until)
        if self.options.terminators and legs.came("speak"):
            settled = min(settled, legs.digits_settled_until())
        return settled

    def _masked_until(self) -> "Iterator[int]":
        legs = self._legs
        for leg, mask in self._masks.items():
            if legs.came(leg):
                decoder = legs.digits_settled_until(leg)
                yield mask.settled_until(decoder, legs.processed(leg))

    def _check_writer(self) -> None:
        """End the recording if its file cannot be written, or not in time."""
        writer = self.writer
        if writer.is_busy and self._is_ahead_of_time():
            has_stalled = not writer.wait()
        else:
            has_stalled = writer.is_full
        if has_stalled and not writer.failure:
            writer.abandon("the disk has stalled, or is too slow")
        if writer.failure:
            self.fail()

    def _is_ahead_of_time(self) -> bool:
        """Whether audio has come faster than it can be spoken: then there is time to wait."""
        recorded = (self._write_at - self.recording.start) / self._rate
        return recorded - _JITTER_SECONDS > time.monotonic() - self._created_at

    # -- commands --------------------------------------------------------------------------

    def pause(self, behavior: PauseBehavior) -> None:
        """Keep nothing of what is fed from here on."""
        at = self.recording.pause(self._positions(), behavior)
        if self._began:
            self._announce("paused", self.recording.length(at))
        self.due = 0

    def resume(self) -> None:
        """Keep again what is fed."""
        at = self.recording.resume(self._positions())
        if self._began:
            self._announce("recording", self.recording.length(at))
        self.due = 0

    def hide_playing(self, start: int, end: int) -> None:
        """Audio was played that is heard from `start` to `end`."""
        if self.recording.paused:
            self.recording.hide_playing(start, end)

    def _positions(self) -> "Mapping[Leg, int]":
        return {leg: self._legs.placed(leg) for leg in LEGS}

    def stop(self, position: int, reason: Reason) -> None:
        """End here, unless what is settled by now ended it before."""
        self.recording.stop(position, reason, self._settled_until())
        self._takes_no_more = True

    def fail(self) -> None:
        """End with what was handed on: the file cannot be written any more."""
        self.recording.stop(self.written, "error", self.written)
        self._takes_no_more = True

    # -- the file --------------------------------------------------------------------------

    def _hand_on(self, end: int) -> None:
        for a, b in self.recording.kept(self.written, end):
            audio = {leg: self._audio(leg, a, b) for leg in self._taps}
            self.writer.put(a, b - a, audio.get("speak"), audio.get("listen"))
        if end > self.written:
            self.written = end
            for mask in self._masks.values():
                mask.forget(end)

    def _audio(self, leg: "Leg", start: int, end: int) -> bytes | None:
        """A leg's audio without what is hidden; None where all of it is."""
        fade = self._fade
        hidden = self.recording.hidden(leg, start - fade, end + fade)
        if any(a <= start and (b is None or b >= end) for a, b in hidden):
            return None if len(self._taps) == 1 else bytes(2 * (end - start))
        pcm = self._legs.read(leg, start, end)
        if hidden:
            pcm = mixing.hide(pcm, start, hidden, fade)
        if leg in self._masks and (tones := self._masks[leg].tones(start, end)):
            pcm = mixing.hide(pcm, start, tones, 0)
        return pcm

    def complete(self) -> None:
        """It has ended: hand on the rest. The terminal event comes once the file is complete."""
        ending = self.recording.ending
        assert ending is not None
        if not self.writer.failure and ending.state != "error":
            for leg, mask in self._masks.items():
                # A tone that lasts to the end seems to end a little before.
                latest = self._legs.processed(leg) - self._tone_slack
                edges = self._legs.finish_digits(leg)
                mask.note([e for e in edges if e.kind == "digit_start" or e.position < latest])
            self._hand_on(ending.position)
        self.detach()
        self.writer.complete(self._written, self._completed)

    # -- events ----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._began = True
        self.start_time = time.time()
        self._announce("recording", 0)
        if self.recording.paused:
            self._announce("paused", 0)

    def _announce(self, state: State, samples: int) -> None:
        """Report that it runs, or is paused, once the file's name is known."""
        self._unannounced.append((state, samples))
        if self._is_open:
            self._announce_waiting()

    def _announce_waiting(self) -> None:
        with self._announcing:
            while self._unannounced:
                state, samples = self._unannounced.popleft()
                self._publish(self._event(state, self.path, samples=samples), False)

    def opened(self) -> None:
        """The file is open: its name is known. Called in the background, or at once."""
        if self._note is not None:
            event = self._event(self.state, self.path, samples=0)
            self._note(event, self.writer.file.staged)
        self._is_open = True
        self._announce_waiting()

    def _written(self) -> None:
        """All is written, and the file is about to get its name. Called in the background."""
        if self._note is not None:
            file = self.writer.file
            outcome = Outcome(path=self.path, size=file.size, samples=file.samples, failure="")
            self._note(self._terminal(outcome), file.staged)

    def _completed(self, outcome: Outcome) -> None:
        """The file is complete, or all that can be had of it. Called in the background."""
        if self._is_complete:  # what ended it was interrupted, and done again
            return
        self._is_complete = True
        if outcome.failure:
            self.final = "error"
        event = self._terminal(outcome)
        self._announce_waiting()
        with self._announcing:
            self._publish(event, True)

    def _terminal(self, outcome: Outcome) -> RecordEvent:
        ending = self.recording.ending
        assert ending is not None
        why: dict[str, Any]
        if outcome.failure:
            why = {"reason": "error", "error": outcome.failure}
        else:
            why = {"reason": ending.reason}
            if ending.digit:
                why["digit"] = ending.digit
        if self.start_time is None:  # stopped while its beep played
            self.start_time = time.time()
        return self._event(
            self.state,
            outcome.path,
            samples=outcome.samples,
            size=outcome.size,
            end_time=self.start_time + (ending.position - self.recording.start) / self._rate,
            why=why,
        )

    def refuse(self, error: FileError) -> None:
        """End it: its file could not be opened."""
        self.final = "error"
        self.start_time = self.start_time or time.time()
        why = {"reason": "error", "error": str(error)}
        event = self._event("error", self.path, samples=0, end_time=self.start_time, why=why)
        with self._announcing:
            self._publish(event, True)

    def _event(
        self,
        state: State,
        path: Path,
        *,
        samples: int,
        size: int = 0,
        end_time: float | None = None,
        why: dict[str, Any] | None = None,
    ) -> RecordEvent:
        identity, options = self.identity, self.options
        return record_event(
            call_id=identity.call_id,
            node_id=identity.node_id,
            control_id=identity.control_id,
            recording_id=identity.recording_id,
            state=state,
            url=self._url_of(path),
            path=path,
            duration=samples / self._rate,
            size=size,
            start_time=self.start_time,
            end_time=end_time,
            audio={
                "format": options.format,
                "direction": options.direction,
                "stereo": options.stereo,
            },
            why=why or {},
        )
