# SPDX-License-Identifier: MIT
"""RTP packets (RFC 3550), taken apart."""

import struct
from typing import Final, NamedTuple

from recorder.errors import WireError

_HEADER: Final = struct.Struct(">BBHII")
# RFC 5761, section 4: the packet types of RTCP, where RTP has its marker and payload type.
_RTCP_TYPES: Final = range(192, 224)


class Packet(NamedTuple):
    """One RTP packet. Its header extension, its contributing sources and its padding are left out.

    `timestamp` is in units of its codec's clock.
    """

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def is_rtcp(packet: bytes) -> bool:
    """Whether a packet on a port of RTP is one of RTCP."""
    return len(packet) >= 8 and packet[0] >> 6 == 2 and packet[1] in _RTCP_TYPES


def parse(packet: bytes) -> Packet:
    """Take a packet apart; WireError for what is no RTP."""
    if len(packet) < _HEADER.size:
        raise WireError(f"RTP: expected {_HEADER.size} bytes or more, got {len(packet)}")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
    if first >> 6 != 2:
        raise WireError(f"RTP: expected version 2, got {first >> 6}")
    if second in _RTCP_TYPES:
        raise WireError(f"RTP: expected a payload type, got RTCP's packet type {second}")
    start = _HEADER.size + 4 * (first & 0x0F)
    end = len(packet)
    if first & 0x10:  # a header extension: its profile, its length in words, the words
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4])
    if first & 0x20:  # padding, whose last byte says how much there is
        end -= packet[-1] or len(packet)
    if start > end:
        raise WireError("RTP: the packet is shorter than its header says")
    return Packet(second & 0x7F, second >= 0x80, sequence, timestamp, ssrc, packet[start:end])
