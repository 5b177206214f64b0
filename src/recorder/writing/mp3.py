# SPDX-License-Identifier: MIT
"""MP3 at a constant bit rate, by LAME, that is playable after each block.

LAME works in frames and starts with silence of its own, so an MP3 is longer than what was
recorded. The first frame therefore is an "Info" frame: it plays as silence in a decoder that does
not know it, and tells one that does (ffmpeg, mpg123, browsers, players) how much to cut at both
ends, so that it plays exactly the recorded samples. LAME leaves headroom: what it encodes is
0.45 dB quieter.

While it is written, the file always ends with a whole frame and its Info frame tells what is there.
LAME puts a frame's audio in front of its header, into room that earlier frames left, so a frame
can be decoded once its header is out. What is missing of the last one is room for later frames:
it is filled with zeros that these overwrite.

Source: the Info tag as in the "Mp3 Info Tag rev 1" document of the LAME project, and the frame
header of ISO/IEC 11172-3 and 13818-3.
"""

from io import FileIO
from typing import Final

import lameenc
import numpy as np
from numpy.typing import NDArray

from recorder.writing.disk import write_at

# Speech bit rates, per channel, in kbit/s: no audible loss for a voice, a fifth of the WAV's size
# at 8 kHz, a tenth at 48 kHz.
BIT_RATES: Final = {8000: 24, 16000: 32, 24000: 40, 32000: 48, 44100: 64, 48000: 64}
_QUALITY: Final = 5  # LAME's own "good quality, fast"

