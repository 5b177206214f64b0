# SPDX-License-Identifier: MIT
"""MP3 at a constant bit rate, by LAME.

LAME works in frames and starts with silence of its own, so an MP3 is longer than what was
recorded. The first frame therefore is an "Info" frame: it plays as silence in a decoder that does
not know it, and tells one that does (ffmpeg, mpg123, browsers, players) how much to cut at both
ends, so that it plays exactly the recorded samples. LAME leaves headroom: what it encodes is
0.45 dB quieter.

Source: the Info tag as in the "Mp3 Info Tag rev 1" document of the LAME project, and the frame
header of ISO/IEC 11172-3 and 13818-3.
"""

from typing import BinaryIO, Final

import lameenc
import numpy as np
from numpy.typing import NDArray

# Speech bit rates, per channel, in kbit/s: no audible loss for a voice, a fifth of the WAV's size
# at 8 kHz, a tenth at 48 kHz.
BIT_RATES: Final = {8000: 24, 16000: 32, 24000: 40, 32000: 48, 44100: 64, 48000: 64}
_QUALITY: Final = 5  # LAME's own "good quality, fast"

_ENCODER_DELAY: Final = 576  # samples of silence that LAME puts first
_HEADER_BYTES: Final = 4

# kbit/s by the header's bit-rate index, for layer III.
_MPEG1_KBPS: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
# The header's version bits and sampling-frequency index.
_RATE_BITS: Final = {
    8000: (0b00, 2),
    16000: (0b10, 2),
    24000: (0b10, 1),
    32000: (0b11, 2),
    44100: (0b11, 0),
    48000: (0b11, 1),
}
_MPEG1: Final = 0b11
_INFO_TAG_BYTES: Final = 156


class Mp3Encoder:
    """Writes samples of shape (n,) or (n, 2) to an empty binary file that can be sought in."""

    def __init__(self, file: BinaryIO, sample_rate: int, channels: int) -> None:
        self._file = file
        self._rate = sample_rate
        self._channels = channels
        self._samples = 0
        self._bytes = 0
        self._frames = _FrameCounter(sample_rate)
        self._closed = False
        self._lame = lameenc.Encoder()
        self._lame.silence()
        self._lame.set_in_sample_rate(sample_rate)
        self._lame.set_out_sample_rate(sample_rate)
        self._lame.set_channels(channels)
        self._lame.set_bit_rate(BIT_RATES[sample_rate] * channels)
        self._lame.set_quality(_QUALITY)
        self._put(self._info_frame())

    def write(self, block: NDArray[np.int16]) -> None:
        """Append a block; OSError when the file cannot take it."""
        self._samples += len(block)
        self._put_frames(bytes(self._lame.encode(block.tobytes())))

    def close(self) -> None:
        """Flush what LAME holds and complete the Info frame. May be called again."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._samples == 0:
                # LAME flushes too few frames for a file without samples to be known as one.
                silence = np.zeros((self._samples_per_frame, self._channels), np.int16)
                self._put_frames(bytes(self._lame.encode(silence.tobytes())))
            self._put_frames(bytes(self._lame.flush()))
        finally:  # what is there is playable in any case
            self._write_info_frame()

    def _write_info_frame(self) -> None:
        self._file.seek(0)
        self._file.write(self._info_frame())
        self._file.seek(0, 2)
        self._file.flush()

    @property
    def _samples_per_frame(self) -> int:
        return 1152 if _RATE_BITS[self._rate][0] == _MPEG1 else 576

    def _put_frames(self, data: bytes) -> None:
        self._frames.count(data)
        self._put(data)

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._bytes += len(data)

    def _info_frame(self) -> bytes:
        version, rate_index = _RATE_BITS[self._rate]
        mpeg1 = version == _MPEG1
        side = (17 if mpeg1 else 9) if self._channels == 1 else (32 if mpeg1 else 17)
        needed = _HEADER_BYTES + side + _INFO_TAG_BYTES
        table = _MPEG1_KBPS if mpeg1 else _MPEG2_KBPS
        index, size = next(
            (index, size)
            for index, kbps in enumerate(table)
            if kbps >= BIT_RATES[self._rate] * self._channels
            and (size := self._samples_per_frame * kbps * 125 // self._rate) >= needed
        )
        mode = 0b11 if self._channels == 1 else 0b01  # mono, joint stereo
        header = bytes(
            [0xFF, 0xE0 | version << 3 | 0b01 << 1 | 1, index << 4 | rate_index << 2, mode << 6]
        )
        head = header + bytes(side)
        return (head + self._info_tag(head)).ljust(size, b"\0")

    def _info_tag(self, head: bytes) -> bytes:
        """The tag; `head` is what stands before it, for the checksum."""
        frames = self._frames.total
        padding = max(0, frames * self._samples_per_frame - _ENCODER_DELAY - self._samples)
        flags = 0b0111  # frames, bytes and table of contents follow
        tag = b"Info" + flags.to_bytes(4, "big")
        tag += frames.to_bytes(4, "big") + min(self._bytes, 0xFFFFFFFF).to_bytes(4, "big")
        tag += bytes(i * 256 // 100 for i in range(100))  # constant bit rate: linear
        tag += b"LAME3.100"
        tag += bytes([0x01, 0])  # tag revision 0, constant bit rate; low-pass not told
        tag += bytes(8)  # peak and replay gain: not told
        tag += bytes([0, min(255, BIT_RATES[self._rate] * self._channels)])
        tag += (_ENCODER_DELAY << 12 | min(padding, 0xFFF)).to_bytes(3, "big")
        tag += bytes(4)  # misc, gain, preset: not told
        tag += min(self._bytes, 0xFFFFFFFF).to_bytes(4, "big")
        tag += bytes(2)  # checksum of the music: not told
        return tag + _crc16(head + tag).to_bytes(2, "big")


class _FrameCounter:
    """Counts MP3 frames in a stream of one rate that may be cut anywhere."""

    def __init__(self, sample_rate: int) -> None:
        version, _ = _RATE_BITS[sample_rate]
        self._kbps = _MPEG1_KBPS if version == _MPEG1 else _MPEG2_KBPS
        self._per_kbps = (1152 if version == _MPEG1 else 576) * 125
        self._rate = sample_rate
        self._rest = b""
        self._skip = 0
        self.total = 0

    def count(self, data: bytes) -> None:
        data = self._rest + data
        at = self._skip
        while at + _HEADER_BYTES <= len(data):
            index, padding = data[at + 2] >> 4, data[at + 2] >> 1 & 1
            if data[at] != 0xFF or not 0 < index < len(self._kbps):
                raise RuntimeError("LAME's output is not a sequence of MP3 frames")
            at += self._per_kbps * self._kbps[index] // self._rate + padding
            self.total += 1
        self._rest = data[at:]
        self._skip = max(0, at - len(data))


def _crc16(data: bytes) -> int:
    """CRC-16/ARC, as the tag asks."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
