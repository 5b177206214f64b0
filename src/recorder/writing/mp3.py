# SPDX-License-Identifier: MIT
"""MP3 at a constant bit rate, by LAME, that is playable after each block.

LAME works in frames and starts with silence of its own, so an MP3 is longer than what was
recorded. The first frame therefore is an "Info" frame: a decoder without support for it plays it
as silence; one with support (ffmpeg, mpg123, browsers, players) reads from it how much to cut at
both ends, and plays exactly the recorded samples. LAME leaves headroom: what it encodes is 0.45 dB
quieter.

Two habits of ffmpeg shape short files. It cuts a frame at its start or at its end, not at both: so
silence is encoded first, until what is cut at the start are whole frames. And it takes a file of
less than seven frames for something else now and then: so a short recording is followed by silence
too. How much can be cut has a limit of 4095 samples at each end.

While it is written, the file always ends with a whole frame, and its Info frame describes what is
there. LAME puts a frame's audio in front of its header, into room that earlier frames left, so a
frame can be decoded once its header is out. What is missing of the last one is room for later
frames: it is filled with zeros that these overwrite.

Source: the Info tag as in the "Mp3 Info Tag rev 1" document of the LAME project, and the frame
header of ISO/IEC 11172-3 and 13818-3.
"""

from functools import lru_cache
from io import FileIO
from operator import xor
from typing import Final

import lameenc
import numpy as np
from numpy.typing import NDArray

from recorder.writing.disk import write_at

# Speech bit rates, per channel, in kbit/s: no audible loss for a voice, a fifth of the WAV's size
# at 8 kHz, a tenth at 48 kHz.
BIT_RATES: Final = {8000: 24, 16000: 32, 24000: 40, 32000: 48, 44100: 64, 48000: 64}
_QUALITY: Final = 5  # LAME's own "good quality, fast"

