# SPDX-License-Identifier: MIT
"""Makes voicemail.wav: a synthesised message that its caller ends by pressing `#`.

Needs espeak-ng (apt install espeak-ng); what it speaks is free to use.
Run: python examples/make_voicemail.py
"""

import io
import subprocess
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 8000
TEXT = "Hello, this is Anna. Please call me back on Monday, after ten. Thank you, goodbye."
TARGET = Path(__file__).with_name("voicemail.wav")


def speech() -> NDArray[np.float64]:
    """The text as (n,) float64 at RATE, through a telephone's band."""
    wav = subprocess.run(
        ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", TEXT],
        check=True,
        capture_output=True,
    ).stdout
    audio, rate = soundfile.read(io.BytesIO(wav))
    # Band-limited resampling of the whole message at once, 300 to 3400 Hz.
    spectrum = np.fft.rfft(audio)
    frequencies = np.fft.rfftfreq(len(audio), 1 / rate)
    spectrum[(frequencies < 300) | (frequencies > 3400)] = 0
    n = round(len(audio) * RATE / rate)
    narrow = np.fft.irfft(spectrum[: n // 2 + 1], n) * n / len(audio)
    scaled: NDArray[np.float64] = narrow * (0.4 / np.max(np.abs(narrow)))
    return scaled


def main() -> None:
    """Write the file."""
    t = np.arange(int(0.12 * RATE)) / RATE
    pound = 0.1 * (np.sin(2 * np.pi * 941 * t) + np.sin(2 * np.pi * 1477 * t))
    silence = np.zeros(int(0.5 * RATE))
    line_noise = np.random.default_rng(8000).normal(0, 2e-4, 20 * RATE)
    audio = np.concatenate([silence, speech(), silence, pound, silence])
    audio += line_noise[: len(audio)]
    soundfile.write(TARGET, audio, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
