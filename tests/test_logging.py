# SPDX-License-Identifier: MIT
"""What the logger `recorder` says, what is printed by default, and what objects show."""

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder import Call
from tests import signals
from tests.conftest import settle
from tests.recordings import BOTH, NO_LIMITS, SPEAK, feed_frames, result_of


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """The messages of the package's logger at a level."""
    settle()
    records = [record for record in caplog.records if record.levelno == level]
    assert all(record.name == "recorder" for record in records)
    return [record.getMessage() for record in records]


def test_info_when_recordings_start_and_end_and_why(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "recorder")
    call = make_call(call_id="the-call")
    one = call.record({**NO_LIMITS, "max_length": 0.5}, control_id="one")
    started = logged(caplog, logging.INFO)
    assert len(started) == 1
    assert {"one", "the-call"} <= set(re.findall(r"[\w-]+", started[0]))
    feed_frames(call, SPEAK)
    result_of(one)
    ended = logged(caplog, logging.INFO)[1:]
    assert len(ended) == 1
    assert {"one", "the-call", "max_length"} <= set(re.findall(r"[\w-]+", ended[0]))
    assert "0.500 s" in ended[0]
    two = call.record(NO_LIMITS, control_id="two")
    call.hangup("the party left")
    result_of(two)
    text = "\n".join(logged(caplog, logging.INFO)[2:])
    assert "the party left" in text
    assert re.search(r"two.* hangup", text)
    assert not logged(caplog, logging.WARNING)


def test_a_recording_that_ends_as_error_says_so_once(
    call: Call, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "recorder")
    action = call.record(NO_LIMITS)

    def fail(_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(call._recordings._running[0].writer.file, "write", fail)
    feed_frames(call, SPEAK)
    action.stop()
    assert result_of(action).state == "error"
    (message,) = logged(caplog, logging.ERROR)
    assert "Input/output error" in message
    assert re.search(r"ends: error", logged(caplog, logging.INFO)[-1])


def test_debug_when_audio_is_filled(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "recorder")
    call.feed(speak=SPEAK, at=0)
    assert not logged(caplog, logging.DEBUG)[2:]  # of the other leg only
    caplog.clear()
    call.feed(speak=SPEAK, at=10_000)
    messages = logged(caplog, logging.DEBUG)
    assert any("speak" in text and "2000" in text and "8000" in text for text in messages)


def test_a_warning_the_first_time_audio_is_lost(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    call.feed(speak=SPEAK, at=0)
    call.feed(speak=SPEAK, at=0)  # a duplicate: nothing is lost
    assert not logged(caplog, logging.WARNING)
    assert call.stats.speak.duplicate == 8000
    for at in (7900, 15_000, 15_100):
        call.feed(speak=SPEAK, at=at)
    assert call.stats.speak.overlap > 100
    (message,) = logged(caplog, logging.WARNING)
    for part in (call.call_id, "100 samples", "speak", "play(", "at=", "live=True", "call.stats"):
        assert part in message


def test_a_burst_that_is_lost_is_one_warning(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        call.feed(speak=signals.silence(0.02))
        call.feed(listen=signals.silence(0.02))
    for _ in range(200):
        call.feed(listen=signals.silence(0.02))
        if _ % 10 == 0:
            call.feed(speak=signals.silence(0.02))
    assert call.stats.listen.late > 0
    assert len(logged(caplog, logging.WARNING)) == 1


def test_each_call_warns_for_itself(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        call = make_call()
        call.feed(speak=SPEAK, at=0)
        call.feed(speak=SPEAK, at=100)
    assert len(logged(caplog, logging.WARNING)) == 2


PROGRAM = """
import sys
from recorder import Call
call = Call(directory=sys.argv[1])
action = call.record({"max_length": 3}, on_completed=lambda event: 1 / 0)
call.feed(speak=bytes(16000), at=0)
call.feed(speak=bytes(16000), at=100)
call.feed(speak=bytes(16000), at=80000)
call.hangup()
action.join(10)
"""


@pytest.mark.parametrize("configured", [False, True])
def test_nothing_is_printed_by_default(tmp_path: Path, configured: bool) -> None:
    """Not even the warning, nor what a handler raises; all of it once logging is configured."""
    first = "import logging; logging.basicConfig(level=logging.DEBUG)" if configured else ""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", first + PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    if configured:
        for part in ("INFO:recorder", "DEBUG:recorder", "WARNING:recorder", "ZeroDivisionError"):
            assert part in done.stderr
    else:
        assert done.stderr == ""


# -- what objects show ----------------------------------------------------------------------------


def test_a_call_shows_where_it_is_and_what_runs(make_call: Callable[..., Call]) -> None:
    call = make_call(call_id="c")
    assert repr(call) == "<Call 'c' at 0.00 s, 0 recordings>"
    call.record(NO_LIMITS)
    assert repr(call) == "<Call 'c' at 0.00 s, 1 recording>"
    call.record(BOTH)
    feed_frames(call, SPEAK)
    assert repr(call) == "<Call 'c' at 1.00 s, 2 recordings>"
    call.hangup()
    assert repr(call) == "<Call 'c' at 1.00 s, 0 recordings, was hung up>"


def test_an_action_shows_its_name_and_state(call: Call) -> None:
    action = call.record(NO_LIMITS, control_id="k")
    assert repr(action) == "<RecordAction 'k' recording>"
    action.pause()
    assert repr(action) == "<RecordAction 'k' paused>"
    action.stop()
    result_of(action)
    assert repr(action) == "<RecordAction 'k' finished>"


def test_an_event_shows_what_happened(call: Call) -> None:
    action = call.record({**NO_LIMITS, "terminators": "#"}, control_id="k")
    feed_frames(call, SPEAK)
    call.digit("#")
    assert repr(result_of(action)) == "<RecordEvent 'k' finished terminator 1.000 s>"


def test_hostile_names_are_shown_harmlessly(make_call: Callable[..., Call]) -> None:
    call = make_call(call_id="a\n\x1b[2J\ud800")
    action = call.record(NO_LIMITS, control_id="b\r\n")
    action.stop()
    for thing in (call, action, result_of(action)):
        assert repr(thing).isprintable()
