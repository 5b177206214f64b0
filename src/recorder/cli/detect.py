# SPDX-License-Identifier: MIT
"""`recorder detect`: what is on the legs of audio files."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import click

from recorder.cli.audio import sensitivity_option
from recorder.cli.console import Console, console_options, print_result, report
from recorder.cli.inputs import Inputs, input_options
from recorder.detection.detect import Detection, FileDetection, VoiceSpan, detect_legs
from recorder.errors import RecorderError
from recorder.options import RecordOptions

# For people: voice that pauses for less is one stretch, and so many lines are read.
_PAUSE_SECONDS: Final = 0.3
_MOST_LINES: Final = 20
_MOST_DIGITS: Final = 40


@click.command("detect")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path())
@sensitivity_option
@click.option("--json", "as_json", is_flag=True, help="For programs: a line of JSON per input.")
@click.option("--all", "shows_all", is_flag=True, help="List every digit and stretch of voice.")
@input_options
@console_options
def detect_command(
    inputs: tuple[str, ...],
    input_sensitivity: float,
    rate: int | None,
    encoding: str | None,
    channels: tuple[int, ...] | None,
    *,
    as_json: bool,
    shows_all: bool,
    quiet: bool,
    verbose: int,
) -> None:
    """Report the digits, the voice and the levels of files, leg by leg.

    Of a stereo file the left channel is the speak leg, the right one the listen leg. Each input
    is a file of its own. One that fails is named on standard error, the others are reported, and
    the exit status is 1 at the end.
    """
    console = Console(quiet=quiet, verbose=verbose)
    RecordOptions(input_sensitivity=input_sensitivity)  # refused once, not for each file
    files = Inputs(inputs, rate, encoding, channels)
    failed = False
    for number, name in enumerate(inputs):
        try:
            found = _detect(files, name, input_sensitivity, console)
        except (RecorderError, click.UsageError) as error:
            if as_json:
                print_result(json.dumps({"path": name, "error": str(error)}))
            if len(inputs) == 1:
                raise
            report(str(error))
            failed = True
            continue
        if as_json:
            print_result(json.dumps(_as_json(found, name, input_sensitivity)))
        else:
            lines = _as_text(found, name, input_sensitivity, shows_all=shows_all)
            print_result("\n".join(["", *lines] if number else lines))
    if failed:
        sys.exit(1)


def _detect(files: Inputs, name: str, sensitivity: float, console: Console) -> FileDetection:
    legs = files.legs(name)
    with console.progress(name, legs.length) as advance:

        def blocks() -> Iterator[tuple[bytes, ...]]:
            for block in legs.blocks:
                yield block
                advance(len(block[0]) // 2)

        return detect_legs(replace(legs, blocks=blocks()), sensitivity)


# -- for programs ------------------------------------------------------------------------------


def _as_json(found: FileDetection, name: str, sensitivity: float) -> dict[str, Any]:
    """All that was found, times in seconds."""
    rate = found.sample_rate
    return {
        "path": name,
        "sample_rate": rate,
        "duration": found.duration,
        "input_sensitivity": sensitivity,
        "legs": {
            leg: {
                "digits": [
                    {"digit": d.digit, "start": d.start / rate, "end": d.end / rate}
                    for d in detection.digits
                ],
                "voice": [{"start": v.start / rate, "end": v.end / rate} for v in detection.voice],
                "speech_level": _rounded(detection.speech_level),
                "noise_floor": _rounded(detection.noise_floor),
                "suggested_input_sensitivity": detection.suggested_input_sensitivity,
            }
            for leg, detection in found.legs.items()
        },
    }


def _rounded(level: float | None) -> float | None:
    return None if level is None or math.isinf(level) else round(level, 1)


# -- for people --------------------------------------------------------------------------------


def _as_text(
    found: FileDetection, name: str, sensitivity: float, *, shows_all: bool
) -> Iterator[str]:
    """A summary of each leg, then what is where."""
    rate = found.sample_rate
    yield f"{name}: {found.duration:.2f} s, gate at {-sensitivity:g} dBFS"
    rows = []
    for leg, detection in found.legs.items():
        pause = round(_PAUSE_SECONDS * rate)
        merged = _merged(detection.voice, pause)
        yield from ("", f"{leg} leg", *_summary(detection, merged, found))
        voice = detection.voice if shows_all else merged
        rows += [(v.start, v.end, leg, "voice") for v in voice]
        rows += [(d.start, d.end, leg, f"digit {d.digit}") for d in detection.digits]
    rows.sort(key=lambda row: row[0])
    yield ""
    for start, end, leg, what in rows if shows_all else rows[:_MOST_LINES]:
        yield f"{start / rate:10.3f} s to {end / rate:10.3f} s  {leg:<8}{what}"
    if not rows:
        yield "no digits, no voice"
    elif len(rows) > _MOST_LINES and not shows_all:
        yield (
            f"and {len(rows) - _MOST_LINES} more: --all lists everything, also pauses of voice"
            f" shorter than {_PAUSE_SECONDS} s"
        )


def _summary(
    detection: Detection, voice: Sequence[VoiceSpan], found: FileDetection
) -> Iterator[str]:
    seconds = sum(span.end - span.start for span in voice) / found.sample_rate
    share = f"{100 * seconds / found.duration:.0f} %" if found.duration else "-"
    stretches = f"{len(voice)} stretch{'' if len(voice) == 1 else 'es'}"
    digits = " ".join(digit.digit for digit in detection.digits[:_MOST_DIGITS])
    more = " ..." if len(detection.digits) > _MOST_DIGITS else ""
    for what, value in (
        ("voice", f"{seconds:.2f} s, {share}, in {stretches}"),
        ("silence", f"{found.duration - seconds:.2f} s"),
        ("digits", f"{len(detection.digits)}: {digits}{more}" if digits else "none"),
        ("speech level", _level(detection.speech_level)),
        ("noise floor", _level(detection.noise_floor)),
        ("suggested --input-sensitivity", _suggestion(detection)),
    ):
        yield f"  {what:<31}{value}"


def _merged(spans: Sequence[VoiceSpan], pause: int) -> list[VoiceSpan]:
    """The stretches of voice, those that are less than `pause` samples apart as one."""
    merged: list[VoiceSpan] = []
    for span in spans:
        if merged and span.start - merged[-1].end < pause:
            merged[-1] = replace(merged[-1], end=span.end)
        else:
            merged.append(span)
    return merged


def _level(level: float | None) -> str:
    if level is None:
        return "-"
    return "digital silence" if math.isinf(level) else f"{level:.1f} dBFS"


def _suggestion(detection: Detection) -> str:
    speech, noise = detection.speech_level, detection.noise_floor
    suggested = detection.suggested_input_sensitivity
    if noise is None:
        return "-: there is no sound"
    if suggested is None or speech is None:
        return "-: nothing stands out of the noise"
    if math.isfinite(noise) and suggested == round(-(speech + noise) / 2):
        return f"{suggested}: halfway from the noise floor to the speech level"
    return (
        f"{suggested}: {speech + suggested:.0f} dB below the speech level; the noise floor is lower"
    )
