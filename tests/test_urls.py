# SPDX-License-Identifier: MIT
"""What events give as `url`, `path` and times."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from recorder import Call
from tests import signals
from tests.recordings import NO_LIMITS


@pytest.mark.parametrize(
    ("base_url", "before", "after"),
    [
        ("https://example.org", "https://example.org/", ""),
        ("https://example.org/", "https://example.org/", ""),
        ("https://example.org/a/b", "https://example.org/a/b/", ""),
        ("https://example.org/a?token=x&y=1", "https://example.org/a/", "?token=x&y=1"),
        ("https://example.org?token=x", "https://example.org/", "?token=x"),
        ("s3://bucket/a", "s3://bucket/a/", ""),
        ("/files", "/files/", ""),
    ],
)
def test_a_base_url(make_call: Callable[..., Call], base_url: str, before: str, after: str) -> None:
    call = make_call(base_url=base_url)
    action = call.record(NO_LIMITS)
    action.stop()
    event = action.join(10)
    assert event.path is not None
    assert event.url == before + event.path.name + after


@pytest.mark.parametrize("base_url", [None, ""])
def test_without_one_it_is_the_file_s(make_call: Callable[..., Call], base_url: Any) -> None:
    call = make_call(base_url=base_url)
    action = call.record(NO_LIMITS)
    action.stop()
    event = action.join(10)
    assert urlsplit(event.url).scheme == "file"
    assert unquote(urlsplit(event.url).path) == str(event.path)


def test_times_are_those_of_the_recording(call: Call) -> None:
    """Samples and pauses, not how long it took to process a file."""
    action = call.record(NO_LIMITS)
    call.feed(speak=signals.noise(2, -30))
    action.pause()
    call.feed(speak=signals.noise(3, -30))
    action.resume()
    call.feed(speak=signals.noise(1, -30))
    action.stop()
    event = action.join(10)
    assert event.duration == 3.0
    elapsed = event.params["end_time"] - event.params["start_time"]
    assert elapsed == pytest.approx(6.0, abs=1e-3)
    assert event.params["timestamp"] == event.timestamp


def test_the_beep_of_a_stopped_recording_is_not_heard_on(call: Call) -> None:
    action = call.record({**NO_LIMITS, "beep": True})
    assert any(call.feed(speak=signals.silence(0.02)))
    action.stop()
    assert not any(call.feed(speak=signals.silence(0.5)))
    assert action.join(10).duration == 0.0


def test_nothing_is_reported_after_the_end(call: Call) -> None:
    """Silence has ended it, which becomes known only with the next command."""
    states: list[str] = []
    call.on("calling.call.record", lambda event: states.append(event.state))
    action = call.record({**NO_LIMITS, "end_silence_timeout": 1})
    call.feed(speak=signals.noise(0.5, -20))
    call.feed(speak=signals.silence(1.2))
    assert action.pause()["code"] == "404"
    action.join(10)
    assert states == ["recording", "finished"]
