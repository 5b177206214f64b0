# SPDX-License-Identifier: MIT
"""The beep that the party hears before a recording starts."""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

SECONDS: Final = 0.25
_FREQUENCY_HZ: Final = 1000.0
_LEVEL_DBFS: Final = -15.0  # of the sine's peak: clear on a telephone, and not a shock
_RAMP_SECONDS: Final = 0.005


@cache
def tone(sample_rate: int) -> NDArray[np.int16]:
    """The beep, (n,) int16."""
    n = round(SECONDS * sample_rate)
    t = np.arange(n) / sample_rate
    ramp = np.clip(np.minimum(t, t[::-1]) / _RAMP_SECONDS, 0.0, 1.0)
    wave = np.sin(2 * np.pi * _FREQUENCY_HZ * t) * (0.5 - 0.5 * np.cos(np.pi * ramp))
    return np.rint(wave * 32767 * 10 ** (_LEVEL_DBFS / 20)).astype(np.int16)


class Beep:
    """A beep on the listen leg from position `start` on, in samples of the call's rate."""

    __slots__ = ("_rate", "end", "start")

    def __init__(self, start: int, sample_rate: int) -> None:
        self._rate = sample_rate
        self.start = start
        self.end = start + round(SECONDS * sample_rate)

    def overlaps(self, position: int, n: int) -> bool:
        """Whether any of it is within n samples from a position."""
        return position < self.end and self.start < position + n

    def mix_into(self, position: int, pcm: bytes, rate: int) -> bytes:
        """The audio, of any rate, from a position on, with the beep in it."""
        audio = np.frombuffer(pcm, np.int16).astype(np.int32)
        beep = tone(rate)
        start = (self.start - position) * rate // self._rate  # in the audio
        first, last = max(0, start), min(len(audio), start + len(beep))
        audio[first:last] += beep[first - start : last - start]
        return np.clip(audio, -32768, 32767).astype(np.int16).tobytes()
