# SPDX-License-Identifier: MIT
"""Between pause and resume nothing of the legs is kept, or ends the recording."""

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import (
    AudioOptions,
    Call,
    OptionError,
)
from tests import signals
from tests.conftest import Events, settle
from tests.marks import mostly_slow
from tests.recordings import (
    LISTEN,
    NO_LIMITS,
    SPEAK,
    audio_of,
    feed_frames,
    kept,
    result_of,
    snippets,
)


@pytest.mark.parametrize("behavior", ["skip", "silence"])
@pytest.mark.parametrize(
    "options",
    mostly_slow([{}, {"direction": "both", "stereo": True}, {"voice_only": True}], {}),
)
@pytest.mark.parametrize("frame", mostly_slow([160, 1777], 160))
def test_no_sample_of_a_pause_is_in_any_file(
    call: Call, behavior: Any, options: AudioOptions, frame: int
) -> None:
    """At any time: the staged file is searched while the call continues, and the final one."""
    audio = signals.noise(6, -20, seed=5)
    action = call.record({**NO_LIMITS, **options, "terminators": "#"})
    secret = snippets(audio[16000:32000])
    at = 0
    for end in (16000, 32000, 48000):
        while at < end:
            size = min(frame, end - at)
            call.feed(speak=audio[at : at + size], listen=audio[at : at + size])
            at += size
        settle()
        assert not secret & kept(call.directory)
        {16000: lambda: action.pause(behavior), 32000: action.resume}.get(end, action.stop)()
    recorded = audio_of(action.join(10))
    assert not secret & kept(call.directory)
    if recorded.ndim == 2:
        recorded = recorded[:, 0]
    # What is around it is there to the sample, but for 4 ms of fading.
    after = 16000 if behavior == "skip" else 32000
    assert np.array_equal(recorded[: 16000 - 32], audio[: 16000 - 32])
    assert np.array_equal(recorded[after + 32 :], audio[32000 + 32 :])
    assert not recorded[16000:after].any()


@pytest.mark.parametrize("behavior", [None, "skip", "silence"])
def test_pause_keeps_nothing_and_joins_without_a_click(events: Events, behavior: Any) -> None:
    call = events.call
    action = call.record(NO_LIMITS)
    loud = signals.tone(1, -6, hz=440)
    feed_frames(call, loud)
    assert action.pause(behavior)["code"] == "200"
    assert action.state == "paused"
    assert action.pause()["code"] == "200"
    secret = signals.tone(0.7777, -6, hz=1100)
    feed_frames(call, secret, size=91)
    assert action.resume()["code"] == "200"
    assert action.resume()["code"] == "200"
    feed_frames(call, loud)
    action.stop()
    event = result_of(action)
    recorded = audio_of(event)
    gap = len(secret) if behavior == "silence" else 0
    assert len(recorded) == 16000 + gap
    assert event.duration == (16000 + gap) / 8000
    fade = 32
    assert np.array_equal(recorded[: 8000 - fade], loud[: 8000 - fade])
    assert np.array_equal(recorded[8000 + gap + fade :], loud[fade:])
    assert np.all(recorded[8000 : 8000 + gap] == 0)
    # A 440 Hz sine at this level moves by 8000 a sample; the join by no more than that.
    steps = np.abs(np.diff(recorded.astype(int)))
    assert steps[7900:8100].max() <= steps[:7900].max()
    assert abs(int(recorded[7999])) < 600
    assert abs(int(recorded[8000 + gap])) < 600
    assert events.states == ["recording", "paused", "recording", "finished"]
    assert [e.duration for e in events.received][:3] == [0.0, 1.0, (8000 + gap) / 8000]


@pytest.mark.parametrize("behavior", ["skip", "silence"])
def test_joins_do_not_click(call: Call, behavior: Any) -> None:
    """A loud low tone: a join makes no step that is steeper than the tone's own."""
    tone = signals.tone(3, -3, 8000, 200)
    action = call.record(NO_LIMITS)
    call.feed(speak=tone[:8013])
    action.pause(behavior)
    call.feed(speak=tone[8013:15021])
    action.resume()
    call.feed(speak=tone[15021:])
    action.stop()
    recorded = audio_of(action.join(10)).astype(int)
    steepest = np.max(np.abs(np.diff(tone.astype(int))))
    peak = np.max(np.abs(tone.astype(int)))
    assert np.max(np.abs(np.diff(recorded))) <= steepest + peak / 32 + 1


