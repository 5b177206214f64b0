# SPDX-License-Identifier: MIT
"""Where the packets of one SSRC belong."""

from collections.abc import Callable
from typing import Final

from recorder.sources.codecs import Codec
from recorder.sources.reordering import Arrival, ReorderWindow

# Timestamps that leave a gap, and differ by more from the time of arrival, are new ones.
_JUMP_SECONDS: Final = 1
# A press is reported so long at most: its packets repeat the timestamp of its start.
_PRESS_SECONDS: Final = 60


class RtpStream:
    """Finds the positions of a stream's packets, in samples at a rate, in Hz."""

    def __init__(self, rate: int) -> None:
        self.window = ReorderWindow()
        self._rate = rate
        self._clock = 0  # none yet
        self._base = 0  # the position that this timestamp has
        self._base_timestamp = 0
        self._timestamp = 0  # the newest, without wrap
        self._expected = 0
        self._decoders: dict[int, Callable[[bytes], bytes]] = {}

    def decoder(self, payload_type: int, codec: Codec) -> Callable[[bytes], bytes]:
        """Return what decodes this type's payloads, one after another."""
        if payload_type not in self._decoders:
            self._decoders[payload_type] = codec.decoder()
        return self._decoders[payload_type]

    def locate(self, arrival: Arrival, codec: Codec, n: int, end: int) -> int:
        """Where audio of n samples begins; `end` is where that of the leg does end."""
        if self._clock != codec.clock_rate:
            self._start(arrival, codec, end)
        position = self._follow(arrival)
        is_off = abs(position - arrival.seconds * self._rate) > _JUMP_SECONDS * self._rate
        # A sender that does not count silence begins with the marker.
        if is_off and (abs(position - self._expected) > 1 or arrival.packet.marker):
            self._clock = 0
            self._start(arrival, codec, end)
            position = self._base
        self._expected = position + n
        return position

    def locate_press(self, arrival: Arrival, codec: Codec, end: int) -> int:
        """Where a key was pressed: by its timestamp, unless that cannot be."""
        if not self._clock:
            self._start(arrival, codec, end)
        position = self._follow(arrival)
        now = round(arrival.seconds * self._rate)
        too_late = now + _JUMP_SECONDS * self._rate
        return position if now - _PRESS_SECONDS * self._rate < position < too_late else now

    def _start(self, arrival: Arrival, codec: Codec, end: int) -> None:
        """Begin where it arrived; at the stream's start, where the first packet to arrive did."""
        first = self.window.first if not self._clock else None
        self._clock = codec.clock_rate
        position = round(arrival.seconds * self._rate)
        if first is not None:
            ahead = _signed(first.packet.timestamp - arrival.packet.timestamp)
            if 0 <= ahead <= self._clock * _JUMP_SECONDS:
                position = round(first.seconds * self._rate) - ahead * self._rate // self._clock
            self.window.first = None
        self._base = self._expected = max(position, end)
        self._base_timestamp = self._timestamp = arrival.packet.timestamp

    def _follow(self, arrival: Arrival) -> int:
        self._timestamp += _signed(arrival.packet.timestamp - self._timestamp)
        units = self._timestamp - self._base_timestamp
        return self._base + units * self._rate // self._clock


def _signed(difference: int) -> int:
    """The difference of two timestamps, which wrap at 32 bits."""
    return (difference + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
