# SPDX-License-Identifier: MIT
"""SignalWire's own SDK reads our events."""

import json
from typing import Any

import pytest

from recorder import Call
from tests import signals
from tests.conftest import Events
from tests.recordings import NO_LIMITS, feed_frames

pytest.importorskip("signalwire", reason="the test extra installs signalwire-sdk")


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_the_sdk_parses_every_event(call: Call, format_: Any) -> None:
    from signalwire.relay.event import RecordEvent, parse_event

    events = Events(call)
    action = call.record({**NO_LIMITS, "format": format_}, control_id="mine")
    feed_frames(call, signals.noise(0.5, -30))
    action.pause()
    action.resume()
    action.stop()
    assert events.states == ["recording", "paused", "recording", "finished"]
    for event in events.received:
        parsed = parse_event(json.loads(json.dumps(event.payload)))
        assert isinstance(parsed, RecordEvent)
        assert parsed.event_type == event.event_type
        assert (parsed.url, parsed.duration, parsed.size) == (event.url, event.duration, event.size)
        assert (parsed.state, parsed.control_id) == (event.state, "mine")
        assert parsed.call_id == call.call_id
        assert parsed.record == event.record
    assert events.received[-1].size > 1000
