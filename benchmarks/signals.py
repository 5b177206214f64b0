# SPDX-License-Identifier: MIT
"""The sound that is measured on: the same in every run, on every machine."""

from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.int16]

RATE: Final = 8000
WIDE_RATE: Final = 48000
FRAME_SECONDS: Final = 0.02
MATERIALS: Final = ("speech", "silence", "digits")

# The message alone: in the sample the tone of a `#` follows, which is not speech.
_SECONDS: Final = 8
_VOICEMAIL: Final = Path(__file__).parent.parent / "examples" / "voicemail.wav"

_SLOT_SECONDS: Final = 0.2
DIALLED: Final = "0123456789ABCD*#159D2580#*7A4C3B6908D421"
_LOW_HZ: Final = (697, 770, 852, 941)
_HIGH_HZ: Final = (1209, 1336, 1477, 1633)
_KEYS: Final = "123A456B789C*0#D"


def material(name: str, rate: int = RATE) -> Samples:
    """Eight seconds of one leg, in whole 20 ms frames."""
    match name:
        case "speech":
            return _speech(rate)
        case "silence":
            return np.zeros(_SECONDS * rate, np.int16)
        case "digits":
            return _digits(rate)
    raise ValueError(f"there is no material {name!r}")


def frame_length(rate: int = RATE) -> int:
    """Samples in a frame of 20 ms."""
    return round(FRAME_SECONDS * rate)


def in_frames(pcm: Samples, rate: int = RATE) -> list[bytes]:
    """The frames as a live call delivers them."""
    data, size = pcm.tobytes(), 2 * frame_length(rate)
    return [data[at : at + size] for at in range(0, len(data), size)]


def stereo_call(seconds: int) -> Samples:
    """(n, 2): the same speech on both sides, at different moments and levels."""
    speech = _speech(RATE)
    n = seconds * RATE
    other = (np.roll(speech, len(speech) // 2) * 0.6).astype(np.int16)
    return np.stack([np.resize(speech, n), np.resize(other, n)], axis=1)


def _speech(rate: int) -> Samples:
    audio = soundfile.read(_VOICEMAIL, frames=_SECONDS * RATE, dtype="int16")[0]
    if rate != RATE:
        # Through the spectrum, so that nothing is mirrored above the telephone's band.
        n = _SECONDS * rate
        audio = np.rint(np.fft.irfft(np.fft.rfft(audio), n) * (n / len(audio)))
        audio = np.clip(audio, -32768, 32767).astype(np.int16)
    return np.ascontiguousarray(audio)


def _digits(rate: int) -> Samples:
    """DIALLED at a quick and uneven pace, tones of uneven level and twist, over faint noise."""
    rng = np.random.default_rng(1633)
    audio = rng.normal(0, 10 ** (-66 / 20), _SECONDS * rate)
    for slot, digit in enumerate(DIALLED):
        start = slot * _SLOT_SECONDS + rng.uniform(0.01, 0.03)
        length = rng.uniform(0.07, 0.11)
        level, twist = rng.uniform(-22, -10), rng.uniform(-3, 3)
        t = np.arange(round(length * rate)) / rate
        row, column = divmod(_KEYS.index(digit), 4)
        tone = 10 ** ((level - twist / 2) / 20) * np.sin(2 * np.pi * _LOW_HZ[row] * t)
        tone += 10 ** ((level + twist / 2) / 20) * np.sin(2 * np.pi * _HIGH_HZ[column] * t)
        at = round(start * rate)
        audio[at : at + len(t)] += tone
    return np.rint(audio * 32767).astype(np.int16)
