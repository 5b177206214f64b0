# SPDX-License-Identifier: MIT
"""How fast the command line records, and detects on, an hour of a call, both legs, in stereo.

The whole command is timed, the interpreter's start included. RECORDER_BENCH_SECONDS is the length
of the file in seconds, 3600 by default.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import soundfile

from benchmarks import signals
from benchmarks.figures import OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.figures import Measure

_ROUNDS: Final = 5
_PROMISED: Final = 2000  # times real time, of WAV
_SMOKE_SECONDS: Final = 10
_KBPS: Final = 48  # recorder's, for two channels at 8 kHz


@pytest.fixture(scope="session")
def long_call(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> "Iterator[tuple[Path, int]]":
    """The file, and its length in seconds."""
    # An hour takes a while even once.
    usual = _SMOKE_SECONDS if pytestconfig.getoption("benchmark_disable") else 3600
    seconds = int(os.environ.get("RECORDER_BENCH_SECONDS", usual))
    path = tmp_path_factory.mktemp("long") / "call.wav"
    soundfile.write(path, signals.stereo_call(seconds), signals.RATE, subtype="PCM_16")
    yield path, seconds
    path.unlink()  # an hour is 115 MB, and pytest keeps its last folders


def _recorder(source: Path, target: Path) -> list[str]:
    options = ["--direction", "both", "--stereo", "--terminators", ""]
    timers = ["--initial-timeout", "0", "--end-silence-timeout", "0"]
    command = [sys.executable, "-m", "recorder", "record", str(source)]
    return [*command, *options, *timers, "-o", str(target)]


def _sox(source: Path, target: Path) -> list[str]:
    # A constant bit rate, and LAME's quality 5, as recorder has it.
    compression = ["-C", f"{_KBPS}.5"] if target.suffix == ".mp3" else []
    return ["sox", str(source), *compression, str(target)]


def _ffmpeg(source: Path, target: Path) -> list[str]:
    mp3 = ["-c:a", "libmp3lame", "-b:a", f"{_KBPS}k", "-compression_level", "5"]
    codec = mp3 if target.suffix == ".mp3" else ["-c:a", "pcm_s16le"]
    return ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(source), *codec, str(target)]


_COMMANDS: Final[dict[str, "Callable[[Path, Path], list[str]]"]] = {
    OWN: _recorder,
    "sox": _sox,
    "ffmpeg": _ffmpeg,
}


@pytest.mark.parametrize("name", _COMMANDS)
@pytest.mark.parametrize(
    "ending",
    [pytest.param(ending, marks=pytest.mark.benchmark(group=ending)) for ending in ("wav", "mp3")],
)
def test_file(
    measure: "Measure", long_call: tuple[Path, int], tmp_path: Path, ending: str, name: str
) -> None:
    source, seconds = long_call
    target = tmp_path / f"out.{ending}"
    command = _COMMANDS[name](source, target)
    if shutil.which(command[0]) is None:
        pytest.skip(f"{name} is not installed: apt install {name}")

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)

    # recorder overwrites nothing, and for the others it would be other work.
    measure.run_rounds(run, _ROUNDS, setup=lambda: target.unlink(missing_ok=True))
    written = soundfile.info(target)
    assert written.channels == 2
    # An MP3 may be longer by its encoder's padding.
    assert abs(written.frames / signals.RATE - seconds) < 0.5
    if measure.enabled:
        promised = ending == "wav" and name == OWN
        note = f"promised: {_PROMISED} at least" if promised else ""
        measure.times_real_time(f"a stereo call to {ending}", name, seconds, note)
    target.unlink()


_READS: Final = "import sys, soundfile\nfor _ in soundfile.blocks(sys.argv[1], 40000): pass"
_PEAK: Final = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(process.returncode)
"""
_DETECTORS: Final = {
    OWN: [sys.executable, "-m", "recorder", "detect", "--json"],
    "auditok, energy": [sys.executable, "-m", "auditok", "-u", "any"],
    "soundfile, reading": [sys.executable, "-c", _READS],
}


@pytest.mark.parametrize("name", _DETECTORS)
@pytest.mark.benchmark(group="detect")
def test_detect(measure: "Measure", long_call: tuple[Path, int], name: str) -> None:
    """Digits, voice and levels of both legs, beside voice of their mixture, and beside nothing."""
    source, seconds = long_call
    if name.startswith("auditok"):
        pytest.importorskip("auditok")
    command = [*_DETECTORS[name], str(source)]
    measure.run_rounds(
        lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), _ROUNDS
    )
    if measure.enabled:
        note = f"{_peak_mib(command):.0f} MiB at its peak"
        measure.times_real_time("detecting in a stereo call", name, seconds, note)


def _peak_mib(command: list[str]) -> float:
    # By way of a small process: a child's peak begins with what its parent takes.
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *command], check=True, capture_output=True, text=True
    )
    return int(done.stderr.split()[-1]) / 1024
