# SPDX-License-Identifier: MIT
"""UDP datagrams of captures: pcap and pcapng, as tcpdump, Wireshark and rtpengine write them."""

import logging
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import SEEK_CUR, BytesIO
from ipaddress import ip_address
from typing import IO, Final, Literal

from recorder.errors import FileError

Address = tuple[str, int]  # of an IP and a port

_LOG: Final = logging.getLogger("recorder")
_PCAP: Final = frozenset(
    struct.pack(order + "I", magic) for order in "<>" for magic in (0xA1B2C3D4, 0xA1B23C4D)
)
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
# Link types of https://www.tcpdump.org/linktypes.html: where the EtherType is, and the packet.
_ETHER_TYPE_AT: Final = {1: (12, 14), 113: (14, 16), 276: (0, 20)}
# What comes before the IP packet.
_IP_AT: Final = {0: 4, 108: 4, 12: 0, 14: 0, 101: 0, 228: 0, 229: 0}
_VLAN: Final = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")
_IP: Final = (b"\x08\x00", b"\x86\xdd")
_UDP: Final = 17
_UDP_HEADER: Final = 8
_FRAGMENT: Final = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """One datagram and when it was captured, in seconds since 1970."""

    seconds: float
    source: Address
    destination: Address
    payload: bytes


def is_capture(start: bytes) -> bool:
    """Whether a file that starts so is a capture."""
    return start[:4] in _PCAP or start[:4] == _PCAPNG


def datagrams(stream: IO[bytes], name: str) -> Iterator[Datagram]:
    """Yield the datagrams of a capture; one that comes through a pipe is held in memory.

    Fragments and datagrams that were captured in part are left out. FileError where it cannot be
    read; one that was cut short gives what there is, and a warning.
    """
    try:
        import dpkt
        import pcapng
    except ImportError as error:
        raise FileError(
            f"cannot read {name}: captures need more: pip install 'recorder-telephony[pcap]'"
        ) from error
    count = cut = 0
    try:
        # Both readers seek, or ask where they are: a pipe cannot.
        for seconds, link, frame in _frames(
            stream if stream.seekable() else BytesIO(stream.read())
        ):
            count += 1
            found = _datagram(seconds, _ip(link, frame))
            if found is None:
                cut += 1
            elif found:
                yield found
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror or error}") from error
    except (
        ValueError,
        LookupError,
        struct.error,
        dpkt.Error,
        pcapng.exceptions.PcapngException,
    ) as error:
        if not count:
            raise FileError(f"cannot read {name}: it is damaged from its start on") from error
        _LOG.warning("%s is cut short or damaged: what comes before is read", name)
    if cut:
        _LOG.warning("%s: %d packets were captured in part, and are left out", name, cut)


def _frames(stream: IO[bytes]) -> Iterator[tuple[float, int, bytes]]:
    """Yield the time, the link type and the bytes of each frame."""
    import dpkt
    import pcapng

    start = stream.read(len(_PCAPNG))
    stream.seek(-len(start), SEEK_CUR)
    if start == _PCAPNG:
        blocks = iter(pcapng.FileScanner(stream))
        while True:
            with warnings.catch_warnings():  # its own use of itself is deprecated
                warnings.simplefilter("ignore")
                block = next(blocks, None)
            if block is None:
                return
            if isinstance(block, pcapng.blocks.EnhancedPacket):
                yield block.timestamp, block.interface.link_type, block.packet_data
    else:
        reader = dpkt.pcap.Reader(stream)
        for seconds, frame in reader:
            yield float(seconds), reader.datalink() & 0xFFFF, frame


def _ip(link: int, frame: bytes) -> bytes:
    """The IP packet of a frame; nothing if there is none."""
    if link in _IP_AT:
        return frame[_IP_AT[link] :]
    kind_at, at = _ETHER_TYPE_AT.get(link, (0, 0))
    kind = frame[kind_at : kind_at + 2] if at else b""
    while kind in _VLAN:
        kind = frame[at + 2 : at + 4]
        at += 4
    return frame[at:] if kind in _IP else b""


def _datagram(seconds: float, packet: bytes) -> Datagram | Literal[False] | None:
    """The datagram of an IP packet; False if it is another one, None if only a part is there."""
    import dpkt

    version = packet[0] >> 4 if packet else 0
    if version not in {4, 6} or (version == 4 and packet[9:10] != bytes([_UDP])):
        return False
    try:
        ip = dpkt.ip.IP(packet) if version == 4 else dpkt.ip6.IP6(packet)
    except dpkt.Error:
        return None
    is_fragment = ip.mf or ip.offset if version == 4 else _FRAGMENT in ip.extension_hdrs
    udp = ip.data
    if is_fragment or not isinstance(udp, dpkt.udp.UDP) or udp.ulen < _UDP_HEADER:
        return False
    payload = udp.data[: udp.ulen - _UDP_HEADER]
    if len(payload) < udp.ulen - _UDP_HEADER:
        return None
    return Datagram(
        seconds=seconds,
        source=(_text(ip.src), udp.sport),
        destination=(_text(ip.dst), udp.dport),
        payload=payload,
    )


@lru_cache(maxsize=1024)
def _text(address: bytes) -> str:
    return str(ip_address(address))
