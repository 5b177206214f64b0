# SPDX-License-Identifier: MIT
"""What `recorder serve` carries: so many AudioSocket calls at once, in real time.

    python -m benchmarks.serve [--calls 100 250 500] [--workers 1 2] [--seconds 30]
        [--directory /dev/shm]

Each call is a party that speaks all the time, in 20 ms messages at 8 kHz, recorded to a stereo WAV
with all detection. One process of the server is pinned to the first core, several to all of them;
the parties run on the last. Then the files are read back: each is to hold the party's audio from
its first sample on, with nothing missing. Linux only.

How late ticks are comes from the histogram of /metrics, as Prometheus's `histogram_quantile` takes
it: linear within a bucket. A tick that comes late makes up for the next ones, each of which counts.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import soundfile

from benchmarks import signals
from benchmarks.signals import RATE
from recorder.server.meters import BUCKETS

_FRAME: Final = 320  # bytes of 20 ms
_TICK_SECONDS: Final = 0.02
_REPORT_SECONDS: Final = 1.5
# The parties are ahead of their calls by this: then it is no gap of theirs where the machine lets
# them come late by less.
_LEAD_SECONDS: Final = 0.2
QUANTILES: Final = (0.5, 0.99, 0.999)


class _Party(asyncio.Protocol):
    """Says what it is given, over and over, and counts what it gets back."""

    def __init__(self) -> None:
        self.received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"\x01\0\x10" + uuid.uuid4().bytes)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)


async def _talk(port: int, calls: int, seconds: float, messages: list[bytes]) -> float:
    """Let so many parties speak; return the most that this side was late, in seconds."""
    loop = asyncio.get_running_loop()
    parties = []
    for _ in range(calls):
        _, party = await loop.create_connection(_Party, "127.0.0.1", port)
        parties.append(party)
    began, worst = loop.time() - _LEAD_SECONDS, 0.0
    for tick in range(round(seconds / _TICK_SECONDS)):
        due = began + tick * _TICK_SECONDS
        await asyncio.sleep(max(0.0, due - loop.time()))
        if tick * _TICK_SECONDS > _LEAD_SECONDS:
            worst = max(worst, loop.time() - due)
        data = messages[tick % len(messages)]
        for party in parties:
            party.transport.write(data)
    await asyncio.sleep(_LEAD_SECONDS)
    for party in parties:
        party.transport.close()
    return worst


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What one run has measured."""

    calls: int
    workers: int
    cpu: float  # cores
    late: tuple[float, ...]  # seconds, by QUANTILES
    peak: float  # MiB, of all processes
    whole: int
    cut: int
    gaps: int
    filled: float  # seconds of silence on the speak leg
    dropped: float  # seconds of audio
    parties_late: float  # seconds

    HEAD: ClassVar = (
        "| calls | processes | of a core | ticks late by p50, p99, p99.9, ms | peak, MiB "
        "| files whole | start late | have gaps | filled, s | dropped, s | parties late by, ms |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )

    def __str__(self) -> str:
        late = ", ".join(f"{1000 * one:.1f}" for one in self.late)
        return (
            f"| {self.calls} | {self.workers} | {100 * self.cpu:.0f} % | {late} | {self.peak:.0f} "
            f"| {self.whole} | {self.cut} | {self.gaps} | {self.filled:.2f} | {self.dropped:.2f} "
            f"| {1000 * self.parties_late:.0f} |"
        )


def _measure(calls: int, workers: int, seconds: float, folder: Path, cores: list[int]) -> _Row:
    speech = np.resize(signals.material("speech"), round(seconds * RATE))
    spoken = speech.astype("<i2").tobytes()
    messages = [b"\x10\x01\x40" + spoken[at : at + _FRAME] for at in range(0, len(spoken), _FRAME)]
    command = [sys.executable, "-m", "recorder", "serve", "--directory", str(folder), "--stereo"]
    command += ["--initial-timeout", "0", "--end-silence-timeout", "0", "--terminators", ""]
    command += ["--audiosocket", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    command += ["--max-calls", str(calls), "--workers", str(workers)]
    os.sched_setaffinity(0, cores if workers > 1 else cores[:1])  # the server inherits it
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        os.sched_setaffinity(0, cores[-1:])
        assert server.stdout is not None
        listening = (json.loads(server.stdout.readline()) for _ in range(2))
        ports = {line["listening"]: line["port"] for line in listening}
        threading.Thread(target=server.stdout.read, daemon=True).start()
        before = _metrics(ports["http"])
        used, began = _cpu(server.pid), time.monotonic()
        worst = asyncio.run(_talk(ports["audiosocket"], calls, seconds, messages))
        took = time.monotonic() - began
        cpu = (_cpu(server.pid) - used) / took
        peak = sum(_peak(pid) for pid in _processes(server.pid))
        if workers > 1:  # what they have counted is shown a second later
            time.sleep(_REPORT_SECONDS)
        metrics = _metrics(ports["http"])
        counted = {name: value - before.get(name, 0) for name, value in metrics.items()}
        server.terminate()
        server.wait()
    whole, cut, gaps = _check(folder, spoken)
    audio = 'recorder_audio_seconds_total{{leg="speak",what="{}"}}'
    return _Row(
        calls=calls,
        workers=workers,
        cpu=cpu,
        late=tuple(_late(counted, one) for one in QUANTILES),
        peak=peak,
        whole=whole,
        cut=cut,
        gaps=gaps,
        filled=counted[audio.format("filled")],
        dropped=sum(counted[audio.format(what)] for what in ("late", "duplicate", "overlap")),
        parties_late=worst,
    )


def _processes(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _cpu(pid: int) -> float:
    """CPU seconds of a server so far."""
    ticks = 0
    for one in _processes(pid):
        usage = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        ticks += int(usage[11]) + int(usage[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> float:
    """The most memory that a process had, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def _late(metrics: dict[str, float], quantile: float) -> float:
    """By how much so many of the ticks were late at most, in seconds."""
    prefix = 'recorder_tick_lateness_seconds_bucket{le="'
    wanted = quantile * metrics[f'{prefix}+Inf"}}']
    low = below = 0.0
    for limit in map(str, BUCKETS):
        count = metrics[f'{prefix}{limit}"}}']
        if count >= wanted:
            return low + (float(limit) - low) * (wanted - below) / (count - below)
        low, below = float(limit), count
    return math.inf


def _check(folder: Path, spoken: bytes) -> tuple[int, int, int]:
    """How many files hold the party's audio from its start without a gap; and what ails others."""
    said = np.frombuffer(spoken, "<i2")
    whole = cut = gaps = 0
    for path in folder.glob("*.wav"):
        audio, _ = soundfile.read(path, dtype="int16")
        speak = audio[:, 0]
        first = int(np.flatnonzero(said)[0])
        start = int(np.flatnonzero(speak)[0]) - first
        n = min(len(said), len(speak) - start)
        if start < 0 or not np.array_equal(speak[start : start + 800], said[:800]):
            cut += 1
        elif not np.array_equal(speak[start : start + n - 8000], said[: n - 8000]):
            gaps += 1
        else:
            whole += 1
        path.unlink()
    return whole, cut, gaps


def main() -> None:
    """Measure each number of calls and of processes, and print a row of a table for it."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[100, 250, 500])
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(_Row.HEAD)
    for workers, calls in itertools.product(arguments.workers, arguments.calls):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
            row = _measure(calls, workers, arguments.seconds, Path(folder), cores)
        print(row, flush=True)


if __name__ == "__main__":
    main()
