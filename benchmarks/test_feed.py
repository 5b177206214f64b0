# SPDX-License-Identifier: MIT
"""What `Call.feed` costs per 20 ms of both legs.

The figure shares out all of the work, also what is done for many frames at once: a file's blocks,
every half second. The median frame, timed alone, is without it, and with the clock's own reading.

Both are told in empty cffi calls too, which are the same work on every machine.
"""

import statistics
import time
import timeit
from typing import TYPE_CHECKING, Any, Final

import pytest

from benchmarks import signals
from recorder import Call
from recorder._core import lib

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.figures import Measure

_ROUNDS: Final = 100  # of 8 s: a file of 13 minutes
_SINGLE_ROUNDS: Final = 10
_PROMISED: Final = 40  # empty calls, of one WAV recording
_EMPTY: Final = lib.rec_level_frame
_GROUP: Final = "Call.feed, both legs"
_LASTING: Final[dict[str, Any]] = {"initial_timeout": 0, "end_silence_timeout": 0}
_RECORDINGS: Final[dict[str, dict[str, Any] | None]] = {
    "no recording": None,
    "WAV": {},
    "WAV, both": {"direction": "both"},
    "MP3": {"format": "mp3"},
}


def _empty_call() -> float:
    """Nanoseconds that the smallest call into C and back takes, by a measurement of 0.1 ms."""
    number = 2000
    return 1e9 / number * timeit.timeit("call(8000)", globals={"call": _EMPTY}, number=number)


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

    # The clock of a shared machine wanders: an empty call is measured before every round.
    empty: list[float] = []
    measure.run_rounds(feed_all, _ROUNDS, setup=lambda: empty.append(_empty_call()))
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
        one = statistics.median(empty)
        calls = measure.median / len(frames) * 1e9 / one
        most = statistics.median(single) / one
        note = f"{calls:.1f} empty cffi calls of {one:.0f} ns, the median frame {most:.1f}"
        if name == "WAV":
            note += f"; promised: {_PROMISED} at most"
        measure.note("empty_cffi_calls", calls)
        measure.note("empty_cffi_calls_of_median_frame", most)
        measure.per_frame(_GROUP, name, len(frames), note)
