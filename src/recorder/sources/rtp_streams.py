# SPDX-License-Identifier: MIT
"""The packets of one SSRC: in their order, and where they belong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from recorder.sources.codecs import Codec
from recorder.sources.rtp_packets import Packet

# A packet may come after so many that were sent later, and so long after the first of them.
WINDOW: Final = 5
_LONGEST_SECONDS: Final = 0.3
# RFC 3550, appendix A.1: what is further away is a new start, if the next packet follows it.
_MOST_DROPPED: Final = 3000
_MOST_MISORDERED: Final = 100
# Timestamps that leave a gap, and differ by more from the time of arrival, are new ones.
_JUMP_SECONDS: Final = 1
# A press is reported so long at most: its packets repeat the timestamp of its start.
_PRESS_SECONDS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A packet and when it arrived, in seconds since the call's start."""

    packet: Packet
    seconds: float


class ReorderWindow:
    """Hands out packets by sequence number, and each once.

    Those in order pass at once. Behind a missing one they wait for it, up to five packets or 0.3 s;
    so do the first ones of a stream, since an earlier one may still come.
    """

    def __init__(self) -> None:
        self.first: Arrival | None = None  # of this start, until it is used
        self._is_new = True
        self._held: dict[int, Arrival] = {}  # by sequence number without wrap
        self._newest = 0
        self._next: int | None = None  # None until the stream has started
        self._stray: Arrival | None = None

    def put(self, arrival: Arrival) -> list[Arrival]:
        """Take a packet; return those whose turn it is."""
        if self._is_new:
            self._is_new = False
            self.first = arrival
            self._newest = arrival.packet.sequence
        behind = (arrival.packet.sequence - self._newest + 0x8000 & 0xFFFF) - 0x8000
        if not -_MOST_MISORDERED <= behind <= _MOST_DROPPED:
            return self._put_stray(arrival)
        self._stray = None
        sequence = self._newest + behind
        self._newest = max(self._newest, sequence)
        if self._next is None or sequence >= self._next:
            self._held.setdefault(sequence, arrival)
        return self._release(arrival.seconds)

    def flush(self) -> list[Arrival]:
        """Return what waits: nothing is to come."""
        ordered = [self._held[sequence] for sequence in sorted(self._held)]
        if self._held:
            self._next = max(self._held) + 1
        self._held.clear()
        return ordered

    def _put_stray(self, arrival: Arrival) -> list[Arrival]:
        stray, self._stray = self._stray, arrival
        if stray is None or (stray.packet.sequence + 1) & 0xFFFF != arrival.packet.sequence:
            return []
        ordered = self.flush()
        self._stray = self._next = None
        self._is_new = True
        return ordered + self.put(stray) + self.put(arrival)

    def _release(self, now: float) -> list[Arrival]:
        ordered: list[Arrival] = []
        while self._held:
            if self._next not in self._held:
                oldest = min(held.seconds for held in self._held.values())
                if len(self._held) <= WINDOW and now - oldest < _LONGEST_SECONDS:
                    break
                self._next = min(self._held)
            ordered.append(self._held.pop(self._next))
            self._next += 1
        return ordered


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
        if is_off and abs(position - self._expected) > 1:
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
