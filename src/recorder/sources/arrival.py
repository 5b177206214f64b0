# SPDX-License-Identifier: MIT
"""Where audio without timestamps lies on a call."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from recorder.placement.timeline import Leg

if TYPE_CHECKING:
    from recorder.call import Call

# Less between two pieces of audio is jitter.
_GAP_SECONDS: Final = 0.05
# After a gap: audio that was held back need not come all at once.
_PATIENCE_SECONDS: Final = 0.1
_MOST_WAITING_SECONDS: Final = 2  # where nobody calls `flush`


def continues_at(call: "Call", leg: Leg) -> int:
    """Where a leg's next frame lies, if nothing is missing."""
    stats = call.stats.speak if leg == "speak" else call.stats.listen
    return stats.taken + stats.filled


class Arrival:
    """Lays audio where it arrives: it continues what came before, or lies behind a gap.

    No audio arrives before it was spoken. So what waits begins, at the latest, where each message
    of it would have to begin to end when it arrived: what a stall held back comes in one piece,
    and continues.

    `feed(data, at)` passes audio to the call, whose frames have `bytes_a_second`; `at` is None for
    what continues its leg. Audio waits for `tick`, which feeds it but for what came behind a gap
    just now, or `flush`, which feeds all: one long frame costs less than many short ones.
    """

    def __init__(
        self,
        call: "Call",
        leg: Leg,
        bytes_a_second: int,
        feed: Callable[[bytes, int | None], None],
    ) -> None:
        self._call = call
        self._leg = leg
        self._bytes_a_second = bytes_a_second
        self._feed = feed
        self._gap = round(_GAP_SECONDS * call.sample_rate)
        self._patience = round(_PATIENCE_SECONDS * call.sample_rate)
        self._patient_until = 0
        self._waiting = bytearray()
        self._at: int | None = None  # where it begins, if behind a gap
        self._fed = 0  # where the leg continues, after what was fed

    def take(self, data: bytes) -> None:
        """Take what has arrived, in whole samples."""
        present = self._call.position
        begin = self._fed if self._at is None else self._at
        end = begin + self._samples(len(self._waiting))
        start = max(0, present - self._samples(len(data)))
        if start - end >= self._gap or not end:
            self.flush()
            self._at = start
            self._patient_until = present + self._patience if end else 0
        elif self._at is not None:
            begin = present - self._samples(len(self._waiting) + len(data))
            self._at = min(self._at, begin)
            if self._at - self._fed < self._gap:  # most of it was a stall: what is left is jitter
                self._at = self._fed
                self._patient_until = 0
        self._waiting += data
        if len(self._waiting) >= _MOST_WAITING_SECONDS * self._bytes_a_second:
            self.flush()

    def tick(self) -> None:
        """Feed what waits, unless it may turn out to have been held back."""
        if self._call.position >= self._patient_until:
            self.flush()

    def flush(self) -> None:
        """Feed what waits, and wait for nothing."""
        self._patient_until = 0
        if not self._waiting:
            return
        data, at = bytes(self._waiting), self._at
        self._waiting.clear()
        self._at = None
        self._feed(data, at)
        self._fed = continues_at(self._call, self._leg)

    def _samples(self, size: int) -> int:
        """What so many bytes are worth, in samples of the call."""
        return size * self._call.sample_rate // self._bytes_a_second
