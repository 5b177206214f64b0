# SPDX-License-Identifier: MIT
"""Both legs in one call into C: what Python adds to it. What C does is tested in tests/c."""

import sys
import threading
import time
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.detection import core
from recorder.detection.core import (
    CONTINUES,
    LISTEN,
    NO_FRAME,
    QUIET,
    SPEAK,
    DigitDecoder,
    Edge,
    Line,
    SampleError,
    VoiceDetector,
    VoiceTap,
)
from recorder.errors import OptionError
from tests import signals
from tests.signals import RATES, Pcm


def attach(line: Line, leg: int, start: int = 0) -> VoiceTap:
    return line.attach(
        leg, start, input_sensitivity=44.0, noise_tracking=True, voice_only=False, quiet_blocks=4
    )


def sound(rate: int) -> Pcm:
    """Digits and noise, with revisions in it."""
    parts = [signals.silence(0.3, rate)]
    for digit in "159D":
        parts += [signals.dtmf(digit, 0.1, rate), signals.noise(0.7, -30, rate)]
    return np.concatenate([*parts, signals.noise(5, -30, rate), signals.silence(1, rate)])


def shifted(edges: list[Edge], by: int) -> list[Edge]:
    return [edge._replace(position=edge.position + by, settled=edge.settled + by) for edge in edges]


def edges_of(detector: DigitDecoder | VoiceDetector, pcm: Pcm) -> list[Edge]:
    return list(detector.process(core.samples(pcm.tobytes()), len(pcm)))


