# SPDX-License-Identifier: MIT
"""What is said on each wire, as it is said: real calls, to be damaged."""

import random
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from recorder.detection.core import g711_encode
from recorder.sources.asterisk_websocket import FORMATS
from recorder.sources.dialects import DIALECTS, DialectName
from recorder.sources.pcm import sample_bytes
from tests import signals
from tests.captures import ETHERNET, NULL, RAW, SLL, SLL2, Address, frame, ip_packet, sip
from tests.fuzz.wires import Message
from tests.rtp_packets import event_payload, golden, packet
from tests.test_asterisk_websocket import JSON_DIGIT, JSON_START, PLAIN_DIGIT, PLAIN_START, start
from tests.test_audiosocket import KINDS, OPENING, message
from tests.test_media_stream import OTHER, SESSIONS, SPEECH, hook, interleaved, on_the_wire

LINKS: Final = (ETHERNET, RAW, SLL, SLL2, NULL)
_KEYS: Final = "0123456789*#ABCDabcd"
_EVENT: Final = 101
_RTPMAPS: Final = {
    96: "L16/16000",
    97: "L16/8000",
    98: "L16/44100/2",
    _EVENT: "telephone-event/8000",
    102: "opus/48000/2",
    103: "G722/8000",
    104: "PCMU/16000",
}


def _audio(rng: random.Random, n: int, rate: int = 8000) -> signals.Pcm:
    """Noise, silence, or a key's tones."""
    kind = rng.random()
    if kind < 0.1:
        return np.zeros(n, np.int16)
    if kind < 0.2:
        tone = signals.dtmf(rng.choice("5#"), 0.1, rate)
        return np.resize(tone, n)
    at = rng.randrange(len(SPEECH))
    return np.resize(SPEECH[at:], n)


# -- AudioSocket -----------------------------------------------------------------------------------


