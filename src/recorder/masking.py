# SPDX-License-Identifier: MIT
"""Where DTMF tones are on a leg, so that they can be left out of its audio."""

from typing import Any, Final

from recorder.core import DigitDecoder
from recorder.frames import SAMPLE_BYTES
from recorder.options import whole_samples

# A tone's end is told at most so long after it, in seconds (0.1 in noise, and a block).
_LATEST_END_SECONDS: Final = 0.15

Pieces = list[tuple[int, bytes]]


class DigitMask:
    """Hears a leg from position `start` on; takes the tones out of its audio."""

    __slots__ = ("_decoder", "_heard", "_latest_end", "_over", "_sounding", "_start")

    def __init__(self, sample_rate: int, start: int) -> None:
        self._decoder = DigitDecoder(sample_rate)  # its positions count from `start`
        self._latest_end = whole_samples(_LATEST_END_SECONDS, sample_rate)
        self._start = start
        self._heard = start
        self._sounding: dict[str, int] = {}  # where the tones that last began, by digit
        self._over: list[tuple[int, int]] = []

    def hear(self, pointer: Any, n: int) -> None:
        """Take n more samples."""
        self._heard += n
        self._note(self._decoder.process(pointer, n))

    def finish(self) -> None:
        """There is no more audio: decide on what may be a tone."""
        self._note(self._decoder.finish())

    def _note(self, edges: Any) -> None:
        for edge in edges:
            position = self._start + edge.position
            if edge.kind == "digit_start":
                self._sounding[edge.digit] = position
            else:
                self._over.append((self._sounding.pop(edge.digit), position))

    @property
    def known(self) -> int:
        """Whether what is before this position is a tone will not change any more."""
        known = self._start + self._decoder.settled_until
        if self._sounding:
            return min(known, self._heard - self._latest_end)
        return known

    def cut_out(self, pieces: Pieces, upto: int) -> Pieces:
        """The pieces, all before `upto`, without the tones. What is before it comes no more."""
        for start, end in (*self._over, *((start, upto) for start in self._sounding.values())):
            pieces = [
                part for position, pcm in pieces for part in _without(position, pcm, start, end)
            ]
        self._over = [tone for tone in self._over if tone[1] > upto]
        return pieces


def _without(position: int, pcm: bytes, start: int, end: int) -> Pieces:
    """What is left of a piece outside the stretch from `start` to `end`."""
    stop = position + len(pcm) // SAMPLE_BYTES
    if end <= position or stop <= start:
        return [(position, pcm)]
    left: Pieces = []
    if position < start:
        left.append((position, pcm[: (start - position) * SAMPLE_BYTES]))
    if end < stop:
        left.append((end, pcm[(end - position) * SAMPLE_BYTES :]))
    return left
