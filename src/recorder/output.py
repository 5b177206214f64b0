# SPDX-License-Identifier: MIT
"""One recording's way to its file, off the thread that feeds: laid out, encoded, written."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from recorder import mixing
from recorder.background import WRITING
from recorder.frames import SAMPLE_BYTES
from recorder.options import RecordOptions, whole_samples
from recorder.writing import StagedFile, readable_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recorder.recording import Segment
    from recorder.timeline import Leg

_LOG: Final = logging.getLogger("recorder")
_LONGEST_WRITE_SECONDS: Final = 2
# Audio of one recording that waits for its disk, in bytes: 65 s of both legs at 8 kHz, 11 s at
# 48 kHz.
MOST_PENDING: Final = 2 * 1024 * 1024
# Where there is time to wait for it, this much keeps it busy.
ENOUGH_PENDING: Final = 256 * 1024
# A disk that has taken nothing for so long, in seconds, stands still.
PATIENCE: Final = 10.0

# PCM of a leg, by position; what is missing is silence.
Pieces = Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the file: where it is, its bytes, its samples, and what went wrong if so."""

    path: Path
    size: int
    samples: int
    failure: str


class Output:
    """Takes what a recording keeps, in order; a background thread writes it.

    What goes wrong there is told once, by calling `failed` from that thread; what was written
    until then is kept. None of the methods raises or waits for the disk, but `wait`.
    """

    def __init__(
        self,
        file: StagedFile,
        options: RecordOptions,
        sample_rate: int,
        failed: Callable[[], None],
    ) -> None:
        self.file = file
        self.failure = ""
        self._stereo = options.stereo
        self._longest = _LONGEST_WRITE_SECONDS * sample_rate
        self._fade = whole_samples(mixing.FADE_SECONDS, sample_rate)
        self._laid_out = 0  # position of the call
        self._failed = failed
        self._lane = WRITING.lane()

    @property
    def is_full(self) -> bool:
        """Whether more is waiting for the disk than may."""
        return self._lane.pending > MOST_PENDING

    @property
    def is_busy(self) -> bool:
        """Whether so much is waiting that more is better kept back, if it can be."""
        return self._lane.pending > ENOUGH_PENDING

    def wait(self) -> bool:
        """Wait until it is not so busy any more; False when the disk stands still."""
        return self._lane.wait(ENOUGH_PENDING // 2, PATIENCE)

    def put(self, segment: "Segment", audio: "Mapping[Leg, Pieces]") -> None:
        """Append a segment and, unless it is silent, its legs' audio."""
        size = sum(len(pcm) for pieces in audio.values() for _, pcm in pieces)
        self._lane.put(lambda: self._write(segment, audio), size)

    def complete(self, then: Callable[[Outcome], None]) -> None:
        """Nothing more comes: publish the file, and call `then` from the background thread."""
        self._lane.put(lambda: then(self._publish()))

    def abandon(self, failure: str) -> Outcome:
        """Give up on a disk that stands still: the file stays under its staged name."""
        self._fail(OSError(failure))
        self._lane.put(self._close)
        return self._staged()

    # -- in the background -----------------------------------------------------------------

    def _write(self, segment: "Segment", audio: "Mapping[Leg, Pieces]") -> None:
        # In parts: a pause as silence may be hours. One that was interrupted may come again.
        for start in range(max(segment.start, self._laid_out), segment.end, self._longest):
            if self.failure:
                return
            end = min(start + self._longest, segment.end)
            try:
                self.file.write(self._lay_out(segment, audio, start, end))
                self._laid_out = end
            except Exception as error:  # whatever it is, the user is told
                self._fail(error)
                self._failed()

    def _lay_out(
        self, segment: "Segment", audio: "Mapping[Leg, Pieces]", start: int, end: int
    ) -> "NDArray[np.int16]":
        if segment.silent:
            return mixing.silence(end - start, stereo=self._stereo)
        legs = {leg: _cut(pieces, start, end) for leg, pieces in audio.items()}
        block = mixing.mix(legs.get("speak"), legs.get("listen"), stereo=self._stereo)
        return mixing.fade(
            block,
            since_join=None if segment.joined_at is None else start - segment.joined_at,
            until_join=None if segment.joins_at is None else segment.joins_at - start,
            length=self._fade,
        )

    def _publish(self) -> Outcome:
        for _ in range(2):  # what cannot be completed is published as far as it goes
            try:
                path, size = self.file.publish()
            except Exception as error:
                self._fail(error)
                continue
            samples = self.file.samples
            if self.failure:
                readable = readable_samples(path)
                samples = samples if readable is None else readable
            return Outcome(path=path, size=size, samples=samples, failure=self.failure)
        self._close()
        return self._staged()

    def _close(self) -> None:
        self.file.close()

    def _staged(self) -> Outcome:
        """As far as the last write that ended got."""
        file = self.file
        return Outcome(path=file.staged, size=file.size, samples=file.samples, failure=self.failure)

    def _fail(self, error: Exception) -> None:
        if not self.failure:
            self.failure = f"cannot write {self.file.path}: {error or type(error).__name__}"
            _LOG.error("%s", self.failure)


def _cut(pieces: Pieces, start: int, end: int) -> "NDArray[np.int16]":
    """The samples from `start` to `end`; what is missing is silence."""
    if len(pieces) == 1:
        position, pcm = pieces[0]
        if position == start and len(pcm) == (end - start) * SAMPLE_BYTES:
            return np.frombuffer(pcm, np.int16)
    audio = np.zeros(end - start, np.int16)
    for position, pcm in pieces:
        first, last = max(position, start), min(position + len(pcm) // SAMPLE_BYTES, end)
        if first < last:
            samples = np.frombuffer(pcm, np.int16)
            audio[first - start : last - start] = samples[first - position : last - position]
    return audio
