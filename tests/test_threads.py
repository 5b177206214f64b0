# SPDX-License-Identifier: MIT
"""Recording from plain threads, with no event loop at all."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from recorder import (
    Call,
    RecordAction,
)
from tests import signals
from tests.conftest import Events
from tests.recordings import (
    LISTEN,
    NO_LIMITS,
    SPEAK,
    audio_of,
    feed_frames,
)


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
    events = Events(make_call())
    call = events.call
    actions = [call.record({**NO_LIMITS, "direction": "both"}) for _ in range(8)]
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
    feed_frames(call, np.tile(SPEAK, 3), np.tile(LISTEN, 3))
    for thread in threads:
        thread.join()
    for action in actions:
        event = action.join(timeout=30)
        assert len(audio_of(event)) == round(event.duration * 8000)
    assert events.states.count("finished") == 8
    for action in actions:
        states = [e.state for e in events.received if e.control_id == action.control_id]
        assert states == ["recording", *["paused", "recording"] * 20, "finished"]
