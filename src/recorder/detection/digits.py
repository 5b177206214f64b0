# SPDX-License-Identifier: MIT
"""One press of a key, seen as a tone and reported out of band, is one press.

A gateway that sends RFC 4733 events often leaves the tone, or its first part, in the audio; both
arrive, in either order, apart by what the jitter buffer holds.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class _Press:
    digit: str
    start: int
    end: int | None  # None while the tone lasts
    in_band: bool


class DigitMerger:
    """Pairs each tone with at most one out-of-band digit near it.

    `tolerance` is how far outside the tone, in samples, its out-of-band twin may be.
    """

    def __init__(self, tolerance: int) -> None:
        self._tolerance = tolerance
        self._single: list[_Press] = []  # those without a twin so far

    def tone(self, digit: str, start: int) -> bool:
        """Take a tone that was confirmed; return whether it is a new press."""
        return self._is_new(_Press(digit, start, None, in_band=True), start)

    def tone_ended(self, digit: str, end: int) -> None:
        """Take the end of the tone of this digit that lasted."""
        for press in self._single:
            if press.in_band and press.digit == digit and press.end is None:
                press.end = end

    def out_of_band(self, digit: str, position: int, now: int) -> bool:
        """Take a digit that was reported; return whether it is a new press."""
        return self._is_new(_Press(digit, position, position, in_band=False), now)

    def _is_new(self, press: _Press, now: int) -> bool:
        self._single = [
            old for old in self._single if old.end is None or old.end >= now - 2 * self._tolerance
        ]
        for old in self._single:
            if old.digit == press.digit and old.in_band != press.in_band and self._near(old, press):
                self._single.remove(old)
                return False
        self._single.append(press)
        return True

    def _near(self, a: _Press, b: _Press) -> bool:
        tone, report = (a, b) if a.in_band else (b, a)
        if report.start < tone.start - self._tolerance:
            return False
        return tone.end is None or report.start <= tone.end + self._tolerance
