# SPDX-License-Identifier: MIT
"""A wire's audio as frames of a Call, and back."""

import sys
from typing import Final, Literal, TypedDict

import numpy as np

from recorder.detection.core import SAMPLE_RATES
from recorder.placement.frames import SAMPLE_BYTES, Encoding, from_pcm

ByteOrder = Literal["little", "big"]

_NATIVE: Final[ByteOrder] = sys.byteorder
# By how much the energy of the wrong byte order exceeds that of the right one, before it decides.
# Read in the wrong order, the noise of the low bytes is loud: 14 dB above speech of -20 dBFS.
_CERTAIN_RATIO: Final = 4
_ENOUGH_SAMPLES: Final = 40  # to compare energies at all


class CallRates(TypedDict):
    """The arguments of `Call` that say at which rate frames come."""

    sample_rate: int
    speak_rate: int
    listen_rate: int


def call_rates(rate: int) -> CallRates:
    """Return the rates for a Call whose frames have a wire's rate, in Hz.

    A rate that calls do not have, 12 kHz or 96 kHz, becomes that of the legs; the call's is the
    next higher one that there is.
    """
    higher = [one for one in SAMPLE_RATES if one >= rate]
    return CallRates(
        sample_rate=min(higher, default=max(SAMPLE_RATES)), speak_rate=rate, listen_rate=rate
    )


class Carry:
    """Cuts a stream of bytes into whole blocks; what is over is carried to the next piece."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._rest = b""

    def take(self, data: bytes) -> bytes:
        """Return the whole blocks, and keep what is over."""
        if self._rest:
            data = self._rest + data
        whole = len(data) - len(data) % self._block
        self._rest = data[whole:]
        return data[:whole]


def sample_bytes(encoding: Encoding) -> int:
    """Bytes of a sample on the wire."""
    return SAMPLE_BYTES if encoding == "pcm16" else 1


def reordered(pcm: bytes, order: ByteOrder) -> bytes:
    """Return PCM of a byte order as native PCM, or the other way round."""
    return pcm if order == _NATIVE else np.frombuffer(pcm, np.int16).byteswap().tobytes()


def byte_order_of(pcm: bytes) -> ByteOrder | None:
    """Return the byte order in which PCM has clearly less energy; None when neither has."""
    if len(pcm) < _ENOUGH_SAMPLES * SAMPLE_BYTES:
        return None
    little = float(np.square(np.frombuffer(pcm, "<i2").astype(np.float64)).sum())
    big = float(np.square(np.frombuffer(pcm, ">i2").astype(np.float64)).sum())
    if big > little * _CERTAIN_RATIO:
        return "little"
    return "big" if little > big * _CERTAIN_RATIO else None


def to_wire(pcm: bytes, encoding: Encoding, order: ByteOrder = "little") -> bytes:
    """Return native PCM as a wire has it."""
    if encoding == "pcm16":
        return reordered(pcm, order)
    return bytes(from_pcm(pcm, b"", encoding))
