# SPDX-License-Identifier: MIT
"""How often a recording ends where it should, by our detector and by others.

Run: python -m benchmarks.voice_quality [--half held-out] [--items 50] [--by-category]
[--option noise_tracking=false ...]. The set and the judge are those of tests/voicemails.py; the
others decide per frame of 20 ms, and the timers and the smoothing over them are ours.
"""

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests import voicemails
from tests.signals import Pcm
from tests.voicemails import END_SILENCE_TIMEOUTS, HALVES, RATE, Frames, Verdict, Voicemail, share

_FIXED_DBFS: Final = -44.0  # where the gate is by default
_ASTERISK: Final = 256  # `silencethreshold` of its dsp.conf
_FREESWITCH: Final = 200  # a usual `silence_thresh` of its `record`
_WEBRTC_LEARNS: Final = 5  # frames
_AUDITOK: Final = 50  # its default energy threshold

_Detector = Callable[[Pcm], Frames]


# -- the others --------------------------------------------------------------------------------


def _fixed(pcm: Pcm) -> Frames:
    power = np.mean(voicemails.frames(pcm).astype(np.float64) ** 2, axis=1)
    above: Frames = power > 32768.0**2 * 10 ** (_FIXED_DBFS / 10)
    return above


def _mean_amplitude(threshold: int) -> _Detector:
    """What Asterisk's `ast_dsp_silence` and FreeSWITCH's `record` compare, in whole numbers."""

    def detect(pcm: Pcm) -> Frames:
        loudness = np.abs(voicemails.frames(pcm).astype(np.int64)).sum(axis=1)
        above: Frames = loudness // voicemails.FRAME > threshold
        return above

    return detect


def _webrtcvad() -> _Detector:
    vad = importlib.import_module("webrtcvad")

    def detect(pcm: Pcm) -> Frames:
        is_speech = vad.Vad(3).is_speech  # it learns the line: a new one for each
        active = [is_speech(f.tobytes(), RATE) for f in voicemails.frames(pcm)]
        # Until it has learned the line it reports any noise as speech, which would cost it much.
        # Leaving that out costs it nothing: nobody speaks in the first 0.3 s.
        active[:_WEBRTC_LEARNS] = [False] * _WEBRTC_LEARNS
        return np.array(active, np.bool_)

    return detect


def _auditok() -> _Detector:
    validator = importlib.import_module("auditok.util").AudioEnergyValidator(_AUDITOK, 2, 1)

    def detect(pcm: Pcm) -> Frames:
        is_valid = validator.is_valid
        return np.array([is_valid(f.tobytes()) for f in voicemails.frames(pcm)], np.bool_)

    return detect


def _others() -> dict[str, _Detector]:
    """Those that are installed; the others are named on stderr."""
    others = {
        f"fixed threshold, {_FIXED_DBFS:.0f} dBFS": _fixed,
        f"Asterisk, threshold {_ASTERISK}": _mean_amplitude(_ASTERISK),
        f"FreeSWITCH, threshold {_FREESWITCH}": _mean_amplitude(_FREESWITCH),
    }
    for name, make in (("webrtcvad, mode 3", _webrtcvad), (f"auditok, {_AUDITOK} dB", _auditok)):
        try:
            others[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return others


# -- the tables --------------------------------------------------------------------------------


def _own(items: Sequence[Voicemail], options: dict[str, Any]) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as folder:
        return [
            voicemails.judge(item, timeout, Path(folder), options)
            for item in items
            for timeout in END_SILENCE_TIMEOUTS
        ]


def _other(items: Sequence[Voicemail], detect: _Detector) -> list[Verdict]:
    return [
        voicemails.judge_frames(item, timeout, active)
        for item in items
        for active in (detect(item.audio),)
        for timeout in END_SILENCE_TIMEOUTS
    ]


def _row(name: str, verdicts: Sequence[Verdict]) -> str:
    """Noisy lines and how an end went wrong are of the items with speech."""
    spoken = [v for v in verdicts if v.item.end is not None]
    shares = [
        share(verdicts),
        share([v for v in spoken if v.item.snr is None]),
        share([v for v in spoken if v.item.snr is not None]),
        share([v for v in verdicts if v.item.end is None]),
        share(spoken, "cut"),
        share(spoken, "early"),
        share(spoken, "late"),
        share(spoken, "missed"),
    ]
    return f"| {name} | " + " | ".join(f"{s:.1f}" for s in shares) + " |"


def _category_rows(verdicts: Sequence[Verdict]) -> list[str]:
    rows = []
    for category in voicemails.CATEGORIES:
        ours = [v for v in verdicts if v.item.category == category]
        if not ours:
            continue
        spoken = [v for v in ours if v.item.end is not None]
        cells = [
            *(share([v for v in spoken if v.timeout == t]) for t in END_SILENCE_TIMEOUTS),
            share([v for v in ours if v.item.end is None]),
            *(share(spoken, outcome) for outcome in ("cut", "early", "late", "missed")),
        ]
        shown = " | ".join("" if np.isnan(c) else f"{c:.0f}" for c in cells)
        rows.append(f"| {category} | {len({v.item.name for v in ours})} | {shown} |")
    return rows


def _option(text: str) -> tuple[str, Any]:
    """`key=value`, the value as in JSON or else a string."""
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not key=value")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, in per cent of the items at both end-silence timeouts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.voice_quality")
    parser.add_argument("--half", choices=HALVES, default="development")
    parser.add_argument("--items", type=int, help="judge only so many, spread over all")
    parser.add_argument("--option", type=_option, action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--by-category", action="store_true", help="ours, by kind of line")
    parser.add_argument("--only-own", action="store_true", help="leave the others out")
    chosen = parser.parse_args(arguments)
    for message in voicemails.missing():
        print(message, file=sys.stderr)
    try:
        items = voicemails.voicemails(chosen.half, chosen.items)
    except RuntimeError as error:
        sys.exit(str(error))
    own = _own(items, dict(chosen.option))
    spoken = sum(item.end is not None for item in items)
    print(f"{chosen.half}: {len(items)} voicemails, {spoken} with speech. Good, in per cent:\n")
    print("| detector | all | quiet | noisy | no speech | cut | early | late | missed |")
    print("| --- |" + " ---: |" * 8)
    options = "".join(f", {key}={value}" for key, value in chosen.option)
    print(_row(f"recorder{options}", own))
    if not chosen.only_own:
        for name, detect in _others().items():
            print(_row(name, _other(items, detect)))
    if chosen.by_category:
        print("\n| line | items | 2.0 s | 0.8 s | no speech | cut | early | late | missed |")
        print("| --- |" + " ---: |" * 8)
        print("\n".join(_category_rows(own)))


if __name__ == "__main__":
    main()
