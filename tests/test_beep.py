# SPDX-License-Identifier: MIT
"""The beep: the party hears it, and the recording starts when it has ended."""

import numpy as np
import pytest

from recorder import (
    Call,
)
from tests import signals
from tests.conftest import Events
from tests.recordings import (
    NO_LIMITS,
    audio_of,
    feed_frames,
    result_of,
)


def test_the_party_hears_a_beep_and_the_file_does_not(events: Events) -> None:
    action = events.call.record({**NO_LIMITS, "beep": True, "direction": "both"})
    assert action.state == "created"
    assert not events.states
    quiet = signals.silence(0.02)
    returned = [events.call.feed(speak=quiet, listen=quiet) for _ in range(50)]
    to_party = np.concatenate([np.asarray(frame) for frame in returned])
    beep = np.flatnonzero(to_party)
    assert beep[0] < 10
    assert 1900 < beep[-1] < 2000
    spectrum = np.abs(np.fft.rfft(to_party[:2000]))
    assert np.argmax(spectrum) * 4 == pytest.approx(1000, abs=8)
    action.stop()
    event = result_of(action)
    assert event.duration == (8000 - 2000) / 8000
    assert not np.any(audio_of(event))
    assert events.states == ["recording", "finished"]


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
    assert call.feed(speak=bytes(320)) == bytes(320)


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
    assert call.feed(speak=frame) == frame
    assert call.feed() is None


def test_stop_while_the_beep_plays(events: Events) -> None:
    action = events.call.record({"beep": True, "terminators": "#"})
    feed_frames(events.call, signals.silence(0.1))
    events.call.digit("#")  # pressed before it starts: meant for something else
    assert action.state == "created"
    action.stop()
    assert events.states == ["finished"]
    assert result_of(action).duration == 0
    assert len(audio_of(action.join(10))) == 0


def test_pause_while_the_beep_plays_holds_when_it_has_ended(events: Events) -> None:
    action = events.call.record({**NO_LIMITS, "beep": True})
    action.pause()
    feed_frames(events.call, signals.noise(1, -20))
    assert events.states == ["recording", "paused"]
    action.resume()
    feed_frames(events.call, signals.noise(1, -20))
    action.stop()
    assert result_of(action).duration == 1.0
