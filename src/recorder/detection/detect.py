# SPDX-License-Identifier: MIT
"""What is on a leg: digits, voice and levels, of a whole file or live."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from recorder.detection import core
from recorder.detection.core import DigitDecoder, Edge, VoiceDetector
from recorder.options import check_number
from recorder.placement.frames import Encoding, Frame, to_pcm

if TYPE_CHECKING:
    from collections.abc import Iterable

# Speech is levels at least so far above the floor; less does not say where to put a gate.
_CONTRAST_DB: Final = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Digit:
    """A DTMF digit and its tone's place, in samples, `end` exclusive."""

    digit: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceSpan:
    """A stretch of input, in samples, `end` exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What is on one leg.

    `levels` is (n,) float32: the level of each whole 20 ms, in dBFS, after DC and hum are taken
    off; digital silence is -inf.
    """

    digits: tuple[Digit, ...]
    voice: tuple[VoiceSpan, ...]
    levels: NDArray[np.float32]

    @property
    def noise_floor(self) -> float | None:
        """The level, in dBFS, that a tenth of the frames stay below; None in digital silence."""
        sounding = self.levels[np.isfinite(self.levels)]
        return float(np.percentile(sounding, 10)) if sounding.size else None

    @property
    def speech_level(self) -> float | None:
        """The mean power, in dBFS, of what stands out of the noise; None when nothing does."""
        sounding = self.levels[np.isfinite(self.levels)]
        if not sounding.size:
            return None
        floor, top = np.percentile(sounding, [10, 98])
        if len(sounding) == len(self.levels) and top - floor < _CONTRAST_DB:
            return None
        loud = sounding[sounding >= min((floor + top) / 2, top - _CONTRAST_DB)]
        return float(10 * np.log10(np.mean(10 ** (loud / 10))))

    @property
    def suggested_input_sensitivity(self) -> int | None:
        """The `input_sensitivity` whose gate is halfway between noise and speech."""
        speech, floor = self.speech_level, self.noise_floor
        if speech is None or floor is None:
            return None
        gate = max((speech + floor) / 2, speech - 2 * _CONTRAST_DB)
        return round(min(100.0, max(0.0, -gate)))


class Detector:
    """Detects on one leg live. Positions are in samples since the detector's first one.

    OptionError for a sample rate or an `input_sensitivity` of a wrong type or value.
    """

    def __init__(self, sample_rate: int, input_sensitivity: float = 44.0) -> None:
        check_number("input_sensitivity", input_sensitivity, 100)
        self._digits = DigitDecoder(sample_rate)
        self._voice = VoiceDetector(sample_rate, input_sensitivity)

    def process(self, frame: Frame, encoding: Encoding = "pcm16") -> tuple[Edge, ...]:
        """Take a frame, of any length; return the edges that it settles, in order of position.

        A voice edge is settled up to 0.1 s, a digit's start about 0.05 s after its position.
        FrameError for audio that is no frame of one leg.
        """
        pcm = to_pcm(frame, encoding)
        pointer, n = core.samples(pcm), len(pcm) // 2
        return (*self._digits.process(pointer, n), *self._voice.process(pointer, n))

    def finish(self) -> tuple[Edge, ...]:
        """There is no more audio: return the ends of what was still open. Process no more then."""
        return (*self._digits.finish(), *self._voice.finish())


def detect(
    pcm: Frame, sample_rate: int, input_sensitivity: float = 44.0, *, encoding: Encoding = "pcm16"
) -> Detection:
    """Find the digits and the voice on one leg, a whole file at once.

    Raises OptionError and FrameError as `Detector` does.
    """
    check_number("input_sensitivity", input_sensitivity, 100)
    data = to_pcm(pcm, encoding)
    pointer, n = core.samples(data), len(data) // 2
    decoder = DigitDecoder(sample_rate)
    voice = VoiceDetector(sample_rate, input_sensitivity)
    levels = np.empty(n // voice.frame + 1, np.float32)
    edges = [
        *decoder.process(pointer, n),
        *decoder.finish(),
        *voice.process_levels(pointer, n, levels),
        *voice.finish(),
    ]
    return Detection(
        digits=tuple(
            Digit(digit=digit, start=start, end=end)
            for start, end, digit in _pairs(edges, "digit_start")
        ),
        voice=tuple(
            VoiceSpan(start=start, end=end) for start, end, _ in _pairs(edges, "voice_start")
        ),
        levels=levels[: n // voice.frame],
    )


def _pairs(edges: "Iterable[Edge]", opening: str) -> list[tuple[int, int, str]]:
    """Starts with their ends, in order of start."""
    closing = opening.replace("start", "end")
    open_at: dict[str, int] = {}
    pairs: list[tuple[int, int, str]] = []
    for edge in edges:
        if edge.kind == opening:
            open_at[edge.digit] = edge.position
        elif edge.kind == "voice_revised":
            if opening == "voice_start":
                pairs = [pair for pair in pairs if pair[0] < edge.position]
                open_at.clear()
        elif edge.kind == closing:
            pairs.append((open_at.pop(edge.digit), edge.position, edge.digit))
    return sorted(pairs)