_ENCODER_DELAY: Final = 576  # samples of silence that LAME puts first
_DECODER_DELAY: Final = 529  # samples that a decoder is behind
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
_MONO: Final = 0b11
_JOINT_STEREO: Final = 0b01
_INFO_TAG_BYTES: Final = 156
_LINEAR: Final = bytes(i * 256 // 100 for i in range(100))  # table of contents: constant bit rate
LONGEST_INFO_FRAME: Final = 1440  # bytes, of any MP3 frame


def playable(sample_rate: int, frames: int) -> int:
    """How many samples per channel can be decoded from so many frames after the Info frame.

    A decoder starts late by both delays; what it lacks at the end is in the next frame.
    """
    samples = frames * _samples_per_frame(sample_rate) - _ENCODER_DELAY - _DECODER_DELAY
    return max(0, samples)


def info_frame(sample_rate: int, channels: int, frames: int, size: int, samples: int) -> bytes:
    """The first frame of a file that has `frames` more, `size` bytes and plays `samples`."""
    version, rate_index = _RATE_BITS[sample_rate]
    kbps = BIT_RATES[sample_rate] * channels
    needed = _HEADER_BYTES + _side_bytes(version, channels) + _INFO_TAG_BYTES
    index, frame_bytes = next(
        (index, frame_bytes)
        for index, allowed in enumerate(_kbps(version))
        if allowed >= kbps
        and (frame_bytes := _samples_per_frame(sample_rate) * allowed * 125 // sample_rate)
        >= needed
    )
    mode = _MONO if channels == 1 else _JOINT_STEREO
    head = bytes([0xFF, _second_byte(version), index << 4 | rate_index << 2, mode << 6])
    head += bytes(_side_bytes(version, channels))
    padding = frames * _samples_per_frame(sample_rate) - _ENCODER_DELAY - samples
    told_size = min(size, 0xFFFFFFFF).to_bytes(4, "big")
    flags = 0b0111  # frames, bytes and table of contents follow
    tag = b"Info" + flags.to_bytes(4, "big") + frames.to_bytes(4, "big") + told_size + _LINEAR
    tag += b"LAME3.100"
    tag += bytes([0x01, 0])  # tag revision 0, constant bit rate; low-pass not told
    tag += bytes(8)  # peak and replay gain: not told
    tag += bytes([0, min(255, kbps)])
    tag += (_ENCODER_DELAY << 12 | max(0, min(padding, 0xFFF))).to_bytes(3, "big")
    tag += bytes(4)  # misc, gain, preset: not told
    tag += told_size
    tag += bytes(2)  # checksum of the music: not told
    tag += _crc16(head + tag).to_bytes(2, "big")
    return (head + tag).ljust(frame_bytes, b"\0")


def parse_info_frame(start: bytes) -> tuple[int, int, int, int]:
    """What an Info frame of `info_frame` tells: sample rate, channels, frames, samples played.

    ValueError when it is none.
    """
    for sample_rate, (version, rate_index) in _RATE_BITS.items():
        if (
            len(start) < _HEADER_BYTES
            or start[:2] != bytes([0xFF, _second_byte(version)])
            or start[2] >> 2 & 0b11 != rate_index
        ):
            continue
        channels = 1 if start[3] >> 6 == _MONO else 2
        tag = start[_HEADER_BYTES + _side_bytes(version, channels) :]
        frames = int.from_bytes(tag[8:12], "big")
        size = int.from_bytes(tag[12:16], "big")
        padding = int.from_bytes(tag[137:140], "big") & 0xFFF
        samples = frames * _samples_per_frame(sample_rate) - _ENCODER_DELAY - padding
        told = info_frame(sample_rate, channels, frames, size, samples)
        if start.startswith(told):
            return sample_rate, channels, frames, max(0, samples)
    raise ValueError("it does not start with an Info frame that recorder writes")


def is_cut_info_frame(start: bytes) -> bool:
    """Whether a file is the beginning of an Info frame, or has not even that."""
    for sample_rate, (version, _) in _RATE_BITS.items():
        for channels in (1, 2):
            frame = info_frame(sample_rate, channels, 0, 0, 0)
            same = _HEADER_BYTES + _side_bytes(version, channels) + 8  # up to the flags
            if len(start) < len(frame) and frame[:same].startswith(start[:same]):
                return True
    return False


class Mp3Encoder:
    """Writes samples of shape (n,) or (n, 2) to an empty unbuffered file."""

    def __init__(self, file: FileIO, sample_rate: int, channels: int) -> None:
        self.samples = 0  # per channel, that the file plays
        self._file = file
        self._rate = sample_rate
        self._channels = channels
        self._given = 0  # samples
        self._frames = 0  # on disk
        self._pending = b""  # encoded, not on disk
        self._flushed = False
        self._counter = FrameCounter(sample_rate)
        self._lame = lameenc.Encoder()
        self._lame.silence()
        self._lame.set_in_sample_rate(sample_rate)
        self._lame.set_out_sample_rate(sample_rate)
        self._lame.set_channels(channels)
        self._lame.set_bit_rate(BIT_RATES[sample_rate] * channels)
        self._lame.set_quality(_QUALITY)
        self._end = self.size = len(info_frame(sample_rate, channels, 0, 0, 0))
        self._write_info_frame()

    def write(self, block: NDArray[np.int16]) -> None:
        """Append a block; OSError when the file cannot take it.

        LAME holds up to a third of a second back; what of it is out plays when this returns.
        """
        self._given += len(block)
        self._put(bytes(self._lame.encode(block.tobytes())))

    def close(self) -> None:
        """Write what LAME holds; when that failed, called again, do without."""
        try:
            if not self._flushed:
                self._flushed = True
                self._flush()
        finally:
            self._write_info_frame()
            self._file.truncate(self.size)

    def _flush(self) -> None:
        data = b""
        if self._given == 0:
            # LAME flushes too few frames for a file without samples to be known as one.
            silence = np.zeros((_samples_per_frame(self._rate), self._channels), np.int16)
            data = bytes(self._lame.encode(silence.tobytes()))
        self._put(data + bytes(self._lame.flush()))

    def _put(self, data: bytes) -> None:
        self._pending += data
        self._counter.count(data)
        room = bytes(self._counter.missing)
        write_at(self._file, self._end, self._pending + room)
        self._end += len(self._pending)
        self._pending = b""
        self.size = self._end + len(room)
        self._frames = self._counter.total
        # What is there first: the Info frame never tells more than there is.
        self._write_info_frame()

    def _write_info_frame(self) -> None:
        samples = min(self._given, playable(self._rate, self._frames))
        frame = info_frame(self._rate, self._channels, self._frames, self.size, samples)
        write_at(self._file, 0, frame)
        self.samples = samples


class FrameCounter:
    """Counts the MP3 frames of a stream of one rate that comes in pieces."""

    def __init__(self, sample_rate: int) -> None:
        version, rate_index = _RATE_BITS[sample_rate]
        self._start = bytes([0xFF, _second_byte(version)])
        self._rate_index = rate_index
        self._kbps = _kbps(version)
        self._per_kbps = _samples_per_frame(sample_rate) * 125
        self._rate = sample_rate
        self._rest = b""
        self._size = 0
        self.total = 0  # frames begun
        self.last = 0  # where the last one starts
        self.end = 0  # where it ends, and the next one would start

    @property
    def missing(self) -> int:
        """How many bytes of the last frame have not come."""
        return max(0, self.end - self._size)

    def count(self, data: bytes) -> None:
        """Take the next bytes; RuntimeError at what is no frame, all before it counted."""
        data = self._rest + data
        at = self._size - len(self._rest)  # where `data` starts
        self._size = at + len(data)
        while (here := self.end - at) + _HEADER_BYTES <= len(data):
            third = data[here + 2]
            index, padding = third >> 4, third >> 1 & 1
            if (
                data[here : here + 2] != self._start
                or third >> 2 & 0b11 != self._rate_index
                or not 0 < index < len(self._kbps)
            ):
                raise RuntimeError(f"there is no MP3 frame at byte {self.end} of the audio")
            self.total += 1
            self.last = self.end
            self.end += self._per_kbps * self._kbps[index] // self._rate + padding
        self._rest = data[here:]


def _samples_per_frame(sample_rate: int) -> int:
    return 1152 if _RATE_BITS[sample_rate][0] == _MPEG1 else 576


def _kbps(version: int) -> tuple[int, ...]:
    return _MPEG1_KBPS if version == _MPEG1 else _MPEG2_KBPS


def _second_byte(version: int) -> int:
    return 0xE0 | version << 3 | 0b01 << 1 | 1  # layer III, no checksum


def _side_bytes(version: int, channels: int) -> int:
    """Bytes of a frame's side information, between its header and its audio."""
    if version == _MPEG1:
        return 17 if channels == 1 else 32
    return 9 if channels == 1 else 17


def _crc16_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC16: Final = tuple(map(_crc16_of, range(256)))


def _crc16(data: bytes) -> int:
    """CRC-16/ARC, as the tag asks."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ _CRC16[(crc ^ byte) & 0xFF]
    return crc
