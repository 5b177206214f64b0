# SPDX-License-Identifier: MIT
"""The record API on a live call, plainly and from threads."""

import logging
import math
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
import soundfile

from recorder import (
    Call,
    CallEndedError,
    ControlIdError,
    FileError,
    FrameError,
    OptionError,
    RecordAction,
    RecordEvent,
    RecordOptions,
)
from tests import signals
from tests.conftest import Heard, settle
from tests.signals import Pcm

NO_LIMITS: dict[str, Any] = {
    "initial_timeout": 0,
    "end_silence_timeout": 0,
    "terminators": "",
}


def path_of(event: RecordEvent | None) -> Path:
    assert event is not None
    parsed = urlparse(event.url)
    assert parsed.scheme == "file"
    return Path(unquote(parsed.path))


def audio_of(event: RecordEvent | None) -> Pcm:
    audio, _ = soundfile.read(path_of(event), dtype="int16")
    return np.asarray(audio)


def result_of(action: RecordAction) -> RecordEvent:
    return action.join(10)


def feed_frames(call: Call, speak: Pcm | None, listen: Pcm | None = None, size: int = 160) -> None:
    longest = max(len(leg) for leg in (speak, listen) if leg is not None)
    for at in range(0, longest, size):
        call.feed(
            speak=None if speak is None else speak[at : at + size],
            listen=None if listen is None else listen[at : at + size],
        )


# -- how it ends ----------------------------------------------------------------------------------


def test_silence_after_speech_ends_it_on_the_sample(heard: Heard) -> None:
    speech = signals.speech()
    action = heard.call.record({"end_silence_timeout": 1.5, "input_sensitivity": 40})
    feed_frames(heard.call, np.concatenate([speech, signals.silence(3)]))
    event = result_of(action)
    assert (event.state, event.record["reason"]) == ("finished", "end_silence")
    from recorder import detect

    last_voice = detect(speech, 8000, 40).voice[-1].end
    assert event.duration == (last_voice + 12000) / 8000
    expected = np.concatenate([speech, signals.silence(3)])[: last_voice + 12000]
    assert np.array_equal(audio_of(event), expected)


def test_no_voice_is_no_input_with_a_valid_file(heard: Heard) -> None:
    action = heard.call.record({"initial_timeout": 1})
    feed_frames(heard.call, signals.silence(1))
    event = result_of(action)
    assert action.state == "no_input"
    assert (event.state, event.record["reason"]) == ("no_input", "initial_timeout")
    assert event.duration == 1.0
    assert len(audio_of(event)) == 8000
    assert event.size == path_of(event).stat().st_size


def test_a_terminator_ends_it_and_is_not_in_the_file(heard: Heard) -> None:
    before = np.concatenate([signals.tone(1, -20, hz=300), signals.silence(0.5)])
    audio = np.concatenate([before, signals.dtmf("#", 0.3), signals.silence(1)])
    action = heard.call.record({"terminators": "*#"})
    feed_frames(heard.call, audio)
    event = result_of(action)
    assert (event.record["reason"], event.record["digit"]) == ("terminator", "#")
    recorded = audio_of(event)
    assert abs(len(recorded) - len(before)) <= 8
    assert np.array_equal(recorded, audio[: len(recorded)])
    assert np.abs(recorded[-200:]).max() < 2000  # a millisecond of the tone's start at most


def test_terminators_count_on_the_speak_leg_only(heard: Heard) -> None:
    press = np.concatenate([signals.silence(0.2), signals.dtmf("#", 0.2), signals.silence(0.2)])
    by_listen = heard.call.record({**NO_LIMITS, "terminators": "#"})
    by_speak = heard.call.record({**NO_LIMITS, "terminators": "#", "direction": "listen"})
    feed_frames(heard.call, signals.silence(0.6), press)
    assert not by_listen.is_done
    assert not by_speak.is_done
    feed_frames(heard.call, press, signals.silence(0.6))
    assert result_of(by_listen).record["digit"] == "#"
    assert result_of(by_speak).record["digit"] == "#"


