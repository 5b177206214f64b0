# SPDX-License-Identifier: MIT
"""What detection on one leg costs, per 20 ms frame: from Python, and the C core alone.

Each detector continues from run to run, as on a long call; started anew, it would learn the line in
each.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from benchmarks import rivals, signals
from benchmarks.figures import OWN
from recorder import Detector
from recorder._core import ffi, lib
from recorder.detection.core import DigitDecoder, VoiceDetector, samples

if TYPE_CHECKING:
    from benchmarks.figures import Measure
    from recorder.detection.core import Edge

_SENSITIVITY: Final = 44.0  # the default of a recording


class Candidate(Protocol):
    """A detector for one leg."""

    def found(self) -> str | int:
        """What the last run found: its digits, or how much voice."""


class ByFrame(Candidate, Protocol):
    """One call per frame, from Python."""

    def by_frame(self, frames: Sequence[bytes]) -> None: ...


class AtOnce(Candidate, Protocol):
    """One call for everything."""

    def at_once(self, pcm: bytes) -> None: ...


# -- recorder, frame by frame -----------------------------------------------------------------


class _Live:
    """Processes one frame at a time, and takes what each call returns."""

    def __init__(self) -> None:
        self._edges: list[Edge] = []

    def found(self) -> str | int:
        digits = "".join(edge.digit for edge in self._edges if edge.kind == "digit_start")
        return digits or len(self._edges)


class LiveOne(_Live):
    """The digit decoder or the voice detector alone."""

    def __init__(self, detector: DigitDecoder | VoiceDetector) -> None:
        super().__init__()
        self._process = detector.process

    def by_frame(self, frames: Sequence[bytes]) -> None:
        process, n = self._process, signals.frame_length()
        kept: list[Edge] = []
        for frame in frames:
            edges = process(samples(frame), n)
            if edges:
                kept += edges
        self._edges = kept


class LiveBoth(_Live):
    """Both on one pointer."""

    def __init__(self) -> None:
        super().__init__()
        self._digits = DigitDecoder(signals.RATE).process
        self._voice = VoiceDetector(signals.RATE, _SENSITIVITY).process

    def by_frame(self, frames: Sequence[bytes]) -> None:
        digits, voice, n = self._digits, self._voice, signals.frame_length()
        kept: list[Edge] = []
        for frame in frames:
            pointer = samples(frame)
            edges = digits(pointer, n)
            if edges:
                kept += edges
            edges = voice(pointer, n)
            if edges:
                kept += edges
        self._edges = kept


class LiveDetector(_Live):
    """Both through the public class, which checks each frame and sorts the edges."""

    def __init__(self) -> None:
        super().__init__()
        self._process = Detector(signals.RATE, _SENSITIVITY).process

    def by_frame(self, frames: Sequence[bytes]) -> None:
        process = self._process
        kept: list[Edge] = []
        for frame in frames:
            edges = process(frame)
            if edges:
                kept += edges
        self._edges = kept


# -- recorder, the C core alone ---------------------------------------------------------------


class Core:
    """Leaves the edges in C: making Python objects of them is no part of the core's cost."""

    def __init__(self, work: str, rate: int = signals.RATE) -> None:
        room = lib.rec_edges_bound(rate, len(signals.material("silence", rate)))
        self._work = work
        self._tables: Any = ffi.new("rec_dtmf_tables *")
        self._digits: Any = ffi.new("rec_dtmf *")
        self._voice: Any = ffi.new("rec_voice *")
        lib.rec_dtmf_tables_init(self._tables, rate)
        lib.rec_dtmf_init(self._digits, self._tables)
        options = ffi.new("rec_voice_options *")
        options.input_sensitivity = _SENSITIVITY
        options.noise_tracking = True
        options.quiet_blocks = 4
        lib.rec_voice_init(self._voice, rate, options)
        self._digit_edges = ffi.new("rec_edge[]", room)
        self._voice_edges = ffi.new("rec_edge[]", room)
        self._digits_found = self._voice_found = 0

    def at_once(self, pcm: bytes) -> None:
        pointer, n = samples(pcm), len(pcm) // 2
        if self._work != "voice":
            self._digits_found = lib.rec_dtmf_process(self._digits, pointer, n, self._digit_edges)
        if self._work != "digits":
            self._voice_found = lib.rec_voice_process(
                self._voice, pointer, n, self._voice_edges, ffi.NULL
            )

    def found(self) -> str | int:
        edges = [self._digit_edges[i] for i in range(self._digits_found)]
        digits = "".join(chr(edge.detail) for edge in edges if edge.kind == lib.REC_DIGIT_START)
        return digits or self._voice_found


