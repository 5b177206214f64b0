# SPDX-License-Identifier: MIT
"""How long `feed` keeps its thread while many MP3 recordings run in the process.

    python -m benchmarks.latency [--recordings 200] [--seconds 30]

In every tick of 20 ms one call with a WAV recording is fed, then all calls with an MP3 recording
each: both legs, speech, at 8 kHz, in mono. Each `feed` is timed. So are as many turns of a loop
that takes as long and does nothing, which shows what the machine itself adds. And so is aiortc's
MediaRecorder, which encodes in the event loop, one MP3 each: timed is how long its task keeps the
loop for a frame (from getting it to asking for the next: encoding and muxing), without what asyncio
adds. It takes one leg, at 8 kHz; bit rate and quality are its own choice.

The call with the WAV comes first after the pause, on cold caches: its median is high for that.
Goal: a feed's p99.9 is less than 20 times its median, of that call and of the others.
"""

import argparse
import asyncio
import importlib
import os
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import feeding, signals
from benchmarks.signals import FRAME_SECONDS, RATE
from recorder import Call, RecordOptions
from recorder._core import lib

_FRAME: Final = signals.frame_length()
_BLOCK: Final = RATE // 2  # handed on at once
_WARM_UP: Final = 50  # ticks that are not counted
_APART: Final = 7  # frames: no two calls next to each other are fed the same
_REAL_TIME: Final = 0.99  # what counts as in real time
_TRIAL_SECONDS: Final = 5
_GOAL: Final = 20
_EMPTY: Final = lib.rec_level_frame

# Does what is due in the tick of this number, and notes the times itself.
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How much of real time was kept up with, and how many cores' time that took."""

    share: float
    cores: float

    def __str__(self) -> str:
        return f"{self.share:.1%} of real time, {self.cores:.2f} cores busy"


class _Clock:
    """Ticks in real time, without catching up what was missed."""

    def __init__(self, seconds: float) -> None:
        self.ticks = round(seconds / FRAME_SECONDS)
        self._start = self._next = time.perf_counter()
        self._busy = time.process_time()

    def rest(self) -> float:
        """Seconds until the next tick is due."""
        now = time.perf_counter()
        self._next = max(self._next + FRAME_SECONDS, now)
        return self._next - now

    def run(self) -> Run:
        """How the ticks so far went."""
        passed = time.perf_counter() - self._start
        busy = time.process_time() - self._busy
        return Run(share=min(1.0, self.ticks * FRAME_SECONDS / passed), cores=busy / passed)


def _paced(tick: Tick, seconds: float) -> Run:
    clock = _Clock(seconds)
    for number in range(clock.ticks):
        tick(number)
        time.sleep(clock.rest())
    return clock.run()


# -- what is timed ----------------------------------------------------------------------------


