# SPDX-License-Identifier: MIT
"""What memory recordings take, and that a day's call takes no more than its first minutes.

    python -m benchmarks.memory [--hours 24] [--mp3-hours 2] [--recordings 200] [--directory DIR]

A long call is fed as fast as it goes, both legs at 8 kHz into a stereo file, with speech, silence,
digits both ways, and pauses of both kinds. 24 h of it are 2.7 GB of WAV below DIR, removed
afterwards. Before each look all pending audio is written. Goal: at the end the process took at its
peak at most 1 MiB more than after 5 minutes, and a frame costs the same.

Then so many recordings at once, each fed 10 s in step with the others. Linux only: it reads /proc.
"""

import argparse
import ctypes
import gc
import itertools
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import signals
from benchmarks.signals import FRAME_SECONDS, RATE, WIDE_RATE
from recorder import Call, RecordOptions
from recorder.runtime.lanes import WRITING
from recorder.writing.writer import MOST_PENDING

_PER_MINUTE: Final = round(60 / FRAME_SECONDS)  # frames
_PER_BLOCK: Final = 25
_FIRST_MINUTES: Final = 5
_MOST_GROWTH_KIB: Final = 1024
_MOST_SLOWDOWN: Final = 1.25
_LIVE_SECONDS: Final = 10
_DIGITS: Final = "0123456789*#ABCD"
_PATIENCE: Final = 600.0


def _memory() -> tuple[int, int]:
    """KiB that the process takes: at its peak so far, and now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmHWM"].split()[0]), int(fields["VmRSS"].split()[0])


def _reset_peak() -> None:
    """Give back what is free, and let the peak start from now."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def _write_all() -> None:
    assert WRITING.drain(_PATIENCE), "the disk has stalled"


# -- a long call ------------------------------------------------------------------------------


