# SPDX-License-Identifier: MIT
"""The packets of one SSRC in their order."""

from typing import Final, NamedTuple

from recorder.sources.rtp_packets import Packet

# A packet may come after so many that were sent later, and so long after the first of them.
WINDOW: Final = 5
_LONGEST_SECONDS: Final = 0.3
# RFC 3550, appendix A.1: what is further away is a new start, if the next packet follows it.
_MOST_DROPPED: Final = 3000
_MOST_MISORDERED: Final = 100


class Arrival(NamedTuple):
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
        if sequence == self._next and not self._held:
            self._next += 1
            return [arrival]
        if self._next is None or sequence >= self._next:
            self._held.setdefault(sequence, arrival)
        return self.release(arrival.seconds)

    def flush(self) -> list[Arrival]:
        """Return what waits: nothing is to come."""
        ordered = [self._held[sequence] for sequence in sorted(self._held)]
        if self._held:
            self._next = max(self._held) + 1
        self._held.clear()
        return ordered

    def release(self, now: float) -> list[Arrival]:
        """Return those that have waited long enough by now, in seconds."""
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

    def _put_stray(self, arrival: Arrival) -> list[Arrival]:
        stray, self._stray = self._stray, arrival
        if stray is None or (stray.packet.sequence + 1) & 0xFFFF != arrival.packet.sequence:
            return []
        ordered = self.flush()
        self._stray = self._next = None
        self._is_new = True
        return ordered + self.put(stray) + self.put(arrival)
