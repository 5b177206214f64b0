# SPDX-License-Identifier: MIT
"""What the party is still to hear: audio that `play` queued, and beeps, by position.

Everything here is at one rate, that of the listen leg's frames, and positions count samples of
it since the call's start.
"""

from collections import deque
from math import gcd
from typing import Any, Final, Literal

import numpy as np

from recorder.detection import core
from recorder.placement.frames import SAMPLE_BYTES
from recorder.placement.resampling import REACH, new_stream, resample

Kind = Literal["play", "beep"]

_MOST_KEPT_SECONDS: Final = 2  # behind both the clock and the sender, for the rates of frames


class Queued:
    """Audio without a gap from `start` on; `end` is where it ends, also while it is resampled."""

    __slots__ = ("audio", "due", "kind", "start")

    def __init__(self, kind: Kind, start: int) -> None:
        self.kind = kind
        self.start = start
        self.audio = bytearray()
        self.due = 0  # samples that it stands for; the resampler may hold the last of them

    @property
    def end(self) -> int:
        """The position after its last sample."""
        return self.start + self.due


class Playout:
    """The queue of what plays.

    Audio of another rate is resampled as one stream for as long as nothing else is queued
    between: chunks join without a click. What the resampler holds back is made final when the
    clock or the sender needs it.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.given = 0  # how far a sender has been given audio by `take`
        self._has_sender = False
        self._queue: deque[Queued] = deque()
        self._stream: Any = None
        self._stream_rate = 0
        self._stream_in = self._stream_due = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing plays, or will."""
        return not self._queue

    @property
    def end(self) -> int:
        """Where what is queued ends; 0 when nothing is."""
        return self._queue[-1].end if self._queue else 0

    def stretches(self) -> list[tuple[int, int]]:
        """Where what is queued begins and ends."""
        return [(queued.start, queued.end) for queued in self._queue]

    def _next_start(self, now: int) -> int:
        return max(now, self.given, self.end)

    # -- what is queued --------------------------------------------------------------------

    def play(self, pcm: bytes, rate: int, now: int) -> tuple[int, int]:
        """Queue PCM of a rate, from `now` on when nothing is queued; return its start and end."""
        start = self._next_start(now)
        last = self._queue[-1] if self._queue else None
        if last is None or last.kind != "play" or last.end != start:
            self._finish_stream()
            last = Queued("play", start)
            self._queue.append(last)
        if rate == self.rate:
            self._finish_stream()
            last.audio += pcm
            last.due += len(pcm) // SAMPLE_BYTES
            return start, last.end
        if self._stream is None or self._stream_rate != rate:
            self._finish_stream()
            self._stream = new_stream(rate, self.rate)
            self._stream_rate, self._stream_in, self._stream_due = rate, 0, last.due
        self._stream_in += len(pcm) // SAMPLE_BYTES
        floats = self._stream.resample_chunk(core.pcm_to_floats(pcm))
        last.due = self._stream_due + self._stream_in * self.rate // rate
        last.audio += core.rounded_to_pcm(floats)
        return start, last.end

    def beep(self, tone: bytes, now: int) -> Queued:
        """Queue a beep behind what is queued."""
        self._finish_stream()
        queued = Queued("beep", self._next_start(now))
        queued.audio += tone
        queued.due = len(tone) // SAMPLE_BYTES
        self._queue.append(queued)
        return queued

    def cancel(self, beep: Queued) -> None:
        """Take a beep back whose recording has ended."""
        if beep in self._queue:
            self._queue.remove(beep)

    def clear(self, now: int) -> tuple[int, int]:
        """Take back what neither was heard nor given; return its samples, and since where.

        Beeps stay, and move up.
        """
        self._finish_stream()
        cut = max(now, self.given)
        taken = 0
        left: deque[Queued] = deque()
        for queued in self._queue:
            if queued.start < cut:
                if queued.kind == "play" and queued.end > cut:
                    taken += queued.end - cut
                    queued.due = cut - queued.start
                    del queued.audio[queued.due * SAMPLE_BYTES :]
                left.append(queued)
            elif queued.kind == "play":
                taken += queued.due
            else:
                queued.start = max(cut, left[-1].end if left else 0)
                left.append(queued)
        self._queue = left
        return taken, cut

    def _finish_stream(self) -> None:
        """Make final what the resampler holds: what comes next is another stream."""
        if self._stream is None:
            return
        stream, self._stream = self._stream, None
        queued = self._queue[-1]
        rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
        queued.audio += core.rounded_to_pcm(rest)
        length = queued.due * SAMPLE_BYTES
        del queued.audio[length:]
        queued.audio += bytes(length - len(queued.audio))

    # -- what is heard ---------------------------------------------------------------------

    def overlay(self, start: int, n: int) -> tuple[bytes, int, int] | None:
        """Return what plays in `n` samples from `start` on; None when nothing does.

        That is PCM with silence around, how many of its samples play, and where the last of
        them ends.
        """
        end = start + n
        out: bytearray | None = None
        sounding = last = 0
        for queued in self._queue:
            if queued.end <= start:
                continue
            if queued.start >= end:
                break
            first, stop = max(start, queued.start), min(end, queued.end)
            if (stop - queued.start) * SAMPLE_BYTES > len(queued.audio):
                self._finish_stream()
            if out is None:
                out = bytearray(n * SAMPLE_BYTES)
            out[(first - start) * SAMPLE_BYTES : (stop - start) * SAMPLE_BYTES] = queued.audio[
                (first - queued.start) * SAMPLE_BYTES : (stop - queued.start) * SAMPLE_BYTES
            ]
            sounding += stop - first
            last = stop
        return None if out is None else (bytes(out), sounding, last)

    def overlay_at(self, rate: int, start: int, n: int) -> bytes | None:
        """Return the same at another rate: `n` samples of it from its sample `start` on.

        However a stretch is cut, each sample is the same: it is made from all that plays near.
        """
        if rate == self.rate:
            found = self.overlay(start, n)
            return None if found is None else found[0]
        period = rate // gcd(rate, self.rate)  # of the phase, in samples of `rate`
        reach = REACH * max(rate, self.rate) // self.rate  # of input
        margin = -(-reach * rate // self.rate // period) * period
        first = start // period * period - margin
        begin = first * self.rate // rate
        end = -(-(start + n) * self.rate // rate) + reach
        found = self.overlay(max(begin, 0), end - max(begin, 0))
        if found is None:
            return None
        pcm = bytes(SAMPLE_BYTES * max(0, -begin)) + found[0]
        out = resample(core.pcm_to_floats(pcm), self.rate, rate)
        out = out[start - first : start - first + n]
        return core.rounded_to_pcm(out).ljust(n * SAMPLE_BYTES, b"\0")

    def take(self, n: int) -> bytes:
        """Give a sender the next `n` samples that the party is to hear.

        They follow those that it was given before, from the call's start on.
        """
        self._has_sender = True
        found = self.overlay(self.given, n)
        self.given += n
        return bytes(n * SAMPLE_BYTES) if found is None else found[0]

    def forget(self, now: int) -> None:
        """Let go of what the clock, and the sender if there is one, has passed."""
        passed = min(now, self.given) if self._has_sender else now
        passed -= _MOST_KEPT_SECONDS * self.rate
        while self._queue and self._queue[0].end <= passed:
            self._queue.popleft()
            if not self._queue:
                self._stream = None
