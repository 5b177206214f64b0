# SPDX-License-Identifier: MIT
"""One recording on its way: what arrives is heard, judged, laid out and written."""

import logging
from collections import deque
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from recorder import mixing
from recorder.core import DigitDecoder, VoiceDetector
from recorder.options import RecordOptions, timer, whole_samples
from recorder.recording import Ending, PauseBehavior, Reason, Recording, Segment, State
from recorder.writing import StagedFile, readable_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from recorder.core import Edge
    from recorder.timeline import Leg

_LOG: Final = logging.getLogger("recorder")
_BLOCK_SECONDS: Final = 0.5  # what is written at once
_BYTES: Final = 2  # per sample


class _Track:
    """One leg's audio that is not written yet: PCM by position, with gaps where it is paused."""

    __slots__ = ("detector", "pieces")

    def __init__(self, detector: VoiceDetector) -> None:
        self.detector = detector  # its positions count from the recording's start
        self.pieces: deque[tuple[int, bytes]] = deque()

    def take(self, start: int, end: int) -> "NDArray[np.int16]":
        """Remove and return the samples from `start` to `end`, and forget what was before.

        What has not arrived when a recording is stopped is silence.
        """
        parts = []
        while self.pieces and self.pieces[0][0] < end:
            position, pcm = self.pieces.popleft()
            if position + len(pcm) // _BYTES > end:
                self.pieces.appendleft((end, pcm[(end - position) * _BYTES :]))
                pcm = pcm[: (end - position) * _BYTES]
            if position < start:
                pcm = pcm[(start - position) * _BYTES :]
            parts.append(pcm)
        audio = b"".join(parts)
        return np.frombuffer(audio.ljust((end - start) * _BYTES, b"\0"), np.int16)


