# SPDX-License-Identifier: MIT
"""What `recorder serve` carries: so many AudioSocket calls at once, in real time, on one core.

    python -m benchmarks.serve [--calls 100 250 500] [--seconds 30] [--directory /dev/shm]

Each call is a party that speaks all the time, in 20 ms messages at 8 kHz, recorded to a stereo WAV
with all detection. The server is pinned to one core and the parties to another. Then the files are
read back: each is to hold the party's audio from its first sample on, with nothing missing. Linux
only.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from benchmarks import signals
from benchmarks.signals import RATE

_FRAME: Final = 320  # bytes of 20 ms
_TICK_SECONDS: Final = 0.02


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
    began, worst = loop.time(), 0.0
    for tick in range(round(seconds / _TICK_SECONDS)):
        due = began + tick * _TICK_SECONDS
        await asyncio.sleep(max(0.0, due - loop.time()))
        worst = max(worst, loop.time() - due)
        data = messages[tick % len(messages)]
        for party in parties:
            party.transport.write(data)
    for party in parties:
        party.transport.close()
    return worst


def _measure(calls: int, seconds: float, folder: Path) -> None:
    speech = np.resize(signals.material("speech"), round(seconds * RATE))
    spoken = speech.astype("<i2").tobytes()
    messages = [b"\x10\x01\x40" + spoken[at : at + _FRAME] for at in range(0, len(spoken), _FRAME)]
    options = ["--stereo", "--initial-timeout", "0", "--end-silence-timeout", "0"]
    command = [sys.executable, "-m", "recorder", "serve", "--audiosocket", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, *options, "--terminators", "", "--directory", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        os.sched_setaffinity(server.pid, {0})
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["port"]
        threading.Thread(target=server.stdout.read, daemon=True).start()
        before = time.monotonic()
        worst = asyncio.run(_talk(port, calls, seconds, messages))
        took = time.monotonic() - before
        usage = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
        cpu = (int(usage[11]) + int(usage[12])) / os.sysconf("SC_CLK_TCK")
        peak = int(Path(f"/proc/{server.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
        server.terminate()
        server.wait()
    whole, cut, gaps = _check(folder, spoken)
    print(
        f"{calls:5} calls  {100 * cpu / took:6.1f} % of a core  {peak / 1024:6.0f} MiB"
        f"  {whole} of {calls} files whole  {cut} start late  {gaps} have gaps"
        f"  (the parties late by up to {1000 * worst:.0f} ms)"
    )


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
    """Measure each number of calls, and print a line for it."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[100, 250, 500])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    for calls in arguments.calls:
        with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
            _measure(calls, arguments.seconds, Path(folder))


if __name__ == "__main__":
    main()
