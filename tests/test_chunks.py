# SPDX-License-Identifier: MIT
"""The same audio, cut into any frames, makes the same file and the same events."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recorder import AudioOptions, Call, RecordEvent
from tests import signals
from tests.conftest import settle
from tests.marks import mostly_slow
from tests.recordings import NO_LIMITS, path_of

Command = tuple[int, str, tuple[Any, ...]]
COMMANDS: list[Command] = [
    (7000, "pause", ("skip",)),
    (9001, "resume", ()),
    (30000, "pause", ("silence",)),
    (36333, "resume", ()),
]


def audio(rate: int) -> tuple[signals.Pcm, signals.Pcm]:
    digits, _ = signals.presses("15", 0.06, 0.08, rate)
    speak = np.concatenate(
        [
            signals.silence(0.3, rate),
            signals.noise(1.1, -30, rate, seed=5),
            digits,
            signals.silence(0.4, rate),
            signals.noise(2.2, -25, rate, seed=6),
            signals.dtmf("#", 0.123, rate),
            signals.noise(0.7, -50, rate, seed=7),
            signals.silence(3, rate),
        ]
    )
    listen = signals.noise(len(speak) / rate, -48, rate, seed=8)
    return speak, listen


def run(
    options: AudioOptions,
    sizes: Sequence[int],
    commands: Sequence[Command] = (),
    rate: int = 8000,
) -> tuple[bytes, list[dict[str, Any]]]:
    """Record the audio in frames of the given sizes (over and over); return file and events."""
    speak, listen = audio(rate)
    events: list[RecordEvent] = []
    with tempfile.TemporaryDirectory() as folder:
        call = Call(rate, call_id="c", node_id="n", directory=folder)
        call.on("calling.call.record", events.append)
        action = call.record(options, control_id="k")
        at = index = 0
        pending = list(commands)
        while at < len(speak):
            size = sizes[index % len(sizes)]
            index += 1
            if pending:  # a command acts at its position: a frame ends there
                size = min(size, pending[0][0] - at)
            call.feed(speak=speak[at : at + size], listen=listen[at : at + size])
            at += size
            while pending and pending[0][0] == at:
                _, name, arguments = pending.pop(0)
                getattr(action, name)(*arguments)
        call.hangup()
        content = path_of(action.join(10)).read_bytes()
        settle()
    return content, [normalised(event) for event in events]


def normalised(event: RecordEvent) -> dict[str, Any]:
    """All of an event but what differs from run to run: ids, the folder and the wall clock."""
    params = {**event.params, "record": dict(event.params["record"])}
    for key in ("recording_id", "start_time", "end_time", "timestamp"):
        params.pop(key)
    for place in (params, params["record"]):
        place["url"] = Path(place["url"]).suffix
    return params


OPTIONS: list[AudioOptions] = [
    {},
    {"terminators": "", "end_silence_timeout": 1.01},
    {"direction": "both", "stereo": True, "terminators": "5"},
    {"direction": "both", "terminators": "", "input_sensitivity": 50, "max_length": 6.001},
    {"direction": "listen", "initial_timeout": 1.5, "beep": True},
    {"beep": True, "terminators": "", "end_silence_timeout": 0},
]


@pytest.mark.parametrize("options", mostly_slow(OPTIONS, OPTIONS[2]))
@pytest.mark.parametrize("commands", mostly_slow([[], COMMANDS], COMMANDS), ids=["plain", "pauses"])
@seed(11)
@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(1, 2500), min_size=1, max_size=30))
def test_any_cut_makes_the_same_file_and_events(
    options: AudioOptions, commands: list[Command], sizes: list[int]
) -> None:
    expected = run(options, [160], commands)
    assert run(options, sizes, commands) == expected
    assert run(options, [10**6], commands) == expected


@pytest.mark.parametrize("rate", signals.RATES)
def test_at_every_rate(rate: int) -> None:
    options: AudioOptions = {"direction": "both", "stereo": True}
    expected = run(options, [rate // 50], rate=rate)
    assert expected[1][-1]["record"]["digit"] == "#"
    assert run(options, [1013, 7, 333], rate=rate) == expected
    assert run(options, [10**7], rate=rate) == expected


def test_sample_by_sample() -> None:
    assert run({}, [1]) == run({}, [160])


@seed(12)
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 2500), min_size=1, max_size=30))
def test_mp3_too(sizes: list[int]) -> None:
    """LAME works in frames of its own, so that its output is the same as well."""
    options: AudioOptions = {"format": "mp3", "direction": "both", "stereo": True}
    assert run(options, sizes) == run(options, [160])


def test_what_a_revision_unsettles_does_not_depend_on_the_cut() -> None:
    """A line becomes quiet with one frame just above the gate, two seconds before the timeout."""
    rng = np.random.default_rng(4)

    def noise(frames: int, dbfs: float) -> NDArray[np.float64]:
        return rng.normal(0, 32768 * 10 ** (dbfs / 20), frames * 160)

    quiet = noise(20, -75)
    above = np.sin(2 * np.pi * 900 / 8000 * np.arange(2880, 3040))
    quiet[2880:3040] = 32768 * 2**0.5 * 10 ** (-43.6 / 20) * above
    line = [noise(200, -38), noise(25, -18), noise(100, -38), quiet, noise(200, -75)]
    samples = np.concatenate(line).astype(np.int16)
    durations = set()
    for size in (160, 1111, len(samples)):
        with tempfile.TemporaryDirectory() as folder:
            call = Call(8000, directory=folder)
            action = call.record({**NO_LIMITS, "end_silence_timeout": 2.29})
            for at in range(0, len(samples), size):
                call.feed(speak=samples[at : at + size])
            call.hangup()
            durations.add(action.join(10).duration)
    assert durations == {6.87}
