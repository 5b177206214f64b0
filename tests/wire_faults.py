# SPDX-License-Identifier: MIT
"""All that goes wrong on the wires of `recorder serve`, while good calls run through it.

    python -m tests.wire_faults [--seconds 60] [--connections 10000] [--seed 1] [--max-idle 12]

One server takes all three kinds of calls. A few good ones run the whole time. Meanwhile peers send
garbage, halves of messages, a byte at a time; they read nothing, say nothing, are killed, vanish,
take one protocol for another, or are too many; and short calls come and go, so many in that time.
Then: each file holds exactly what was sent, each fault is counted under its name, and the process
has the memory and the descriptors it had. Linux only.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from tests.bad_peers import Fault, faults_of
from tests.wires import (
    AUDIOSOCKET,
    KINDS,
    PATIENCE,
    Party,
    Serve,
    Source,
    call,
    lies_at,
    new_id,
    said,
    serving,
)

GOOD: Final = 2  # calls of each kind that run the whole time
GOOD_SECONDS: Final = 600.0  # of audio at most
TOO_MANY: Final = 20
AT_ONCE: Final = 60  # short calls
WARM_UP: Final = 0.2  # of the time, and of the connections, before
# Of fewer connections the first thousand, which take what the allocator keeps, would be most.
FEWEST_TO_JUDGE: Final = 5000
EVERY_SECONDS: Final = 1.0  # a fault that is over sooner
# Resident memory at the end, beyond that after the warm-up, in KiB: had each of ten thousand calls
# left one KiB behind, it would be more.
MOST_GROWTH: Final = 8 * 1024


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of it."""

    good: list[tuple[str, float, int | None]] = field(default_factory=list)  # kind, seconds, start
    faults: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)  # by why
    counted: dict[str, int] = field(default_factory=dict)
    short: int = 0  # calls
    whole: int = 0  # files of theirs that hold what was sent
    broken: list[str] = field(default_factory=list)  # connections that should not have been
    lost_seconds: float = 0.0  # late, duplicate or over other audio
    late_ticks: dict[str, int] = field(default_factory=dict)
    warm: int = 0  # KiB
    end: int = 0
    descriptors: tuple[int, int] = (0, 0)  # before, after
    status: int = -1
    log: str = ""

    @property
    def is_good(self) -> bool:
        return (
            all(start is not None for _, _, start in self.good)
            and dict(self.expected) == self.counted
            and self.whole == self.short
            and not self.broken
            and self.lost_seconds == 0
            and (self.short < FEWEST_TO_JUDGE or self.end - self.warm <= MOST_GROWTH)
            and self.descriptors[0] == self.descriptors[1]
            and self.status == 0
            and "Traceback" not in self.log
            and "\x1b" not in self.log
        )


# -- the run ---------------------------------------------------------------------------------------


