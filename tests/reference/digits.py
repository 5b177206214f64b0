# SPDX-License-Identifier: MIT
"""Which digits there are, as docs/digits.md says it: in float64, in its order, nothing clever.

All blocks' powers and all steps' amplitudes are taken at once, of the whole signal. Only what the
decoder decides goes block by block, since what it has decided by then is part of what it decides.
Moments are in steps of 2.5 ms; step s is the window from 3 steps before to 3 steps after it.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Signal = NDArray[np.float64]
Amplitudes = NDArray[np.complex128]
Mask = NDArray[np.bool_]

KEYPAD = "123A456B789C*0#D"
TONES_HZ = np.array([697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0])

BLOCK = 8  # steps: 20 ms
HALF_WINDOW = 3  # steps: the Hann window has 15 ms
LOOK_BACK = 18  # steps: 45 ms
BEFORE = LOOK_BACK + HALF_WINDOW  # steps of silence before the first sample
MEMORY = 64  # steps
TRACKERS = 4

WEAKEST = 32768 * 10 ** ((-43.0 - 3.14) / 20)  # amplitude of a tone at -43 dBm0
ON = 0.5
GAP_MS = 30.0

# Half the decimator's length less half an output's own samples, in outputs.
DECIMATOR_DELAY = 3.5


# ---- rate ----


def decimate(pcm: Signal, factor: int) -> Signal:
    """Every `factor`-th output of a Kaiser-windowed sinc, cut off at 0.475 of the new rate."""
    if factor == 1:
        return pcm
    taps = 8 * factor
    t = np.arange(taps) - (taps - 1) / 2
    low_pass = np.sinc(2 * 0.475 / factor * t) * np.kaiser(taps, 5.0)
    # In steps of 2**-15; what rounding leaves goes to the middle, for a gain of exactly 1 at 0 Hz.
    low_pass = np.round(2**15 * low_pass / low_pass.sum()) / 2**15
    low_pass[taps // 2 - 1 : taps // 2 + 1] += (1 - low_pass.sum()) / 2
    # An output comes with its own `factor` samples and has only older ones besides them.
    x = np.concatenate([np.zeros(taps - factor), pcm])
    decimated: Signal = sliding_window_view(x, taps)[::factor] @ low_pass
    return decimated


@dataclass(frozen=True)
class Line:
    """The whole leg at the inner rate, its quiet blocks, and all amplitudes on it."""

    factor: int
    rate: float
    step: int
    blocks: int
    quiet: Mask  # per block
    signal: Signal  # from BEFORE steps before the first sample on
    all_amplitudes: Amplitudes  # [step + LOOK_BACK, tone]

    @property
    def step_ms(self) -> float:
        return 1000 * self.step / self.rate

    @property
    def omega(self) -> Signal:
        """The tones' angular frequencies, per sample."""
        omega: Signal = 2 * np.pi * TONES_HZ / self.rate
        return omega

    def samples(self, first: int, end: int) -> Signal:
        before = BEFORE * self.step
        return self.signal[before + first : before + end]

    def amplitudes(self, first: int, end: int, tone: int) -> Amplitudes:
        return self.all_amplitudes[first + LOOK_BACK : end + LOOK_BACK, tone]

    def position(self, steps: float) -> int:
        delay = DECIMATOR_DELAY if self.factor > 1 else 0.0
        return math.floor((steps * self.step - delay) * self.factor + 0.5)


def line_of(pcm: NDArray[np.int16], rate: int) -> Line:
    factor = rate // 8000
    inner = rate / factor
    step = int(inner / 400)
    whole = BLOCK * step * factor
    # The end of a leg is silence of four blocks: longer than any decision takes.
    blocks = len(pcm) // whole + 4
    outer = np.zeros(blocks * whole)
    outer[: len(pcm)] = pcm
    signal = np.concatenate([np.zeros(BEFORE * step), decimate(outer, factor)])
    n = 2 * HALF_WINDOW * step
    t = np.arange(n) - (n - 1) / 2
    hann = 0.5 + 0.5 * np.cos(2 * np.pi * t / n)
    probes = hann[:, None] * np.exp(-1j * np.outer(t, 2 * np.pi * TONES_HZ / inner))
    return Line(
        factor=factor,
        rate=inner,
        step=step,
        blocks=blocks,
        quiet=np.abs(outer).reshape(blocks, whole).max(axis=1) < WEAKEST / 2,
        signal=signal,
        all_amplitudes=sliding_window_view(signal, n)[::step] @ probes * (2 / hann.sum()),
    )