def _minutes(rng: random.Random) -> Iterator[list[tuple[bytes, bytes]]]:
    """Both legs of a call, minute by minute: on each as much speech, silence and digits."""
    speech, silence, digits = (
        signals.in_frames(signals.material(name)) for name in signals.MATERIALS
    )
    parts = [speech] * 4 + [silence] * 3 + [digits[: len(digits) // 2]]  # four seconds of them
    while True:
        legs = []
        for _ in range(2):
            rng.shuffle(parts)
            legs.append(list(itertools.chain.from_iterable(parts)))
        yield list(zip(*legs, strict=True))


def _long_call(format: str, hours: float, directory: Path) -> list[tuple[float, int, int, float]]:
    """At 5 minutes, each hour and the end: hours, peak and RSS in KiB, median ns per frame."""
    rng = random.Random(24)
    # With all that a recording keeps state for: a timer that never ends it, and digits to mask.
    options = RecordOptions.whole_call(
        format=format, stereo=True, end_silence_timeout=3600, mask_digits=True
    )
    call = Call(RATE, directory=directory)
    action = call.record(options)
    last = round(hours * 60)
    marks = {_FIRST_MINUTES, *range(60, last, 60), last}
    looks: list[tuple[float, int, int, float]] = []
    taken = np.zeros(_FIRST_MINUTES * _PER_MINUTE, np.int64)  # of the last minutes
    clock, feed = time.perf_counter_ns, call.feed
    paused_until, count = -1, 0
    _reset_peak()
    for minute, frames in zip(range(last), _minutes(rng), strict=False):
        for speak, listen in frames:
            start = clock()
            feed(speak=speak, listen=listen)
            taken[count % len(taken)] = clock() - start
            count += 1
            if count == paused_until:
                action.resume()
        # The first pause comes early: what is loaded with it is no growth.
        if minute == 0 or (count > paused_until and rng.random() < 0.2):
            action.pause(rng.choice(["skip", "silence"]))
            paused_until = count + rng.randrange(1, 1000)
        if rng.random() < 0.2:
            call.digit(rng.choice(_DIGITS))
        if minute + 1 in marks:
            _write_all()
            looks.append(((minute + 1) / 60, *_memory(), float(np.median(taken))))
    action.resume()
    assert action.state == "recording"
    call.hangup()
    event = action.join(_PATIENCE)
    assert event.state == "finished"
    assert 0.8 * hours * 3600 < event.duration <= hours * 3600
    return looks


def _print_long_call(format: str, looks: Sequence[tuple[float, int, int, float]]) -> bool:
    """Print it; return whether the goal is met."""
    print(f"\nOne call, stereo {format.upper()} at 8 kHz:\n")
    print("| hours | peak, KiB | RSS, KiB | us per frame |\n| ---: | ---: | ---: | ---: |")
    for hours, peak, now, cost in looks:
        print(f"| {hours:.2f} | {peak:,} | {now:,} | {cost / 1000:.2f} |")
    first, end = looks[0], looks[-1]
    growth = (end[1] - first[1], end[2] - first[2])
    slower = end[3] / first[3]
    met = growth[0] <= _MOST_GROWTH_KIB and slower <= _MOST_SLOWDOWN
    print(
        f"\npeak {growth[0]:+} KiB, RSS {growth[1]:+} KiB, a frame {slower:.2f} times as long:"
        f" {'met' if met else 'MISSED'}"
    )
    return met


# -- many recordings --------------------------------------------------------------------------


def _live(rate: int, count: int, directory: Path, **options: Any) -> tuple[float, float]:
    """KiB per live recording, beyond the process without one: at the peak, and now."""
    frames = signals.in_frames(signals.material("speech", rate), rate)

    def start() -> tuple[Call, Any]:
        call = Call(rate, directory=directory)
        return call, call.record(RecordOptions.whole_call(**options))

    def feed(calls: Sequence[Call]) -> None:
        for number in range(round(_LIVE_SECONDS / FRAME_SECONDS)):
            listen = frames[number % len(frames)]
            for index, call in enumerate(calls):
                # As from a network: each call has a frame of its own.
                frame = bytearray(frames[(number + index) % len(frames)])
                call.feed(speak=frame, listen=listen)
            if number % _PER_BLOCK == 0:  # in real time the writer keeps up
                _write_all()
        _write_all()

    first, action = start()  # loads and starts what all share
    feed([first])
    first.hangup()
    action.join(_PATIENCE)
    _reset_peak()
    before = _memory()[1]
    started = [start() for _ in range(count)]
    feed([call for call, _ in started])
    peak, now = _memory()
    for call, _ in started:
        call.hangup()
    for _, action in started:
        assert action.join(_PATIENCE).duration == _LIVE_SECONDS
    return (peak - before) / count, (now - before) / count


# -- the tables -------------------------------------------------------------------------------


def _alone(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """In a process of its own, whose memory is this run's alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments, **options).result()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; exit 1 when the long call misses its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--hours", type=float, default=24, help="of the call to WAV; 0 for none")
    parser.add_argument("--mp3-hours", type=float, default=2, help="of that to MP3; 0 for none")
    parser.add_argument("--recordings", type=int, default=200, help="at once; 0 for none")
    parser.add_argument("--directory", type=Path, help="default: the usual temporary one")
    chosen = parser.parse_args(arguments)
    if not Path("/proc/self/clear_refs").exists():
        sys.exit("this needs Linux's /proc")
    met = True
    with tempfile.TemporaryDirectory(dir=chosen.directory) as name:
        folder = Path(name)
        for kind, hours in (("wav", chosen.hours), ("mp3", chosen.mp3_hours)):
            if hours:
                met &= _print_long_call(kind, _alone(_long_call, kind, hours, folder))
                for file in folder.iterdir():
                    file.unlink()
        if chosen.recordings:
            print(f"\n{chosen.recordings} live recordings of both legs, KiB for each:\n")
            print("| | at the peak | then |\n| --- | ---: | ---: |")
            for rate, kind, stereo in itertools.product(
                (RATE, WIDE_RATE), ("wav", "mp3"), (False, True)
            ):
                peak, now = _alone(
                    _live, rate, chosen.recordings, folder, format=kind, stereo=stereo
                )
                channels = "stereo" if stereo else "mono"
                row = f"{kind.upper()}, {channels}, {rate // 1000} kHz"
                print(f"| {row} | {peak:.0f} | {now:.0f} |", flush=True)
            print(f"\nAnd {MOST_PENDING // 1024:,} of audio at most, while the disk has stalled.")
    if not met:
        sys.exit(1)


if __name__ == "__main__":
    main()