def test_a_digit_that_is_no_terminator_is_input(heard: Heard) -> None:
    action = heard.call.record({"initial_timeout": 0.5, "end_silence_timeout": 0.5})
    audio = np.concatenate([signals.silence(0.3), signals.dtmf("5", 0.2), signals.silence(1.5)])
    feed_frames(heard.call, audio)
    assert result_of(action).record["reason"] == "end_silence"


def test_max_length_to_the_sample_in_one_long_frame(heard: Heard) -> None:
    action = heard.call.record({**NO_LIMITS, "max_length": 1.2345})
    audio = signals.noise(3, -30)
    heard.call.feed(speak=audio)
    event = result_of(action)
    assert event.record["reason"] == "max_length"
    assert event.duration == 9876 / 8000
    assert np.array_equal(audio_of(event), audio[:9876])


def test_stop_keeps_all_audio_up_to_it(heard: Heard) -> None:
    action = heard.call.record(NO_LIMITS)
    audio = signals.noise(1.23456, -30)
    feed_frames(heard.call, audio, size=37)
    acknowledged = action.stop()
    assert acknowledged == {
        "code": "200",
        "message": "stop done",
        "call_id": heard.call.call_id,
        "control_id": action.control_id,
    }
    event = result_of(action)
    assert (event.state, event.record["reason"]) == ("finished", "stopped")
    assert np.array_equal(audio_of(event), audio)


def test_hangup_ends_every_recording(heard: Heard) -> None:
    actions = [heard.call.record(NO_LIMITS) for _ in range(3)]
    feed_frames(heard.call, signals.noise(0.5, -30))
    heard.call.hangup()
    heard.call.hangup()
    assert [result_of(action).record["reason"] for action in actions] == ["hangup"] * 3
    assert heard.states == ["recording"] * 3 + ["finished"] * 3
    call = heard.call
    refused: list[tuple[Callable[..., Any], Any]] = [
        (call.record, None),
        (call.digit, "1"),
        (call.advance, 9),
    ]
    for method, argument in refused:
        with pytest.raises(CallEndedError, match="was hung up"):
            method(argument)
    with pytest.raises(CallEndedError, match="was hung up"):
        call.feed(speak=b"")


# -- directions, channels -------------------------------------------------------------------------

SPEAK = signals.noise(1, -30, seed=3)
LISTEN = signals.noise(1, -6, seed=4)


@pytest.mark.parametrize(
    ("direction", "stereo", "expected"),
    [
        ("speak", False, SPEAK),
        ("listen", False, LISTEN),
        ("both", False, np.clip(SPEAK.astype(int) + LISTEN, -32768, 32767)),
        ("speak", True, np.stack([SPEAK, SPEAK * 0], axis=1)),
        ("listen", True, np.stack([LISTEN * 0, LISTEN], axis=1)),
        ("both", True, np.stack([SPEAK, LISTEN], axis=1)),
    ],
)
def test_what_each_direction_records(
    call: Call, direction: str, stereo: bool, expected: Pcm
) -> None:
    action = call.record({**NO_LIMITS, "direction": direction, "stereo": stereo})
    feed_frames(call, SPEAK, LISTEN)
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), expected)


def test_silence_is_judged_on_the_legs_of_the_direction(call: Call) -> None:
    audio = {"end_silence_timeout": 0.5, "initial_timeout": 0.5}
    speak, both = call.record(audio), call.record({**audio, "direction": "both"})
    feed_frames(call, signals.silence(1), signals.noise(1, -20))
    assert result_of(speak).state == "no_input"
    assert not both.is_done


def test_a_leg_that_never_comes_is_silence(call: Call) -> None:
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    feed_frames(call, SPEAK)
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), np.stack([SPEAK, SPEAK * 0], axis=1))


def test_legs_fed_in_turn_stay_aligned(call: Call) -> None:
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    for at in range(0, 8000, 160):
        call.feed(speak=SPEAK[at : at + 160])
        call.feed(listen=LISTEN[at : at + 160])
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), np.stack([SPEAK, LISTEN], axis=1))