_DECODER_DELAY: Final = 529  # samples that a decoder is behind
_LAME_DELAY: Final = 576  # samples of silence that LAME puts first; as many follow, at least
_FEWEST_FRAMES: Final = 6  # and the Info frame
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
_LINEAR: Final = bytes(i * 256 // 100 for i in range(100))  # table of contents: constant bit rate
LONGEST_INFO_FRAME: Final = 1440  # bytes, of any MP3 frame

# Where the fields of an Info tag that change stand in it.
_FRAMES_AT: Final = 8  # and the bytes behind it
_GAPLESS_AT: Final = 137  # both delays
_SIZE_AT: Final = 144  # the bytes, again
_CHECKSUM_AT: Final = 150
_INFO_TAG_BYTES: Final = 156


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


def _checksum_part(at: int) -> tuple[int, ...]:
    """What each value of one byte of the tag adds to the checksum, by XOR: the CRC is linear."""
    bits = [_CRC16[1 << bit] for bit in range(8)]
    for _ in range(at + 1, _CHECKSUM_AT):
        bits = [crc >> 8 ^ _CRC16[crc & 0xFF] for crc in bits]
    table = [0]
    for bit in bits:
        table += [part ^ bit for part in table]
    return tuple(table)


# For the bytes of the fields that change, in their order: frames, bytes (in two places), delays.
_CHECKSUM_PARTS: Final = (
    *(_checksum_part(_FRAMES_AT + i) for i in range(4)),
    *(
        tuple(map(xor, _checksum_part(_FRAMES_AT + 4 + i), _checksum_part(_SIZE_AT + i)))
        for i in range(4)
    ),
    *(_checksum_part(_GAPLESS_AT + i) for i in range(3)),
)


def playable(sample_rate: int, frames: int) -> int:
    """How many samples per channel can be decoded from so many frames after the Info frame.

    A decoder starts late by both delays; what it lacks at the end is in the next frame.
    """
    return max(0, frames - _cut_frames(sample_rate)) * _samples_per_frame(sample_rate)


def info_frame(sample_rate: int, channels: int, frames: int, size: int, samples: int) -> bytes:
    """The first frame of a file that has `frames` more, `size` bytes and plays `samples`."""
    blank, tag, checksum = _blank_info_frame(sample_rate, channels)
    delay = _encoder_delay(sample_rate)
    padding = frames * _samples_per_frame(sample_rate) - delay - samples
    gapless = delay << 12 | max(0, min(padding, 0xFFF))
    frames_and_size = frames << 32 | min(size, 0xFFFFFFFF)
    fields = (frames_and_size << 24 | gapless).to_bytes(11, "big")
    for part, byte in zip(_CHECKSUM_PARTS, fields, strict=True):
        checksum ^= part[byte]
    frame = bytearray(blank)
    frame[tag + _FRAMES_AT : tag + _FRAMES_AT + 8] = fields[:8]
    frame[tag + _GAPLESS_AT : tag + _GAPLESS_AT + 3] = fields[8:]
    frame[tag + _SIZE_AT : tag + _SIZE_AT + 4] = fields[4:8]
    frame[tag + _CHECKSUM_AT : tag + _CHECKSUM_AT + 2] = checksum.to_bytes(2, "big")
    return bytes(frame)


@lru_cache
def _blank_info_frame(sample_rate: int, channels: int) -> tuple[bytes, int, int]:
    """An Info frame whose changing fields are 0, where its tag starts, and its checksum."""
    version, rate_index = _RATE_BITS[sample_rate]
    kbps = BIT_RATES[sample_rate] * channels
    needed = _HEADER_BYTES + _side_bytes(version, channels) + _INFO_TAG_BYTES
    index, frame_bytes = next(
        (index, frame_bytes)
        for index, rate in enumerate(_kbps(version))
        if rate >= kbps
        and (frame_bytes := _samples_per_frame(sample_rate) * rate * 125 // sample_rate) >= needed
    )
    mode = _MONO if channels == 1 else _JOINT_STEREO
    head = bytes([0xFF, _second_byte(version), index << 4 | rate_index << 2, mode << 6])
    head += bytes(_side_bytes(version, channels))
    flags = 0b0111  # frames, bytes and table of contents follow
    tag = b"Info" + flags.to_bytes(4, "big") + bytes(8) + _LINEAR
    tag += b"LAME3.100"
    tag += bytes([0x01, 0])  # tag revision 0, constant bit rate; no low-pass given
    tag += bytes(8)  # peak and replay gain: not given
    tag += bytes([0, min(255, kbps)])
    tag = tag.ljust(_CHECKSUM_AT, b"\0")  # delays; misc, gain, preset and music checksum: not given
    return (head + tag).ljust(frame_bytes, b"\0"), len(head), _crc16(head + tag)


def parse_info_frame(start: bytes) -> tuple[int, int, int, int]:
    """Sample rate, channels, frames and samples played of an Info frame of `info_frame`.

    ValueError when it is another frame, or none.
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
        frames = int.from_bytes(tag[_FRAMES_AT : _FRAMES_AT + 4], "big")
        size = int.from_bytes(tag[_FRAMES_AT + 4 : _FRAMES_AT + 8], "big")
        padding = int.from_bytes(tag[_GAPLESS_AT : _GAPLESS_AT + 3], "big") & 0xFFF
        delay = _encoder_delay(sample_rate)
        samples = frames * _samples_per_frame(sample_rate) - delay - padding
        if start.startswith(info_frame(sample_rate, channels, frames, size, samples)):
            return sample_rate, channels, frames, max(0, samples)
    raise ValueError("expected an Info frame that recorder writes, got something else")


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
        self._pending += self._encode_silence(_encoder_delay(sample_rate) - _LAME_DELAY)
        self._counter.count(self._pending)
        self._end = self.size = len(info_frame(sample_rate, channels, 0, 0, 0))
        self._write_info_frame()

    def write(self, block: NDArray[np.int16]) -> None:
        """Append a block; OSError when the file cannot take it.

        LAME holds up to a third of a second back; what of it is out plays when this returns.
        """
        self._given += len(block)
        self._put(self._lame.encode(block.tobytes()))

    def close(self) -> None:
        """Write what LAME holds; when that failed, called again, do without."""
        try:
            if not self._flushed:
                self._flushed = True
                self._put(self._encode_silence(self._shortfall()) + self._lame.flush())
        finally:
            self._write_info_frame()
            self._file.truncate(self.size)

    def _encode_silence(self, n: int) -> bytes:
        return bytes(self._lame.encode(bytes(2 * self._channels * n)))

    def _shortfall(self) -> int:
        """Samples that a recording lacks for LAME to make as many frames as it needs."""
        # LAME adds at least its delay again, and fills the last frame up.
        fewest = (_FEWEST_FRAMES - 1) * _samples_per_frame(self._rate) + 1 - _LAME_DELAY
        return max(0, fewest - _encoder_delay(self._rate) - self._given)

    def _put(self, data: bytes) -> None:
        self._pending += data
        if not self._pending:  # LAME keeps short blocks until they fill a frame
            return
        self._counter.count(data)
        room = bytes(self._counter.missing)
        write_at(self._file, self._end, self._pending + room)
        self._end += len(self._pending)
        self._pending = b""
        self.size = self._end + len(room)
        self._frames = self._counter.total
        # Frames first: the Info frame never claims more than there is.
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
        per_kbps = _samples_per_frame(sample_rate) * 125
        # By the bytes of a header that give a frame's length, and are enough to recognise it.
        self._lengths = {
            bytes(
                [0xFF, _second_byte(version), index << 4 | rate_index << 2 | padding << 1 | private]
            ): (per_kbps * kbps // sample_rate + padding)
            for index, kbps in enumerate(_kbps(version))
            if kbps
            for padding in (0, 1)
            for private in (0, 1)
        }
        self._rest = b""
        self._size = 0
        self.total = 0  # frames begun
        self.last = 0  # where the last one starts
        self.end = 0  # where it ends, and the next one would start

    @property
    def missing(self) -> int:
        """How many bytes of the last frame are still to come."""
        return max(0, self.end - self._size)

    def count(self, data: bytes) -> None:
        """Count in the next bytes; RuntimeError at what is no frame, once those before count."""
        data = self._rest + data
        at = self._size - len(self._rest)  # where `data` starts
        self._size = at + len(data)
        here = self.end - at
        last_start = len(data) - _HEADER_BYTES
        while here <= last_start:
            length = self._lengths.get(data[here : here + 3])
            if length is None:
                raise RuntimeError(f"expected an MP3 frame at byte {self.end} of the audio")
            self.total += 1
            self.last = self.end
            self.end += length
            here += length
        self._rest = data[here:]


def _encoder_delay(sample_rate: int) -> int:
    """Samples of silence that an MP3 starts with."""
    return _cut_frames(sample_rate) * _samples_per_frame(sample_rate) - _DECODER_DELAY


def _cut_frames(sample_rate: int) -> int:
    """Frames that are cut at the start: as few as hold both delays, and leave less than 4096
    samples to be cut at the end of a file without samples.
    """
    return 3 if _RATE_BITS[sample_rate][0] == _MPEG1 else 2


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
