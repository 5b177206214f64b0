# SPDX-License-Identifier: MIT
"""16-bit PCM WAV, by libsndfile."""

import os
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray


class WavEncoder:
    """Writes samples of shape (n,) or (n, 2) to an empty binary file."""

    def __init__(self, file: BinaryIO, sample_rate: int, channels: int) -> None:
        # libsndfile closes the descriptor it is given, so it gets one of its own.
        self._sound = soundfile.SoundFile(
            os.dup(file.fileno()),
            "w",
            samplerate=sample_rate,
            channels=channels,
            format="WAV",
            subtype="PCM_16",
        )

    def write(self, block: NDArray[np.int16]) -> None:
        """Append a block; soundfile.LibsndfileError when the file cannot take it."""
        self._sound.write(block)

    def close(self) -> None:
        """Complete the header. May be called again."""
        self._sound.close()
