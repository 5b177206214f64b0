# SPDX-License-Identifier: MIT
"""Draws the figures of this folder. Run: python docs/figures.py (needs matplotlib)."""

import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder import Call, Detector, RecordEvent, detect

HERE = Path(__file__).parent
RATE = 8000
# Colours of Okabe and Ito, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN = "#0072B2", "#C04F00", "#009E73"
WINDOW = 120  # 15 ms
STEP = 20  # 2.5 ms


def message() -> NDArray[np.float64]:
    """The sample message, (n,) float64 in int16 units."""
    audio, _ = soundfile.read(HERE.parent / "examples" / "voicemail.wav", dtype="int16")
    return np.asarray(audio, np.float64)


def noisy_message(seconds: float, noise_level: float) -> NDArray[np.int16]:
    """The message without its `#`, (n,) int16, on a line with white noise at a level in dBFS."""
    speech = message()[: 15 * RATE // 2]
    clean = np.pad(speech, (0, round(seconds * RATE) - len(speech)))
    noise = np.random.default_rng(1).normal(0, 32768 * 10 ** (noise_level / 20), len(clean))
    return np.clip(np.rint(clean + noise), -32768, 32767).astype(np.int16)


def recorded(audio: NDArray[np.int16], *, noise_tracking: bool) -> RecordEvent:
    """The terminal event of a recording with 2 s of end silence."""
    with tempfile.TemporaryDirectory() as folder, Call(RATE, directory=folder) as call:
        action = call.record({"end_silence_timeout": 2, "noise_tracking": noise_tracking})
        for at in range(0, len(audio), RATE // 50):
            call.feed(speak=audio[at : at + RATE // 50])
        call.hangup()
        return action.join()


def decision_figure() -> None:
    """A recording of the message on a noisy line: what was fed, found and decided."""
    shown = 14.0
    audio = noisy_message(300, -38)
    event = recorded(audio, noise_tracking=True)
    fixed = recorded(audio, noise_tracking=False)
    assert event.reason == "end_silence"
    assert fixed.reason == "hangup"  # after all 300 s: the fixed gate never found silence
    audio = audio[: round(shown * RATE)]
    found = detect(audio, RATE)
    last_word, end = found.voice[-1].end / RATE, event.duration
    assert found.noise_floor is not None

    plt.rcParams.update({"font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False})
    figure, (wave, level, verdict) = plt.subplots(
        3, 1, figsize=(7.2, 4.9), sharex=True, layout="constrained", height_ratios=(2, 3.4, 1.7)
    )
    figure.suptitle(
        "A message on a noisy line: when has the caller finished?", fontsize=12, weight="bold"
    )
    for span in found.voice:
        for axes in (wave, level):
            axes.axvspan(span.start / RATE, span.end / RATE, color=GREEN, alpha=0.22, lw=0)

    t = np.arange(len(audio)) / RATE
    cut = round(end * RATE)
    wave.plot(t[:cut], audio[:cut] / 32768, lw=0.4, color="0.25")
    wave.plot(t[cut:], audio[cut:] / 32768, lw=0.4, color="0.75")
    swatch = {"facecolor": GREEN, "alpha": 0.22, "lw": 0, "pad": 2.5}
    wave.text(shown - 0.05, 0.3, "voice found", color="#00664B", ha="right", bbox=swatch)
    wave.text(shown, -0.3, "not recorded", color="0.4", ha="right")
    wave.set(ylim=(-0.45, 0.45), yticks=[], ylabel="audio")
    wave.spines["left"].set_visible(False)

    t = (np.arange(len(found.levels)) + 0.5) / 50
    level.plot(t, found.levels, lw=1, color="0.2")
    level.axhline(found.noise_floor, color=BLUE, lw=1.5, ls="--")
    level.axhline(-44, color=ORANGE, lw=1.5)
    level.text(shown, found.noise_floor + 2.5, "noise of the line", color=BLUE, ha="right")
    level.text(shown, -45.2, "gate, -44 dBFS", color=ORANGE, ha="right", va="top")
    level.set(ylim=(-51, -12), yticks=(-50, -40, -30, -20), ylabel="level, dBFS")

    verdict.barh(1, end, color="#00664B", height=0.66)
    verdict.barh(0, shown, color=ORANGE, height=0.66)
    for y, text in (
        (1, f"recorder: ended at {end:.1f} s, 2 s after the last word"),
        (0, "a gate alone: the noise is above it, still recording after 5 minutes"),
    ):
        verdict.text(0.15, y, text, color="w", va="center", weight="bold")
    verdict.set(xlim=(0, shown), ylim=(-0.45, 1.5), yticks=[], xlabel="seconds")
    verdict.spines["left"].set_visible(False)

    for axes in (wave, level):
        axes.axvline(end, color="k", lw=1.5)
        axes.tick_params(bottom=False)
    arrow = {"arrowstyle": "<->", "color": "k", "shrinkA": 0, "shrinkB": 0}
    level.annotate("", (end, -20), (last_word, -20), arrowprops=arrow)
    level.text((last_word + end) / 2, -19.3, "2 s of silence", ha="center", va="bottom")
    level.text(end + 0.2, -20, f"the recording ends:\n{event.state}, {event.reason}", va="center")
    figure.savefig(HERE / "decision.png", dpi=160)
    plt.rcdefaults()


def voice_figure() -> None:
    """The message on a noisy line: levels, gate, and what became of them."""
    audio = noisy_message(13.5, -40)
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
    reported = next(
        at + STEP
        for at in pieces
        for edge in detector.process(audio[at : at + STEP].astype(np.int16))
        if edge.kind == "digit_start" and edge.position == found.start
    )
    axes.axvline(reported / RATE, color="tab:green", lw=1, ls=":")
    axes.text(reported / RATE, 0.1, " reported here", fontsize=8)
    axes.set(xlabel="s", ylabel="amplitude, against its level", ylim=(0, 1.25))
    axes.legend(fontsize=7, loc="center right")
    figure.savefig(HERE / "digits.png", dpi=110)


if __name__ == "__main__":
    decision_figure()
    voice_figure()
    digit_figure()