# ---- the cheap look ----


def hits(line: Line) -> list[tuple[int, int] | None]:
    """Per block: the two tones, 0 to 3 and 4 to 7, that a closer look might confirm."""
    n = BLOCK * line.step
    blocks = line.samples(0, line.blocks * n).reshape(line.blocks, n)
    energy = np.mean(blocks**2, axis=1)
    spectrum = blocks @ np.exp(-1j * np.outer(np.arange(n), line.omega))
    power = 2 / n**2 * np.abs(spectrum) ** 2
    return [hit(line, b, power[b], float(energy[b])) for b in range(line.blocks)]


def hit(line: Line, block: int, power: Signal, energy: float) -> tuple[int, int] | None:
    weakest = WEAKEST**2 / 2
    if line.quiet[block] or energy < weakest:
        return None
    low, high = int(np.argmax(power[:4])), 4 + int(np.argmax(power[4:]))
    low_second, high_second = np.sort(power[:4])[-2], np.sort(power[4:])[-2]
    passed = (
        power[low] >= 2 * low_second
        and power[high] >= 2 * high_second
        and power[low] + power[high] > 0.12 * energy
        and min(power[low], power[high]) > 0.2 * weakest
        and power[low] < 32 * power[high]
        and power[high] < 12 * power[low]
        and near_nominal(line, block, low, 30.0)
        and near_nominal(line, block, high, 40.0)
    )
    return (low, high) if passed else None


def near_nominal(line: Line, block: int, tone: int, tolerance_hz: float) -> bool:
    """Does the phase advance over 5 ms in mid-block as the tone's frequency says?"""
    middle = BLOCK * block + 3
    before, _, after = line.amplitudes(middle, middle + 3, tone)
    if before == 0 or after == 0:
        return False  # digital silence has no phase
    advance = after * np.conj(before) * np.exp(-1j * 2 * line.step * line.omega[tone])
    error_hz = abs(np.angle(advance)) / (2 * np.pi * 2 * line.step_ms / 1000)
    return bool(error_hz < tolerance_hz)


# ---- the careful look ----


@dataclass
class Tracker:
    """One digit that may be on the line, looked at over the steps `first` to `end`."""

    low: int
    high: int
    first: int
    end: int
    last_hit: int = 0
    # once it is sure:
    sure: bool = False
    onset: int = 0
    last_on: int = 0
    low_level: float = 0.0
    high_level: float = 0.0

    @property
    def digit(self) -> str:
        return KEYPAD[4 * self.low + self.high - 4]


@dataclass(frozen=True)
class Envelope:
    """Both tones over a tracker's steps, and the newest stretch of them that is on.

    Moments count from the oldest step.
    """

    low: Signal
    high: Signal
    low_level: float
    high_level: float
    on: Signal  # the weaker tone, against its own level
    runs: list[tuple[int, int]]  # first and last step of each, oldest first
    step_ms: float

    def edges(self, run: tuple[int, int]) -> tuple[float, float]:
        """Where a run crosses half: no further than the steps that there are."""
        first, last = run
        start = crossing(self.on, first - 1) if first > 0 else 0.0
        end = float(last) if last == len(self.on) - 1 else crossing(self.on, last)
        return start, end

    @property
    def start(self) -> float:
        return self.edges(self.runs[0])[0]

    @property
    def end(self) -> float:
        return self.edges(self.runs[-1])[1]

    @property
    def ended(self) -> bool:
        return self.runs[-1][1] < len(self.on) - 1

    @property
    def duration(self) -> float:
        """Without the dropouts, in steps."""
        return sum(end - start for start, end in map(self.edges, self.runs))

    @property
    def core(self) -> Mask:
        """The steps of the last 60 ms that are on and 5 ms away from going off."""
        n = len(self.on)
        inside = math.ceil(5.0 / self.step_ms)
        core = np.zeros(n, np.bool_)
        for first, last in self.runs:
            core[first + inside : n if last == n - 1 else max(0, last - inside + 1)] = True
        core[: max(0, n - int(60.0 / self.step_ms))] = False
        return core