def test_a_leg_behind_by_more_than_the_skew_is_filled(make_call: Callable[..., Call]) -> None:
    call = make_call(max_skew=0.25)
    action = call.record(
        {**NO_LIMITS, "direction": "both", "initial_timeout": 0.5, "max_length": 2}
    )
    feed_frames(call, signals.silence(0.7))
    assert not action.is_done  # listen may still come
    feed_frames(call, signals.silence(0.05))
    assert result_of(action).state == "no_input"


def test_advance_lets_the_timers_run(call: Call) -> None:
    action = call.record({"initial_timeout": 3})
    call.advance(to=3 * 8000 - 160)
    assert not action.is_done
    call.advance(to=5)  # the past is no place to go
    call.advance(to=3 * 8000)
    assert result_of(action).state == "no_input"
    assert call.position == 24000
    with pytest.raises(OptionError, match="to is -1"):
        call.advance(to=-1)


# -- pause ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("behavior", [None, "skip", "silence"])
def test_pause_keeps_nothing_and_joins_without_a_click(heard: Heard, behavior: Any) -> None:
    call = heard.call
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
    assert heard.states == ["recording", "paused", "recording", "finished"]
    assert [e.duration for e in heard.events][:3] == [0.0, 1.0, (8000 + gap) / 8000]


def test_while_paused_digits_and_voice_are_not_looked_at(heard: Heard) -> None:
    action = heard.call.record({"initial_timeout": 1, "end_silence_timeout": 1})
    action.pause()
    card, _ = signals.presses("1234#", 0.08, 0.08)
    feed_frames(heard.call, card)
    heard.call.digit("#")
    assert action.state == "paused"
    action.resume()
    feed_frames(heard.call, signals.silence(1.2))
    assert result_of(action).state == "no_input"
    assert result_of(action).duration == 1.0
    assert not np.any(audio_of(action.join(10)))
    assert all("digit" not in event.record for event in heard.events)


def test_stop_while_paused(heard: Heard) -> None:
    action = heard.call.record(NO_LIMITS)
    feed_frames(heard.call, SPEAK)
    action.pause("silence")
    feed_frames(heard.call, LISTEN)
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
    with pytest.raises(OptionError, match="behavior is 'mute': allowed are skip, silence"):
        action.pause("mute")  # type: ignore[arg-type]
    assert action.state == "recording"


def test_commands_after_the_end_change_nothing_and_say_so(heard: Heard) -> None:
    action = heard.call.record(NO_LIMITS)
    action.stop()
    before = path_of(action.join(10)).read_bytes()
    for answer in (action.stop(), action.pause(), action.resume()):
        assert answer["code"] == "404"
    assert action.state == "finished"
    assert path_of(action.join(10)).read_bytes() == before
    assert heard.states == ["recording", "finished"]


# -- the beep -------------------------------------------------------------------------------------


def test_the_party_hears_a_beep_and_the_file_does_not(heard: Heard) -> None:
    action = heard.call.record({**NO_LIMITS, "beep": True, "direction": "both"})
    assert action.state == "created"
    assert not heard.states
    quiet = signals.silence(0.02)
    returned = [heard.call.feed(speak=quiet, listen=quiet) for _ in range(50)]
    heard_by_party = np.concatenate([np.asarray(frame) for frame in returned])
    beep = np.flatnonzero(heard_by_party)
    assert beep[0] < 10
    assert 1900 < beep[-1] < 2000
    spectrum = np.abs(np.fft.rfft(heard_by_party[:2000]))
    assert np.argmax(spectrum) * 4 == pytest.approx(1000, abs=8)
    action.stop()
    event = result_of(action)
    assert event.duration == (8000 - 2000) / 8000
    assert not np.any(audio_of(event))
    assert heard.states == ["recording", "finished"]


def test_the_timers_start_when_the_beep_has_ended(call: Call) -> None:
    action = call.record({"beep": True, "initial_timeout": 1})
    feed_frames(call, signals.silence(1.24))
    assert not action.is_done
    feed_frames(call, signals.silence(0.02))
    assert result_of(action).duration == 1.0


