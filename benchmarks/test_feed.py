# SPDX-License-Identifier: MIT
"""What `Call.feed` costs per 20 ms of both legs.

The figure shares out all of the work, also what is done for many frames at once: a file's blocks,
every half second. The median frame, timed alone, is without it, and with the clock's own reading.
benchmarks/tick.py compares the same by CPU time.
"""

import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks import feeding, rivals, signals
from benchmarks.feeding import IN_STEP, WAYS, Recorded
from benchmarks.figures import OWN
from recorder import Call, RecordOptions

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.figures import Measure

_ROUNDS: Final = 100  # of 8 s: a file of 13 minutes
_SINGLE_ROUNDS: Final = 10
_PROMISED: Final = 5.0  # us, of one WAV recording
_GROUP: Final = "Call.feed, both legs"
_WAYS_GROUP: Final = "a tick, both legs to a stereo WAV"
_RECORDINGS: Final[dict[str, dict[str, Any] | None]] = {
    "no recording": None,
    "WAV": {"direction": "speak"},
    "WAV, both": {},
    "MP3": {"direction": "speak", "format": "mp3"},
}


@pytest.mark.benchmark(group=_GROUP)
@pytest.mark.parametrize("name", _RECORDINGS)
def test_feed(measure: "Measure", tmp_path: "Path", name: str) -> None:
    frames = feeding.ticks()
    call = Call(signals.RATE, directory=tmp_path)
    options = _RECORDINGS[name]
    action = None if options is None else call.record(RecordOptions.whole_call(**options))
    feed = call.feed

    def feed_all() -> None:
        for speak, listen in frames:
            feed(speak=speak, listen=listen)

    measure.run_rounds(feed_all, _ROUNDS)
    single = []
    if measure.enabled:
        for speak, listen in frames * _SINGLE_ROUNDS:
            start = time.perf_counter_ns()
            feed(speak=speak, listen=listen)
            single.append(time.perf_counter_ns() - start)
    recorded_all = action is None or action.state == "recording"
    call.hangup()
    assert recorded_all
    if action is not None:
        assert action.join().state == "finished"
    if measure.enabled:
        median = statistics.median(single) / 1000
        note = f"the median frame {median:.1f} us"
        if name == "WAV":
            note += f"; promised: {_PROMISED} at most"
        measure.note("us_of_median_frame", median)
        measure.per_frame(_GROUP, name, len(frames), note)


@pytest.mark.benchmark(group=_WAYS_GROUP)
@pytest.mark.parametrize("name", WAYS)
def test_way_of_feeding(measure: "Measure", tmp_path: "Path", name: str) -> None:
    recorded = Recorded(WAYS[name], tmp_path, stereo=True)
    count = recorded.run(1)
    measure.run_rounds(lambda: recorded.run(1), _ROUNDS)
    recorded.close()
    if measure.enabled:
        measure.per_frame(_WAYS_GROUP, OWN if name == IN_STEP else name, count)


@pytest.mark.benchmark(group=_WAYS_GROUP)
@pytest.mark.parametrize("is_set_up", [False, True], ids=["bare", "set up"])
def test_pipecat(measure: "Measure", is_set_up: bool) -> None:
    pipecat = rivals.Pipecat(feeding.ticks(), is_set_up=is_set_up)
    count = pipecat.run(1)
    measure.run_rounds(lambda: pipecat.run(1), _ROUNDS)
    pipecat.close()
    if measure.enabled:
        name = "Pipecat, set up" if is_set_up else "Pipecat, bare"
        measure.per_frame(_WAYS_GROUP, name, count)
