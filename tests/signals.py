# SPDX-License-Identifier: MIT
"""Sound for tests: made here, seeded, in int16 unless it says otherwise."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder.detection.core import g711_decode, g711_encode

Pcm = NDArray[np.int16]

RATES = (8000, 16000, 24000, 32000, 44100, 48000)
KEYPAD = "123A456B789C*0#D"
LOW_HZ = (697, 770, 852, 941)
HIGH_HZ = (1209, 1336, 1477, 1633)
VOICEMAIL = Path(__file__).parent.parent / "examples" / "voicemail.wav"
PROMPTS = Path("/usr/share/asterisk/sounds")


def to_int16(x: NDArray[np.float64]) -> Pcm:
    saturated: Pcm = np.clip(np.rint(x), -32768, 32767).astype(np.int16)
    return saturated


def seconds(duration: float, rate: int) -> int:
    return round(duration * rate)


def silence(duration: float, rate: int = 8000) -> Pcm:
    return np.zeros(seconds(duration, rate), np.int16)


def noise(duration: float, level_dbfs: float, rate: int = 8000, seed: int = 1) -> Pcm:
    """White noise; `level_dbfs` is its RMS."""
    rng = np.random.default_rng(seed)
    return to_int16(rng.normal(0, 32768 * 10 ** (level_dbfs / 20), seconds(duration, rate)))


def tone(duration: float, level_dbfs: float, rate: int = 8000, hz: float = 1000.0) -> Pcm:
    """A sine; `level_dbfs` is its RMS."""
    t = np.arange(seconds(duration, rate)) / rate
    return to_int16(32768 * 10 ** (level_dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * hz * t))


def dtmf(
    digit: str,
    duration: float = 0.1,
    rate: int = 8000,
    *,
    level_dbm0: float = -10.0,
    low_factor: float = 1.0,
    high_factor: float = 1.0,
    twist_db: float = 0.0,
) -> Pcm:
    """One press; `level_dbm0` is each tone's, `twist_db` takes the high one down."""
    index = KEYPAD.index(digit)
    t = np.arange(seconds(duration, rate)) / rate
    amplitude = 32768 * 10 ** ((level_dbm0 - 3.14) / 20)
    low = amplitude * np.sin(2 * np.pi * LOW_HZ[index // 4] * low_factor * t)
    high = amplitude * np.sin(2 * np.pi * HIGH_HZ[index % 4] * high_factor * t)
    return to_int16(low + high * 10 ** (-twist_db / 20))


def presses(
    digits: Iterable[str], on: float, off: float, rate: int = 8000, *, level_dbm0: float = -10.0
) -> tuple[Pcm, list[tuple[str, int, int]]]:
    """Digits one after the other with silence about them, and where they are."""
    parts = [silence(off, rate)]
    truth = []
    at = len(parts[0])
    for digit in digits:
        press = dtmf(digit, on, rate, level_dbm0=level_dbm0)
        truth.append((digit, at, at + len(press)))
        parts += [press, silence(off, rate)]
        at += len(press) + len(parts[-1])
    return np.concatenate(parts), truth


def speech() -> Pcm:
    """A synthesised message at 8 kHz: 0.5 s of a quiet line, then about 7 s of voice, no digit."""
    audio, rate = soundfile.read(VOICEMAIL, dtype="int16")
    assert rate == 8000
    return np.asarray(audio[: 8000 * 15 // 2])


def prompts() -> Pcm:
    """All prompts of the Asterisk packages on this machine, one after the other."""
    parts = [
        soundfile.read(
            str(file), dtype="int16", format="RAW", subtype="GSM610", samplerate=8000, channels=1
        )[0]
        for file in sorted(PROMPTS.rglob("*.gsm"))
    ]
    return np.concatenate(parts) if parts else silence(0)


def g711(pcm: Pcm, encoding: Literal["pcmu", "pcma"]) -> bytes:
    return g711_encode(pcm.tobytes(), encoding)


def through_g711(pcm: Pcm, encoding: Literal["pcmu", "pcma"]) -> Pcm:
    return np.frombuffer(g711_decode(g711(pcm, encoding), encoding), np.int16)


def cut(pcm: Pcm, sizes: Iterable[int]) -> list[Pcm]:
    """The audio in pieces of the given sizes, the rest as the last one."""
    pieces = []
    at = 0
    for size in sizes:
        pieces.append(pcm[at : at + size])
        at += size
    return [*pieces, pcm[at:]]
