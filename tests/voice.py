# SPDX-License-Identifier: MIT
"""A voice for tests of `--tts-command`: a second of noise for a text, as a WAV."""

import sys
import wave

from tests import signals

if __name__ == "__main__":
    assert sys.stdin.read()
    with wave.open(sys.stdout.buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(22050)
        out.setnframes(22050)  # a pipe's header cannot be changed later
        out.writeframesraw(signals.noise(1, -20, 22050).tobytes())
