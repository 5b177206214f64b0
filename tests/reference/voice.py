# SPDX-License-Identifier: MIT
"""When there is input, as docs/voice.md says it: frame by frame, in float64, nothing clever.

The filter is the textbook's direct form; after each 0.1 s all is judged from the whole past,
not from what an incremental detector would have kept.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Signal = NDArray[np.float64]

FULL_SCALE = 32768.0
LOOK_BACK = 200  # frames: 4 s
BLOCK = 5  # frames
RING = 30  # blocks


def high_pass(pcm: Samples, rate: int) -> Signal:
    """Second-order Butterworth at 120 Hz by the bilinear transform, direct form I."""
    k = math.tan(math.pi * 120 / rate)
    norm = 1 / (1 + math.sqrt(2) * k + k * k)
    b = (norm, -2 * norm, norm)
    a1, a2 = 2 * (k * k - 1) * norm, (1 - math.sqrt(2) * k + k * k) * norm
    x = np.concatenate([np.full(2, pcm[0]), pcm]).astype(np.float64)  # DC since ever
    y = np.zeros(len(x))
    for i in range(2, len(x)):
        y[i] = b[0] * x[i] + b[1] * x[i - 1] + b[2] * x[i - 2] - a1 * y[i - 1] - a2 * y[i - 2]
    return y[2:]


def sine_frequency(y: Signal, rate: int) -> float | None:
    """The frequency of the one sine that a frame is, if it is one between 300 and 2200 Hz."""
    d = (rate + 4000) // 8000
    n = (len(y) - 2 * d) // 4 * 4
    b, s = y[d : d + n], y[:n] + y[2 * d : 2 * d + n]
    sb, bb, ss = s @ b, b @ b, s @ s
    if bb <= 0 or ss - sb * sb / bb >= 0.08 * bb or abs(sb / (2 * bb)) >= 1:
        return None
    hz = math.acos(sb / (2 * bb)) * rate / (2 * math.pi * d)
    return hz if 300 <= hz <= 2200 else None


def tones(y: list[Signal], power: list[float], above: list[bool], rate: int) -> list[int]:
    """For each frame: how many frames the tone that it is part of had lasted with it."""
    lasted: list[int] = []
    first_hz = first_power = 0.0
    for frame, frame_power, is_above in zip(y, power, above, strict=True):
        hz = sine_frequency(frame, rate) if is_above else None
        count = lasted[-1] if lasted else 0
        same = (
            hz is not None
            and count > 0
            and abs(hz - first_hz) <= 0.02 * first_hz
            and 10**-0.4 <= frame_power / first_power <= 10**0.4
        )
        if hz is None:
            lasted.append(0)
        elif same:
            lasted.append(count + 1)
        else:
            first_hz, first_power = hz, frame_power
            lasted.append(1)
    return lasted


def stretches(frames: list[bool], frame: int) -> list[tuple[int, int]]:
    """Three of five: what is input, in samples."""
    found: list[list[int]] = []
    active = False
    last_end = 0
    for index, is_input in enumerate(frames):
        window = frames[max(0, index - 4) : index + 1]
        enough = sum(window) >= 3
        if enough and not active:
            first = index - len(window) + 1
            starts = [
                (first + i) * frame
                for i, hit in enumerate(window)
                if hit and (first + i) * frame >= last_end
            ]
            found.append([starts[0] if starts else index * frame, 0])
        active = enough
        if is_input and active:
            last_end = (index + 1) * frame
            found[-1][1] = last_end
    return [(start, end) for start, end in found]


@dataclass
class Line:
    """What has been learnt of the line after each block."""

    quiet: bool = True
    digital: bool = False
    low_run: int = 0
    zero_run: int = 0
    since_low: int = 0
    peak: float = 0.0
    powers: list[float] = field(default_factory=list)
    low: list[bool] = field(default_factory=list)
    zero: list[bool] = field(default_factory=list)

    def add(self, power: float, *, low: bool, zero: bool, tone: set[int], needed: int) -> None:
        """One more block; `tone` are the blocks that hold a tone, `needed` makes quiet."""
        self.powers.append(power)
        self.low.append(low)
        self.zero.append(zero)
        self.zero_run = self.zero_run + 1 if low and zero else 0
        self.digital |= self.zero_run >= 5
        if len(self.powers) == 1:
            self.quiet, self.digital = low, low and zero
        if low and (not zero or self.digital):
            ran = zero and self.low_run < self.zero_run
            self.low_run = self.zero_run if ran else self.low_run + 1
            self.since_low = 0
        else:
            self.low_run = self.low_run if zero else 0
            self.since_low += 1
        if self.quiet:
            steady = self.since_low >= 25 and self._is_steady(tone)
            if self.since_low >= 50 or steady:
                self.quiet, self.peak = False, 0.0
        elif self.low_run >= needed:
            self.quiet = True

    def _newest(self, reach: int, tone: set[int], *, with_low: bool) -> list[float]:
        """Powers of the usable blocks among the newest ones, newest first."""
        last = len(self.powers) - 1
        return [
            self.powers[i]
            for i in range(last, max(-1, last - reach), -1)
            if not self.zero[i] and i not in tone and (with_low or not self.low[i])
        ]

    def _is_steady(self, tone: set[int]) -> bool:
        powers = sorted(self._newest(25, tone, with_low=True))
        return len(powers) >= 12 and powers[11] <= powers[0] * 10**0.4

    def threshold(self, tone: set[int], *, any_voice: bool) -> float:
        """What a frame must reach on the noisy line."""
        newest = self._newest(RING, tone, with_low=False)
        if not newest:
            return 0.0
        if len(newest) >= 3:
            self.peak = max(self.peak, sorted(newest[:10])[-3])
        powers = sorted(newest)
        floor = powers[int(0.1 * (len(powers) - 1) + 0.5)]
        over_floor = floor * 10**1.2
        if any_voice:
            asked = max(floor * 10**0.4, min(self.peak * 10**-0.8, over_floor))
        else:
            asked = min(powers[len(powers) // 2] * 10**0.7, over_floor)
        return min(asked, FULL_SCALE**2 * 10**-2.6)


def voice(pcm: Samples, rate: int, sensitivity: float, needed: int = 4) -> list[tuple[int, int]]:
    """The stretches of input in the end; a last frame that is not whole is not judged."""
    n = rate // 50
    count = len(pcm) // n
    if count == 0:
        return []
    filtered = high_pass(pcm, rate)
    y = [filtered[i * n : (i + 1) * n] for i in range(count)]
    zero = [bool(np.all(pcm[i * n : (i + 1) * n] == pcm[i * n])) for i in range(count)]
    power = [0.0 if z else float(np.mean(frame**2)) for frame, z in zip(y, zero, strict=True)]
    gate = FULL_SCALE**2 * 10 ** (-sensitivity / 10)
    above = [p >= gate and not z for p, z in zip(power, zero, strict=True)]
    smooth = [float(np.mean(power[max(0, i - 4) : i + 1])) for i in range(count)]
    lasted = tones(y, power, above, rate)

    line = Line()
    threshold = 0.0
    is_input: list[bool] = []
    tone: set[int] = set()  # frames found to be part of a tone

    def stands_out(k: int, threshold: float) -> bool:
        return above[k] and (line.quiet or k in tone or smooth[k] >= threshold)

    for i in range(count):
        if lasted[i] == 10:
            tone |= set(range(i - 9, i + 1))
        elif lasted[i] > 10:
            tone.add(i)

        is_input.append(stands_out(i, threshold))
        if (i + 1) % BLOCK:
            continue
        newest = range(i + 1 - BLOCK, i + 1)
        mean = float(np.mean([power[k] for k in newest]))
        was_quiet = line.quiet
        bad = {k // BLOCK for k in tone}
        line.add(
            mean,
            low=mean < gate * 10**-0.6,
            zero=any(zero[k] for k in newest),
            tone=bad,
            needed=needed,
        )
        if line.quiet and was_quiet:
            continue
        if not line.quiet:
            threshold = line.threshold(bad, any_voice=bool(stretches(is_input, n)))
        for k in range(max(0, i + 1 - LOOK_BACK), i + 1):
            may = line.quiet or is_input[k] or k in tone
            is_input[k] = may and stands_out(k, threshold)
    return stretches(is_input, n)
