# SPDX-License-Identifier: MIT
"""One track of a media stream: its messages in order, and its audio on the legs of a Call."""

import logging
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np

from recorder.errors import OptionError
from recorder.sources.arrival import Arrival, continues_at
from recorder.sources.forms import LEGS, AudioForm, Leg
from recorder.sources.pcm import ByteOrder, Carry, byte_order_of, reordered, sample_bytes

if TYPE_CHECKING:
    from recorder.call import Call

_LOG: Final = logging.getLogger("recorder")

WINDOW: Final = 5  # messages, and ticks, that one which is missing is waited for
# Timestamps that are off by less are jitter of the sender's clock. A gap that is longer than the
# second lies where the audio after it arrives, as in any call with a clock.
_JITTER_MS: Final = 30
_MOST_GAP_MS: Final = 10_000
# Nothing that has arrived lies further ahead of the clock: a timestamp that says so is wrong, and
# what follows it would come long before its time, and be dropped.
_MOST_AHEAD_MS: Final = 100


class Track:
    """The audio of one leg, or of both interleaved.

    A call's clock is not the sender's: so frames continue their leg, and a timestamp counts where
    it jumps ahead of the audio so far. A timestamp alone would drift from the call's clock until
    audio is late.

    - `tells_gaps`: whether the sender says what is missing, by timestamps or otherwise.
    - `gap`: milliseconds of audio that the sender said are missing before the next.
    - `order`: the byte order of 16-bit samples; None until it has been found out.
    """

    def __init__(
        self,
        call: "Call",
        form: AudioForm,
        legs: tuple[Leg, ...],
        order: ByteOrder | None,
        *,
        tells_gaps: bool,
    ) -> None:
        self.gap = 0.0
        self.order = order
        self._call = call
        self._legs = legs
        self._encoding = form.encoding
        self._bytes_a_ms = sample_bytes(form.encoding) * len(legs) * form.rate / 1000
        self._carry = Carry(sample_bytes(form.encoding) * len(legs))
        # Where nothing says what is missing, audio lies where it arrives.
        self._arrival = (
            None
            if tells_gaps
            else Arrival(call, legs[0], round(1000 * self._bytes_a_ms), self._feed)
        )
        self._end = 0  # the call's position after the last audio
        self._ahead = 0  # samples of silence that were laid ahead of the clock, as last seen
        self._due: float | None = None  # the next timestamp, in ms, if nothing is missing
        # Of a track whose messages come in any order: its next chunk, those that came before
        # their turn, how long they have waited, and whether one was dropped.
        self._next = 1
        self._waiting: list[tuple[int, int, int | None, bytes]] = []
        self._arrivals = count()
        self._waited = 0
        self._has_lost = False

    # -- in order --------------------------------------------------------------------------

    def put(self, data: bytes, timestamp: int | None, chunk: int) -> None:
        """Take a message that may have come before its turn."""
        if 0 < chunk < self._next:
            self._lose(chunk)
            return
        heappush(self._waiting, (chunk, next(self._arrivals), timestamp, data))
        self._lay_waiting(WINDOW)

    def tick(self) -> None:
        """Every 20 ms: feed what arrived; what is missing is waited for as long as the window."""
        self._waited += bool(self._waiting)
        if self._waited > WINDOW:
            self._lay_waiting(0)
        if self._arrival is not None:
            self._arrival.tick()

    def feed_arrived(self) -> None:
        """Feed what waits for the tick."""
        if self._arrival is not None:
            self._arrival.flush()

    def flush(self) -> None:
        """Wait for nothing any more."""
        self._lay_waiting(0)
        self.feed_arrived()

    def _lay_waiting(self, most: int) -> None:
        """Lay the messages whose turn it is, and the first ones of more than `most`."""
        while self._waiting:
            chunk, _, timestamp, data = self._waiting[0]
            # Chunks may be counted over both tracks: then it is the timestamp that continues.
            continues = timestamp is not None and self._due is not None and timestamp <= self._due
            if chunk > self._next and not continues and len(self._waiting) <= most:
                return
            heappop(self._waiting)
            self._waited = 0
            if 0 < chunk < self._next:
                self._lose(chunk)
            else:
                self._next = chunk + 1
                self.lay(data, timestamp)

    def _lose(self, chunk: int) -> None:
        if not self._has_lost:
            self._has_lost = True
            _LOG.warning("%s: chunk %d came twice, or too late, and is left out", self._legs, chunk)

    # -- on the call -----------------------------------------------------------------------

    def lay(self, data: bytes, timestamp: int | None) -> None:
        """Feed the next audio, behind the silence that its timestamp, in ms, implies."""
        data = self._carry.take(data)
        if not data:
            return
        if self._arrival is not None:
            self._arrival.take(data)
            return
        self._feed(data, self._position(data, timestamp))
        self._end = continues_at(self._call, self._legs[0])

    def _feed(self, data: bytes, at: int | None) -> None:
        channels = len(self._legs)
        if self._encoding == "pcm16":
            if self.order is None:
                self.order = byte_order_of(data)
            data = reordered(data, self.order or "little")
        if channels == 2:
            samples = np.frombuffer(data, np.int16 if self._encoding == "pcm16" else np.uint8)
            speak, listen = (samples[leg::2].tobytes() for leg in range(2))
            if self._legs[0] == "listen":
                speak, listen = listen, speak
            self._call.feed(speak=speak, listen=listen, encoding=self._encoding, at=at)
        elif self._legs[0] == "speak":
            self._call.feed(speak=data, encoding=self._encoding, at=at)
        else:
            self._call.feed(listen=data, encoding=self._encoding, at=at)

    def _position(self, data: bytes, timestamp: int | None) -> int | None:
        """Where a frame lies behind a gap; None for one that continues its leg."""
        gap, self.gap = self.gap, 0.0
        if timestamp is not None:
            ahead = 0.0 if self._due is None else timestamp - self._due
            if self._due is None or abs(ahead) > _JITTER_MS:
                self._due = timestamp
                gap = ahead
            self._due += len(data) / self._bytes_a_ms
        if not 0 < gap <= _MOST_GAP_MS:
            return None
        rate = self._call.sample_rate
        at = self._end + round(gap * rate / 1000)
        with suppress(OptionError):  # raised where a call's time is what is fed
            self._call.advance()
            now = self._call.position
            if now > max(continues_at(self._call, leg) for leg in LEGS):
                self._ahead = 0
            else:  # it is where a leg ends, which may be ahead of the clock: it moves no further
                now -= round(len(data) / self._bytes_a_ms * rate / 1000)
            at = min(at, now + round(_MOST_AHEAD_MS * rate / 1000) - self._ahead)
            self._ahead += max(0, at - now)
        # Where the call's clock has passed it, the frame lies where it arrives.
        return at if at > continues_at(self._call, self._legs[0]) else None
