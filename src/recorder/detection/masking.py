# SPDX-License-Identifier: MIT
"""Where DTMF tones are on a leg, so that they can be left out of its audio."""

from typing import TYPE_CHECKING, Final

from recorder.options import whole_samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recorder.detection.core import Edge

# A tone's end is reported at most so long after it, in seconds (0.1 in noise, and a block).
_LATEST_END_SECONDS: Final = 0.15


class DigitMask:
    """Collects the tones of one leg from the edges of its digit decoder, by position."""

    __slots__ = ("_latest_end", "_over", "_sounding")

    def __init__(self, sample_rate: int) -> None:
        self._latest_end = whole_samples(_LATEST_END_SECONDS, sample_rate)
        self._sounding: dict[str, int] = {}  # where the tones that last began, by digit
        self._over: list[tuple[int, int]] = []

    def note(self, edges: "Sequence[Edge]") -> None:
        """Take edges of digits."""
        for edge in edges:
            if edge.kind == "digit_start":
                self._sounding[edge.digit] = edge.position
            elif edge.digit in self._sounding:
                self._over.append((self._sounding.pop(edge.digit), edge.position))

    def settled_until(self, decoder: int, processed: int) -> int:
        """Return before which position it is final what is a tone.

        `decoder` is where the leg's decoder is settled, `processed` how far it got.
        """
        return min(decoder, processed - self._latest_end) if self._sounding else decoder

    def tones(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the tones from `start` to `end`, one that lasts up to there."""
        tones = [*self._over, *((begun, end) for begun in self._sounding.values())]
        return [(a, b) for a, b in tones if a < end and b > start]

    def forget(self, upto: int) -> None:
        """Let go of what is before a position."""
        self._over = [tone for tone in self._over if tone[1] > upto]
