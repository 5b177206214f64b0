# SPDX-License-Identifier: MIT
"""One leg's audio on its way from its own rate to the call's."""

from typing import TYPE_CHECKING

from recorder.placement.frames import SAMPLE_BYTES
from recorder.placement.resampling import Resampler, check_rate, part

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.placement.timeline import Stretch

# A payload of the timeline: call samples, and the PCM, at the leg's rate, that stands for them.
Payload = tuple[int, bytes]


class LegInput:
    """Turns the timeline's stretches into audio at the call's rate.

    `rate` is that of the frames, the call's if None; OptionError for a rate out of range.
    `pending` is how many call samples have their place but are still in the resampler.
    """

    __slots__ = ("_call_rate", "_next", "_resampler", "continue_with", "rate")

    def __init__(self, name: str, rate: int | None, call_rate: int) -> None:
        if rate is not None:
            check_rate(f"{name}_rate", rate)
        self.rate = call_rate if rate is None else int(rate)
        self._call_rate = call_rate
        self._next: int | None = None  # the next sample that is fed, in samples of its rate
        self._resampler = None if self.rate == call_rate else Resampler(self.rate, call_rate)
        # continue_with(pcm, n): what can be laid on the leg of PCM that continues it and is worth
        # a whole number of call samples. The count of samples stays as it is: see `count`.
        self.continue_with: Callable[[bytes, int], bytes] = (
            _as_it_is if self._resampler is None else self._resampler.continue_with
        )

    @property
    def is_plain(self) -> bool:
        """Whether frames come at the call's rate."""
        return self._resampler is None

    @property
    def pending(self) -> int:
        """Call samples that are placed but not out yet."""
        return 0 if self._resampler is None else self._resampler.pending

    def position_of(self, position: int) -> int:
        """A position of the call as a position in samples of this leg's frames."""
        return -(-position * self.rate // self._call_rate)

    def count(self, position: int, n: int, *, continues: bool) -> int:
        """Where the next n samples fed begin, in samples of this leg, if they lie at a position.

        Those that continue the leg follow each other, whatever their lengths are worth.
        """
        if self._resampler is None:
            return position
        if self._next is None or not continues:
            self._next = self.position_of(position)
        start = self._next
        self._next += n
        return start

    def lose_count(self) -> None:
        """Silence came between: what is fed next lies where its position says."""
        self._next = None

    @property
    def carries(self) -> bool:
        """Whether input waits that is not worth a sample yet, or counts for the next one."""
        return self._resampler is not None and self._resampler.carries

    def worth(self, size: int) -> int:
        """How many call samples so many bytes stand for; -1 unless it is a whole number."""
        n, rest = divmod(size // SAMPLE_BYTES * self._call_rate, self.rate)
        return -1 if rest else n

    def measure(self, pcm: bytes) -> Payload:
        """How many call samples PCM at the leg's rate stands for, and the PCM to place for them."""
        if self._resampler is None:
            return len(pcm) // SAMPLE_BYTES, pcm
        return self._resampler.take(pcm)

    def audio(self, stretch: "Stretch[Payload]") -> bytes:
        """What can be laid on the leg now that a stretch with audio has its place."""
        whole, pcm = stretch.payload  # type: ignore[misc]  # it has audio
        if stretch.n != whole:
            pcm = part(pcm, whole, stretch.offset, stretch.n)
        return self.resampled(pcm, stretch.n)

    def resampled(self, pcm: bytes, n: int) -> bytes:
        """What can be laid on the leg of PCM that continues it and stands for n call samples."""
        return pcm if self._resampler is None else self._resampler.process(pcm, n)

    def end_stream(self) -> bytes:
        """What the resampler still holds: silence, or nothing, comes next."""
        return b"" if self._resampler is None else self._resampler.flush()

    def peek(self) -> bytes:
        """What `end_stream` would give, but the stream continues."""
        return b"" if self._resampler is None else self._resampler.peek()


def _as_it_is(pcm: bytes, n: int) -> bytes:
    del n
    return pcm
