# SPDX-License-Identifier: MIT
"""How two legs become the samples of a file: arrays in, arrays out."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

FADE_SECONDS: Final = 0.004


def mix(speak: Samples | None, listen: Samples | None, *, stereo: bool) -> Samples:
    """Lay out one stretch of a recording.

    `speak` and `listen` are (n,) int16, None for a leg that is not recorded (not both). Returns
    (n, 2) in stereo, left speak and right listen, and (n,) in mono: one leg as it is, or the sum
    of both, saturated once.
    """
    legs = [leg for leg in (speak, listen) if leg is not None]
    if stereo:
        both = np.zeros((len(legs[0]), 2), np.int16)
        if speak is not None:
            both[:, 0] = speak
        if listen is not None:
            both[:, 1] = listen
        return both
    if speak is None or listen is None:
        return legs[0]
    total = speak.astype(np.int32) + listen
    saturated: Samples = np.clip(total, -32768, 32767).astype(np.int16)
    return saturated


def silence(n: int, *, stereo: bool) -> Samples:
    """N samples of nothing, in the shape of `mix`."""
    return np.zeros((n, 2) if stereo else n, np.int16)


def fade(block: Samples, *, since_join: int | None, until_join: int | None, length: int) -> Samples:
    """Take a click out of a join: a linear ramp over `length` samples next to it.

    `since_join` is how many samples before the block the last join was, `until_join` how many
    samples after the block's first one the next join is; None where there is none.
    """
    n = len(block)
    rises = since_join is not None and since_join < length
    falls = until_join is not None and until_join - n < length
    if not (rises or falls):
        return block
    at = np.arange(n)
    gain = np.ones(n)
    if rises and since_join is not None:
        gain = np.minimum(gain, (since_join + at + 0.5) / length)
    if falls and until_join is not None:
        gain = np.minimum(gain, (until_join - at - 0.5) / length)
    shaped = gain[:, np.newaxis] if block.ndim == 2 else gain
    return np.rint(block * shaped).astype(np.int16)
