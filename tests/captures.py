# SPDX-License-Identifier: MIT
"""Captures, written by hand for tests."""

import struct
from collections.abc import Iterable
from ipaddress import ip_address

Address = tuple[str, int]
Frames = list[tuple[float, bytes]]

ETHERNET, RAW, SLL, SLL2, NULL = 1, 101, 113, 276, 0


def ip_packet(
    source: Address,
    destination: Address,
    payload: bytes,
    *,
    options: bytes = b"",
    fragment: int = 0,
    protocol: int = 17,
) -> bytes:
    """A UDP datagram, or the start of one if it is a `fragment`, in IPv4 or IPv6."""
    a, b = ip_address(source[0]), ip_address(destination[0])
    udp = struct.pack(">HHHH", source[1], destination[1], 8 + len(payload), 0) + payload
    if a.version == 6:
        if options:
            udp = bytes([protocol, len(options) // 8]) + bytes(6) + options + udp
            protocol = 0  # hop by hop
        head = struct.pack(">IHBB", 6 << 28, len(udp), protocol, 64)
        return head + a.packed + b.packed + udp
    words = 5 + len(options) // 4
    head = struct.pack(
        ">BBHHHBBH", 0x40 | words, 0, 4 * words + len(udp), 1, fragment, 64, protocol, 0
    )
    return head + a.packed + b.packed + options + udp


def frame(link: int, ip: bytes, *, tags: Iterable[int] = ()) -> bytes:
    """An IP packet behind its link layer, with VLAN tags."""
    kind = 0x0800 if ip[0] >> 4 == 4 else 0x86DD
    kinds = [*tags, kind]
    tagged = b"".join(struct.pack(">HH", 7, after) for after in kinds[1:])
    if link == ETHERNET:
        padding = bytes(max(0, 60 - 14 - len(tagged) - len(ip)))
        return bytes(12) + struct.pack(">H", kinds[0]) + tagged + ip + padding
    if link == SLL:
        return bytes(14) + struct.pack(">H", kinds[0]) + tagged + ip
    if link == SLL2:
        return struct.pack(">H", kinds[0]) + bytes(18) + tagged + ip
    return (bytes(4) if link == NULL else b"") + ip


def pcap(
    frames: Frames,
    link: int = ETHERNET,
    *,
    order: str = "<",
    nano: bool = False,
    start: int = 10**9,
) -> bytes:
    """A file of frames, each with its time in seconds."""
    units = 10**9 if nano else 10**6
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for seconds, one in frames:
        whole, part = divmod(round(seconds * units), units)
        data += struct.pack(order + "IIII", start + whole, part, len(one), len(one)) + one
    return data


def pcapng(
    frames: list[tuple[float, int, bytes]], *, order: str = "<", start: int = 10**9
) -> bytes:
    """The same of several interfaces: each frame has its link type, and each type its clock."""
    links = sorted({link for _, link, _ in frames})
    data = _block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    for number, link in enumerate(links):
        resolution = 9 if number else 6
        option = struct.pack(order + "HHBxxxHH", 9, 1, resolution, 0, 0)
        data += _block(order, 1, struct.pack(order + "HHI", link, 0, 0) + option)
    data += _block(order, 0x0BAD, b"unknown.")
    for seconds, link, one in frames:
        number = links.index(link)
        units = round((start + seconds) * 10 ** (9 if number else 6))
        head = struct.pack(
            order + "IIIII", number, units >> 32, units & 0xFFFFFFFF, len(one), len(one)
        )
        data += _block(order, 6, head + one + bytes(-len(one) % 4))
    return data


def _block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def sip(
    first: str,
    call_id: str,
    tag: str,
    cseq: str,
    *,
    audio: Address | None = None,
    rtpmaps: Iterable[str] = (),
    compact: bool = False,
) -> bytes:
    """A SIP message; `audio` is where its SDP wants media."""
    names = ("i", "f", "c") if compact else ("Call-ID", "From", "Content-Type")
    body = ""
    if audio is not None:
        version = 6 if ":" in audio[0] else 4
        types = " ".join(one.split()[0] for one in rtpmaps)
        address = f"IN IP{version} {audio[0]}"
        body = f"v=0\r\no=- 1 1 {address}\r\ns=-\r\nc={address}\r\nt=0 0\r\n"
        body += f"m=audio {audio[1]} RTP/AVP 0 8 {types}\r\n"
        body += "".join(f"a=rtpmap:{one}\r\n" for one in rtpmaps)
        body += "a=sendrecv\r\nm=video 0 RTP/AVP 31\r\n"
    lines = [
        first,
        "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1",
        f"{names[1]}: <sip:a@example.org>;tag={tag}",
        f"{names[0]} : {call_id}",
        f"CSeq: {cseq}",
        f"{names[2]}: application/sdp",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
