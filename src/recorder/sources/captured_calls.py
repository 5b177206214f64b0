# SPDX-License-Identifier: MIT
"""Which RTP packets of a capture are one call, and which leg of it."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, pairwise
from typing import Final

from recorder.sources.pcap import Address
from recorder.sources.rtp_packets import Packet
from recorder.sources.sip import Dialog, Leg

LEGS: Final[tuple[Leg, Leg]] = ("speak", "listen")
# What is no call by SIP is RTP if it has so many packets, half of them in order.
_FEWEST_PACKETS: Final = 5
_MOST_APART: Final = 100
# Where nothing comes of either leg for longer, another call begins.
_LONGEST_PAUSE_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Captured:
    """A packet and when it was captured, in seconds; `packet` is without its payload."""

    seconds: float
    data: bytes
    packet: Packet


@dataclass(slots=True)
class Direction:
    """What one side sent, in order of time, and what its payload types mean."""

    packets: list[Captured] = field(default_factory=list)
    rtpmaps: dict[int, str] = field(default_factory=dict)


CapturedCall = dict[Leg, Direction]
Flows = dict[tuple[Address, Address], list[Captured]]


def calls(flows: Flows, dialogs: list[Dialog]) -> list[CapturedCall]:
    """The calls in a capture, the longest first: those of SIP, and those that look like some."""
    for packets in flows.values():  # of several interfaces, a file need not be in order
        packets.sort(key=lambda captured: captured.seconds)
    found = [part for call in _all_calls(flows, dialogs) for part in _parts(call)]
    return sorted(found, key=_length, reverse=True)


def _all_calls(flows: Flows, dialogs: list[Dialog]) -> Iterator[CapturedCall]:
    """Those of SIP, then those that are calls by their looks."""
    of_dialogs: dict[int, CapturedCall] = {}
    others: Flows = {}
    for (source, destination), packets in flows.items():
        fitting = sorted(
            (one for one in dialogs if one.leg(source, destination)), key=lambda one: one.start
        )
        if not fitting:
            if _is_rtp(packets):
                others[source, destination] = packets
            continue
        # Addresses are used again: a packet is of the newest call that has begun by then.
        starts = [one.start for one in fitting[1:]]
        for number, found in groupby(packets, partial(_begun, starts)):
            leg = fitting[number].leg(source, destination)
            assert leg is not None
            call = of_dialogs.setdefault(id(fitting[number]), {})
            direction = call.setdefault(leg, Direction())
            direction.packets += found
            direction.rtpmaps |= fitting[number].rtpmaps(destination)
    yield from of_dialogs.values()
    if not dialogs and _is_of_relay(others):
        both = sorted(others.values(), key=lambda packets: packets[0].seconds)
        yield {leg: Direction(packets) for leg, packets in zip(LEGS, both, strict=True)}
        return
    while others:
        (source, destination), first = others.popitem()
        back = _way_back(source, destination, first, others)
        both = [first, others.pop(back)] if back else [first]
        both.sort(key=lambda packets: packets[0].seconds)
        legs = LEGS
        # An SDP may have other addresses than those captured: then the INVITE says who calls.
        sent = next((one for one in dialogs if one.sender in {source[0], destination[0]}), None)
        if sent is not None and source[0] != destination[0]:
            is_callers = (sent.sender == source[0]) == (both[0] is first)
            legs = LEGS if is_callers else LEGS[::-1]
        rtpmaps = {} if sent is None else sent.rtpmaps(destination)
        yield {leg: Direction(packets, rtpmaps) for leg, packets in zip(legs, both, strict=False)}


def _begun(starts: list[float], captured: Captured) -> int:
    """How many calls have begun by then."""
    return bisect_right(starts, captured.seconds)


def _is_rtp(packets: list[Captured]) -> bool:
    steps = [
        a.packet.ssrc == b.packet.ssrc
        and (b.packet.sequence - a.packet.sequence + _MOST_APART & 0xFFFF) <= 2 * _MOST_APART
        for a, b in pairwise(packets)
    ]
    return len(packets) >= _FEWEST_PACKETS and 2 * sum(steps) >= len(steps)


def _way_back(
    source: Address, destination: Address, packets: list[Captured], others: Flows
) -> tuple[Address, Address] | None:
    """The other direction: between the same ports, else between the same hosts meanwhile."""
    if (destination, source) in others:
        return destination, source
    for (a, b), back in others.items():
        is_back = (a[0], b[0]) == (destination[0], source[0])
        if is_back and (b, a) not in others and _is_meanwhile(packets, back):
            return a, b
    return None


def _is_of_relay(flows: Flows) -> bool:
    """Whether two parties sent to two ports, and nothing else is there.

    That is a call as rtpengine captures it: what each party sent to it, and no way back.
    """
    if len(flows) != 2:
        return False
    (source, destination), (other_source, other_destination) = flows
    is_apart = source != other_source and destination != other_destination
    return is_apart and _is_meanwhile(*flows.values())


def _is_meanwhile(one: list[Captured], other: list[Captured]) -> bool:
    return one[0].seconds <= other[-1].seconds and other[0].seconds <= one[-1].seconds


def _parts(call: CapturedCall) -> Iterator[CapturedCall]:
    """The calls that followed each other between the same addresses."""
    for direction in call.values():
        direction.packets.sort(key=lambda captured: captured.seconds)
    times = sorted(one.seconds for direction in call.values() for one in direction.packets)
    cuts = [b for a, b in pairwise(times) if b - a > _LONGEST_PAUSE_SECONDS]
    for start, end in pairwise([times[0], *cuts, float("inf")]):
        part: CapturedCall = {}
        for leg, direction in call.items():
            packets = [one for one in direction.packets if start <= one.seconds < end]
            if packets:
                part[leg] = Direction(packets, direction.rtpmaps)
        yield part


def _length(call: CapturedCall) -> float:
    ends = [(one.packets[0].seconds, one.packets[-1].seconds) for one in call.values()]
    return max(end for _, end in ends) - min(start for start, _ in ends)