class Capture:
    """Drives one recording: hears its legs, lets it judge, and writes what it keeps.

    What goes wrong while writing ends the recording with the state `error`; it never raises.
    """

    def __init__(
        self, options: RecordOptions, sample_rate: int, *, start: int, file: StagedFile
    ) -> None:
        self.options = options
        self.file = file
        self.failure = ""  # what went wrong while writing
        self.written_samples = 0
        self.began = False
        self._fade = whole_samples(mixing.FADE_SECONDS, sample_rate)
        self._block = whole_samples(_BLOCK_SECONDS, sample_rate)
        self._start = start
        self._written = start  # everything of the call before this position is in the file
        self._write_at = start + self._block
        self.wake = start  # `settle` has nothing to do before the call is here
        self._unpaused = True  # no pause so far: whole frames are kept
        self._tracks = {
            leg: _Track(
                VoiceDetector(
                    sample_rate,
                    options.input_sensitivity,
                    noise_tracking=options.noise_tracking,
                    voice_only=options.voice_only,
                    quiet_blocks=options.quiet_blocks,
                )
            )
            for leg in options.legs
        }
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
        if self.failure:
            return "error"
        if self.recording.ending is not None:
            return self.recording.ending.state
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
            pcm, pointer = pcm[before * _BYTES :], pointer + before
            position, n = self._start, n - before
        if self._unpaused:
            track.pieces.append((position, pcm))
        else:
            for start, end in self.recording.keeps(position, position + n):
                part = pcm[(start - position) * _BYTES : (end - position) * _BYTES]
                track.pieces.append((start, part))
        edges = track.detector.process(pointer, n)
        if edges:
            self._tell_voice(leg, edges)

    def _tell_voice(self, leg: "Leg", edges: "Sequence[Edge]") -> None:
        told = iter(edges)
        for edge in told:
            position = self._start + edge.position
            if edge.kind == "voice_start":
                self.recording.voice_start(leg, position)
            elif edge.kind == "voice_end":
                self.recording.voice_end(leg, position)
            else:
                instead = [self._start + next(told).position for _ in range(edge.replaced_by)]
                stretches = list(zip_longest(instead[::2], instead[1::2]))
                self.recording.voice_revised(leg, position, stretches, self._start + edge.known)
        self.wake = 0

    def press(self, digit: str, position: int) -> None:
        """Tell a digit of the party."""
        if self.recording.press(digit, position):
            self.wake = 0

    def settle(self, now: int, digits: DigitDecoder) -> None:
        """Judge and write what can be, `now` being the position of the legs recorded."""
        if now < self._start:
            return
        known = self._known(digits)
        self.recording.judge(known)
        if self.ending is not None:
            return
        if now >= self._write_at:
            # A pause may come at any moment, and what is before it fades out.
            self._write(min(known, now - self._fade))
            self._write_at = now + self._block
            if self.failure:
                self.recording.stop(self._written, "error", known)
        change = self.recording.next_change
        self.wake = self._write_at if change is None else min(self._write_at, change)

    # -- commands --------------------------------------------------------------------------

    def pause(self, position: int, behavior: PauseBehavior) -> None:
        """Keep nothing from here on."""
        self.recording.pause(position, behavior)
        self._unpaused = False
        self.wake = 0

    def resume(self, position: int) -> None:
        """Keep what comes again."""
        self.recording.resume(position)
        self.wake = 0

    def told(self, digit: str, position: int, digits: DigitDecoder) -> None:
        """Take a digit that came out of band: it is known now, there is nothing to wait for."""
        if self.recording.press(digit, position) and not self.recording.paused:
            self.recording.judge(self._known(digits), position)

    def stop(self, position: int, reason: Reason, digits: DigitDecoder) -> None:
        """End here, unless what is known by now ended it before."""
        self.recording.stop(position, reason, self._known(digits))

    def _known(self, digits: DigitDecoder) -> int:
        """Everything that happened before this position is known."""
        known = self._start + min(track.detector.known for track in self._tracks.values())
        return min(known, digits.known) if self.options.terminators else known

    # -- the file --------------------------------------------------------------------------

    def length(self, position: int) -> int:
        """The file's samples once it holds everything up to a position."""
        return self.recording.length(position)

    def complete(self) -> tuple[Path, int]:
        """Write the rest and give the file its name; return path and size in bytes.

        When that fails, or something failed before, what was written is kept, under the staged
        name if there is no other way, and `failure` says what went wrong.
        """
        assert self.ending is not None
        self._write(self.ending.position)
        for _ in range(2):  # what cannot be completed is published as far as it goes
            try:
                path, size = self.file.publish()
            except Exception as error:
                self._fail(error)
            else:
                break
        else:
            path, size = self.file.staged, self.file.close()
        if self.failure:
            samples = readable_samples(path)
            self.written_samples = self.written_samples if samples is None else samples
        return path, size

    def _write(self, end: int) -> None:
        if self.failure:
            return
        try:
            for segment in self.recording.segments(self._written, end):
                self._write_segment(segment)
            self._written = max(self._written, end)
        except Exception as error:
            self._fail(error)
        except BaseException as interrupt:
            # In the middle of a block: nothing that follows could be put where it belongs.
            self._fail(InterruptedError(f"interrupted by {type(interrupt).__name__}"))
            raise

    def _write_segment(self, segment: Segment) -> None:
        # In blocks: a pause as silence, or a beep's wait, may be hours long.
        for start in range(segment.start, segment.end, self._block):
            end = min(start + self._block, segment.end)
            block = self._lay_out(segment, start, end)
            self.file.write(block)
            self.written_samples += len(block)
            self._written = end

    def _lay_out(self, segment: Segment, start: int, end: int) -> "NDArray[np.int16]":
        if segment.silent:
            return mixing.silence(end - start, stereo=self.options.stereo)
        legs = {leg: track.take(start, end) for leg, track in self._tracks.items()}
        block = mixing.mix(legs.get("speak"), legs.get("listen"), stereo=self.options.stereo)
        return mixing.fade(
            block,
            since_join=None if segment.joined_at is None else start - segment.joined_at,
            until_join=None if segment.joins_at is None else segment.joins_at - start,
            length=self._fade,
        )

    def _fail(self, error: Exception) -> None:
        if not self.failure:
            self.failure = f"cannot write {self.file.path}: {error or type(error).__name__}"
            _LOG.error("%s", self.failure)
