# SPDX-License-Identifier: MIT
"""The C core against the plain reference, on lines made at random.

    python -m tests.fuzz.differential --seconds 60 --seed 1
    python -m tests.fuzz.differential --seed 1 --case 17

Each case has a seed of its own, (seed, number), so that any can be repeated. The core processes it
whole and cut at random, with results that must be equal; then the reference does. Voice must agree
exactly, digits within TOLERANCE.

**On the edge.** The core computes in float32, the reference in float64: where a figure is all but
equal to its limit they may decide differently and both be right. So when they differ, the
reference processes it again with each sample off by a hundred thousandth of itself or less: no
more than the rounding to 16 bits did to the loudest ones. Only when that alone makes it decide
exactly as the core did, the case was on the edge. It is counted and printed; more than
EDGE_SHARE of them are a failure as well.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from recorder.detection.core import DigitDecoder, Edge, VoiceDetector, samples
from tests import signals
from tests.reference.digits import digits
from tests.reference.voice import voice
from tests.signals import KEYPAD, RATES, Pcm

Signal = NDArray[np.float64]
Digits = list[tuple[str, int, int]]
Spans = list[tuple[int, int]]

TOLERANCE = 1  # samples, of a digit's edges: tests/test_reference_digits.py says why
NUDGES = (1e-6,) * 8 + (1e-5,) * 16  # of each sample, as a deviation
EDGE_SHARE = 0.005


# ---- lines ----


def amplitude(db: float) -> float:
    return 32768 * float(10 ** (db / 20))


@dataclass(frozen=True)
class Maker:
    """Makes one line's sounds: some of them near a limit, where deciding is hardest."""

    rng: np.random.Generator
    rate: int
    longest: float  # seconds
    gate: float  # dBFS

    def time(self) -> Signal:
        """Any order of magnitude as likely as the next."""
        duration = np.exp(self.rng.uniform(np.log(0.005), np.log(self.longest)))
        return np.arange(signals.seconds(float(duration), self.rate)) / self.rate

    def level(self) -> float:
        """In dBFS: any, or about what makes a difference to the voice detector."""
        if self.rng.random() < 0.3:
            return float(self.rng.uniform(-75, -3))
        return float(self.gate + self.rng.choice([-6, 0, 4, 7, 12]) + self.rng.normal(0, 1))

    def near(self, limits: list[float], spread: float, low: float, high: float) -> float:
        """Every fourth time close to one of the limits."""
        if self.rng.random() < 0.25:
            return float(self.rng.choice(limits) + self.rng.normal(0, spread))
        return float(self.rng.uniform(low, high))

    def silence(self) -> Signal:
        return np.zeros(len(self.time()))

    def constant(self) -> Signal:
        return self.silence() + self.rng.uniform(-9000, 9000)

    def noise(self) -> Signal:
        x = self.rng.normal(0, amplitude(self.level()), len(self.time()))
        if len(x) and self.rng.random() < 0.3:  # darker
            x = np.convolve(x, np.ones(8) / 8, "same")[: len(x)]
        return x

    def sine(self) -> Signal:
        """A tone, or hum."""
        hz = self.near([50.0, 60.0, 300.0, 2200.0], 0.5, 200, 2500)
        phase = 2 * np.pi * hz * self.time() + self.rng.uniform(0, 6)
        sound: Signal = amplitude(self.level() + 3) * np.sin(phase)
        return sound

    def clicks(self) -> Signal:
        x = self.silence()
        if len(x):
            places = self.rng.integers(0, len(x), 1 + len(x) // (self.rate // 10))
            x[places] = self.rng.normal(0, 10000, len(places))
        return x

    def speech(self) -> Signal:
        """Syllables: a gliding pitch with harmonics of random strength, and some breath."""
        t = self.time()
        glide = 1 + 0.2 * np.sin(2 * np.pi * self.rng.uniform(0.3, 3) * t)
        phase = 2 * np.pi * np.cumsum(self.rng.uniform(80, 300) * glide) / self.rate
        x = self.rng.normal(0, 0.1, len(t))
        for harmonic in range(1, 12):
            strength = self.rng.exponential(1 / harmonic)
            x += strength * np.sin(harmonic * phase + self.rng.uniform(0, 6))
        syllables = np.sin(np.pi * self.rng.uniform(2, 6) * t) ** 2
        sound: Signal = amplitude(self.level()) * x * syllables
        return sound

    def presses(self) -> Signal:
        """Some digits, the same one more than once, each near some limit."""
        x = [np.zeros(0)]
        keys = self.rng.choice(list(KEYPAD), 2)
        for _ in range(self.rng.integers(1, 6)):
            press = signals.dtmf(
                str(self.rng.choice(keys)),
                self.near([0.023, 0.031, 0.04], 0.0005, 0.02, 0.15),
                self.rate,
                level_dbm0=self.near([-43.0], 0.5, -46, -3),
                low_factor=1 + self.near([-0.02, 0.02], 0.0003, -0.022, 0.022),
                high_factor=1 + self.near([-0.019, 0.019], 0.0003, -0.022, 0.022),
                twist_db=self.near([-6.5, 10.5], 0.3, -7, 11),
            )
            if self.rng.random() < 0.2:  # a dropout
                dropout = signals.seconds(self.near([0.03], 0.001, 0, 0.045), self.rate)
                at = int(self.rng.integers(0, len(press)))
                press[at : at + dropout] = 0
            pause = self.near([0.02875], 0.0005, 0, 0.09)
            x += [press.astype(float), np.zeros(signals.seconds(pause, self.rate))]
        return np.concatenate(x)

    def anything(self) -> Signal:
        kinds = [self.silence, self.constant, self.noise, self.sine, self.clicks, self.speech]
        return self.presses() if self.rng.random() < 0.3 else kinds[self.rng.integers(6)]()


@dataclass(frozen=True)
class Case:
    rate: int
    sensitivity: float
    quiet_blocks: int
    pcm: Pcm
    cuts: list[int]


def make_case(seed: int, number: int) -> Case:
    rng = np.random.default_rng((seed, number))
    rate = int(rng.choice(RATES, p=[0.4, 0.12, 0.12, 0.12, 0.12, 0.12]))
    sensitivity = float(rng.choice([44.0, rng.uniform(15, 70)]))
    maker = Maker(rng, rate, float(rng.choice([0.1, 0.5, 4])), -sensitivity)
    n = signals.seconds(float(rng.choice([1, 4, 16]) * rng.uniform(0.5, 1)), rate)
    line = np.zeros(0)
    while len(line) < n:
        line = np.concatenate([line, maker.anything()])
    if rng.random() < 0.5:  # what the line itself sounds like
        line += rng.normal(0, amplitude(min(maker.level(), -35)), len(line))
    if rng.random() < 0.3:  # someone else on it
        other = maker.anything()[: len(line)]
        line[len(line) - len(other) :] += other
    if rng.random() < 0.2:
        line *= amplitude(rng.uniform(-20, 12)) / 32768
    return Case(
        rate=rate,
        sensitivity=sensitivity,
        quiet_blocks=int(rng.choice([4, int(rng.integers(1, 8))])),
        pcm=signals.to_int16(line[:n]),
        cuts=[int(rng.integers(0, limit)) for limit in rng.choice([2, 50, 500, 5000], 400)],
    )


# ---- the core ----


def edges_of(detector: DigitDecoder | VoiceDetector, pieces: list[Pcm]) -> list[Edge]:
    edges: list[Edge] = []
    for piece in pieces:
        edges += detector.process(samples(piece.tobytes()), len(piece))
    return [*edges, *detector.finish()]


def stretches(edges: list[Edge]) -> Digits:
    """What is there in the end, revisions applied, by onset; voice has no digit."""
    found: Digits = []
    begun: dict[str, int] = {}
    for edge in edges:
        if edge.kind == "voice_revised":
            found = [old for old in found if old[1] < edge.position]
            begun.clear()
        elif edge.kind in {"voice_start", "digit_start"}:
            begun[edge.digit] = edge.position
        else:
            found.append((edge.digit, begun.pop(edge.digit), edge.position))
    return sorted(found, key=lambda digit: (digit[1], digit[2], digit[0]))


def core_edges(case: Case, pieces: list[Pcm]) -> tuple[list[Edge], list[Edge]]:
    """Of the digits, and of the voice."""
    by_voice = VoiceDetector(case.rate, case.sensitivity, quiet_blocks=case.quiet_blocks)
    return edges_of(DigitDecoder(case.rate), pieces), edges_of(by_voice, pieces)


# ---- against each other ----


def digits_agree(core: Digits, reference: Digits) -> bool:
    return len(core) == len(reference) and all(
        a[0] == b[0] and abs(a[1] - b[1]) <= TOLERANCE and abs(a[2] - b[2]) <= TOLERANCE
        for a, b in zip(core, reference, strict=True)
    )


def nudged(case: Case, size: float, number: int) -> Pcm:
    """Each frame, and each value that a sample may have, a little off.

    Whole frames, since the core's filter is off for as long: its recursion keeps what rounding
    does to it. Equal samples of a frame stay equal, as digital silence must. It is float64, which
    the reference takes as well.
    """
    rng = np.random.default_rng(number)
    n = case.rate // 50
    of_frame = 1 + size * rng.normal(size=len(case.pcm) // n + 1)
    of_value = 1 + size * rng.normal(size=65536)
    factors = np.repeat(of_frame, n)[: len(case.pcm)] * of_value[case.pcm.astype(np.int32) + 32768]
    return cast("Pcm", case.pcm * factors)


@dataclass(frozen=True)
class Difference:
    what: str
    core: object
    reference: object
    nudge: float | None = None  # what makes the reference decide alike; None: nothing does

    def __str__(self) -> str:
        return f"{self.what}:\n  core      {self.core}\n  reference {self.reference}"


def least_nudge(case: Case, agrees: Callable[[Pcm], bool]) -> float | None:
    for number, size in enumerate(NUDGES):
        if agrees(nudged(case, size, number)):
            return size
    return None


@dataclass
class Tally:
    """What all of it was, to show that there was something to agree on."""

    cases: int = 0
    seconds: float = 0.0
    digits: int = 0
    stretches: int = 0
    revisions: int = 0
    edges: int = 0

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.seconds:.0f} s of audio with {self.digits} digits, "
            f"{self.stretches} stretches of voice and {self.revisions} revisions; "
            f"{self.edges} on the edge"
        )