def crossing(on: Signal, i: int, level: float = ON) -> float:
    """Where, between steps i and i + 1, the level is crossed."""
    return i + float((on[i] - level) / (on[i] - on[i + 1]))


def envelope_of(line: Line, tracker: Tracker) -> Envelope | None:
    low = np.abs(line.amplitudes(tracker.first, tracker.end, tracker.low))
    high = np.abs(line.amplitudes(tracker.first, tracker.end, tracker.high))
    if not len(low):
        return None
    low_level, high_level = levels(low, high)
    on = np.minimum(low / low_level, high / high_level)
    found = runs(on >= ON)
    if not found:
        return None
    stretch = [found.pop()]
    gap = math.ceil(GAP_MS / line.step_ms)
    while found and stretch[0][0] - found[-1][1] <= gap:
        stretch.insert(0, found.pop())
    return Envelope(low, high, low_level, high_level, on, stretch, line.step_ms)


def runs(mask: Mask) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    change = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    first, end = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return [(int(a), int(b) - 1) for a, b in zip(first, end, strict=True)]


def levels(low: Signal, high: Signal) -> tuple[float, float]:
    """Each tone's level: the 60th percentile over what is above half about the peak, twice."""
    peak = int(np.argmax(low * high))
    low_level, high_level = float(low[peak]) + 1e-9, float(high[peak]) + 1e-9
    for _ in range(2):
        on = np.minimum(low / low_level, high / high_level) >= ON
        on[peak] = True
        first, last = next(run for run in runs(on) if run[0] <= peak <= run[1])
        rank = (last + 1 - first) * 3 // 5
        low_level = float(np.sort(low[first : last + 1])[rank]) + 1e-9
        high_level = float(np.sort(high[first : last + 1])[rank]) + 1e-9
    return low_level, high_level


# ---- limits ----


def decibels(ratio: float) -> float:
    return 10 * math.log10(max(ratio, 1e-12))


def clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def judge_tone(z: Amplitudes, core: Mask, advance: float) -> tuple[float, float]:
    """A tone's deviation from nominal, in percent, and its power over the bin's rest, in dB."""
    excess = 0.0  # radians per step
    for lag in (1, 2, 4, 8):  # each resolves the ambiguity of the next
        both = core[:-lag] & core[lag:]
        if not both.any():
            break
        turn = np.sum(z[lag:][both] * np.conj(z[:-lag][both]))
        excess += float(np.angle(turn * np.exp(-1j * lag * (advance + excess)))) / lag
    steps = np.flatnonzero(core)
    total = float(np.sum(np.abs(z[steps]) ** 2))
    still = z[steps] * np.exp(-1j * steps * (advance + excess))
    coherent = float(abs(np.sum(still)) ** 2) / len(steps)
    rest = max(total - coherent, 1e-9 * total)
    return 100 * excess / advance, decibels(coherent / rest)


def is_digit(line: Line, tracker: Tracker, e: Envelope, last_end: float, block: int) -> bool:
    core = e.core
    if len(e.runs) > 3 or e.duration * e.step_ms < 31.0 or core.sum() < 4:
        return False
    if (tracker.first + e.start - last_end) * e.step_ms < 28.75:
        return False
    twist = 20 * math.log10(e.low_level / e.high_level)
    if min(e.low_level, e.high_level) < WEAKEST or not -6.5 <= twist <= 10.5:
        return False
    low_omega, high_omega = float(line.omega[tracker.low]), float(line.omega[tracker.high])
    z_low = line.amplitudes(tracker.first, tracker.end, tracker.low)
    z_high = line.amplitudes(tracker.first, tracker.end, tracker.high)
    low_off, low_purity = judge_tone(z_low, core, line.step * low_omega)
    high_off, high_purity = judge_tone(z_high, core, line.step * high_omega)
    if abs(low_off) > 2.0 or abs(high_off) > 1.9 or min(low_purity, high_purity) < 4.0:
        return False
    residual = residual_cost(
        line,
        tracker.first,
        e,
        (low_omega * (1 + low_off / 100), high_omega * (1 + high_off / 100)),
        block,
    )
    if residual is None:
        return False
    cost = (
        1.1 * abs(low_off)
        + 2.0 * abs(high_off)
        + 0.8 * max(abs(twist - 1) - 4.3, 0.0)
        + 0.4 * fall_time(e)
        + 0.19 * onset_distance(e)
        + 0.19 * (end_distance(e) if e.ended else 3.0)
        - 0.16 * clamp(high_purity, 4.0, 25.0)
        - (2.2 if e.ended else 0.0)
    )
    return cost + residual < -5.5


