# SPDX-License-Identifier: MIT
"""The digits that `send_digits` sends, as tones that the party hears."""

from typing import Final

import numpy as np

_LOW_HZ: Final = (697, 770, 852, 941)
_HIGH_HZ: Final = (1209, 1336, 1477, 1633)
_KEYS: Final = "123A456B789C*0#D"
_TONE_SECONDS: Final = 0.1  # ITU-T Q.24 asks for 40 ms and more
_GAP_SECONDS: Final = 0.1
_PAUSE_SECONDS: Final = {"w": 0.5, "W": 1.0, ",": 2.0}
# Of each of both tones; the higher one is louder, since lines attenuate it more.
_LOW_DBFS: Final = -14.0
_HIGH_DBFS: Final = -12.0


def tones(digits: str, rate: int) -> bytes:
    """Return digits, and pauses among them, as PCM of a rate."""
    t = np.arange(round(_TONE_SECONDS * rate)) / rate
    gap = bytes(2 * round(_GAP_SECONDS * rate))
    parts = []
    for digit in digits:
        if digit in _PAUSE_SECONDS:
            parts.append(bytes(2 * round(_PAUSE_SECONDS[digit] * rate)))
            continue
        row, column = divmod(_KEYS.index(digit), 4)
        wave = 10 ** (_LOW_DBFS / 20) * np.sin(2 * np.pi * _LOW_HZ[row] * t)
        wave += 10 ** (_HIGH_DBFS / 20) * np.sin(2 * np.pi * _HIGH_HZ[column] * t)
        parts.append(np.rint(wave * 32767).astype(np.int16).tobytes())
        parts.append(gap)
    return b"".join(parts)
