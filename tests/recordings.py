# SPDX-License-Identifier: MIT
"""Recordings for tests: audio to feed, and what became of it."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import soundfile

from recorder import AudioOptions, Call, RecordAction, RecordEvent
from tests import signals
from tests.signals import Pcm

NO_LIMITS: AudioOptions = {
    "initial_timeout": 0,
    "end_silence_timeout": 0,
    "terminators": "",
}
BOTH: AudioOptions = {**NO_LIMITS, "direction": "both"}
STEREO: AudioOptions = {**BOTH, "stereo": True}

# A second of each leg, and three of a louder one.
SPEAK = signals.noise(1, -30, seed=3)
LISTEN = signals.noise(1, -6, seed=4)
AUDIO = signals.noise(3, -20)

SNIPPET = 8  # samples: of noise, no two are alike


def feed_frames(call: Call, speak: Pcm | None, listen: Pcm | None = None, size: int = 160) -> None:
    longest = max(len(leg) for leg in (speak, listen) if leg is not None)
    for at in range(0, longest, size):
        call.feed(
            speak=None if speak is None else speak[at : at + size],
            listen=None if listen is None else listen[at : at + size],
        )


def feed_leg(call: Call, leg: str, frame: Any, at: int | None = None) -> None:
    frames: dict[str, Any] = {leg: frame}
    call.feed(**frames, at=at)


def result_of(action: RecordAction) -> RecordEvent:
    return action.join(10)


def path_of(event: RecordEvent | None) -> Path:
    assert event is not None
    parsed = urlparse(event.url)
    assert parsed.scheme == "file"
    return Path(unquote(parsed.path))


def audio_of(event: RecordEvent | None) -> Pcm:
    audio, _ = soundfile.read(path_of(event), dtype="int16")
    return np.asarray(audio)


def snippets(audio: Pcm) -> set[bytes]:
    """Every stretch of SNIPPET samples."""
    data = np.ascontiguousarray(audio).tobytes()
    return {data[at : at + 2 * SNIPPET] for at in range(0, len(data) - 2 * SNIPPET + 1, 2)}


def kept(folder: Path) -> set[bytes]:
    """Every such stretch in any file of the folder, however its channels are laid out."""
    found: set[bytes] = set()
    for file in folder.rglob("*"):
        data = file.read_bytes()
        for offset in (0, 1):
            words = np.frombuffer(data[offset : len(data) - (len(data) - offset) % 2], np.int16)
            for channel in (words, words[::2], words[1::2]):
                found |= snippets(channel)
    return found


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def check_finished(event: RecordEvent, audio: Pcm) -> None:
    assert event.state == "finished"
    assert event.size == path_of(event).stat().st_size
    assert event.duration == len(audio) / 8000
    if path_of(event).suffix == ".wav":
        assert np.array_equal(audio_of(event), audio)


def check_failed(event: RecordEvent, why: str) -> Pcm:
    """Check that it ended as error and what its event says of its file; return what that plays."""
    assert (event.state, event.reason) == ("error", "error")
    assert event.error is not None
    assert why in event.error
    assert event.size == path_of(event).stat().st_size
    # Of an MP3 without audio players make nothing.
    audio = audio_of(event) if event.duration else AUDIO[:0]
    assert event.duration == len(audio) / 8000
    return audio