def test_the_beep_when_only_speak_is_fed_and_in_any_form(call: Call) -> None:
    call.record({**NO_LIMITS, "beep": True})
    as_bytes = call.feed(speak=bytes(320))
    assert isinstance(as_bytes, bytes)
    assert any(as_bytes)
    as_floats = call.feed(speak=np.zeros(160, np.float32))
    assert isinstance(as_floats, np.ndarray)
    assert as_floats.dtype == np.float32
    assert 0.1 < np.abs(as_floats).max() < 0.2
    coded = call.feed(speak=b"\xff" * 160, encoding="pcmu")
    assert isinstance(coded, bytes)
    assert len(coded) == 160
    assert {0xFF, 0x28, 0xA8} <= set(coded)  # 1 kHz at 8 kHz: zero and both peaks
    call.feed(speak=bytes(2 * 2000))
    assert call.feed(speak=bytes(320)) is None


def test_the_beep_comes_whole_whichever_leg_was_ahead(call: Call) -> None:
    call.feed(speak=bytes(2 * 1000))
    call.record({**NO_LIMITS, "beep": True})
    returned = [
        call.feed(speak=signals.silence(0.02), listen=signals.silence(0.02)) for _ in range(20)
    ]
    beep = np.flatnonzero(np.concatenate([np.asarray(frame) for frame in returned]))
    assert beep[0] < 10
    assert 1900 < beep[-1] < 2000


def test_without_a_beep_the_listen_frame_comes_back_as_it_is(call: Call) -> None:
    call.record(NO_LIMITS)
    frame = bytearray(320)
    assert call.feed(listen=frame) is frame
    assert call.feed(speak=frame) is None


def test_stop_while_the_beep_plays(heard: Heard) -> None:
    action = heard.call.record({"beep": True, "terminators": "#"})
    feed_frames(heard.call, signals.silence(0.1))
    heard.call.digit("#")  # pressed before it starts: meant for something else
    assert action.state == "created"
    action.stop()
    assert heard.states == ["finished"]
    assert result_of(action).duration == 0
    assert len(audio_of(action.join(10))) == 0


def test_pause_while_the_beep_plays_holds_when_it_has_ended(heard: Heard) -> None:
    action = heard.call.record({**NO_LIMITS, "beep": True})
    action.pause()
    feed_frames(heard.call, signals.noise(1, -20))
    assert heard.states == ["recording", "paused"]
    action.resume()
    feed_frames(heard.call, signals.noise(1, -20))
    action.stop()
    assert result_of(action).duration == 1.0


# -- digits ---------------------------------------------------------------------------------------


def test_a_digit_told_out_of_band_ends_it_at_once(heard: Heard) -> None:
    action = heard.call.record({**NO_LIMITS, "terminators": "#"})
    feed_frames(heard.call, signals.noise(1, -30))
    heard.call.digit("4")
    assert not action.is_done
    heard.call.digit("#")
    event = result_of(action)
    assert (event.record["reason"], event.record["digit"]) == ("terminator", "#")
    assert event.duration == 1.0


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.3])
def test_an_out_of_band_digit_ends_it_where_its_confirmed_tone_began(
    call: Call, delay: float
) -> None:
    action = call.record({**NO_LIMITS, "terminators": "#"})
    audio = np.concatenate([signals.silence(0.5), signals.dtmf("#", 0.5)])
    feed_frames(call, audio[: 4000 + int(delay * 8000)])
    call.digit("#")
    assert abs(result_of(action).duration - 0.5) < 0.001


def test_an_out_of_band_digit_before_its_tone_is_confirmed_ends_it_at_once(call: Call) -> None:
    action = call.record({**NO_LIMITS, "terminators": "#"})
    audio = np.concatenate([signals.silence(0.5), signals.dtmf("#", 0.5)])
    feed_frames(call, audio[: 4000 + 240])
    assert not action.is_done
    call.digit("#")
    assert result_of(action).duration == 0.53