def test_a_pause_fades_also_when_the_other_leg_is_ahead(call: Call) -> None:
    action = call.record(NO_LIMITS)
    loud = signals.tone(1.0, -6, hz=440)
    for at in range(0, 8000, 160):
        call.feed(speak=loud[at : at + 160])
        call.feed(listen=bytes(320 if at else 320 * 20))
    action.pause()
    call.feed(speak=bytes(320))
    action.resume()
    action.stop()
    recorded = audio_of(action.join(10))
    assert np.array_equal(recorded[:7968], loud[:7968])
    assert abs(int(recorded[7999])) < 600


def test_an_mp3_of_a_pause_holds_silence(call: Call) -> None:
    audio = signals.noise(6, -20, seed=5)
    action = call.record({**NO_LIMITS, "format": "mp3"})
    call.feed(speak=audio[:16000])
    action.pause("silence")
    call.feed(speak=audio[16000:32000])
    action.resume()
    call.feed(speak=audio[32000:])
    action.stop()
    recorded = audio_of(action.join(10)).astype(float)
    frame = 1152  # what LAME smears of the sound next to it
    paused = recorded[16000 + frame : 32000 - frame]
    assert np.max(np.abs(paused)) <= 1
    secret = audio[16000 + frame : 32000 - frame].astype(float)
    assert abs(np.dot(paused, secret)) < 1e-4 * np.dot(secret, secret)


def test_a_pause_of_a_resampled_leg(make_call: Callable[..., Call]) -> None:
    """What a resampler holds when the pause begins is before it, and still comes."""
    call = make_call(8000, speak_rate=16000)
    loud, quiet = signals.tone(1, -10, 16000, 440), signals.tone(1, -50, 16000, 440)
    action = call.record(NO_LIMITS)
    call.feed(speak=quiet)
    action.pause("silence")
    call.feed(speak=loud)
    action.resume()
    call.feed(speak=quiet)
    action.stop()
    recorded = audio_of(action.join(10)).astype(float)
    assert len(recorded) == 24000
    assert not recorded[8000:16000].any()
    assert np.max(np.abs(recorded)) < 32768 * 10 ** (-45 / 20)
    assert np.sqrt(np.mean(recorded[7000:7900] ** 2)) > 32768 * 10 ** (-52 / 20)


def test_digits_and_voice_while_paused_are_nothing(events: Events) -> None:
    action = events.call.record({"initial_timeout": 1, "end_silence_timeout": 1})
    action.pause()
    card, _ = signals.presses("1234#", 0.08, 0.08)
    feed_frames(events.call, card)
    events.call.digit("#")
    assert action.state == "paused"
    action.resume()
    feed_frames(events.call, signals.silence(1.2))
    assert result_of(action).state == "no_input"
    assert result_of(action).duration == 1.0
    assert not np.any(audio_of(action.join(10)))
    assert all("digit" not in event.record for event in events.received)


def test_no_digit_of_a_pause_is_reported(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in an event nor in a log; pressed or reported out of band, and none ends it."""
    call = make_call(call_id="c", node_id="n")
    events = Events(call)
    card, _ = signals.presses("4929#", 0.08, 0.08)
    with caplog.at_level(logging.DEBUG):
        action = call.record({**NO_LIMITS, "terminators": "0123456789#"}, control_id="k")
        call.feed(speak=signals.noise(0.5, -50))
        action.pause()
        call.feed(speak=card)
        for digit in "4929#":
            call.digit(digit)
        call.feed(speak=signals.silence(0.5))
        action.resume()
        call.feed(speak=signals.noise(0.5, -50))
        assert action.state == "recording"
        action.stop()
        assert events.states == ["recording", "paused", "recording", "finished"]
    for event in events.received:
        assert "digit" not in event.record
        assert "4929" not in json.dumps(
            {**event.params, "recording_id": "", "url": "", "record": ""}
        )
    assert "4929" not in caplog.text
    assert "digit" not in caplog.text


def test_stop_while_paused(events: Events) -> None:
    action = events.call.record(NO_LIMITS)
    feed_frames(events.call, SPEAK)
    action.pause("silence")
    feed_frames(events.call, LISTEN)
    action.stop()
    recorded = audio_of(action.join(10))
    assert len(recorded) == 16000
    assert not np.any(recorded[8000:])


def test_a_pause_of_no_length_changes_no_sample(call: Call) -> None:
    action = call.record(NO_LIMITS)
    feed_frames(call, SPEAK)
    action.pause()
    action.resume()
    feed_frames(call, LISTEN)
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), np.concatenate([SPEAK, LISTEN]))


def test_other_pause_behaviors_are_refused(call: Call) -> None:
    action = call.record(NO_LIMITS)
    with pytest.raises(OptionError, match="behavior: expected one of skip, silence, got 'mute'"):
        action.pause("mute")  # type: ignore[arg-type]
    assert action.state == "recording"
