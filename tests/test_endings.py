# SPDX-License-Identifier: MIT
"""When and why a recording ends, and what is in its file then."""

import numpy as np
import pytest

from recorder import AudioOptions, Call, CallEndedError, OptionError, RecordOptions, detect
from tests import signals
from tests.conftest import Events
from tests.recordings import (
    LISTEN,
    NO_LIMITS,
    SPEAK,
    audio_of,
    feed_frames,
    path_of,
    result_of,
)


def test_silence_after_speech_ends_it_on_the_sample(events: Events) -> None:
    speech = signals.speech()
    action = events.call.record({"end_silence_timeout": 1.5, "input_sensitivity": 40})
    feed_frames(events.call, np.concatenate([speech, signals.silence(3)]))
    event = result_of(action)
    assert (event.state, event.record["reason"]) == ("finished", "end_silence")
    last_voice = detect(speech, 8000, 40).voice[-1].end
    assert event.duration == (last_voice + 12000) / 8000
    expected = np.concatenate([speech, signals.silence(3)])[: last_voice + 12000]
    assert np.array_equal(audio_of(event), expected)


def test_no_voice_is_no_input_with_a_valid_file(events: Events) -> None:
    action = events.call.record({"initial_timeout": 1})
    feed_frames(events.call, signals.silence(1))
    event = result_of(action)
    assert action.state == "no_input"
    assert (event.state, event.record["reason"]) == ("no_input", "initial_timeout")
    assert event.duration == 1.0
    assert len(audio_of(event)) == 8000
    assert event.size == path_of(event).stat().st_size


def test_a_terminator_ends_it_and_is_not_in_the_file(events: Events) -> None:
    before = np.concatenate([signals.tone(1, -20, hz=300), signals.silence(0.5)])
    audio = np.concatenate([before, signals.dtmf("#", 0.3), signals.silence(1)])
    action = events.call.record({"terminators": "*#"})
    feed_frames(events.call, audio)
    event = result_of(action)
    assert (event.record["reason"], event.record["digit"]) == ("terminator", "#")
    recorded = audio_of(event)
    assert abs(len(recorded) - len(before)) <= 8
    assert np.array_equal(recorded, audio[: len(recorded)])
    assert np.abs(recorded[-200:]).max() < 2000  # a millisecond of the tone's start at most


def test_terminators_count_on_the_speak_leg_only(events: Events) -> None:
    press = np.concatenate([signals.silence(0.2), signals.dtmf("#", 0.2), signals.silence(0.2)])
    by_listen = events.call.record({**NO_LIMITS, "terminators": "#"})
    by_speak = events.call.record({**NO_LIMITS, "terminators": "#", "direction": "listen"})
    feed_frames(events.call, signals.silence(0.6), press)
    assert not by_listen.is_done
    assert not by_speak.is_done
    feed_frames(events.call, press, signals.silence(0.6))
    assert result_of(by_listen).record["digit"] == "#"
    assert result_of(by_speak).record["digit"] == "#"


def test_a_digit_that_is_no_terminator_is_input(events: Events) -> None:
    action = events.call.record({"initial_timeout": 0.5, "end_silence_timeout": 0.5})
    audio = np.concatenate([signals.silence(0.3), signals.dtmf("5", 0.2), signals.silence(1.5)])
    feed_frames(events.call, audio)
    assert result_of(action).record["reason"] == "end_silence"


def test_max_length_to_the_sample_in_one_long_frame(events: Events) -> None:
    action = events.call.record({**NO_LIMITS, "max_length": 1.2345})
    audio = signals.noise(3, -30)
    events.call.feed(speak=audio)
    event = result_of(action)
    assert event.record["reason"] == "max_length"
    assert event.duration == 9876 / 8000
    assert np.array_equal(audio_of(event), audio[:9876])


def test_stop_keeps_all_audio_up_to_it(events: Events) -> None:
    action = events.call.record(NO_LIMITS)
    audio = signals.noise(1.23456, -30)
    feed_frames(events.call, audio, size=37)
    acknowledged = action.stop()
    assert acknowledged == {
        "code": "200",
        "message": "stop done",
        "call_id": events.call.call_id,
        "control_id": action.control_id,
    }
    event = result_of(action)
    assert (event.state, event.record["reason"]) == ("finished", "stopped")
    assert np.array_equal(audio_of(event), audio)


def test_hangup_ends_every_recording(events: Events) -> None:
    actions = [events.call.record(NO_LIMITS) for _ in range(3)]
    feed_frames(events.call, signals.noise(0.5, -30))
    events.call.hangup()
    events.call.hangup()
    assert [result_of(action).record["reason"] for action in actions] == ["hangup"] * 3
    assert events.states == ["recording"] * 3 + ["finished"] * 3
    call = events.call
    for refused in (
        call.record,
        lambda: call.digit("1"),
        lambda: call.advance(9),
        lambda: call.feed(speak=b""),
        lambda: call.play(b""),
        lambda: call.playout(1),
    ):
        with pytest.raises(CallEndedError, match="was hung up"):
            refused()


def test_commands_after_the_end_change_nothing_and_say_so(events: Events) -> None:
    action = events.call.record(NO_LIMITS)
    action.stop()
    before = path_of(action.join(10)).read_bytes()
    for answer in (action.stop(), action.pause(), action.resume()):
        assert answer["code"] == "404"
    assert action.state == "finished"
    assert path_of(action.join(10)).read_bytes() == before
    assert events.states == ["recording", "finished"]


def test_advance_lets_the_timers_run(call: Call) -> None:
    action = call.record({"initial_timeout": 3})
    call.advance(to=3 * 8000 - 160)
    assert not action.is_done
    call.advance(to=5)  # the past is no place to go
    call.advance(to=3 * 8000)
    assert result_of(action).state == "no_input"
    assert call.position == 24000
    with pytest.raises(OptionError, match=r"to: expected .*, got -1"):
        call.advance(to=-1)


def test_advance_to_the_past_moves_no_leg(call: Call) -> None:
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    call.feed(speak=SPEAK[:1000])
    call.feed(listen=LISTEN[:500])
    call.advance(to=np.int64(100))  # type: ignore[arg-type]
    call.feed(listen=LISTEN[500:1000])
    action.stop()
    assert np.array_equal(
        audio_of(action.join(10)), np.stack([SPEAK[:1000], LISTEN[:1000]], axis=1)
    )


@pytest.mark.parametrize("limit", [{"initial_timeout": 1}, {"end_silence_timeout": 1}])
def test_stop_takes_nothing_for_silence_that_may_be_voice(call: Call, limit: AudioOptions) -> None:
    """10 ms before the timeout sound sets in, too short yet to count as voice."""
    action = call.record({**NO_LIMITS, **limit})
    start = signals.noise(0.1, -20) if "end_silence_timeout" in limit else signals.silence(0)
    audio = np.concatenate([start, signals.silence(0.98), signals.noise(0.05, -20)])
    call.feed(speak=audio)
    action.stop()
    assert result_of(action).record["reason"] == "stopped"
    assert np.array_equal(audio_of(action.join(10)), audio)


def test_typed_options_and_the_whole_call_preset(call: Call) -> None:
    action = call.record(RecordOptions.whole_call(stereo=True))
    audio = np.concatenate([signals.silence(6), signals.dtmf("#"), signals.silence(6)])
    feed_frames(call, audio, audio)
    assert action.state == "recording"
    call.hangup()
    assert np.array_equal(audio_of(action.join(10)), np.stack([audio, audio], axis=1))
