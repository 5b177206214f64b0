# SPDX-License-Identifier: MIT
"""One recording on its way: what arrives is heard, judged, and handed on to be written."""

import sys
import time
from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from recorder import mixing
from recorder.core import DigitDecoder, VoiceDetector
from recorder.frames import SAMPLE_BYTES
from recorder.masking import DigitMask
from recorder.options import RecordOptions, timer, whole_samples
from recorder.output import Outcome, Output
from recorder.recording import Ending, PauseBehavior, Reason, Recording, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.core import Edge
    from recorder.timeline import Leg

_BLOCK_SECONDS: Final = 0.5  # what is handed on at once
_JITTER_SECONDS: Final = 2.0  # that a live call may be ahead of the clock


class _Track:
    """One leg's audio that is not handed on yet: PCM by position, with gaps where it is paused.

    Frames are kept as they come, `bytes` and nothing around them: what holds other objects would
    be looked through by Python's garbage collector again and again, which takes milliseconds.
    """

    __slots__ = ("_before", "_end", "_frames", "_start", "detector", "mask")

    def __init__(self, detector: VoiceDetector, mask: DigitMask | None) -> None:
        self.detector = detector  # its positions count from the recording's start
        self.mask = mask
        self._before: list[tuple[int, bytes]] = []  # what a gap follows
        self._frames: list[bytes] = []  # from `_start` to `_end`, one after the other
        self._start = self._end = 0

    def keep(self, position: int, pcm: bytes) -> None:
        """Append audio that is not before what is there."""
        if position != self._end or not self._frames:
            self._close_run()
            self._start = position
        self._frames.append(pcm)
        self._end = position + len(pcm) // SAMPLE_BYTES

    def _close_run(self) -> None:
        if self._frames:
            self._before.append((self._start, b"".join(self._frames)))
            self._frames = []

    def take(self, end: int) -> list[tuple[int, bytes]]:
        """Remove and return what there is before `end`."""
        self._close_run()
        taken: list[tuple[int, bytes]] = []
        left: list[tuple[int, bytes]] = []
        for position, pcm in self._before:
            cut = max(0, (end - position) * SAMPLE_BYTES)
            if cut:
                taken.append((position, pcm[:cut]))
            if cut < len(pcm):
                left.append((max(position, end), pcm[cut:]))
        self._before = []
        for position, pcm in left:
            self.keep(position, pcm)
        return taken if self.mask is None else self.mask.cut_out(taken, end)