class Run:
    """One server, and all that happens to it."""

    def __init__(self, serve: Serve, seed: int, max_calls: int) -> None:
        self.report = Report()
        self._max_calls = max_calls
        self._serve = serve
        self._faults = faults_of(np.random.default_rng(seed))
        self._short: dict[str, int] = {}  # the seed of what was said, by call
        self._over = asyncio.Event()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._seeds = itertools.count(1000 * seed)

    async def run(self, seconds: float, connections: int) -> Report:
        """Run it: a warm-up, in which all happens once, then the time."""
        report, serve = self.report, self._serve
        before = serve.descriptors
        good = {new_id(): (source, seed) for seed, source in enumerate(KINDS * GOOD)}
        calls = [asyncio.create_task(self._good(call_id, *of)) for call_id, of in good.items()]
        if connections >= FEWEST_TO_JUDGE:
            await self._storm(seconds * WARM_UP, round(connections * WARM_UP))
            await self._too_many(len(calls))
        report.warm = serve.resident
        await self._storm(seconds, connections)
        await self._too_many(len(calls))
        report.end = serve.resident
        self._over.set()
        sent = await asyncio.gather(*calls)
        for call_id in (*good, *self._short):
            await serve.until_ended(call_id)
        for (call_id, (source, seed)), n in zip(good.items(), sent, strict=True):
            pcm = said(GOOD_SECONDS, seed)[:n]
            start = lies_at(serve.audio(call_id), pcm)
            report.good.append((source.name, n / 8000, start))
        self._check_short()
        report.descriptors = before, await self._settled(before)
        self._note_metrics()
        return report

    async def _good(self, call_id: str, source: Source, seed: int) -> int:
        pcm = said(GOOD_SECONDS, seed)
        address = self._serve.addresses[source.name]
        return await call(source, address, call_id, pcm, until=self._over)

    # -- what happens meanwhile ----------------------------------------------------------------

    async def _storm(self, seconds: float, connections: int) -> None:
        """Short calls, spread over the time, and each fault as often as it goes."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        over = asyncio.Event()
        repeating = [asyncio.create_task(self._repeat(one, over)) for one in self._faults]
        calls = []
        for number in range(connections):
            await asyncio.sleep(max(0.0, began + number * seconds / connections - loop.time()))
            calls.append(asyncio.create_task(self._short_call()))
        await asyncio.gather(*calls)
        over.set()
        await asyncio.gather(*repeating)

    async def _repeat(self, fault: Fault, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._fault(fault)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), EVERY_SECONDS)

    async def _fault(self, fault: Fault) -> None:
        name = f"{fault.at}: {fault.name}"
        try:
            async with asyncio.timeout(PATIENCE):
                await fault.do(self._serve, self._serve.addresses[fault.at])
        except (AssertionError, OSError) as error:
            self.report.broken.append(f"{name}: {error!r}")
        self.report.faults[name] += 1
        if fault.why:
            self.report.expected[fault.why] += 1

    async def _short_call(self) -> None:
        """Connect, say which call it is and 20 ms, hang up."""
        seed, call_id = next(self._seeds), new_id()
        source = KINDS[seed % len(KINDS)]
        address = self._serve.addresses[source.name]
        async with self._at_once:
            self._short[call_id] = seed
            try:
                await call(source, address, call_id, said(0.02, seed))
                await self._serve.until_ended(call_id)
            except (AssertionError, OSError) as error:
                self.report.broken.append(f"{source.name}: a short call: {error!r}")

    async def _too_many(self, open_already: int) -> None:
        """As many connections as may be, and some more; afterwards there is room again."""
        address = self._serve.addresses["audiosocket"]
        parties: list[Party] = []
        refused = 0
        while refused < TOO_MANY:
            party = await Party.connect(address)
            if await party.hears():  # silence, at once
                await party.send(AUDIOSOCKET.opening(new_id()))
                parties.append(party)
            else:
                await party.closed()
                refused += 1
        if len(parties) + open_already > self._max_calls:
            self.report.broken.append(f"{len(parties) + open_already} calls at once")
        self.report.expected["max-calls"] += TOO_MANY
        for party in parties:
            with suppress(ConnectionError):  # refused meanwhile: then it is counted as that
                await party.send(AUDIOSOCKET.goodbye)
            await party.closed()
        await self._short_call()

    # -- what came of it -----------------------------------------------------------------------

    def _check_short(self) -> None:
        self.report.short = len(self._short)
        for call_id, seed in self._short.items():
            pcm = said(0.02, seed)
            # Behind it there is silence until the server learns that the call has ended.
            self.report.whole += lies_at(self._serve.audio(call_id), pcm) is not None

    async def _settled(self, descriptors: int) -> int:
        """How many descriptors are left, once they do not get fewer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while self._serve.descriptors > descriptors:
                    await asyncio.sleep(0.1)
        return self._serve.descriptors

    def _note_metrics(self) -> None:
        metrics = self._serve.metrics()
        for leg, what in itertools.product(("speak", "listen"), ("late", "duplicate", "overlap")):
            name = f'recorder_audio_seconds_total{{leg="{leg}",what="{what}"}}'
            self.report.lost_seconds += metrics[name]
        for limit in ("0.02", "0.05", "0.1", "0.2", "0.5", "1.0", "+Inf"):
            name = f'recorder_tick_lateness_seconds_bucket{{le="{limit}"}}'
            self.report.late_ticks[limit] = round(metrics[name])
        self.report.counted = self._serve.refusals()


def run(
    folder: Path,
    *,
    seconds: float,
    connections: int,
    seed: int = 1,
    max_calls: int = 300,
    max_idle: float = 12,
) -> Report:
    """Run it in a folder. `max_idle` is more than a connection may take for its first message."""
    limits = ["--max-calls", str(max_calls), "--max-idle", str(max_idle)]
    with serving(folder, *limits) as serve:
        report = asyncio.run(Run(serve, seed, max_calls).run(seconds, connections))
        report.status = serve.stop()
    report.log = (folder / "calls.log").read_text(errors="replace")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description="All that goes wrong on the wires of a server.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-idle", type=float, default=12, help="the server's; more than 5 s")
    # On a disk whose files are slower to complete than the calls come it takes longer.
    memory = Path("/dev/shm")
    parser.add_argument("--directory", type=Path, default=memory if memory.exists() else None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        report = run(
            Path(folder),
            seconds=arguments.seconds,
            connections=arguments.connections,
            seed=arguments.seed,
            max_idle=arguments.max_idle,
        )
    for name, times in report.faults.items():
        print(f"{times:6}  {name}")
    print(f"\ncounted   {report.counted}\nexpected  {dict(report.expected)}")
    for kind, seconds, start in report.good:
        what = "not as sent" if start is None else f"as sent, from sample {start} on"
        print(f"a good call of {seconds:.1f} s by {kind}: {what}")
    print(f"{report.whole} of {report.short} short calls have their files")
    print(f"{report.lost_seconds} s of audio late, twice or over other audio")
    print(f"ticks by lateness, in seconds at most: {report.late_ticks}")
    print(f"resident: {report.warm} KiB after the warm-up, {report.end} KiB at the end")
    print(f"descriptors: {report.descriptors[0]} before, {report.descriptors[1]} after")
    for line in report.broken[:20]:
        print(line)
    if "Traceback" in report.log:
        print(report.log[report.log.index("Traceback") - 400 :][:4000])
    sys.exit(0 if report.is_good else 1)


if __name__ == "__main__":
    main()
