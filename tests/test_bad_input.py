# SPDX-License-Identifier: MIT
"""What is refused raises before anything changes, and says what is expected."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import (
    Call,
    FileError,
    FrameError,
    OptionError,
)
from tests.conftest import Events
from tests.recordings import (
    AUDIO,
    BOTH,
    LISTEN,
    NO_LIMITS,
    SPEAK,
    audio_of,
    check_finished,
    feed_frames,
    path_of,
    result_of,
)


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
def test_a_bad_frame_raises_and_the_recording_continues(
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
    events: Events, error: type[Exception], arguments: dict[str, Any]
) -> None:
    running = events.call.record(NO_LIMITS)
    files = set(events.call.directory.iterdir())
    with pytest.raises(error):
        events.call.record(**arguments)
    assert set(events.call.directory.iterdir()) == files
    assert events.states == ["recording"]
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
        {"live": "yes"},
        {"live": 1},
        {"file_mode": "600"},
        {"file_mode": 0o1000},
        {"file_mode": True},
        {"speak_rate": 3999},
    ],
)
def test_bad_calls_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(arguments))}: expected .*, got"):
        Call(**arguments)


def test_other_events_are_refused(call: Call) -> None:
    with pytest.raises(OptionError, match=r"calling\.call\.record"):
        call.on("calling.call.play", print)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"input_sensitivity: expected .*, got 101"):
        call.on("voice", print, input_sensitivity=101)
    with pytest.raises(OptionError, match="handler"):
        call.on("calling.call.record", None)  # type: ignore[arg-type]


def released() -> memoryview:
    view = memoryview(bytes(320))
    view.release()
    return view


BAD_FRAMES: list[Any] = [
    b"odd",
    bytearray(1),
    "text",
    5,
    [0] * 160,
    object(),
    np.zeros((80, 2), np.int16),
    np.zeros((), np.int16),
    np.zeros(160, np.int32),
    np.zeros(160, np.uint8),
    np.zeros(160, ">i2"),
    np.zeros(160, object),
    np.zeros(160, np.complex128),
    np.full(160, np.nan),
    np.full(160, np.inf, np.float32),
    np.full(160, 2.0),
    memoryview(bytes(320)).cast("d"),
    memoryview(bytes(320)).cast("h", (80, 2)),
    released(),
]


BAD_POSITIONS: list[Any] = [
    -1,
    True,
    np.True_,
    1.0,
    np.float64(5),
    float("nan"),
    "5",
    b"5",
    [],
    10**12,
    2**63,
    -(2**70),
    np.int64(-1),
]


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_garbage_changes_nothing(make_call: Callable[..., Call], format_: Any) -> None:
    """A recording that is fed garbage in between is the same, byte for byte, as one that is not."""
    content = []
    for garbage in (False, True):
        call = make_call()
        events = Events(call)
        action = call.record({**BOTH, "format": format_, "stereo": True})
        for at in range(0, len(AUDIO), 800):
            frame = AUDIO[at : at + 800]
            call.feed(speak=frame, listen=frame[::-1])
            if not garbage:
                continue
            before = call.stats
            for bad in BAD_FRAMES:
                for frames in (
                    {"speak": bad},
                    {"listen": bad},
                    {"speak": bytes(320), "listen": bad},
                ):
                    with pytest.raises(ValueError, match=r"."):
                        call.feed(**frames)
            for bad in BAD_POSITIONS:
                with pytest.raises(ValueError, match="at: expected"):
                    call.feed(speak=bytes(320), at=bad)
            with pytest.raises(OptionError, match="encoding"):
                call.feed(speak=bytes(320), encoding="mp3")  # type: ignore[call-overload]
            for nothing in ({}, {"speak": b""}, {"listen": np.zeros(0, np.int16)}):
                call.feed(**nothing)
            assert call.stats == before
        action.stop()
        content.append(path_of(result_of(action)).read_bytes())
        assert events.states == ["recording", "finished"]
    assert content[0] == content[1]


def test_odd_frames_are_taken(call: Call) -> None:
    """Every second sample of a view, numpy's integers as positions, one sample at a time."""
    position: list[Any] = [np.int64(0), np.uint16(1000)]
    action = call.record(BOTH)
    call.feed(speak=memoryview(AUDIO[:1600].data)[::2], at=position[0])
    for at in range(800, 1000):
        call.feed(speak=AUDIO[at : at + 1])
    call.feed(speak=AUDIO[1000:1800].astype(np.float32) / 32768, at=position[1])
    action.stop()
    kept = np.concatenate([AUDIO[:1600:2], AUDIO[800:1800]])
    check_finished(action.join(10), kept)


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_frame_of_an_hour(call: Call, format_: Any) -> None:
    hour = np.tile(AUDIO, 1200)
    action = call.record({**NO_LIMITS, "format": format_})
    short = call.record({**NO_LIMITS, "max_length": 1})
    call.feed(speak=hour.tobytes())
    check_finished(short.join(10), AUDIO[:8000])
    action.stop()
    event = action.join(60)
    check_finished(event, hour)
    assert event.duration == 3600
