# SPDX-License-Identifier: MIT
"""Input on a noisy line: what the detector learns, and what it must never change."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from recorder import Call, RecordEvent, RecordOptions
from recorder.detection.core import VoiceDetector, samples
from recorder.recording.state import Recording
from tests import signals
from tests.recordings import result_of
from tests.signals import RATES, Pcm

Stretches = list[tuple[int, int]]


def stretches(audio: Pcm, rate: int = 8000, *, piece: int = 10**9, **options: Any) -> Stretches:
    """What is voice in the end, revisions applied."""
    detector = VoiceDetector(rate, options.pop("input_sensitivity", 44.0), **options)
    found: list[list[int]] = []
    for at in range(0, len(audio), piece):
        part = audio[at : at + piece].tobytes()
        for edge in detector.process(samples(part), len(part) // 2):
            if edge.kind == "voice_revised":
                found = [old for old in found if old[0] < edge.position]
            elif edge.kind == "voice_start":
                found.append([edge.position])
            else:
                found[-1].append(edge.position)
    for edge in detector.finish():
        found[-1].append(edge.position)
    return [(start, end) for start, end in found]


def mixed(*parts: Pcm, line: Pcm) -> Pcm:
    speech = np.concatenate(parts).astype(float)
    return signals.to_int16(speech + line[: len(speech)])


@pytest.fixture
def record(make_call: Callable[..., Call]) -> Callable[..., RecordEvent]:
    def run(audio: Pcm, rate: int = 8000, **options: Any) -> RecordEvent:
        call = make_call(rate)
        action = call.record(
            RecordOptions(**{"terminators": "", "end_silence_timeout": 2, **options})
        )
        call.feed(speak=audio)
        call.hangup()
        return result_of(action)

    return run


Record = Callable[..., RecordEvent]

# -- what never changes --------------------------------------------------------------------------


@seed(30)
@settings(max_examples=60, deadline=None)
@given(frames=st.lists(st.sampled_from([-90, -46, -43, -30, -20]), min_size=10, max_size=100))
def test_a_quiet_line_is_exactly_the_gate(frames: list[int]) -> None:
    """Whatever sounds there, while no 2.5 s pass without a quiet 0.1 s."""
    quiet = signals.noise(0.5, -70, seed=2)
    parts = [quiet]
    for index, level in enumerate(frames):
        parts.append(signals.noise(0.02, level, seed=index))
        if index % 50 == 49:
            parts.append(quiet)
    audio = np.concatenate([*parts, quiet])
    assert stretches(audio) == stretches(audio, noise_tracking=False)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_loud_sound_is_always_input(record: Record, rate: int) -> None:
    event = record(signals.noise(20, -25, rate), rate)
    assert (event.record["reason"], event.duration) == ("hangup", 20.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("hz", [400, 1000, 2000])
def test_a_steady_tone_is_input_however_long(record: Record, rate: int, hz: int) -> None:
    event = record(signals.tone(25, -38, rate, hz), rate)
    assert (event.record["reason"], event.duration) == ("hangup", 25.0)


def test_at_the_ends_of_the_scale_nothing_is_learnt(record: Record) -> None:
    noise = signals.noise(10, -40)
    assert record(noise, input_sensitivity=100).record["reason"] == "hangup"
    assert record(signals.noise(10, -3), input_sensitivity=0).state == "no_input"


def test_switched_off_the_gate_alone_decides(record: Record) -> None:
    event = record(signals.noise(20, -40), noise_tracking=False)
    assert (event.record["reason"], event.duration) == ("hangup", 20.0)


# -- what is learnt ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("level", [-42, -36, -30])
def test_noise_that_goes_on_is_no_input(record: Record, rate: int, level: int) -> None:
    event = record(signals.noise(15, level, rate), rate)
    assert (event.state, event.duration) == ("no_input", 4.0)


@pytest.mark.parametrize("duration", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("after", [-70, None])
def test_noise_from_the_first_sample_that_stops_was_input(
    record: Record, duration: float, after: int | None
) -> None:
    rest = signals.silence(8) if after is None else signals.noise(8, after)
    event = record(np.concatenate([signals.noise(duration, -35), rest]))
    assert (event.state, event.duration) == ("finished", duration + 2)


def test_noise_that_sets_in_is_input_until_it_was_steady_for_2500_ms(record: Record) -> None:
    before, noise = signals.silence(1), signals.noise(20, -35)
    short = np.concatenate([before, noise[: 8000 * 12 // 5], signals.silence(5)])
    assert stretches(short) == [(8000, 8000 + 19200)]
    assert stretches(np.concatenate([before, noise])) == []
    event = record(np.concatenate([before, noise]), initial_timeout=2)
    # At 2 s it was still input; at 3.6 s it turns out to be noise, and there it ends.
    assert event.state == "no_input"
    assert event.duration == pytest.approx(3.55, abs=0.1)


@pytest.mark.parametrize("rate", RATES)
def test_speech_on_a_noisy_line_ends_where_it_ends(record: Record, rate: int) -> None:
    voice = signals.noise(3, -22, rate, seed=9)
    for at in range(0, len(voice), rate // 2):  # syllables
        voice[at : at + rate // 8] = 0
    line = signals.noise(20, -40, rate)
    audio = mixed(signals.silence(1.5, rate), voice, signals.silence(10, rate), line=line)
    event = record(audio, rate)
    assert (event.state, event.record["reason"]) == ("finished", "end_silence")
    assert event.duration == pytest.approx(1.5 + 3 + 2, abs=0.2)
    assert record(audio, rate, noise_tracking=False).record["reason"] == "hangup"


def test_lost_packets_open_nothing(record: Record) -> None:
    noise = signals.noise(20, -36)
    rng = np.random.default_rng(4)
    for at in rng.choice(1000, 100, replace=False):
        noise[at * 160 : (at + 1) * 160] = 0
    noise[16000:17600] = 0  # ten packets in a row
    event = record(noise)
    assert (event.state, event.duration) == ("no_input", 4.0)


@pytest.mark.parametrize("piece", [8, 160, 8000, 333])
@pytest.mark.parametrize("options", [{}, {"voice_only": True}, {"quiet_blocks": 1}])
def test_any_cut_is_the_same(piece: int, options: dict[str, Any]) -> None:
    line = signals.noise(30, -38)
    audio = mixed(signals.speech(), signals.silence(6), signals.speech(), line=line)
    assert stretches(audio, piece=piece, **options) == stretches(audio, **options)


# -- voice_only ----------------------------------------------------------------------------------


def breath(duration: float = 0.5) -> Pcm:
    envelope = np.hanning(signals.seconds(duration, 8000))
    return signals.to_int16(signals.noise(duration, -28, seed=3) * envelope)


@pytest.mark.parametrize("voice_only", [False, True])
def test_a_breath_is_no_voice(record: Record, voice_only: bool) -> None:
    audio = np.concatenate([signals.silence(1), breath(), signals.silence(6)])
    event = record(audio, voice_only=voice_only)
    assert event.state == ("no_input" if voice_only else "finished")


def test_a_long_sound_and_a_voice_are(record: Record) -> None:
    hiss = np.concatenate([signals.silence(1), signals.noise(1, -28), signals.silence(6)])
    event = record(hiss, voice_only=True)
    assert (event.state, event.duration) == ("finished", 4.0)
    spoken = np.concatenate([signals.speech(), breath(0.3), signals.silence(6)])
    with_breath, without = record(spoken), record(spoken, voice_only=True)
    assert without.state == "finished"
    assert without.duration <= with_breath.duration


# -- revisions in the state machine ----------------------------------------------------------------


def machine(**limits: Any) -> Recording:
    base: dict[str, Any] = {
        "start": 0,
        "initial_timeout": None,
        "end_silence_timeout": None,
        "max_length": None,
        "terminators": "",
        "legs": ("speak", "listen"),
    }
    return Recording(**{**base, **limits})


def test_withdrawn_voice_ends_it_where_that_was_settled() -> None:
    recording = machine(initial_timeout=1000)
    recording.voice_start("speak", 500)
    recording.judge(2900)
    assert recording.ending is None
    recording.voice_revised("speak", 500, [], 3000)
    recording.judge(3000)
    assert recording.ending is not None
    assert (recording.ending.position, recording.ending.state) == (3000, "no_input")


def test_withdrawn_voice_within_the_timeout_changes_nothing_yet() -> None:
    recording = machine(initial_timeout=5000)
    recording.voice_start("speak", 500)
    recording.voice_revised("speak", 0, [], 3000)
    recording.judge(9000)
    assert recording.ending is not None
    assert recording.ending.position == 5000


def test_an_end_of_voice_that_moves_back_ends_it_now_at_the_earliest() -> None:
    recording = machine(end_silence_timeout=1000)
    recording.voice_start("speak", 100)
    recording.judge(2500)
    recording.voice_revised("speak", 100, [(100, 800)], 2600)
    recording.judge(2600)
    assert recording.ending is not None
    assert recording.ending.position == 2600
    again = machine(end_silence_timeout=1000)
    again.voice_start("speak", 100)
    again.voice_revised("speak", 100, [(100, 2000)], 2600)
    again.judge(9000)
    assert again.ending is not None
    assert again.ending.position == 3000


def test_restored_voice_counts() -> None:
    recording = machine(initial_timeout=4000, end_silence_timeout=1000)
    recording.voice_revised("speak", 0, [(0, 2000)], 2400)
    recording.judge(9000)
    assert recording.ending is not None
    assert (recording.ending.position, recording.ending.reason) == (3000, "end_silence")
    lasting = machine(initial_timeout=4000)
    lasting.voice_revised("speak", 0, [(0, 500), (700, None)], 2400)
    lasting.judge(9000)
    assert lasting.ending is None


def test_a_revision_within_a_pause_waits_for_the_resume() -> None:
    recording = machine(initial_timeout=1000)
    recording.voice_start("speak", 500)
    recording.pause({"speak": 2000, "listen": 2000}, "skip")
    recording.voice_revised("speak", 500, [], 3000)
    recording.judge(7000)
    assert recording.ending is None
    recording.resume({"speak": 8000, "listen": 8000})
    recording.judge(8100)
    assert recording.ending is not None
    assert (recording.ending.position, recording.ending.state) == (8000, "no_input")


@pytest.mark.parametrize(
    ("timeout", "blocks"), [(0, 4), (0.1, 1), (0.4, 2), (0.6, 3), (0.8, 4), (5, 4)]
)
def test_a_short_end_of_silence_takes_less_quiet(timeout: float, blocks: int) -> None:
    assert RecordOptions(end_silence_timeout=timeout).quiet_blocks == blocks
