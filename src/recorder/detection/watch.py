# SPDX-License-Identifier: MIT
"""From a detector's edges to what a listener needs: voice began, voice ended."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from recorder.detection.core import Edge
    from recorder.placement.timeline import Leg

Report = Callable[["Leg", Literal["start", "end"], int], None]


class VoiceWatch:
    """Follows one detector, whose revisions it reports as a start or an end."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._has_voice = False

    def take(self, leg: "Leg", edges: "list[Edge]") -> None:
        """Take edges of the detector on a leg."""
        rest = iter(edges)
        for edge in rest:
            instead = [next(rest) for _ in range(edge.replaced_by)]
            last = instead[-1] if instead else edge
            self._set(leg, last.kind == "voice_start", last.position)

    def _set(self, leg: "Leg", has_voice: bool, position: int) -> None:
        if has_voice != self._has_voice:
            self._has_voice = has_voice
            self._report(leg, "start" if has_voice else "end", position)