@pytest.mark.parametrize("first", ["tone", "told"])
def test_one_press_seen_both_ways_counts_once(call: Call, first: str) -> None:
    """The press that ended one recording must not end the next, which begins at once."""
    press = np.concatenate([signals.silence(0.1), signals.dtmf("#", 0.1), signals.silence(0.2)])
    one = call.record({**NO_LIMITS, "terminators": "#"})
    if first == "told":
        call.digit("#")
    else:
        feed_frames(call, press)
    assert one.state == "finished"
    two = call.record({**NO_LIMITS, "terminators": "#"})
    if first == "told":
        feed_frames(call, press)
    else:
        call.digit("#")
    assert two.state == "recording"
    # A second press is one.
    feed_frames(call, np.concatenate([signals.silence(1), press]))
    assert result_of(two).record["digit"] == "#"


@pytest.mark.parametrize("digit", ["", "E", "12", 5, None, "##"])
def test_other_digits_are_refused(call: Call, digit: Any) -> None:
    with pytest.raises(OptionError, match="digit is"):
        call.digit(digit)


def test_digits_in_lower_case(call: Call) -> None:
    action = call.record({**NO_LIMITS, "terminators": "d"})
    call.digit("d")
    assert result_of(action).record["digit"] == "D"


# -- several recordings, identities ---------------------------------------------------------------


def test_several_at_once_are_independent(heard: Heard) -> None:
    call = heard.call
    one = call.record(NO_LIMITS, control_id="one")
    feed_frames(call, SPEAK)
    two = call.record({**NO_LIMITS, "direction": "listen"}, control_id="two")
    feed_frames(call, SPEAK, LISTEN)
    one.stop()
    feed_frames(call, SPEAK, LISTEN)
    two.stop()
    assert np.array_equal(audio_of(one.join(10)), np.concatenate([SPEAK, SPEAK]))
    assert np.array_equal(audio_of(two.join(10)), np.concatenate([LISTEN, LISTEN]))
    assert [(e.control_id, e.state) for e in heard.events] == [
        ("one", "recording"),
        ("two", "recording"),
        ("one", "finished"),
        ("two", "finished"),
    ]


def test_a_control_id_may_be_used_again_only_after_its_recording(call: Call) -> None:
    action = call.record(NO_LIMITS, control_id="mine")
    with pytest.raises(ControlIdError, match="'mine'"):
        call.record(NO_LIMITS, control_id="mine")
    feed_frames(call, SPEAK)
    action.stop()
    again = call.record(NO_LIMITS, control_id="mine")
    assert again.recording_id != action.recording_id
    assert np.array_equal(audio_of(action.join(10)), SPEAK)


def test_made_up_identities_differ(call: Call) -> None:
    one, two = call.record(NO_LIMITS), call.record(NO_LIMITS)
    assert one.control_id != two.control_id
    assert one.call is call


@pytest.mark.parametrize("control_id", ["", 5, b"x"])
def test_other_control_ids_are_refused(call: Call, control_id: Any) -> None:
    with pytest.raises(OptionError, match="control_id"):
        call.record(control_id=control_id)


