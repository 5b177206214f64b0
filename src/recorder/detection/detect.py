# SPDX-License-Identifier: MIT
"""What is on a leg: digits, voice and levels, of a whole file or live."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final, overload

import numpy as np
from numpy.typing import NDArray

from recorder.detection import core
from recorder.detection.core import DigitDecoder, Edge, EdgeKind, VoiceDetector
from recorder.errors import OptionError
from recorder.options import check_number
from recorder.placement.frames import SAMPLE_BYTES, Encoding, Frame, to_pcm

if TYPE_CHECKING:
    from recorder.reading import FileLegs, RawEncoding

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
    levels: NDArray[np.float32] = field(repr=False)

    @property
    def noise_floor(self) -> float | None:
        """The level, in dBFS, that a tenth of the frames stay below; None where there is no sound.

        -inf where a tenth are digital silence.
        """
        if not np.isfinite(self.levels).any():
            return None
        return float(np.percentile(self.levels, 10, method="lower"))

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
        """The `input_sensitivity` whose gate is halfway between noise and speech.

        At most 24 dB below speech: a line without noise needs no more.
        """
        speech, floor = self.speech_level, self.noise_floor
        if speech is None or floor is None:
            return None
        gate = max((speech + floor) / 2, speech - 2 * _CONTRAST_DB)
        return round(min(100.0, max(0.0, -gate)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDetection(Detection):
    """What is on the legs of a file: by itself that of the speak leg, and `listen`.

    `listen` is None where the file has one leg. Positions are in samples at `sample_rate`: the
    file's own, or the next one that calls have. `duration` is in seconds.
    """

    sample_rate: int
    duration: float
    listen: Detection | None

    @property
    def speak(self) -> Detection:
        """The speak leg: of a stereo file the left channel."""
        return self

    @property
    def legs(self) -> dict[str, Detection]:
        """The legs that the file has, by name."""
        return {"speak": self} if self.listen is None else {"speak": self, "listen": self.listen}


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


@overload
def detect(
    pcm: Frame, sample_rate: int, input_sensitivity: float = ..., *, encoding: Encoding = ...
) -> Detection: ...
@overload
def detect(
    pcm: str | os.PathLike[str],
    sample_rate: int | None = ...,
    input_sensitivity: float = ...,
    *,
    encoding: "RawEncoding | None" = ...,
    channels: Sequence[int] | None = ...,
) -> FileDetection: ...
def detect(
    pcm: Frame | str | os.PathLike[str],
    sample_rate: int | None = None,
    input_sensitivity: float = 44.0,
    *,
    encoding: "RawEncoding | None" = None,
    channels: Sequence[int] | None = None,
) -> Detection:
    """Find the digits and the voice on one leg, or on both legs of an audio file or a capture.

    `pcm` is all audio of a leg, at `sample_rate`, or the path of a file that libsndfile reads: of
    a mono file there is the speak leg, of a stereo file left is speak and right is listen, and
    `channels` chooses otherwise, the first one being 1. Other rates than those of calls are
    resampled. Raw audio needs a `sample_rate`, and an `encoding`, pcm16, pcmu, pcma or gsm, where
    the file's name does not say it. Of a pcap file it is the longest call, and digits are tones.

    Raises OptionError, FrameError for audio that is no frame of one leg, and FileError for a file
    that cannot be read.
    """
    check_number("input_sensitivity", input_sensitivity, 100)
    if isinstance(pcm, (str, os.PathLike)):
        from recorder import reading  # here: who feeds frames does not need it
        from recorder.sources import capture

        packets = capture.open_capture(pcm)
        if packets is not None:
            with packets:
                if any(one is not None for one in (sample_rate, encoding, channels)):
                    raise capture.only_capture_error(str(pcm))
                legs = capture.capture_legs(packets, str(pcm))
            return detect_legs(legs, input_sensitivity)
        file = reading.open_audio(pcm, sample_rate, encoding)
        return detect_legs(reading.legs_of([file], channels), input_sensitivity)
    if channels is not None:
        raise OptionError(f"channels: expected None for audio of one leg, got {channels!r}")
    audio = to_pcm(pcm, encoding or "pcm16")  # type: ignore[arg-type]  # it refuses others
    leg = _LegDetection(core.check_sample_rate(sample_rate), input_sensitivity)
    leg.take(audio)
    return leg.finish()


def detect_legs(legs: "FileLegs", input_sensitivity: float) -> FileDetection:
    """Find the digits and the voice on the legs of a file, which is read block by block."""
    found = [_LegDetection(legs.rate, input_sensitivity) for _ in legs.names]
    n = 0
    for block in legs.blocks:
        n += len(block[0]) // SAMPLE_BYTES
        for leg, pcm in zip(found, block, strict=True):
            leg.take(pcm)
    speak, *listen = [leg.finish() for leg in found]
    return FileDetection(
        **{field.name: getattr(speak, field.name) for field in fields(speak)},
        sample_rate=legs.rate,
        duration=n / legs.rate,
        listen=listen[0] if listen else None,
    )


class _LegDetection:
    """Detects on one leg, in blocks of whole 20 ms but for the last one."""

    def __init__(self, sample_rate: int, input_sensitivity: float) -> None:
        self._decoder = DigitDecoder(sample_rate)
        self._voice = VoiceDetector(sample_rate, input_sensitivity)
        self._digits = _Pairs("digit_start")
        self._spans = _Pairs("voice_start")
        self._levels: list[NDArray[np.float32]] = []

    def take(self, pcm: bytes) -> None:
        pointer, n = core.samples(pcm), len(pcm) // SAMPLE_BYTES
        frames = n // self._voice.frame
        levels = np.empty(frames + 1, np.float32)
        self._digits.take(self._decoder.process(pointer, n))
        self._spans.take(self._voice.process_levels(pointer, n, levels))
        self._levels.append(levels[:frames])

    def finish(self) -> Detection:
        self._digits.take(self._decoder.finish())
        self._spans.take(self._voice.finish())
        return Detection(
            digits=tuple(
                Digit(digit=digit, start=start, end=end)
                for start, end, digit in self._digits.found()
            ),
            voice=tuple(VoiceSpan(start=start, end=end) for start, end, _ in self._spans.found()),
            levels=np.concatenate([np.empty(0, np.float32), *self._levels]),
        )


class _Pairs:
    """Starts of one kind with their ends."""

    def __init__(self, opening: EdgeKind) -> None:
        self._opening = opening
        self._closing = opening.replace("start", "end")
        self._open_at: dict[str, int] = {}
        self._pairs: list[tuple[int, int, str]] = []

    def take(self, edges: Iterable[Edge]) -> None:
        for edge in edges:
            if edge.kind == self._opening:
                self._open_at[edge.digit] = edge.position
            elif edge.kind == self._closing:
                start = self._open_at.pop(edge.digit)
                self._pairs.append((start, edge.position, edge.digit))
            else:  # voice was revised
                while self._pairs and self._pairs[-1][0] >= edge.position:
                    self._pairs.pop()
                self._open_at.clear()

    def found(self) -> list[tuple[int, int, str]]:
        """All of them, in order of start."""
        return sorted(self._pairs)
