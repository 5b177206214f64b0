# SPDX-License-Identifier: MIT
"""Where each leg stands on the call's clock, in samples."""

from collections.abc import Iterable
from typing import Literal

Leg = Literal["speak", "listen"]


class Timeline:
    """The two legs' positions.

    A frame continues its leg. A leg that falls behind the other by more than `max_skew` samples
    is owed silence up to there.
    """

    __slots__ = ("listen", "max_skew", "speak")

    def __init__(self, max_skew: int) -> None:
        self.max_skew = max_skew
        self.speak = 0
        self.listen = 0

    @property
    def now(self) -> int:
        """The call's position: that of the leg furthest on."""
        return max(self.speak, self.listen)

    def furthest(self, legs: Iterable[Leg]) -> int:
        """The position of that of the legs which is furthest on."""
        return max(self.speak if leg == "speak" else self.listen for leg in legs)

    def owed(self) -> tuple[Leg, int]:
        """The leg that is behind, and the silence that brings it within the allowed skew."""
        leg: Leg = "speak" if self.speak < self.listen else "listen"
        return leg, max(0, self.now - self.max_skew - getattr(self, leg))