def compare(case: Case, tally: Tally) -> Iterator[Difference]:
    whole = core_edges(case, [case.pcm])
    cut = core_edges(case, signals.cut(case.pcm, case.cuts))
    if whole != cut:
        yield Difference("cut otherwise, the core decides otherwise", cut, whole)
    core_digits = stretches(whole[0])
    core_voice = [(start, end) for _, start, end in stretches(whole[1])]
    tally.cases += 1
    tally.seconds += len(case.pcm) / case.rate
    tally.digits += len(core_digits)
    tally.stretches += len(core_voice)
    tally.revisions += sum(edge.kind == "voice_revised" for edge in whole[1])

    def found(pcm: Pcm) -> Digits:
        # How long an envelope takes to fall may be infinite, or no number, next to digital
        # silence; then there is no digit, in the core as well.
        with np.errstate(divide="ignore", invalid="ignore"):
            return digits(pcm, case.rate)

    def spans(pcm: Pcm) -> Spans:
        return voice(pcm, case.rate, case.sensitivity, case.quiet_blocks)

    if not digits_agree(core_digits, found(case.pcm)):
        nudge = least_nudge(case, lambda pcm: digits_agree(core_digits, found(pcm)))
        yield Difference("digits", core_digits, found(case.pcm), nudge)
    if core_voice != spans(case.pcm):
        nudge = least_nudge(case, lambda pcm: core_voice == spans(pcm))
        yield Difference("voice", core_voice, spans(case.pcm), nudge)


# ---- the run ----


def run(seed: int, numbers: Iterable[int], seconds: float) -> int:
    """The exit code."""
    started = time.monotonic()
    tally = Tally()
    for number in numbers:
        case = make_case(seed, number)
        for difference in compare(case, tally):
            name = f"--seed {seed} --case {number} ({case.rate} Hz)"
            if difference.nudge is None:
                print(f"DIFFERENT: {name}: {difference}")
                return 1
            tally.edges += 1
            print(f"on the edge by {difference.nudge:g}: {name}: {difference.what}")
        if time.monotonic() - started > seconds:
            break
    print(tally)
    if tally.edges > max(2, EDGE_SHARE * tally.cases):
        print("DIFFERENT: that is too many on the edge")
        return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="The C core against the plain reference.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="this one only")
    options = parser.parse_args()
    numbers = itertools.count() if options.case is None else [options.case]
    return run(options.seed, numbers, options.seconds)


if __name__ == "__main__":
    sys.exit(main())
