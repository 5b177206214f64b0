# SPDX-License-Identifier: MIT
"""The options of a recording, on the command line."""

from collections.abc import Callable
from typing import Any, Final

import click

from recorder.options import CHOICES, RecordOptions

DEFAULTS: Final = RecordOptions()

sensitivity_option: Final = click.option(
    "--input-sensitivity",
    type=float,
    default=DEFAULTS.input_sensitivity,
    show_default=True,
    metavar="S",
    help="0 to 100: the gate is at -S dBFS.",
)


def _seconds(name: str, default: float, what: str) -> Any:
    return click.option(
        name, type=float, default=default, show_default=True, metavar="SECONDS", help=what
    )


def audio_options(*, direction: str, format: str) -> Callable[[Any], Any]:
    """Add the keys of `audio`; `direction` and `format` say what holds when they are not given."""
    options = (
        click.option(
            "--direction",
            type=click.Choice(CHOICES["direction"]),
            help=f"The legs that are recorded.  [default: {direction}]",
        ),
        click.option(
            "--format",
            "format_",
            type=click.Choice(CHOICES["format"]),
            help=f"Of the file.  [default: {format}]",
        ),
        click.option("--stereo", is_flag=True, help="Two channels: left speak, right listen."),
        _seconds(
            "--initial-timeout",
            DEFAULTS.initial_timeout,
            "No voice for this long: no_input. 0: off.",
        ),
        _seconds(
            "--end-silence-timeout",
            DEFAULTS.end_silence_timeout,
            "Silence after voice that ends it. 0: off.",
        ),
        click.option(
            "--terminators",
            default=DEFAULTS.terminators,
            show_default=True,
            metavar="DIGITS",
            help="DTMF digits that end it.",
        ),
        click.option("--beep", is_flag=True, help="Start after a beep that the party hears."),
        sensitivity_option,
        _seconds("--max-length", DEFAULTS.max_length, "The file never gets longer. 0: off."),
        click.option(
            "--noise-tracking/--no-noise-tracking",
            default=DEFAULTS.noise_tracking,
            show_default=True,
            help="Learn the noise of the line; without, the gate alone decides.",
        ),
        click.option("--voice-only", is_flag=True, help="Breaths, knocks and slams are no input."),
        click.option("--mask-digits", is_flag=True, help="DTMF tones are silence in the file."),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add