@pytest.mark.parametrize("rate", RATES)
def test_a_line_reports_what_its_detectors_report_alone(rate: int) -> None:
    pcm = sound(rate)
    line = Line(rate, rate // 10)
    start = 3 * rate + 7
    first, second, other = attach(line, SPEAK), attach(line, SPEAK, start), attach(line, LISTEN)
    found: dict[int, list[Edge]] = defaultdict(list)
    frame = rate // 50
    for at in range(0, len(pcm), frame):
        part = pcm[at : at + frame].tobytes()
        if line.process(part, len(part) // 2, None, len(part) // 2):
            for source, edge in line.take():
                found[source].append(edge)
    assert line.take() == []
    assert found[SPEAK] == edges_of(DigitDecoder(rate), pcm)
    assert found[first.source] == edges_of(VoiceDetector(rate, 44), pcm)
    assert found[second.source] == shifted(edges_of(VoiceDetector(rate, 44), pcm[start:]), start)
    assert found[LISTEN] == found[other.source] == []
    assert any(edge.kind == "voice_revised" for edge in found[first.source])
    assert [edge.digit for edge in found[SPEAK] if edge.kind == "digit_start"] == list("159D")
    assert line.filled(LISTEN) == line.position(LISTEN) == len(pcm)
    assert line.filled(SPEAK) == 0


def test_reports_are_not_lost_when_nobody_takes_them() -> None:
    pcm = sound(8000)
    eager, late = Line(8000, 0), Line(8000, 0)
    taken = []
    for line in (eager, late):
        attach(line, SPEAK)
    for at in range(0, len(pcm) - 160, 160):
        part = pcm[at : at + 160].tobytes()
        for line in (eager, late):
            line.process(part, 160, None, 0)
        taken += eager.take()
    assert late.take() == taken
    assert len(taken) > core._SPARE_REPORTS


def test_what_is_kept_can_be_read_however_much_that_is() -> None:
    pcm = signals.noise(6, -20)
    line = Line(8000, 0)
    line.keep_from(100)
    for at in range(0, len(pcm), 800):
        part = pcm[at : at + 800].tobytes()
        line.process(part, 800, part, 800)
    for leg in (SPEAK, LISTEN):
        assert line.read(leg, 100, len(pcm)) == pcm[100:].tobytes()
        assert line.read(leg, 5000, 5000) == b""
    line.keep_from(None)
    for _ in range(200):
        line.process(None, 800, None, 800)
    assert line.read(SPEAK, 100, 200) == bytes(200)  # long overwritten


def test_feed_takes_frames_that_are_expected() -> None:
    line = Line(8000, 400)
    frame = signals.noise(0.02, -20).tobytes()
    assert line.feed(frame, 320, frame, 320, -1) == -1  # both legs ASK
    line.set_mode(SPEAK, CONTINUES)
    line.set_mode(LISTEN, CONTINUES)
    assert line.feed(frame, 320, frame, 320, -1) == 0
    assert line.feed(frame, 320, NO_FRAME, 0, 160) == 0
    assert (line.position(SPEAK), line.position(LISTEN)) == (320, 160)
    assert (line.alone(SPEAK), line.alone(LISTEN)) == (160, 0)
    assert line.feed(frame, 320, frame, 320, -1) == -1
    line.set_mode(LISTEN, QUIET)
    for _ in range(10):
        assert line.feed(frame, 320, NO_FRAME, 0, -1) == 0
    assert line.position(SPEAK) - line.position(LISTEN) == 400
    assert line.filled(LISTEN) == line.position(LISTEN) - 160
    line.set_alone(SPEAK, 3)
    assert line.alone(SPEAK) == 3
    line.set_due(line.position(SPEAK) + 161)
    assert line.feed(frame, 320, NO_FRAME, 0, -1) == 0
    assert line.feed(frame, 320, NO_FRAME, 0, -1) == 1


def test_digits_of_both_legs() -> None:
    line = Line(8000, 0)
    pcm = signals.dtmf("7", 0.2)
    line.process(None, 800, None, 800)
    line.decode(LISTEN)
    line.decode(LISTEN)
    for at in range(0, 1600, 160):
        part = pcm[at : at + 160].tobytes()
        line.process(part, 160, part, 160)
    starts = dict(line.take())
    assert sorted(starts) == [SPEAK, LISTEN]
    for leg in (SPEAK, LISTEN):
        assert starts[leg].kind == "digit_start"
        assert abs(starts[leg].position - 800) < 16
        assert 800 <= line.digits_settled_until(leg) <= 2400
    assert line.sounding(SPEAK, "7") == starts[SPEAK].position
    assert line.sounding(SPEAK, "8") is None
    for _ in range(2):  # the line itself is unchanged
        (end,) = line.finish_digits(LISTEN)
        assert (end.kind, end.digit) == ("digit_end", "7")
        assert abs(end.position - 2400) < 16


def test_taps_come_and_go() -> None:
    line = Line(8000, 0)
    one, two = attach(line, SPEAK), attach(line, LISTEN, 5000)
    assert (one.leg, two.leg) == (SPEAK, LISTEN)
    assert len({SPEAK, LISTEN, one.source, two.source}) == 4
    two.move(1600)
    assert two.settled_until == 1600
    for _ in range(4):
        line.process(None, 800, None, 800)
    assert (one.settled_until, two.settled_until) == (3200, 3200)
    line.detach(one)
    line.detach(one)
    line.process(None, 800, None, 800)
    assert (one.settled_until, two.settled_until) == (3200, 4000)
    assert attach(line, SPEAK).source not in {one.source, two.source}


@pytest.mark.parametrize(
    ("speak", "n", "m"),
    [(None, 801, 0), (None, 0, 801), (None, -1, 0), (b"\0\0", 2, 0), (b"", 1, 1)],
)
def test_what_process_does_not_take(speak: bytes | None, n: int, m: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to 800 samples"):
        Line(8000, 0).process(speak, n, None, m)


def test_a_line_refuses_other_rates_and_sensitivities() -> None:
    with pytest.raises(OptionError, match="sample_rate"):
        Line(11025, 0)
    with pytest.raises(OptionError, match="expected 0 to 100, got 101"):
        Line(8000, 0).attach(
            SPEAK, 0, input_sensitivity=101, noise_tracking=True, voice_only=False, quiet_blocks=4
        )


# -- floats ----------------------------------------------------------------------------------------


def by_numpy(scaled: NDArray[Any]) -> bytes:
    pcm: bytes = np.clip(np.rint(scaled), -32768, 32767).astype(np.int16).tobytes()
    return pcm


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 160, 1000])
def test_floats_become_what_numpy_makes_of_them(n: int, dtype: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(n)
    signals_of_all_sizes = (
        rng.uniform(-1.99, 1.99, n),
        (rng.integers(-70000, 70000, n) + 0.5) / 65536,  # halves, at times
        rng.uniform(-1, 1, n) * 1e-4,
    )
    for signal in signals_of_all_sizes:
        array = signal.astype(dtype)
        assert core.floats_to_pcm(array) == by_numpy(array * 32768)
        assert core.floats_to_pcm(array[::-2]) == by_numpy(array[::-2] * 32768)


@pytest.mark.parametrize("bad", [2.0, -2.0, 1e30, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_that_were_never_scaled(bad: float, dtype: type[np.floating[Any]]) -> None:
    array = np.zeros(200, dtype)
    array[[77, 150]] = bad
    with pytest.raises(SampleError) as raised:
        core.floats_to_pcm(array)
    assert raised.value.index == 77


def test_pcm_to_floats_and_back() -> None:
    pcm = np.arange(-32768, 32768, dtype=np.int16).tobytes()
    floats = core.pcm_to_floats(pcm)
    assert floats.dtype == np.float32
    assert floats[0] == -32768
    assert core.rounded_to_pcm(floats) == pcm
    loud = np.array([-40000, 0.5, 1.5, -0.5, 32767.5, 1e6], np.float32)
    assert core.rounded_to_pcm(loud) == by_numpy(loud)


# -- Python's lock ---------------------------------------------------------------------------------


def test_a_whole_file_leaves_python_to_other_threads() -> None:
    """Threads take the lock from each other only where it is given up: in the slices' calls."""
    pcm = np.tile(sound(8000), 10)
    pointer = core.samples(pcm.tobytes())
    detectors = (VoiceDetector(8000, 44), DigitDecoder(8000))
    counts: list[int] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # so that Python itself makes no thread give it up
    try:
        for detector in detectors:
            count = 0
            stop = threading.Event()

            def keep_counting(stop: threading.Event = stop) -> None:
                nonlocal count
                while not stop.is_set():
                    count += 1
                    time.sleep(0)  # gives the lock up

            thread = threading.Thread(target=keep_counting)
            thread.start()
            # A slice may be over before the other thread is awake; more of them are to be enough.
            for _ in range(200):
                before = count
                detector.process(pointer, len(pcm))
                if count > before:
                    break
            counts.append(count - before)
            stop.set()
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert min(counts) > 0


def test_slices_of_a_whole_file_leave_no_seams() -> None:
    pcm = np.tile(sound(8000), 12)  # more than two slices
    assert len(pcm) > 2 * core._SLICE_SECONDS * 8000
    for make in (lambda: VoiceDetector(8000, 44), lambda: DigitDecoder(8000)):
        at_once = edges_of(make(), pcm)
        detector = make()
        by_frame: list[Edge] = []
        for at in range(0, len(pcm), 160):
            by_frame += edges_of(detector, pcm[at : at + 160])
        assert at_once == by_frame
