# SPDX-License-Identifier: MIT
"""16-bit PCM WAV that is complete after each block, and RF64 where a WAV would be too long.

A WAV has its length in 32 bits. One that grows past 4 GiB becomes an RF64, in place: a chunk
that every reader skips (JUNK) makes room for the one with lengths in 64 bits (ds64).

Source: EBU Tech 3306 (RF64).
"""

import struct
from io import FileIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

from recorder.writing.disk import write_at

HEADER_BYTES: Final = 80  # the samples start here
SAMPLE_BYTES: Final = 2
_IN_DS64: Final = 0xFFFFFFFF  # a length that stands in ds64
_DS64_BYTES: Final = 28
_FMT: Final = struct.Struct("<4sIHHIIHH4sI")
_PCM: Final = 1
_LENGTH: Final = struct.Struct("<I")
_RIFF_LENGTH_AT: Final = 4
_DATA_LENGTH_AT: Final = 76
_MOST_BYTES_PER_SECOND: Final = 0xFFFFFFFF  # a 32-bit field


def header(sample_rate: int, channels: int, frames: int) -> bytes:
    """What stands before `frames` samples per channel: 80 bytes."""
    frame_bytes = SAMPLE_BYTES * channels
    data = frames * frame_bytes
    riff = HEADER_BYTES - 8 + data
    long = riff >= _IN_DS64
    return (
        struct.pack("<4sI4s", b"RF64" if long else b"RIFF", _IN_DS64 if long else riff, b"WAVE")
        + struct.pack("<4sI", b"ds64" if long else b"JUNK", _DS64_BYTES)
        + (struct.pack("<QQQI", riff, data, frames, 0) if long else bytes(_DS64_BYTES))
        + _FMT.pack(
            *(b"fmt ", 16, _PCM, channels, sample_rate, sample_rate * frame_bytes),
            *(frame_bytes, 8 * SAMPLE_BYTES, b"data", _IN_DS64 if long else data),
        )
    )


def parse_header(start: bytes) -> tuple[int, int]:
    """Sample rate and channels of a header of `header`, whatever length it has.

    ValueError when it is another header, or none.
    """
    if start[:4] not in {b"RIFF", b"RF64"} or start[8:12] != b"WAVE":
        raise ValueError("it does not start as a WAV")
    if len(start) >= HEADER_BYTES:
        _, _, _, channels, sample_rate, *_ = _FMT.unpack(start[48:HEADER_BYTES])
        if (
            channels in {1, 2}
            and 0 < sample_rate <= _MOST_BYTES_PER_SECOND // (SAMPLE_BYTES * channels)
            and header(sample_rate, channels, 0)[48:76] == start[48:76]
        ):
            return sample_rate, channels
    raise ValueError("expected a header that recorder writes, got another")


class WavEncoder:
    """Writes samples of shape (n,) or (n, 2) to an empty unbuffered file.

    A block that fails is not in the file; what was before it is.
    """

    def __init__(self, file: FileIO, sample_rate: int, channels: int) -> None:
        self._file = file
        self._rate = sample_rate
        self._channels = channels
        self._frame_bytes = SAMPLE_BYTES * channels
        self._header = bytearray(header(sample_rate, channels, 0))
        self.samples = 0  # per channel, that the file plays
        self._write_header(0)

    def write(self, block: NDArray[np.int16]) -> None:
        """Append a block; OSError when the file cannot take it."""
        if not len(block):
            return
        # Samples first: the header never claims more than there is.
        write_at(self._file, self.size, block.astype("<i2", order="C", copy=False).data.cast("B"))
        samples = self.samples + len(block)
        self._write_header(samples)
        self.samples = samples

    def close(self) -> None:
        """Cut off what a failure left behind the last whole block. May be called again."""
        self._write_header(self.samples)
        self._file.truncate(self.size)

    @property
    def size(self) -> int:
        """Bytes of the file that play."""
        return HEADER_BYTES + self.samples * self._frame_bytes

    def _write_header(self, samples: int) -> None:
        data = samples * self._frame_bytes
        riff = HEADER_BYTES - 8 + data
        if riff < _IN_DS64:  # the lengths alone change
            _LENGTH.pack_into(self._header, _RIFF_LENGTH_AT, riff)
            _LENGTH.pack_into(self._header, _DATA_LENGTH_AT, data)
            write_at(self._file, 0, self._header)
        else:
            write_at(self._file, 0, header(self._rate, self._channels, samples))