class Capture:
    """Drives one recording: hears its legs, lets it judge, and hands on what it keeps.

    What goes wrong while writing ends the recording with the state `error`; it never raises.
    """

    def __init__(
        self,
        options: RecordOptions,
        sample_rate: int,
        *,
        start: int,
        output: Output,
    ) -> None:
        self.options = options
        self.began = False
        self._output = output
        self._rate = sample_rate
        self._created_at = time.monotonic()
        self._abandoned: Outcome | None = None
        self._fade = whole_samples(mixing.FADE_SECONDS, sample_rate)
        self._block = whole_samples(_BLOCK_SECONDS, sample_rate)
        self._start = start
        self._written = start  # everything of the call before this position is handed on
        self._write_at = start + self._block
        self.wake = start  # `settle` has nothing to do before the call is here
        self._whole_from = 0  # frames from here on have nothing to do with a pause
        self._tracks = {
            leg: _Track(
                VoiceDetector(
                    sample_rate,
                    options.input_sensitivity,
                    noise_tracking=options.noise_tracking,
                    voice_only=options.voice_only,
                    quiet_blocks=options.quiet_blocks,
                ),
                DigitMask(sample_rate, start) if options.mask_digits else None,
            )
            for leg in options.legs
        }
        self._masks = [track.mask for track in self._tracks.values() if track.mask is not None]
        self.recording = Recording(
            start=start,
            initial_timeout=timer(options.initial_timeout, sample_rate),
            end_silence_timeout=timer(options.end_silence_timeout, sample_rate),
            max_length=timer(options.max_length, sample_rate),
            terminators=options.terminators,
        )

    @property
    def ending(self) -> Ending | None:
        """How it ended, once it has."""
        return self.recording.ending

    @property
    def state(self) -> State:
        """The state as a user sees it."""
        if self.recording.ending is not None:
            return "error" if self._output.failure else self.recording.ending.state
        if not self.began:
            return "created"
        return "paused" if self.recording.paused else "recording"

    # -- what arrives ----------------------------------------------------------------------

    def hear(self, leg: "Leg", position: int, pcm: bytes, pointer: Any, n: int) -> None:
        """Take n samples of a leg that this recording is about."""
        track = self._tracks[leg]
        if position < self._start:  # before the beep has ended
            before = self._start - position
            if before >= n:
                return
            pcm, pointer = pcm[before * SAMPLE_BYTES :], pointer + before
            position, n = self._start, n - before
        if position >= self._whole_from:
            track.keep(position, pcm)
        else:
            for start, end in self.recording.keeps(position, position + n):
                track.keep(
                    start, pcm[(start - position) * SAMPLE_BYTES : (end - position) * SAMPLE_BYTES]
                )
        if track.mask is not None:
            track.mask.hear(pointer, n)
        edges = track.detector.process(pointer, n)
        if edges:
            self._tell_voice(leg, edges)

    def _tell_voice(self, leg: "Leg", edges: "Sequence[Edge]") -> None:
        told = iter(edges)
        for edge in told:
            if edge.kind == "voice_start":
                self.recording.voice_start(leg, self._start + max(edge.position, edge.settled))
            elif edge.kind == "voice_end":
                self.recording.voice_end(leg, self._start + max(edge.position, edge.settled))
            else:
                position = self._start + edge.position
                instead = [self._start + next(told).position for _ in range(edge.replaced_by)]
                stretches = list(zip_longest(instead[::2], instead[1::2]))
                self.recording.voice_revised(leg, position, stretches, self._start + edge.settled)
        self.wake = 0

    def press(self, digit: str, position: int) -> None:
        """Tell a digit of the party."""
        if self.recording.press(digit, position):
            self.wake = 0

    def settle(self, now: int, digits: DigitDecoder) -> None:
        """Judge and hand on what can be, `now` being the position of the legs recorded."""
        if now < self._start:
            return
        known = self._known(digits)
        self.recording.judge(known)
        if self.ending is not None:
            return
        if now >= self._write_at:
            # A pause may come at any moment, and what is before it fades out.
            self._hand_on(min([known, now - self._fade, *(mask.known for mask in self._masks)]))
            self._write_at = now + self._block
            self._check_output()
        change = self.recording.next_change
        self.wake = self._write_at if change is None else min(self._write_at, change)

    def _check_output(self) -> None:
        """End the recording if its file cannot be written, or not in time."""
        output = self._output
        if output.is_busy and self._is_ahead_of_time():
            stands_still = not output.wait()
        else:
            stands_still = output.is_full
        if stands_still:
            self._abandoned = self._output.abandon("the disk takes nothing, or too little")
        if self._output.failure:
            self.fail()

    def _is_ahead_of_time(self) -> bool:
        """Whether audio has come faster than it can be spoken: then there is time to wait."""
        recorded = (self._write_at - self._start) / self._rate
        return recorded - _JITTER_SECONDS > time.monotonic() - self._created_at

    # -- commands --------------------------------------------------------------------------

    def pause(self, position: int, behavior: PauseBehavior) -> None:
        """Keep nothing from here on."""
        self.recording.pause(position, behavior)
        self._whole_from = sys.maxsize
        self.wake = 0

    def resume(self, position: int) -> None:
        """Keep what comes again."""
        self.recording.resume(position)
        self._whole_from = position
        self.wake = 0

    def told(self, digit: str, position: int, digits: DigitDecoder) -> None:
        """Take a digit that came out of band: it is known now, there is nothing to wait for."""
        if self.recording.press(digit, position) and not self.recording.paused:
            self.recording.judge(self._known(digits), position)

    def stop(self, position: int, reason: Reason, digits: DigitDecoder) -> None:
        """End here, unless what is known by now ended it before."""
        self.recording.stop(position, reason, self._known(digits))

    def fail(self) -> None:
        """End with what was handed on: the file cannot be written any more."""
        self.recording.stop(self._written, "error", self._written)

    def _known(self, digits: DigitDecoder) -> int:
        """Everything that happened before this position is known."""
        known = self._start + min(track.detector.settled_until for track in self._tracks.values())
        return min(known, digits.settled_until) if self.options.terminators else known

    # -- the file --------------------------------------------------------------------------

    def length(self, position: int) -> int:
        """The file's samples once it holds everything up to a position."""
        return self.recording.length(position)

    def complete(self, then: Callable[[Outcome], None]) -> None:
        """It has ended: hand on the rest; `then` is called, in the background, once it is there."""
        assert self.ending is not None
        if self._abandoned is not None:
            then(self._abandoned)
            return
        for mask in self._masks:
            mask.finish()
        self._hand_on(self.ending.position)
        self._output.complete(then)

    def _hand_on(self, end: int) -> None:
        for segment in self.recording.segments(self._written, end):
            audio: dict[Leg, list[tuple[int, bytes]]] = {}
            if not segment.silent:
                audio = {leg: track.take(segment.end) for leg, track in self._tracks.items()}
            self._output.put(segment, audio)
        self._written = max(self._written, end)