# -- bad input harms nothing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "frames"),
    [
        (FrameError, {"speak": b"abc"}),
        (FrameError, {"speak": np.zeros(160, np.int32)}),
        (FrameError, {"speak": np.zeros((80, 2), np.int16)}),
        (FrameError, {"listen": np.array([math.nan])}),
        (FrameError, {"speak": bytes(320), "listen": bytes(318)}),
        (FrameError, {"speak": bytes(320), "listen": b"abc"}),
        (OptionError, {"speak": bytes(320), "encoding": "g729"}),
    ],
)
def test_a_bad_frame_raises_and_the_recording_goes_on(
    call: Call, error: type[Exception], frames: dict[str, Any]
) -> None:
    action = call.record({**NO_LIMITS, "direction": "both"})
    feed_frames(call, SPEAK, LISTEN)
    with pytest.raises(error):
        call.feed(**frames)
    assert call.position == 8000
    feed_frames(call, SPEAK, LISTEN)
    action.stop()
    expected = np.clip(SPEAK.astype(int) + LISTEN, -32768, 32767)
    assert np.array_equal(audio_of(action.join(10)), np.concatenate([expected, expected]))


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (OptionError, {"audio": {"formatt": "mp3"}}),
        (OptionError, {"audio": {"max_length": -1}}),
        (OptionError, {"on_completed": "print"}),
        (OptionError, {"path": 5}),
        (OptionError, {"path": "a.mp3"}),
        (FileError, {"path": ""}),
        (FileError, {"path": "/"}),
        (FileError, {"path": "no/such/folder/a.wav"}),
        (FileError, {"path": "a\0b.wav"}),
    ],
)
def test_a_bad_record_starts_nothing(
    heard: Heard, error: type[Exception], arguments: dict[str, Any]
) -> None:
    running = heard.call.record(NO_LIMITS)
    files = set(heard.call.directory.iterdir())
    with pytest.raises(error):
        heard.call.record(**arguments)
    assert set(heard.call.directory.iterdir()) == files
    assert heard.states == ["recording"]
    assert running.state == "recording"


@pytest.mark.parametrize(
    "arguments",
    [
        {"sample_rate": 11025},
        {"call_id": 5},
        {"node_id": b"x"},
        {"base_url": 1},
        {"max_skew": -1},
        {"max_skew": math.nan},
        {"max_skew": "1"},
        {"directory": None},
    ],
)
def test_bad_calls_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(arguments))} is .*allowed"):
        Call(**arguments)


def test_other_events_are_refused(call: Call) -> None:
    with pytest.raises(OptionError, match=r"calling\.call\.record"):
        call.on("calling.call.play", print)
    with pytest.raises(OptionError, match="handler"):
        call.on("calling.call.record", None)  # type: ignore[arg-type]


# -- events and handlers --------------------------------------------------------------------------


def test_the_terminal_event_in_full(make_call: Callable[..., Call]) -> None:
    call = make_call(call_id="c-1", node_id="n-1")
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True}, control_id="k-1")
    feed_frames(call, SPEAK, LISTEN)
    action.stop()
    event = result_of(action)
    file = path_of(event)
    assert event.event_type == "calling.call.record"
    assert event.call_id == "c-1"
    params = dict(event.params)
    start, end = params.pop("start_time"), params.pop("end_time")
    assert 0 <= end - start < 60
    assert 0 <= event.timestamp - end < 60  # told when the file was complete
    common = {"url": file.as_uri(), "duration": 1.0, "size": 80 + 4 * 8000}
    assert params == {
        "call_id": "c-1",
        "node_id": "n-1",
        "control_id": "k-1",
        "recording_id": action.recording_id,
        "state": "finished",
        **common,
        "record": {
            **common,
            "format": "wav",
            "audio": {"format": "wav", "direction": "both", "stereo": True},
            "reason": "stopped",
        },
    }


def test_on_completed_is_called_once_with_the_complete_file(call: Call) -> None:
    seen = []

    def check(event: RecordEvent) -> None:
        with wave.open(str(path_of(event))) as file:
            seen.append((event, file.getnframes()))

    action = call.record(NO_LIMITS, on_completed=check)
    feed_frames(call, SPEAK)
    action.stop()
    call.hangup()
    settle()
    assert seen == [(action.result, 8000)]
    assert action.completed


def test_what_handlers_raise_is_logged_and_harms_nothing(
    heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: RecordEvent) -> None:
        raise ValueError(f"no {event.state}")

    heard.call.on("calling.call.record", fail)
    action = heard.call.record(NO_LIMITS, on_completed=fail)
    with caplog.at_level(logging.ERROR, logger="recorder"):
        feed_frames(heard.call, SPEAK)
        action.stop()
    assert heard.states == ["recording", "finished"]
    assert caplog.text.count("ValueError: no finished") == 2
    assert action.is_done