# -- what is compared with what ---------------------------------------------------------------

_BY_FRAME: Final[Mapping[str, Mapping[str, Callable[[], ByFrame]]]] = {
    "digits": {
        OWN: lambda: LiveOne(DigitDecoder(signals.RATE)),
        "spandsp": rivals.Spandsp,
        "numpy Goertzel": rivals.Goertzel,
    },
    "voice": {
        OWN: lambda: LiveOne(VoiceDetector(signals.RATE, _SENSITIVITY)),
        "webrtcvad": rivals.WebRtcVad,
        "auditok energy": rivals.Auditok,
    },
    "both": {OWN: LiveBoth, "recorder.Detector": LiveDetector},
}
_AT_ONCE: Final[Mapping[str, Mapping[str, Callable[[], AtOnce]]]] = {
    "digits": {
        OWN: partial(Core, "digits"),
        "spandsp": rivals.Spandsp,
        "numpy Goertzel": rivals.Goertzel,
    },
    "voice": {OWN: partial(Core, "voice"), "auditok energy": rivals.Auditok},
    "both": {OWN: partial(Core, "both")},
}
_WIDE: Final[Mapping[str, Mapping[str, Callable[[], AtOnce]]]] = {
    work: {OWN: partial(Core, work, signals.WIDE_RATE)} for work in _AT_ONCE
}


def _contests(table: Mapping[str, Mapping[str, object]], how: str) -> list[Any]:
    """One benchmark for each work, material and candidate; those of one work and material meet."""
    contests = []
    for work, material in itertools.product(table, signals.MATERIALS):
        group = f"{work}, {how}, {material}"
        for name in table[work]:
            mark = pytest.mark.benchmark(group=group)
            case = f"{work}-{material}-{name}"
            contests.append(pytest.param(group, work, material, name, marks=mark, id=case))
    return contests


def _check(candidate: Candidate, work: str, material: str) -> None:
    """Whoever is timed has done the work. What is found in speech is for the tests to judge."""
    if material == "silence":
        assert not candidate.found()
    elif material == "digits" and work != "voice":
        assert candidate.found() == signals.DIALLED
    elif material == "speech" and work == "voice":
        assert candidate.found()


_NAMES: Final = ("group", "work", "material", "name")


@pytest.mark.parametrize(_NAMES, _contests(_BY_FRAME, "frame by frame"))
def test_frame_by_frame(
    measure: "Measure", group: str, work: str, material: str, name: str
) -> None:
    candidate = _BY_FRAME[work][name]()
    frames = signals.in_frames(signals.material(material))
    measure.run(lambda: candidate.by_frame(frames))
    _check(candidate, work, material)
    if measure.enabled:
        measure.per_frame(group, name, len(frames))


@pytest.mark.parametrize(_NAMES, _contests(_AT_ONCE, "whole buffer"))
def test_whole_buffer(measure: "Measure", group: str, work: str, material: str, name: str) -> None:
    candidate = _AT_ONCE[work][name]()
    audio = signals.material(material)
    pcm = audio.tobytes()
    measure.run(lambda: candidate.at_once(pcm))
    _check(candidate, work, material)
    if measure.enabled:
        measure.per_frame(group, name, len(audio) // signals.frame_length())


@pytest.mark.parametrize(_NAMES, _contests(_WIDE, "whole buffer at 48 kHz"))
def test_whole_buffer_at_48_khz(
    measure: "Measure", group: str, work: str, material: str, name: str
) -> None:
    rate = signals.WIDE_RATE
    candidate = _WIDE[work][name]()
    audio = signals.material(material, rate)
    pcm = audio.tobytes()
    measure.run(lambda: candidate.at_once(pcm))
    _check(candidate, work, material)
    if measure.enabled:
        measure.per_frame(group, name, len(audio) // signals.frame_length(rate))
