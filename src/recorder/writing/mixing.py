# SPDX-License-Identifier: MIT
"""How two legs become the samples of a file, and how audio is hidden: arrays in, arrays out."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

Samples = NDArray[np.int16]

FADE_SECONDS: Final = 0.004


def mix(speak: Samples | None, listen: Samples | None, *, stereo: bool) -> Samples:
    """Lay out one stretch of a recording.

    `speak` and `listen` are (n,) int16, None for a leg that is not recorded (not both). Returns
    (n, 2) in stereo, left speak and right listen, and (n,) in mono: one leg as it is, or the sum
    of both, saturated once.
    """
    if stereo:
        n = len(speak) if speak is not None else len(listen)  # type: ignore[arg-type]  # not both
        both = np.empty((n, 2), np.int16)
        both[:, 0] = 0 if speak is None else speak
        both[:, 1] = 0 if listen is None else listen
        return both
    if speak is None or listen is None:
        return listen if speak is None else speak  # type: ignore[return-value]  # not both
    total = speak.astype(np.int32) + listen
    saturated: Samples = np.clip(total, -32768, 32767).astype(np.int16)
    return saturated


def silence(n: int, *, stereo: bool) -> Samples:
    """Return n samples of silence, in the shape of `mix`."""
    return np.zeros((n, 2) if stereo else n, np.int16)


def hide(pcm: bytes, start: int, hidden: "Iterable[tuple[int, int | None]]", fade: int) -> bytes:
    """Silence stretches of PCM that begins at position `start`; the last one's end may be open.

    Next to each, the audio fades linearly over `fade` samples, so that nothing clicks.
    """
    audio = np.frombuffer(pcm, np.int16)
    at = start + np.arange(len(audio))
    gain = np.ones(len(audio))
    for first, last in hidden:
        # Half a sample off, so that both sides of a stretch fade alike.
        before = (first - at - 0.5) / fade if fade else np.where(at < first, 1.0, 0.0)
        if last is None:
            after = np.zeros(1)
        else:
            after = (at - last + 0.5) / fade if fade else np.where(at >= last, 1.0, 0.0)
        gain = np.minimum(gain, np.clip(np.maximum(before, after), 0.0, 1.0))
    return np.rint(audio * gain).astype(np.int16).tobytes()