def test_handlers_may_call_back(heard: Heard) -> None:
    call = heard.call
    half_a_second = {**NO_LIMITS, "max_length": 0.5}
    following: list[RecordAction] = []

    def record_again(event: RecordEvent) -> None:
        if len(following) < 2:
            following.append(call.record(half_a_second, on_completed=record_again))

    call.record(half_a_second, on_completed=record_again)
    for _ in range(3):
        feed_frames(call, signals.noise(1, -30))
        settle()
    assert [result_of(action).duration for action in following] == [0.5, 0.5]
    assert heard.states == ["recording", "finished"] * 3


def test_a_coroutine_function_without_a_loop_runs_to_its_end(call: Call) -> None:
    done = threading.Event()
    seen = []

    async def completed(event: RecordEvent) -> None:
        seen.append(event.state)
        done.set()

    call.record({**NO_LIMITS, "max_length": 0.1}, on_completed=completed)
    feed_frames(call, SPEAK)
    assert done.wait(30)
    assert seen == ["finished"]


# -- threads --------------------------------------------------------------------------------------


def test_plain_threads(call: Call) -> None:
    action = call.record(audio={"beep": True, "end_silence_timeout": 3, "terminators": "#"})
    audio = np.concatenate(
        [signals.silence(0.5), signals.speech(), signals.dtmf("#"), signals.silence(1)]
    )
    feeder = threading.Thread(target=feed_frames, args=(call, audio))
    feeder.start()
    event = action.join(timeout=60)
    feeder.join()
    url = event.params.get("record", {}).get("url")
    assert url == event.url
    assert abs(event.duration - (0.25 + len(signals.speech()) / 8000)) < 0.001


def test_join_times_out_and_may_be_repeated(call: Call) -> None:
    action = call.record(NO_LIMITS)
    with pytest.raises(TimeoutError):
        action.join(timeout=0)
    assert action.state == "recording"
    assert action.result is None
    assert not action.is_done
    action.stop()
    assert action.join() is action.result


