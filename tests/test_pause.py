# SPDX-License-Identifier: MIT
"""Between pause and resume nothing of the party is kept, and DTMF can be kept out altogether."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import Call, RecordAction, detect
from tests import signals
from tests.conftest import Heard, settle
from tests.signals import Pcm
from tests.test_call import NO_LIMITS, audio_of, path_of

SNIPPET = 8  # samples: of noise, no two are alike


def snippets(audio: Pcm) -> set[bytes]:
    """Every stretch of so many samples."""
    data = np.ascontiguousarray(audio).tobytes()
    return {data[at : at + 2 * SNIPPET] for at in range(0, len(data) - 2 * SNIPPET + 1, 2)}


def kept(folder: Path) -> set[bytes]:
    """Every stretch of samples in any file of the folder, however its channels are laid out."""
    found: set[bytes] = set()
    for file in folder.rglob("*"):
        data = file.read_bytes()
        for offset in (0, 1):
            words = np.frombuffer(data[offset : len(data) - (len(data) - offset) % 2], np.int16)
            for channel in (words, words[::2], words[1::2]):
                found |= snippets(channel)
    return found


@pytest.mark.parametrize("behavior", ["skip", "silence"])
@pytest.mark.parametrize(
    "options", [{}, {"direction": "both", "stereo": True}, {"voice_only": True}]
)
@pytest.mark.parametrize("frame", [160, 1777])
def test_no_sample_of_a_pause_is_in_any_file(
    call: Call, behavior: Any, options: dict[str, Any], frame: int
) -> None:
    """At any time: the staged file is searched while the call goes on, and the final one."""
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


@pytest.mark.parametrize("behavior", ["skip", "silence"])
def test_joins_do_not_click(call: Call, behavior: Any) -> None:
    """A loud low tone: its steepest step is known, and a join makes none that is steeper."""
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


def test_no_digit_of_a_pause_is_told(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in an event nor in a log; pressed or told out of band, and none ends it."""
    call = heard.call
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
        events = heard.events
    assert [event.state for event in events] == ["recording", "paused", "recording", "finished"]
    for event in events:
        assert "digit" not in event.record
        assert "4929" not in json.dumps(
            {**event.params, "recording_id": "", "url": "", "record": ""}
        )
    assert not caplog.text


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


# -- mask_digits -----------------------------------------------------------------------------------


def masked(call: Call, audio: Pcm, rate: int, **options: Any) -> tuple[RecordAction, Pcm]:
    action = call.record({**NO_LIMITS, "terminators": "", "mask_digits": True, **options})
    for at in range(0, len(audio), rate // 50):
        call.feed(speak=audio[at : at + rate // 50], listen=audio[at : at + rate // 50])
    action.stop()
    return action, audio_of(action.join(10))


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("direction", ["speak", "listen"])
def test_tones_are_silence_from_onset_to_end(
    make_call: Callable[..., Call], rate: int, direction: str
) -> None:
    noise = signals.noise(0.7, -35, rate, seed=4)
    presses, _ = signals.presses("159D#0", 0.09, 0.13, rate)
    audio = np.concatenate([noise, presses, noise])
    _, recorded = masked(make_call(rate), audio, rate, direction=direction)
    tones = [(digit.start, digit.end) for digit in detect(audio, rate).digits]
    assert len(tones) == 6
    expected = audio.copy()
    for start, end in tones:
        expected[start:end] = 0
    assert np.array_equal(recorded, expected)
    assert not detect(recorded, rate).digits


def test_a_tone_that_is_cut_off_is_masked_too(call: Call) -> None:
    audio = np.concatenate([signals.noise(0.5, -35), signals.dtmf("5", 0.2)])
    action = call.record({**NO_LIMITS, "terminators": "", "mask_digits": True})
    call.feed(speak=audio)
    action.stop()
    recorded = audio_of(action.join(10))
    assert len(recorded) == len(audio)
    assert np.array_equal(recorded[:3990], audio[:3990])
    assert not recorded[4010:].any()


def test_a_tone_of_many_seconds_is_written_as_it_goes(call: Call) -> None:
    """Nothing is held back until it ends, and none of it is in the staged file."""
    audio = np.concatenate([signals.noise(0.5, -35), signals.dtmf("5", 6)])
    action = call.record({**NO_LIMITS, "terminators": "", "mask_digits": True})
    call.feed(speak=audio[:4000])
    for at in range(4000, len(audio), 160):
        call.feed(speak=audio[at : at + 160])
    settle()
    (staged,) = call.directory.iterdir()
    assert staged.stat().st_size > 2 * 8000 * 5
    assert not snippets(audio[4100:]) & kept(call.directory)
    action.stop()
    assert path_of(action.join(10)).exists()


def test_digits_are_still_told(call: Call) -> None:
    audio = np.concatenate([signals.noise(0.5, -35), signals.dtmf("#", 0.1), signals.silence(0.5)])
    action = call.record({**NO_LIMITS, "terminators": "#", "mask_digits": True})
    call.feed(speak=audio)
    event = action.join(10)
    assert (event.record["reason"], event.record["digit"]) == ("terminator", "#")


def test_tones_over_one_another_are_masked_to_the_end_of_the_last(call: Call) -> None:
    """Both are sure, and sound, when the first one ends."""
    audio = np.zeros(8000)
    for digit, start, seconds, level in (("5", 800, 0.25, -5.9), ("A", 1384, 0.282, -13.1)):
        tone = signals.dtmf(digit, seconds, level_dbm0=level)
        audio[start : start + len(tone)] += tone
    line = signals.to_int16(audio + signals.noise(1, -70))
    tones = detect(line, 8000).digits
    assert [tone.digit for tone in tones] == ["5", "A"]
    start, end = tones[0].start, tones[1].end
    assert tones[1].start < tones[0].end < end - 800
    _, recorded = masked(call, line, 8000)
    assert not recorded[start:end].any()
    assert np.array_equal(recorded[:start], line[:start])
    assert np.array_equal(recorded[end:], line[end:])
