# SPDX-License-Identifier: MIT
"""RTP packets, made for tests."""

import struct

import numpy as np


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
