# SPDX-License-Identifier: MIT
"""What events carry, and when they come."""

import asyncio
import threading
import time
import wave
from collections.abc import Callable

import numpy as np
import pytest

from recorder import Call, DigitEvent, RecordEvent, VoiceEvent, detect
from tests import signals
from tests.conftest import Events, settle
from tests.marks import mostly_slow
from tests.recordings import (
    AUDIO,
    LISTEN,
    NO_LIMITS,
    SPEAK,
    check_finished,
    feed_frames,
    path_of,
    result_of,
)


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
    assert end - start == pytest.approx(1.0, abs=1e-5)
    assert 0 <= event.timestamp - start < 60
    assert params.pop("timestamp") == event.timestamp
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


YEAR = 365 * 86400.0


def test_a_clock_that_jumps(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1e9]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    action = events.call.record({**NO_LIMITS, "max_length": 3})
    for at in range(0, 24000, 8000):
        feed_frames(events.call, AUDIO[at : at + 4000])
        clock[0] += (-1) ** (at // 8000) * 30 * YEAR
        feed_frames(events.call, AUDIO[at + 4000 : at + 8000])
        if at == 0:
            action.pause("silence")
            action.resume()
    event = result_of(action)
    check_finished(event, AUDIO)
    assert event.record["reason"] == "max_length"
    assert events.states == ["recording", "paused", "recording", "finished"]
    later = 1e9 + 30 * YEAR
    assert [event.timestamp for event in events.received] == [1e9, later, later, later]
    # Its own time, whatever the clock did.
    assert (event.params["start_time"], event.params["end_time"]) == (1e9, 1e9 + 3)


def test_an_event_says_the_same_by_its_properties(call: Call) -> None:
    action = call.record({**NO_LIMITS, "terminators": "#"})
    feed_frames(call, SPEAK)
    call.digit("#")
    event = result_of(action)
    assert event.record == event.params["record"]
    for name in ("control_id", "recording_id", "state", "url", "duration", "size"):
        assert getattr(event, name) == event.params[name]
    for name in ("url", "duration", "size", "reason", "digit"):
        assert getattr(event, name) == event.record[name]
    assert (event.reason, event.digit, event.error) == ("terminator", "#", None)
    assert event.path == path_of(event)
    assert event.payload == {
        "event_type": event.event_type,
        "timestamp": event.timestamp,
        "params": event.params,
    }


@pytest.mark.parametrize("how", mostly_slow(["hangup", "terminator", "stop"], "hangup", "stop"))
def test_join_returns_after_the_handlers(call: Call, how: str) -> None:
    """Whichever thread or handler is slow: all have been called by then."""
    for _ in range(20):
        called: list[str] = []

        def slowly(event: RecordEvent, called: list[str] = called) -> None:
            if event.state == "finished":
                sum(range(100_000))  # slow, beside one that waits
                called.append("plain")

        async def later(event: RecordEvent, called: list[str] = called) -> None:
            await asyncio.sleep(0.001)
            called.append("coroutine")

        call.on("calling.call.record", slowly)
        action = call.record({**NO_LIMITS, "terminators": "#"}, on_completed=later)
        if how == "hangup":
            call.hangup()
        else:
            call.digit("#") if how == "terminator" else action.stop()
        assert result_of(action) is action.result
        assert sorted(called) == ["coroutine", "plain"]
        if how == "hangup":
            break


def test_leaving_the_block_hangs_up_and_waits(make_call: Callable[..., Call]) -> None:
    called: list[str | None] = []
    with make_call() as call:
        action = call.record(NO_LIMITS, on_completed=lambda event: called.append(event.reason))
        feed_frames(call, SPEAK)
    assert called == ["hangup"]
    assert action.is_done
    check_finished(action.join(0), SPEAK)


def test_digit_and_voice_events(call: Call) -> None:
    voice: list[VoiceEvent] = []
    digits: list[DigitEvent] = []
    call.on("voice", voice.append)
    call.on("digit", digits.append)
    quiet = signals.silence(0.5)
    words = signals.tone(0.5, -20, hz=300)
    audio = np.concatenate([quiet, words, quiet, signals.dtmf("5", 0.1), quiet])
    feed_frames(call, audio, signals.silence(len(audio) / 8000))
    call.digit("6")
    feed_frames(call, signals.silence(0.5), words)
    settle()
    tone = detect(audio, 8000).digits[0].start
    assert [(e.digit, e.position, e.in_band) for e in digits] == [
        ("5", tone, True),
        ("6", len(audio), False),
    ]
    spans = [(span.start, span.end) for span in detect(audio, 8000).voice]
    expected = [
        ("speak", state, at)
        for start, end in spans
        for state, at in (("start", start), ("end", end))
    ]
    assert [(e.leg, e.state, e.position) for e in voice if e.leg == "speak"] == expected
    assert [(e.leg, e.state, e.position) for e in voice if e.leg == "listen"] == [
        ("listen", "start", len(audio))
    ]
    assert {e.call_id for e in voice} == {e.call_id for e in digits} == {call.call_id}
    assert {e.event_type for e in voice} == {"voice"}
    assert {e.event_type for e in digits} == {"digit"}


def test_a_voice_event_by_a_gate_of_its_own(call: Call) -> None:
    by_default: list[VoiceEvent] = []
    sensitive: list[VoiceEvent] = []
    call.on("voice", by_default.append)
    call.on("voice", sensitive.append, input_sensitivity=60)
    feed_frames(call, np.concatenate([signals.silence(0.5), signals.tone(0.5, -52)]))
    settle()
    assert by_default == []
    assert [event.state for event in sensitive] == ["start"]