def end_distance(e: Envelope) -> float:
    """By how much, in ms, the two tones' own ends are apart."""
    return edge_distance(e.low, e.high, e.low_level, e.high_level, e.runs[-1][1], e.step_ms)


def onset_distance(e: Envelope) -> float:
    """The same of their onsets: the ends when time runs backwards."""
    first = len(e.on) - 1 - e.runs[0][0]
    return edge_distance(e.low[::-1], e.high[::-1], e.low_level, e.high_level, first, e.step_ms)


def edge_distance(
    low: Signal, high: Signal, low_level: float, high_level: float, start: int, step_ms: float
) -> float:
    edges = []
    for tone, level in ((low, low_level), (high, high_level)):
        off = np.flatnonzero(tone[start:] < ON * level)
        if not len(off):
            return 20.0
        edges.append(crossing(tone, start + int(off[0]) - 1, ON * level))
    return clamp(abs(edges[0] - edges[1]) * step_ms, 1.0, 20.0)


def fall_time(e: Envelope) -> float:
    """How long the envelope takes from three quarters down to one, in ms."""
    above = np.flatnonzero(e.on[: e.runs[-1][1] + 1] >= 0.75)
    last = int(above[-1]) if len(above) else 0
    below = np.flatnonzero(e.on[last + 1 :] < 0.25)
    if not len(below):
        return 6.0
    low = crossing(e.on, last + int(below[0]), 0.25)
    return clamp((low - crossing(e.on, last, 0.75)) * e.step_ms, 4.0, 16.0)


# ---- what is left ----


def residual(
    x: Signal, rate: float, omegas: tuple[float, float]
) -> tuple[float, float, list[float]]:
    """Both tones' energies and, by band, that of all else.

    One weighted least-squares fit of both: what the core's passes converge to.
    """
    n = len(x)
    t = np.arange(n)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (t + 0.5) / n)
    x = x - np.sum(hann * x) / np.sum(hann)
    waves = np.stack([wave(omega * t) for omega in omegas for wave in (np.cos, np.sin)], axis=1)
    weight = np.sqrt(hann)
    fit = np.linalg.lstsq(weight[:, None] * waves, weight * x, rcond=None)[0]
    energies = fit**2 / 2 * np.sum(hann**2)
    spectrum = 2 / 512 * np.abs(np.fft.rfft(hann * (x - waves @ fit), 512)) ** 2
    hz = np.arange(257) * rate / 512
    used = (np.arange(257) > 0) & (np.arange(257) < 256)  # without DC and half the rate
    limits = [0.0, 550.0, 1050.0, 1800.0, rate]
    bands = [float(np.sum(spectrum[used & (hz >= a) & (hz < b)])) for a, b in pairwise(limits)]
    return float(energies[0] + energies[1]), float(energies[2] + energies[3]), bands


