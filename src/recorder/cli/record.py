# SPDX-License-Identifier: MIT
"""`recorder record`: audio files as if they were a call."""

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

import click

from recorder.call import Call
from recorder.cli.audio import DEFAULTS, audio_options
from recorder.cli.console import Console, console_options, print_result
from recorder.cli.inputs import Inputs, input_options
from recorder.cli.publishing import destinations, publishing_options
from recorder.events import RecordEvent
from recorder.options import CHOICES, RecordOptions
from recorder.reading import LEGS
from recorder.writing.disk import make_folder

T = TypeVar("T")

_EXIT: Final = {"finished": 0, "no_input": 3}
_ENDED: Final = ("finished", "no_input", "error")


@click.command("record")
@click.argument("inputs", metavar="INPUT [INPUT2]", nargs=-1, required=True, type=click.Path())
@audio_options(direction="those that are given", format="as --output ends, else wav")
@click.option("--control-id", help="The recording's name in the event.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to make; never overwritten. Its folder is made.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to make a file with a made-up name.  [default: recordings]",
)
@publishing_options
@input_options
@console_options
def record_command(
    inputs: tuple[str, ...],
    output: Path | None,
    directory: Path | None,
    rate: int | None,
    encoding: str | None,
    channels: tuple[int, ...] | None,
    format_: str | None,
    direction: str | None,
    control_id: str | None,
    *,
    quiet: bool,
    verbose: int,
    **audio: Any,
) -> None:
    """Record audio files as if they were a call.

    One mono file is what the party says (the speak leg), two are speak and listen, one stereo
    file is speak on the left and listen on the right; both are recorded. Any rate and anything
    libsndfile reads will do; "-" is standard input; raw audio needs --rate. Of a capture (pcap,
    pcapng) it is the longest call in it: speak is who sent the INVITE, or whose RTP came first.

    Prints the terminal event as JSON. Exits with 0 when it is finished, 3 for no_input, 2 for
    wrong use and 1 for anything else.
    """
    console = Console(quiet=quiet, verbose=verbose)
    if len(inputs) > 2:
        raise click.UsageError(f"expected one input, or two, speak and listen; got {len(inputs)}")
    if output is not None and directory is not None:
        raise click.UsageError("--output and --directory exclude each other")
    where = destinations(audio)
    audio["format"] = _format(format_, output)
    if direction is not None:
        audio["direction"] = direction
    options = RecordOptions(**audio)
    legs = Inputs(inputs, rate, encoding, channels).legs(*inputs)
    if direction is None and legs.names == LEGS:
        options = options.replace(direction="both")  # nothing given is left out
    if not set(options.legs) & set(legs.names):
        raise click.UsageError(
            f"--direction {direction} leaves out all of {inputs[0]}: a single leg is speak"
        )
    folder = directory if directory is not None else "recordings"
    call = Call(legs.rate, directory=folder, **asdict(where))
    interrupts = _Interrupts()
    if output is not None:
        make_folder(output.absolute().parent, call.file_mode)
    action = call.record(options, control_id=control_id, path=output)
    try:
        with console.progress("recording", legs.length) as advance:
            for (speak, *listen), digits in interrupts.before_each(legs.pieces()):
                call.feed(speak=speak, listen=listen[0] if listen else None)
                for digit in digits:
                    call.digit(digit)
                advance(len(speak) // 2)
                if action.state in _ENDED:
                    break
    finally:
        # Whatever happened: what was recorded is kept.
        call.hangup()
    event = action.join()
    console.say(_for_a_person(event))
    print_result(json.dumps(event.payload))
    sys.exit(1 if interrupts.received else _EXIT.get(event.state, 1))


class _Interrupts:
    """Ctrl-C and the like: they end the input, also while it is waited for, and nothing else."""

    def __init__(self) -> None:
        self.received = False
        self._is_reading = False
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.received = True
        if self._is_reading:
            raise KeyboardInterrupt

    def before_each(self, pieces: Iterator[T]) -> Iterator[T]:
        """The same pieces, up to the first signal."""
        try:
            while not self.received:
                self._is_reading = True
                piece = next(pieces, None)
                self._is_reading = False
                if piece is None:
                    return
                yield piece
        except KeyboardInterrupt:
            self._is_reading = False


def _format(format_: str | None, output: Path | None) -> str:
    ending = output.suffix.lower().removeprefix(".") if output is not None else ""
    if ending not in {"", *CHOICES["format"]}:
        raise click.UsageError(f"--output: expected a name in .wav or .mp3, got {output}")
    if format_ is None:
        return ending or DEFAULTS.format
    if ending and ending != format_:
        raise click.UsageError(f"--format {format_} does not fit --output {output}")
    return format_


def _for_a_person(event: RecordEvent) -> str:
    record = event.record
    why = record["reason"].replace("_", " ") + (f" {record['digit']}" if "digit" in record else "")
    error = f": {record['error']}" if "error" in record else ""
    return (
        f"{event.state} ({why}){error}: {event.duration:.2f} s, {event.size} bytes in {event.url}"
    )
