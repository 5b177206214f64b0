# SPDX-License-Identifier: MIT
"""RTP packets, made for tests."""

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recorder.detection.core import g711_decode
from tests.signals import Pcm

DATA = Path(__file__).parent / "data"


def packet(
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload: bytes,
    marker: bool = False,
) -> bytes:
    second = payload_type | 0x80 * marker
    return (
        struct.pack(">BBHII", 0x80, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc)
        + payload
    )


class Stream:
    """Packets of random mu-law, one after another."""

    def __init__(self, *, ssrc: int = 1, sequence: int = 0, timestamp: int = 0, seed: int) -> None:
        self.ssrc = ssrc
        self.sequence = sequence
        self.timestamp = timestamp
        self._random = np.random.default_rng(seed)

    def next(self, n: int) -> bytes:
        payload = self._random.integers(0, 256, n, np.uint8).tobytes()
        made = packet(0, self.sequence, self.timestamp, self.ssrc, payload)
        self.sequence += 1
        self.timestamp += n
        return made

    def skip(self, n: int) -> None:
        self.timestamp += n


def event_payload(code: int, duration: int, *, end: bool = False) -> bytes:
    """An RFC 4733 event at -10 dBm0."""
    return struct.pack(">BBH", code, 0x80 * end | 10, min(duration, 0xFFFF))


def golden() -> Iterator[tuple[float, bytes]]:
    """What an Asterisk sent: time of arrival and packet."""
    data = gzip.decompress((DATA / "rtp-asterisk-pcmu.bin.gz").read_bytes())
    at = 0
    while at < len(data):
        seconds, n = struct.unpack_from(">dH", data, at)
        yield seconds, data[at + 10 : at + 10 + n]
        at += 10 + n


def decoded(payload: bytes) -> Pcm:
    return np.frombuffer(g711_decode(payload, "pcmu"), np.int16)
