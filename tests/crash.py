# SPDX-License-Identifier: MIT
"""Kill a process that records, recover what it left, and compare that with what it was fed.

    python -m tests.crash --kills 10

The process that is killed runs this module too: it records twenty calls at once, WAV and MP3 at
every rate, stereo and at the lower rates mono, in real time, and prints how far it has fed them.
The recording's name says what it feeds.
"""

import argparse
import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from recorder import Call, Recovered, recover
from recorder.writing.staged import StagedFile
from tests import signals
from tests.signals import RATES, Pcm

Format = Literal["wav", "mp3"]

FORMATS: tuple[Format, Format] = ("wav", "mp3")
EACH = 10  # recordings of each format
SECONDS = 6.0  # of audio; it is killed before
EARLIEST, LATEST = 1.0, 3.0  # when it is killed, in seconds of audio
STEP = 0.02  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One recording of a process that was killed."""

    format: Format
    sample_rate: int
    channels: int
    recovered: int  # files: 1 is right
    lost: float  # seconds, of what was fed at most
    wrong: int  # samples


def rate_of(index: int) -> int:
    return RATES[index % len(RATES)]


def channels_of(index: int) -> int:
    """Two, then one at the lower rates again, where LAME holds most back."""
    return 2 if index < len(RATES) else 1


@functools.cache
def signal_of(index: int) -> Pcm:
    """What is recorded: noise whose level changes, so that no two moments are alike."""
    rate = rate_of(index)
    n = signals.seconds(SECONDS, rate)
    level = 3000 * (1.2 + np.sin(np.arange(n) * (2 * np.pi * 0.7 / rate)))[:, np.newaxis]
    rng = np.random.default_rng(index)
    return signals.to_int16(rng.normal(0, 1, (n, channels_of(index))) * level)


# -- the process that is killed ------------------------------------------------------------------


def child(directory: Path) -> None:
    calls = []
    for format_ in FORMATS:
        for index in range(EACH):
            call = Call(rate_of(index), call_id=f"{format_}-{index}", directory=directory)
            stereo = channels_of(index) == 2
            call.record(
                {
                    "format": format_,
                    "direction": "both" if stereo else "speak",
                    "stereo": stereo,
                    "initial_timeout": 0,
                    "end_silence_timeout": 0,
                }
            )
            calls.append((call, signal_of(index)))
    for step in range(round(SECONDS / STEP)):
        began = time.monotonic()
        # Printed before: it has been fed no more than this.
        print(f"{(step + 1) * STEP:.2f}", flush=True)
        for call, audio in calls:
            n = signals.seconds(STEP, call.sample_rate)
            frame = audio[step * n : (step + 1) * n]
            call.feed(speak=frame[:, 0], listen=frame[:, -1])
        # Real time, or slower: it never hurries to catch up.
        time.sleep(max(0.0, began + STEP - time.monotonic()))


# -- the one that kills --------------------------------------------------------------------------


def kill_once(directory: Path, seed: int) -> list[File]:
    """Record, kill at a random moment, recover, compare."""
    moment = np.random.default_rng(seed).uniform(EARLIEST, LATEST)
    fed = 0.0
    command = [sys.executable, "-m", "tests.crash", "--child", str(directory)]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        for line in process.stdout:  # also what it printed before it died
            with contextlib.suppress(ValueError):  # a line that was cut
                fed = float(line)
            if fed >= moment:
                process.kill()
    assert process.returncode < 0, "it ended before it was killed"
    found = recover(directory)
    return [
        _compared([item for item in found if _is_of(item, format_, index)], format_, index, fed)
        for format_ in FORMATS
        for index in range(EACH)
    ]


def _is_of(item: Recovered, format_: Format, index: int) -> bool:
    return item.path is not None and item.path.name.startswith(f"{format_}-{index}_")


def _compared(found: list[Recovered], format_: Format, index: int, fed: float) -> File:
    rate = rate_of(index)
    audio: Pcm = np.zeros((0, channels_of(index)), np.int16)
    if len(found) == 1:
        path = found[0].path
        assert path is not None
        audio, _ = soundfile.read(path, dtype="int16", always_2d=True)
    expected = signal_of(index) if format_ == "wav" else _as_mp3(index)
    # Of audio that was never fed every sample is wrong.
    compared = audio[: round(fed * rate)]
    wrong = np.count_nonzero((compared != expected[: len(compared)]).any(axis=1))
    return File(
        format=format_,
        sample_rate=rate,
        channels=channels_of(index),
        recovered=len(found),
        lost=fed - len(audio) / rate,
        wrong=int(wrong) + len(audio) - len(compared),
    )


@functools.cache
def _as_mp3(index: int) -> Pcm:
    """What an MP3 that nobody killed plays."""
    with tempfile.TemporaryDirectory() as folder:
        file = StagedFile(Path(folder) / "whole.mp3", "mp3", rate_of(index), channels_of(index))
        file.write(signal_of(index))
        audio, _ = soundfile.read(file.publish()[0], dtype="int16", always_2d=True)
    return np.asarray(audio)


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a process that records, again and again.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child)
        return
    files = []
    for seed in range(arguments.seed, arguments.seed + arguments.kills):
        directory = Path(tempfile.mkdtemp())
        try:
            files += kill_once(directory, seed)
        finally:
            shutil.rmtree(directory)
    print(f"{arguments.kills} kills\n")
    print("format  rate, Hz  channels  files  recovered  most lost, s  wrong samples")
    for kind in sorted({(file.format, file.sample_rate, file.channels) for file in files}):
        row = [file for file in files if (file.format, file.sample_rate, file.channels) == kind]
        print(
            f"{kind[0]:<6}{kind[1]:10}{kind[2]:10}{len(row):7}"
            f"{sum(file.recovered == 1 for file in row):11}"
            f"{max(file.lost for file in row):14.3f}{sum(file.wrong for file in row):15}"
        )
    good = all(file.recovered == 1 and file.lost <= 1 and file.wrong == 0 for file in files)
    print(f"\n{len(files)} files, {sum(file.recovered == 1 for file in files)} recovered")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
