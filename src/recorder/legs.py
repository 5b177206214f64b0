# SPDX-License-Identifier: MIT
"""One leg's audio on its way from what is fed to what is heard: at the call's rate, no gaps."""

from typing import TYPE_CHECKING

from recorder.frames import SAMPLE_BYTES
from recorder.resampling import Resampler, check_rate, part

if TYPE_CHECKING:
    from recorder.timeline import Span


class LegAudio:
    """Turns the timeline's spans into audio to be heard, resampled if need be.

    `rate` is that of the frames, the call's if None; OptionError when it is not allowed. `heard` is
    the position up to which audio has come out: with a resampler it lags behind the leg's own.
    """

    __slots__ = ("_resampler", "heard", "rate")

    def __init__(self, name: str, rate: int | None, call_rate: int) -> None:
        if rate is not None:
            check_rate(f"{name}_rate", rate)
        self.rate = call_rate if rate is None else rate
        self.heard = 0
        self._resampler = None if self.rate == call_rate else Resampler(self.rate, call_rate)

    def measure(self, pcm: bytes) -> tuple[int, bytes]:
        """How many call samples PCM at the leg's rate stands for, and the PCM to place for them."""
        if self._resampler is None:
            return len(pcm) // SAMPLE_BYTES, pcm
        return self._resampler.take(pcm)

    def hear(self, span: "Span[tuple[int, bytes]]") -> list[tuple[int, bytes]]:
        """What of it can be heard: positions and PCM at the call's rate."""
        _, position, n, payload, offset = span
        if payload is None:
            return [*self.end_stream(), self._give(bytes(SAMPLE_BYTES * n))]
        whole, pcm = payload
        if n != whole:
            pcm = part(pcm, whole, offset, n)
        if self._resampler is None:
            self.heard = position + n
            return [(position, pcm)]
        pcm = self._resampler.process(pcm, n)
        return [self._give(pcm)] if pcm else []

    def end_stream(self) -> list[tuple[int, bytes]]:
        """What a resampler still holds: silence, or nothing, comes next."""
        rest = b"" if self._resampler is None else self._resampler.flush()
        return [self._give(rest)] if rest else []

    def pending(self) -> bytes:
        """What `end_stream` would give, but the stream goes on."""
        return b"" if self._resampler is None else self._resampler.peek()

    def _give(self, pcm: bytes) -> tuple[int, bytes]:
        position = self.heard
        self.heard = position + len(pcm) // SAMPLE_BYTES
        return position, pcm