def residual_cost(
    line: Line, first: int, e: Envelope, omegas: tuple[float, float], block: int
) -> float | None:
    """What is left beside the tones over the newest run; None: too short to judge."""
    newest = (block + 1) * BLOCK * line.step
    to = math.floor((first + e.end) * line.step) if e.ended else newest
    start = max(
        math.ceil((first + e.edges(e.runs[-1])[0]) * line.step),
        to - int(56.0 / 1000 * line.rate),
        (block * BLOCK - BEFORE) * line.step,
    )
    if to - start < int(10.0 / 1000 * line.rate):
        return None
    low, high, bands = residual(line.samples(start, to), line.rate, omegas)
    low, high = low + 1e-9, high + 1e-9
    both = low + high
    return (
        0.15 * clamp(decibels(bands[0] / both), -20.0, 30.0)
        + 0.09 * clamp(decibels((bands[1] + bands[2]) / both), -30.0, 30.0)
        + 0.12 * clamp(decibels(bands[2] / high), -30.0, 30.0)
        + 0.09 * clamp(decibels(bands[1] / low), -30.0, 30.0)
        + 0.07 * clamp(decibels(bands[3] / both), -25.0, 10.0)
    )


# ---- after that ----


def end_of(line: Line, tracker: Tracker, since: int) -> float | None:
    """Where a digit that is sure went below half for 30 ms, in steps; None: not yet."""

    def on(first: int, end: int) -> Signal:
        low = np.abs(line.amplitudes(first, end, tracker.low)) / tracker.low_level
        high = np.abs(line.amplitudes(first, end, tracker.high)) / tracker.high_level
        return np.minimum(low, high)

    for step, share in enumerate(on(since, tracker.end), since):
        if share >= ON:
            tracker.last_on = step
        elif (step - tracker.last_on) * line.step_ms >= GAP_MS:
            return tracker.last_on + crossing(on(tracker.last_on, tracker.last_on + 2), 0)
    return None


def place_for(trackers: list[Tracker]) -> bool:
    """Is there room for one more? Of those that are not sure, the one hit longest ago goes."""
    if len(trackers) < TRACKERS:
        return True
    unsure = [tracker for tracker in trackers if not tracker.sure]
    if unsure:
        trackers.remove(min(unsure, key=lambda tracker: tracker.last_hit))
    return bool(unsure)


def digits(pcm: NDArray[np.int16], rate: int) -> list[tuple[str, int, int]]:
    """Each digit with the first sample of its tone and the one after its last, by onset."""
    line = line_of(pcm, rate)
    found: list[tuple[str, int, int]] = []
    trackers: list[Tracker] = []
    last_end = dict.fromkeys(KEYPAD, -1e9)  # in steps
    quiet_until = 0
    for block, tones in enumerate(hits(line)):
        block_end = (block + 1) * BLOCK
        if tones:
            tracker = next((t for t in trackers if (t.low, t.high) == tones), None)
            if tracker is None and place_for(trackers):
                tracker = Tracker(*tones, first=0, end=0)
                ended = math.ceil(last_end[tracker.digit])
                tracker.first = max(block * BLOCK - LOOK_BACK, ended)
                trackers.append(tracker)
            if tracker:
                tracker.last_hit = block_end
        for tracker in list(trackers):
            since, tracker.end = tracker.end, block_end - HALF_WINDOW + 1
            if not tracker.sure:
                tracker.first = max(tracker.first, tracker.end - MEMORY)
                e = envelope_of(line, tracker)
                if e is None or not is_digit(line, tracker, e, last_end[tracker.digit], block):
                    if (block_end - tracker.last_hit) * line.step_ms > 60.0:
                        trackers.remove(tracker)
                    continue
                tracker.sure = True
                tracker.low_level, tracker.high_level = e.low_level, e.high_level
                # What was too quiet for a tone has none, however the window smears it.
                tracker.onset = max(line.position(tracker.first + e.start), quiet_until)
                since = tracker.last_on = tracker.first + int(e.end)
            end = end_of(line, tracker, since)
            if end is not None:
                trackers.remove(tracker)
                last_end[tracker.digit] = end
                # Nothing ends after the leg's own end.
                onset, end_position = tracker.onset, line.position(end)
                found.append((tracker.digit, min(onset, len(pcm)), min(end_position, len(pcm))))
        if line.quiet[block]:
            trackers = [tracker for tracker in trackers if tracker.sure]
            quiet_until = block_end * line.step * line.factor
    return sorted(found, key=lambda digit: (digit[1], digit[2], digit[0]))
