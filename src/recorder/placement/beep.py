# SPDX-License-Identifier: MIT
"""The beep that the party hears before a recording starts."""

from functools import cache
from typing import Final

import numpy as np

SECONDS: Final = 0.25
_FREQUENCY_HZ: Final = 1000.0
_LEVEL_DBFS: Final = -15.0  # of the sine's peak: clear on a telephone, and not a shock
_RAMP_SECONDS: Final = 0.005


@cache
def tone(sample_rate: int) -> bytes:
    """Return the beep as PCM."""
    n = round(SECONDS * sample_rate)
    t = np.arange(n) / sample_rate
    ramp = np.clip(np.minimum(t, t[::-1]) / _RAMP_SECONDS, 0.0, 1.0)
    wave = np.sin(2 * np.pi * _FREQUENCY_HZ * t) * (0.5 - 0.5 * np.cos(np.pi * ramp))
    return np.rint(wave * 32767 * 10 ** (_LEVEL_DBFS / 20)).astype(np.int16).tobytes()