def audiosocket(rng: random.Random) -> list[bytes]:
    """The messages of a connection."""
    kind = rng.choice([0x10, 0x10, *KINDS])
    n = rng.choice([1, 160, 160, 320, KINDS[kind] // 50])
    said = [OPENING]
    for _ in range(rng.randrange(40)):
        pcm = _audio(rng, n, KINDS[kind])
        data = g711_encode(pcm.tobytes(), "pcmu") if rng.random() < 0.1 else pcm.tobytes()
        said.append(message(kind, data))
        if rng.random() < 0.08:
            said.append(message(0x03, rng.choice([*_KEYS, "!"]).encode()))
    if rng.random() < 0.2:  # a party that waits, and then speaks at its own rate
        kind = rng.choice([*KINDS])
        said += [message(kind, _audio(rng, 320).tobytes()) for _ in range(3)]
    if rng.random() < 0.5:
        said.append(rng.choice([message(0x00, b""), message(0xFF, b"\x01")]))
    return said


# -- Asterisk's chan_websocket ---------------------------------------------------------------------

_PLAIN: Final = (
    *(PLAIN_DIGIT, "MEDIA_XOFF", "MEDIA_XON channel_id:1.5", "QUEUE_DRAINED"),
    *("STATUS queue_length:43 xon_level:800", "MEDIA_MARK_PROCESSED m", "ERROR no such command"),
)
_JSON: Final = (
    *(JSON_DIGIT, '{"event": "MEDIA_XOFF"}', '{"event": "MEDIA_XON"}'),
    *('{"event": "MEDIA_MARK_PROCESSED", "correlation_id": "m"}', '{"event": "QUEUE_DRAINED"}'),
    '{"event": "ERROR", "error_text": "no such command"}',
)


def asterisk_websocket(rng: random.Random) -> list[Message]:
    is_plain = rng.random() < 0.5
    form = rng.choice(["ulaw", "slin16", *FORMATS])
    encoding, rate = FORMATS[form]
    size = rate // 50 * sample_bytes(encoding)
    opening = start(form, plain=is_plain, optimal_frame_size=size)
    if rng.random() < 0.3:
        form = "ulaw" if is_plain else "slin16"
        opening = PLAIN_START if is_plain else JSON_START
        encoding, rate = FORMATS[form]
    early = rng.choice([0, 0, 1, 3])
    said: list[Message] = []
    for k in range(early + rng.randrange(40)):
        if k == early:
            said.append(opening)
        pcm = _audio(rng, rate // 50, rate).tobytes()
        said.append(pcm if encoding == "pcm16" else g711_encode(pcm, encoding))
        if rng.random() < 0.1:
            said.append(rng.choice(_PLAIN if is_plain else _JSON))
    return said


# -- media streams ---------------------------------------------------------------------------------


def media_stream(rng: random.Random) -> tuple[dict[str, Any], list[Message]]:
    """The options of the source, and a session of one dialect."""
    name: DialectName = rng.choice(list(DIALECTS))
    wire = SESSIONS[name]
    said = list(wire.start)
    n = wire.rate // 50
    is_json = DIALECTS[name].is_json
    at = 0
    for k in range(rng.randrange(30)):
        at += rng.choice([0] * 9 + [3, 100])  # nothing was said meanwhile
        first = rng.randrange(len(SPEECH) - n)
        legs = [
            on_the_wire(leg[first : first + n], wire.encoding, wire.order)
            for leg in (SPEECH, OTHER)
        ]
        if is_json:
            for track, data in zip(("inbound", "outbound"), legs, strict=True):
                if track == "inbound" or rng.random() < 0.5:
                    said.append(wire.media(at + k, track, data))
        elif wire.is_stereo:
            said.append(interleaved(*legs, width=len(legs[0]) // n))
        else:
            said.append(legs[0])
        others = [wire.digit, wire.marked, '{"event":"new","seq":5}']
        if name == "audiohook":
            others += [hook("ping", k, rtt="PT0.1S"), hook("paused", k)]
            others += [hook("discarded", k, start="PT1S", discarded="PT0.08S")]
        found = rng.choice(others)
        if found is not None and rng.random() < 0.2:
            said.append(found)
    if wire.stop is not None and rng.random() < 0.5:
        said.append(wire.stop)
    return dict(wire.options), said


# -- RTP -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A datagram, and when it arrives."""

    seconds: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Rtp:
    """One direction: its packets, and the options of RtpLeg."""

    rate: int
    packets: list[Sent]
    payload_types: dict[int, str]


def rtp(rng: random.Random, *, keys: float = 0.05, most: int = 60) -> Rtp:
    """A stream of some codec, with presses, comfort noise and a change of its SSRC."""
    if rng.random() < 0.1:
        packets = list(golden())[: rng.randrange(2, 200)]
        return Rtp(8000, [Sent(at - packets[0][0], data) for at, data in packets], {})
    kind, rate, clock, width = rng.choice(
        [
            *[(0, 8000, 8000, 1), (8, 8000, 8000, 1), (97, 8000, 8000, 2)],
            *[(11, 44100, 44100, 2), (10, 44100, 44100, 4), (96, 16000, 16000, 2)],
            *[(98, 44100, 44100, 4), (9, 16000, 8000, 1), (103, 16000, 8000, 1)],
        ]
    )
    n = clock // rng.choice([50, 50, 100, 25])
    sequence = rng.choice([0, 7, 65500, 65535])
    timestamp = rng.choice([0, 7, 0xFFFFFFFF - 3 * n, 0x7FFFFFFF])
    ssrc, seconds = 1, 0.0
    packets_: list[Sent] = []
    for _ in range(rng.randrange(most)):
        data = packet(kind, sequence, timestamp, ssrc, rng.randbytes(n * width))
        choice = rng.random()
        if choice < keys:
            code = rng.randrange(17)
            for k in range(rng.choice([1, 4, 6])):
                payload = event_payload(code, n * (k + 1), end=k > 2)
                packets_.append(Sent(seconds, packet(_EVENT, sequence, timestamp, ssrc, payload)))
                sequence += 1
        elif choice < keys + 0.03:
            data = packet(13, sequence, timestamp, ssrc, b"\x40")
        elif choice < keys + 0.06:
            data = packet(rng.choice([18, 102, 104, 120]), sequence, timestamp, ssrc, bytes(20))
        elif choice < keys + 0.09:
            packets_.append(Sent(seconds, b"\x80\xc8" + bytes(26)))  # RTCP
        elif choice < keys + 0.15:
            data = _dressed(rng, data)
        packets_.append(Sent(seconds + rng.choice([0, 0, 0.001, 0.05]) * rng.random(), data))
        pause = rng.choice([0] * 20 + [10, 100])
        sequence += 1
        timestamp += n * (1 + pause)
        seconds += n / clock * (1 + pause)
        if rng.random() < 0.03:
            ssrc += 1
            sequence, timestamp = rng.getrandbits(16), rng.getrandbits(32)
    packets_.sort(key=lambda one: one.seconds)
    return Rtp(rate, packets_, _RTPMAPS)


def _dressed(rng: random.Random, data: bytes) -> bytes:
    """The same packet with sources, an extension and padding."""
    sources = rng.randrange(3)
    head = bytes([0x80 | 0x10 | 0x20 | sources]) + data[1:12] + bytes(4 * sources)
    words = rng.randrange(3)
    return head + b"\xbe\xde" + words.to_bytes(2) + bytes(4 * words) + data[12:] + b"\0\0\3"


# -- SIP and captures ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a capture; `is_sound` unless it was damaged."""

    seconds: float
    link: int
    data: bytes
    payload: bytes
    is_sound: bool = True


def sip_messages(rng: random.Random, a: Address, b: Address) -> list[tuple[bool, bytes]]:
    """A dialog: whether the caller sent it, and the message."""
    maps = [f"{kind} {rtpmap}" for kind, rtpmap in _RTPMAPS.items() if kind != 102]
    compact = rng.random() < 0.3
    lines = [
        (True, "INVITE sip:b@x SIP/2.0", "1 INVITE", a),
        (False, "SIP/2.0 100 Trying", "1 INVITE", None),
        (False, "SIP/2.0 200 OK", "1 INVITE", b),
        (True, "ACK sip:b@x SIP/2.0", "1 ACK", None),
        (True, "UPDATE sip:b@x SIP/2.0", "2 UPDATE", a),
        (True, "BYE sip:b@x SIP/2.0", "3 BYE", None),
    ]
    return [
        (by_caller, sip(first, "1", "t", cseq, audio=audio, rtpmaps=maps, compact=compact))
        for by_caller, first, cseq, audio in lines
    ]


def capture(rng: random.Random) -> tuple[list[Frame], int]:
    """A call of two legs, and the link type of all of its frames, or 0 for several."""
    a: Address = ("10.0.0.1", 4000)
    b: Address = ("10.0.0.2", 5000)
    if rng.random() < 0.3:
        a, b = ("fd00::1", 4000), ("fd00::2", 5000)
    sent: list[tuple[float, Address, Address, bytes]] = []
    if rng.random() < 0.7:
        for k, (by_caller, data) in enumerate(sip_messages(rng, a, b)):
            hosts = ((a[0], 5060), (b[0], 5060))
            sent.append((k * 0.05, *(hosts if by_caller else hosts[::-1]), data))
    for source, destination in ((a, b), (b, a))[: rng.choice([1, 2, 2])]:
        begun = rng.choice([0, 0.1, 1])
        stream = rtp(rng, most=30)
        sent += [(begun + one.seconds, source, destination, one.data) for one in stream.packets]
    sent += [(rng.random(), ("10.0.0.9", 53), a, bytes(30)) for _ in range(2) if ":" not in a[0]]
    sent.sort(key=lambda one: one[0])
    link = rng.choice(LINKS)
    frames = []
    for seconds, source, destination, data in sent:
        own = link if rng.random() < 0.7 else rng.choice(LINKS)
        tags = (0x8100,) if own == ETHERNET and rng.random() < 0.1 else ()
        ip = ip_packet(source, destination, data)
        frames.append(Frame(seconds, own, frame(own, ip, tags=tags), data))
    if rng.random() < 0.5:  # a classic capture has one link type
        frames = [one for one in frames if one.link == link]
        return frames, link
    return frames, 0
