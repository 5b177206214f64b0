# SPDX-License-Identifier: MIT
"""What `Call.feed` costs per 20 ms of both legs.

The figure shares out all of the work, also what is done for many frames at once: a file's blocks,
every half second. The median frame, timed alone, is without it, and with the clock's own reading.
"""

import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks import signals
from recorder import Call

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.figures import Measure

_ROUNDS: Final = 100  # of 8 s: a file of 13 minutes
_SINGLE_ROUNDS: Final = 10
_PROMISED: Final = 5.0  # us, of one WAV recording
_GROUP: Final = "Call.feed, both legs"
_LASTING: Final[dict[str, Any]] = {"initial_timeout": 0, "end_silence_timeout": 0}
_RECORDINGS: Final[dict[str, dict[str, Any] | None]] = {
    "no recording": None,
    "WAV": {},
    "WAV, both": {"direction": "both"},
    "MP3": {"format": "mp3"},
}


@pytest.mark.benchmark(group=_GROUP)
@pytest.mark.parametrize("name", _RECORDINGS)
def test_feed(measure: "Measure", tmp_path: "Path", name: str) -> None:
    speech = signals.material("speech")
    said = signals.in_frames(speech)
    heard = signals.in_frames(signals.stereo_call(len(speech) // signals.RATE)[:, 1])
    frames = list(zip(said, heard, strict=True))
    call = Call(signals.RATE, directory=tmp_path)
    options = _RECORDINGS[name]
    action = None if options is None else call.record({**_LASTING, **options})
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
