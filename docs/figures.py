# SPDX-License-Identifier: MIT
"""Draws the figures of this folder. Run: python docs/figures.py (needs matplotlib)."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder import Detector, detect

HERE = Path(__file__).parent
RATE = 8000
WINDOW = 120  # 15 ms
STEP = 20  # 2.5 ms


def message() -> NDArray[np.float64]:
    """The sample message, (n,) float64 in int16 units."""
    audio, _ = soundfile.read(HERE.parent / "examples" / "voicemail.wav", dtype="int16")
    return np.asarray(audio, np.float64)


def voice_figure() -> None:
    """The message on a noisy line: levels, gate, and what became of them."""
    speech = message()[: 15 * RATE // 2]
    clean = np.concatenate([speech, np.zeros(6 * RATE)])
    noise = np.random.default_rng(1).normal(0, 32768 * 10 ** (-40 / 20), len(clean))
    audio = np.clip(np.rint(clean + noise), -32768, 32767).astype(np.int16)
    found = detect(audio, RATE)
    figure, axes = plt.subplots(figsize=(9, 3.6), layout="constrained")
    t = (np.arange(len(found.levels)) + 0.5) / 50
    axes.plot(t, found.levels, lw=0.9, color="0.25", label="level per 20 ms")
    axes.axhline(-44, color="tab:red", lw=1, label="gate, S = 44")
    axes.axhline(-26, color="tab:orange", lw=1, ls="--", label="-26 dBFS: always input")
    assert found.noise_floor is not None
    axes.axhline(found.noise_floor, color="tab:blue", lw=1, ls=":", label="noise floor")
    for span in found.voice:
        axes.axvspan(span.start / RATE, span.end / RATE, color="tab:green", alpha=0.25, lw=0)
    axes.axvspan(-1, -1, color="tab:green", alpha=0.25, label="voice")
    end = found.voice[-1].end / RATE
    axes.axvline(end + 2, color="k", lw=1.2, label="end of a recording with 2 s of end silence")
    axes.set(xlim=(0, len(audio) / RATE), ylim=(-60, -12), xlabel="s", ylabel="dBFS")
    axes.legend(fontsize=7, ncols=3, loc="lower right")
    figure.savefig(HERE / "voice.png", dpi=110)


def digit_figure() -> None:
    """The message's #: both tones through a 15 ms Hann window, and the edges found."""
    audio = message()
    found = detect(audio.astype(np.int16), RATE).digits[-1]
    centres = np.arange(found.start - 480, found.end + 480, STEP)
    window = np.hanning(WINDOW + 2)[1:-1]
    t = np.arange(WINDOW) - (WINDOW - 1) / 2
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for hz, name in ((941, "941 Hz"), (1477, "1477 Hz")):
        kernel = window * np.exp(-2j * np.pi * hz * t / RATE) * 2 / window.sum()
        amplitude = [abs(audio[c - WINDOW // 2 : c + WINDOW // 2] @ kernel) for c in centres]
        reference = np.percentile([a for a in amplitude if a > max(amplitude) / 2], 60)
        axes.plot(centres / RATE, np.array(amplitude) / reference, ".-", ms=3, lw=0.8, label=name)
    axes.axhline(0.5, color="0.5", lw=0.8, ls="--", label="half of the tone's level")
    for position, name in ((found.start, "onset"), (found.end, "end")):
        axes.axvline(position / RATE, color="tab:red", lw=1)
        axes.text(position / RATE, 1.12, f" {name} {position / RATE:.4f} s", fontsize=8)
    detector = Detector(RATE)
    pieces = range(0, len(audio), STEP)
    told = next(
        at + STEP
        for at in pieces
        for edge in detector.process(audio[at : at + STEP].astype(np.int16))
        if edge.kind == "digit_start" and edge.position == found.start
    )
    axes.axvline(told / RATE, color="tab:green", lw=1, ls=":")
    axes.text(told / RATE, 0.1, " told here", fontsize=8)
    axes.set(xlabel="s", ylabel="amplitude, against its level", ylim=(0, 1.25))
    axes.legend(fontsize=7, loc="center right")
    figure.savefig(HERE / "digits.png", dpi=110)


if __name__ == "__main__":
    voice_figure()
    digit_figure()