def test_commands_from_many_threads(make_call: Callable[..., Call]) -> None:
    call = Heard(make_call())
    actions = [call.call.record({**NO_LIMITS, "direction": "both"}) for _ in range(8)]
    start = threading.Barrier(9)

    def command(action: RecordAction) -> None:
        start.wait()
        for _ in range(20):
            action.pause("silence")
            action.resume()
        action.stop()

    threads = [threading.Thread(target=command, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    start.wait()
    feed_frames(call.call, np.tile(SPEAK, 3), np.tile(LISTEN, 3))
    for thread in threads:
        thread.join()
    for action in actions:
        event = action.join(timeout=30)
        assert len(audio_of(event)) == round(event.duration * 8000)
    assert call.states.count("finished") == 8
    for action in actions:
        states = [e.state for e in call.events if e.control_id == action.control_id]
        assert states == ["recording", *["paused", "recording"] * 20, "finished"]


# -- typed options --------------------------------------------------------------------------------


def test_typed_options_and_the_whole_call_preset(call: Call) -> None:
    action = call.record(RecordOptions.whole_call(stereo=True))
    audio = np.concatenate([signals.silence(6), signals.dtmf("#"), signals.silence(6)])
    feed_frames(call, audio, audio)
    assert action.state == "recording"
    call.hangup()
    assert np.array_equal(audio_of(action.join(10)), np.stack([audio, audio], axis=1))


# -- what is known when it is stopped --------------------------------------------------------------


@pytest.mark.parametrize("limit", [{"initial_timeout": 1}, {"end_silence_timeout": 1}])
def test_stop_takes_nothing_for_silence_that_may_be_voice(
    call: Call, limit: dict[str, float]
) -> None:
    """10 ms before the timeout sound sets in, too short yet to be known as voice."""
    action = call.record({**NO_LIMITS, **limit})
    start = signals.noise(0.1, -20) if "end_silence_timeout" in limit else signals.silence(0)
    audio = np.concatenate([start, signals.silence(0.98), signals.noise(0.05, -20)])
    call.feed(speak=audio)
    action.stop()
    assert result_of(action).record["reason"] == "stopped"
    assert np.array_equal(audio_of(action.join(10)), audio)


def test_a_leg_ahead_adds_nothing_to_the_other_legs_recording(call: Call) -> None:
    speak_only = call.record({**NO_LIMITS, "terminators": "#"})
    call.feed(listen=signals.silence(0.5))
    call.feed(speak=SPEAK[:1000])
    call.digit("#")
    assert np.array_equal(audio_of(speak_only.join(10)), SPEAK[:1000])


def test_one_press_counts_once_when_the_other_leg_is_ahead(call: Call) -> None:
    press = np.concatenate([signals.silence(0.1), signals.dtmf("#", 0.1), signals.silence(0.2)])
    one = call.record({**NO_LIMITS, "terminators": "#"})
    call.feed(listen=bytes(6400))
    call.digit("#")
    assert one.state == "finished"
    two = call.record({**NO_LIMITS, "terminators": "#"})
    for at in range(0, len(press), 160):
        call.feed(speak=press[at : at + 160])
        call.feed(listen=press[at : at + 160])
    assert two.state == "recording"


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


def test_a_command_in_a_handler_is_done_when_it_returns(call: Call) -> None:
    other = call.record(NO_LIMITS)
    seen = []

    def stop_the_other(_: RecordEvent) -> None:
        other.stop()
        seen.append((other.state, other.join(timeout=10).state))

    call.record(NO_LIMITS, on_completed=stop_the_other).stop()
    settle()
    assert seen == [("finished", "finished")]


def test_coroutine_handlers_without_a_loop_come_in_order(call: Call) -> None:
    done = threading.Event()
    seen: list[str] = []

    async def listen(event: RecordEvent) -> None:
        seen.append(event.state)
        if len(seen) == 41:
            done.set()

    call.on("calling.call.record", listen)
    action = call.record(NO_LIMITS)
    for _ in range(19):
        action.pause()
        action.resume()
    action.pause()
    action.stop()
    assert done.wait(30)
    assert seen == ["recording", *["paused", "recording"] * 19, "paused", "finished"]


def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = Call()
    action = call.record(NO_LIMITS, path="mine.wav")
    other = call.record(NO_LIMITS)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    call.feed(speak=SPEAK)
    call.hangup()
    assert path_of(action.join(10)) == tmp_path / "mine.wav"
    assert path_of(other.join(10)).parent == tmp_path / "recordings"


@pytest.mark.parametrize("format_", ["wav", "mp3"])
@pytest.mark.parametrize("kind", [RuntimeError, OverflowError])
def test_what_breaks_while_writing_ends_that_recording_only(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, format_: str, kind: type[BaseException]
) -> None:
    call = heard.call
    good = call.record(NO_LIMITS)
    bad = call.record({**NO_LIMITS, "format": format_, "direction": "listen"})
    file = call._running[1].capture._output.file
    blocks = iter([None, None, kind("broken")])
    write = file.write

    def break_once(block: Pcm) -> None:
        write(block)
        if (error := next(blocks, None)) is not None:
            raise error

    monkeypatch.setattr(file, "write", break_once)
    audio = signals.noise(4, -30)
    feed_frames(call, audio, audio)
    call.hangup()
    event = result_of(bad)
    assert (event.state, event.record["reason"]) == ("error", "error")
    assert str(file.path) in event.record["error"]
    kept = audio_of(event)
    assert event.duration == len(kept) / 8000
    if format_ == "wav":
        assert np.array_equal(kept, audio[: len(kept)])
    assert len(kept) >= 8000
    assert result_of(good).state == "finished"
    assert heard.states.count("finished") == 1


@pytest.mark.parametrize("name", ["\udcff.wav", "a b.wav"])
def test_any_file_name_has_a_url(make_call: Callable[..., Call], tmp_path: Path, name: str) -> None:
    call = make_call(base_url="http://example.org")
    action = call.record(NO_LIMITS, path=tmp_path / name)
    action.stop()
    assert result_of(action).state == "finished"


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