def _recorder(
    recordings: int, seconds: float, folder: Path
) -> tuple[Run, "array[int]", "array[int]"]:
    """The run, and the nanoseconds of each feed: of the call with the WAV, and of the others."""
    frames = feeding.ticks()
    kinds = ["wav", *["mp3"] * recordings]
    calls = [Call(RATE, directory=folder) for _ in kinds]
    actions = [
        call.record(RecordOptions.whole_call(format=kind))
        for call, kind in zip(calls, kinds, strict=True)
    ]
    for number, call in enumerate(calls):  # so that not all hand on their blocks at once
        first = bytes(2 * (number * _BLOCK // len(calls)))
        call.feed(speak=first, listen=first)
    measured, others = array("q"), array("q")
    feeds = [call.feed for call in calls]

    def tick(number: int) -> None:
        taken = measured
        clock = time.perf_counter_ns
        for feed in feeds:
            speak, listen = frames[number % len(frames)]
            number += _APART
            start = clock()
            feed(speak=speak, listen=listen)
            taken.append(clock() - start)
            taken = others

    _paced(tick, _WARM_UP * FRAME_SECONDS)
    del measured[:], others[:]
    run = _paced(tick, seconds)
    fed = [call.position for call in calls]
    for call in calls:
        call.hangup()
    for action, samples in zip(actions, fed, strict=True):
        event = action.join()
        assert (event.state, event.duration) == ("finished", samples / RATE)
    return run, measured, others


def _nothing(turns: int, recordings: int, seconds: float) -> tuple[Run, "array[int]"]:
    """As many turns of so many empty cffi calls: a long one is the machine's doing."""
    taken = array("q")
    call = _EMPTY

    def tick(_: int) -> None:
        clock = time.perf_counter_ns
        for _ in range(recordings + 1):
            start = clock()
            for _ in range(turns):
                call(RATE)
            taken.append(clock() - start)

    _paced(tick, _WARM_UP * FRAME_SECONDS)
    del taken[:]
    return _paced(tick, seconds), taken


def _turns(nanoseconds: float) -> int:
    """How many empty calls take this long."""
    number = 20_000
    call = _EMPTY
    start = time.perf_counter_ns()
    for _ in range(number):
        call(RATE)
    return max(1, round(nanoseconds * number / (time.perf_counter_ns() - start)))


def _media_recorder(recordings: int, seconds: float, folder: Path) -> tuple[Run, "array[int]"]:
    """The run, and for how many nanoseconds each frame of each recording kept the loop."""
    av: Any = importlib.import_module("av")
    media: Any = importlib.import_module("aiortc.contrib.media")
    tracks: Any = importlib.import_module("aiortc.mediastreams")
    spoken = [speak for speak, _ in feeding.ticks()]
    taken = array("q")
    clock = time.perf_counter_ns

    class Track(tracks.MediaStreamTrack):  # type: ignore[misc]  # it has no types
        kind = "audio"

        def __init__(self, number: int) -> None:
            super().__init__()
            self._at = number * _APART
            self._pts = 0
            self._got = 0  # when the recorder got the last frame
            self.due = asyncio.Event()

        async def recv(self) -> Any:
            asked = clock()
            if self._got:
                taken.append(asked - self._got)
            await self.due.wait()
            self.due.clear()
            frame = av.AudioFrame(format="s16", layout="mono", samples=_FRAME)
            frame.planes[0].update(spoken[self._at % len(spoken)])
            frame.pts, frame.sample_rate, frame.time_base = self._pts, RATE, Fraction(1, RATE)
            self._at += 1
            self._pts += _FRAME
            self._got = clock()
            return frame

    async def paced(all_tracks: list[Track], seconds: float) -> Run:
        ticks = _Clock(seconds)
        for _ in range(ticks.ticks):
            for track in all_tracks:
                track.due.set()
            await asyncio.sleep(0)  # all of them have their frame afterwards
            await asyncio.sleep(ticks.rest())
        return ticks.run()

    async def main() -> Run:
        all_tracks = [Track(number) for number in range(recordings)]
        recorders = []
        for number, track in enumerate(all_tracks):
            recorders.append(media.MediaRecorder(str(folder / f"{recordings}-{number}.mp3")))
            recorders[-1].addTrack(track)
            await recorders[-1].start()
        await paced(all_tracks, _WARM_UP * FRAME_SECONDS)
        del taken[:]
        run = await paced(all_tracks, seconds)
        for recorder in recorders:
            await recorder.stop()
        return run

    return asyncio.run(main()), taken


# -- the table --------------------------------------------------------------------------------


def _row(name: str, taken: Sequence[int]) -> str:
    median, p99, p999, most = np.quantile(taken, [0.5, 0.99, 0.999, 1.0]) / 1000
    return (
        f"| {name} | {median:.1f} | {p99:.1f} | {p999:,.0f} | {most:,.0f} | {p999 / median:.1f} |"
    )


def _load() -> str:
    return f"load {os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""


def _rival(most: int, seconds: float, folder: Path) -> None:
    """One recording, and as many as it records in real time."""
    try:
        _media_recorder(1, 0.1, folder)
    except ImportError as error:
        print(f"aiortc's MediaRecorder is left out ({error}): pip install aiortc", file=sys.stderr)
        return
    run, taken = _media_recorder(1, seconds, folder)
    print(_row("MediaRecorder, 1 MP3", taken))
    runs = [f"MediaRecorder, 1: {run}"]
    count = most
    while count > 1:
        trial = _media_recorder(count, _TRIAL_SECONDS, folder)[0]
        if trial.share >= _REAL_TIME:
            run, taken = _media_recorder(count, seconds, folder)
            print(_row(f"MediaRecorder, {count} MP3", taken))
            runs.append(f"MediaRecorder, {count}: {run}")
            break
        runs.append(f"MediaRecorder, {count}: {trial}: too many")
        count //= 2
    print("\n" + "\n".join(runs))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, in microseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("--recordings", type=int, default=200, help="MP3s at once")
    parser.add_argument("--seconds", type=float, default=30, help="of each run")
    parser.add_argument("--only-own", action="store_true", help="leave the others out")
    chosen = parser.parse_args(arguments)
    count, seconds = chosen.recordings, chosen.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = _load()
        run, measured, others = _recorder(count, seconds, folder)
        idle, empty = _nothing(_turns(float(np.median(others))), count, seconds)
        print("| us | median | p99 | p99.9 | max | p99.9 / median |")
        print("| --- |" + " ---: |" * 5)
        print(_row("the machine: a loop as long", empty))
        print(_row("feed, a call with a WAV", measured))
        print(_row(f"feed, {count} calls with an MP3", others), flush=True)
        if not chosen.only_own:
            _rival(count, seconds, folder)
    print(f"recorder, {count}: {run}; the loop: {idle}; before: {before}, after: {_load()}")
    met = all(np.quantile(taken, 0.999) < _GOAL * np.median(taken) for taken in (measured, others))
    print(f"goal, p99.9 under {_GOAL} medians: {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
