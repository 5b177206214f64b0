# SPDX-License-Identifier: MIT
"""The `recorder` command, on the public API only."""

import contextlib
import io
import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import click
import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder import (
    SAMPLE_RATES,
    Call,
    Detection,
    OptionError,
    RecorderError,
    RecordEvent,
    RecordOptions,
    detect,
    recover,
)

_EXIT: Final = {"finished": 0, "no_input": 3}
_ENDED: Final = ("finished", "no_input", "error")
_WRONG_USE: Final = 2
_BLOCK_SECONDS: Final = 5
_PIPE_BLOCK_SECONDS: Final = 0.2
_ENCODINGS: Final = ("pcm16", "pcmu", "pcma")
_HEADERS: Final = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM", b".snd")
_DEFAULTS: Final = RecordOptions()


class _Group(click.Group):
    """Names the file and the reason when something fails, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OptionError as error:
            _fail(str(error), _WRONG_USE)
        except RecorderError as error:
            _fail(str(error), 1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="recorder-telephony", prog_name="recorder")
def main() -> None:
    """Record telephone audio as a cloud's call.record would, and report what is in it."""


def _fail(message: str, status: int) -> NoReturn:
    click.echo(f"recorder: {message}", err=True)
    sys.exit(status)


# -- input ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One open input; `blocks` yields (n, channels), int16, float32, or uint8 for G.711."""

    name: str
    rate: int
    channels: int
    frames: int | None  # None where only the end says
    encoding: str
    blocks: Iterator[NDArray[Any]]


def _raw(name: str, stream: BinaryIO, rate: int, encoding: str) -> _Source:
    dtype = np.dtype(np.int16 if encoding == "pcm16" else np.uint8)
    if stream.seekable():
        start = stream.read(4)
        stream.seek(0)
        if start in _HEADERS:
            raise click.UsageError(f"{name} has a header, and raw PCM has none: leave --rate out")
    # A pipe may be live: what came is taken soon.
    seconds = _BLOCK_SECONDS if stream.seekable() else _PIPE_BLOCK_SECONDS
    size = max(1, round(rate * seconds)) * dtype.itemsize
    frames = None
    if stream.seekable():
        frames = stream.seek(0, io.SEEK_END) // dtype.itemsize
        stream.seek(0)

    def blocks() -> Iterator[NDArray[Any]]:
        # read(n) of a buffered stream returns less only at the end.
        while data := stream.read(size):
            if len(data) % dtype.itemsize:
                _fail(f"{name}: raw PCM ends in mid-sample, after an odd number of bytes", 1)
            yield np.frombuffer(data, dtype)[:, np.newaxis]

    return _Source(
        name=name, rate=rate, channels=1, frames=frames, encoding=encoding, blocks=blocks()
    )


def _sound(name: str, file: Any) -> _Source:
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError as error:
        _fail(f"cannot read {name}: {error.error_string} (raw PCM needs --rate)", 1)
    if sound.samplerate not in SAMPLE_RATES:
        expected = ", ".join(map(str, SAMPLE_RATES))
        raise click.UsageError(f"{name}: expected {expected} Hz, got {sound.samplerate}")
    is_float = sound.subtype in {"FLOAT", "DOUBLE", "VORBIS", "OPUS"} or sound.format == "MP3"
    dtype = "float32" if is_float else "int16"

    def blocks() -> Iterator[NDArray[Any]]:
        with sound:
            for block in sound.blocks(
                sound.samplerate * _BLOCK_SECONDS, dtype=dtype, always_2d=True
            ):
                yield np.clip(block, -1.0, 1.0) if is_float else block

    return _Source(
        name=name,
        rate=sound.samplerate,
        channels=sound.channels,
        frames=sound.frames,
        encoding="pcm16",
        blocks=blocks(),
    )


def _open(name: str, rate: int | None, encoding: str) -> _Source:
    if rate is None and encoding != "pcm16":
        raise click.UsageError(f"--encoding {encoding} requires --rate")
    if name == "-":
        if sys.stdin is None:
            raise click.UsageError("standard input is closed")
        stream: BinaryIO = sys.stdin.buffer
    elif Path(name).is_dir():
        raise click.UsageError(f"{name} is a folder")
    elif not Path(name).exists():
        raise click.UsageError(f"there is no file {name}")
    else:
        stream = Path(name).open("rb")  # noqa: SIM115 - read by the generator that outlives this
    if rate is not None:
        return _raw(name, stream, rate, encoding)
    if stream.seekable() and name != "-":
        stream.close()
        return _sound(name, os.fsencode(name))
    return _sound(name, io.BytesIO(stream.read()))  # libsndfile seeks


def _open_all(names: tuple[str, ...], rate: int | None, encoding: str) -> list[_Source]:
    if names.count("-") > 1:
        raise click.UsageError("standard input can be read only once")
    sources = [_open(name, rate, encoding) for name in names]
    if len(sources) == 2:
        for source in sources:
            if source.channels != 1:
                raise click.UsageError(f"{source.name} is not mono: of two inputs each is a leg")
        if sources[0].rate != sources[1].rate:
            raise click.UsageError(
                f"{sources[0].name} has {sources[0].rate} Hz and {sources[1].name}"
                f" {sources[1].rate} Hz: both legs have one rate"
            )
    elif sources[0].channels > 2:
        raise click.UsageError(
            f"{sources[0].name}: expected one channel or two, got {sources[0].channels}"
        )
    return sources


def _legs(sources: list[_Source]) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Blocks of speak and listen of the same length; a leg that ends first continues as silence."""
    if len(sources) == 1:
        for block in sources[0].blocks:
            yield block[:, 0], block[:, 1] if block.shape[1] == 2 else None
        return
    iterators = [source.blocks for source in sources]
    while True:
        speak, listen = (next(blocks, None) for blocks in iterators)
        if speak is None and listen is None:
            return
        n = max(len(block) for block in (speak, listen) if block is not None)
        yield _filled(speak, n, sources[0]), _filled(listen, n, sources[1])


def _filled(block: NDArray[Any] | None, n: int, source: _Source) -> NDArray[Any]:
    quiet = {"pcm16": 0, "pcmu": 0xFF, "pcma": 0xD5}[source.encoding]
    if block is None:
        dtype = np.int16 if source.encoding == "pcm16" else np.uint8
        return np.full(n, quiet, dtype)
    return np.pad(block[:, 0], (0, n - len(block)), constant_values=quiet)


_sensitivity_option = click.option(
    "--input-sensitivity",
    type=float,
    default=_DEFAULTS.input_sensitivity,
    show_default=True,
    metavar="S",
    help="0 to 100: the gate is at -S dBFS.",
)
_input_options = [
    click.option("--rate", type=int, help="Sample rate of raw PCM, in Hz."),
    click.option(
        "--encoding",
        type=click.Choice(_ENCODINGS),
        default="pcm16",
        show_default=True,
        help="Encoding of raw PCM.",
    ),
]


def _with_input_options(command: Any) -> Any:
    for option in reversed(_input_options):
        command = option(command)
    return command


# -- recorder record -----------------------------------------------------------------------


@main.command()
@click.argument("inputs", metavar="INPUT [INPUT2]", nargs=-1, required=True)
@click.option("--direction", help="speak, listen or both.  [default: the legs that are given]")
@click.option("--format", "format_", help="wav or mp3.  [default: as --output ends, else wav]")
@click.option("--stereo", is_flag=True, help="Two channels: left speak, right listen.")
@click.option(
    "--initial-timeout",
    type=float,
    default=_DEFAULTS.initial_timeout,
    show_default=True,
    metavar="SECONDS",
    help="No voice for this long: no_input. 0: off.",
)
@click.option(
    "--end-silence-timeout",
    type=float,
    default=_DEFAULTS.end_silence_timeout,
    show_default=True,
    metavar="SECONDS",
    help="Silence after voice that ends it. 0: off.",
)
@click.option(
    "--terminators",
    default=_DEFAULTS.terminators,
    show_default=True,
    metavar="DIGITS",
    help="DTMF digits that end it.",
)
@click.option("--beep", is_flag=True, help="Start after a beep that the party would hear.")
@_sensitivity_option
@click.option(
    "--max-length",
    type=float,
    default=_DEFAULTS.max_length,
    metavar="SECONDS",
    show_default=True,
    help="The file never gets longer. 0: off.",
)
@click.option(
    "--noise-tracking/--no-noise-tracking",
    default=_DEFAULTS.noise_tracking,
    show_default=True,
    help="Learn the noise of the line; without, the gate alone decides.",
)
@click.option("--voice-only", is_flag=True, help="Breaths, knocks and slams are no input.")
@click.option("--mask-digits", is_flag=True, help="DTMF tones are silence in the file.")
@click.option("--control-id", help="The recording's name in the event.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to make; never overwritten.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to make a file with a made-up name.  [default: recordings]",
)
@_with_input_options
def record(
    inputs: tuple[str, ...],
    output: Path | None,
    directory: Path | None,
    rate: int | None,
    encoding: str,
    format_: str | None,
    direction: str | None,
    control_id: str | None,
    **audio: Any,
) -> None:
    """Record audio files as if they were a call.

    One mono file is what the party says (the speak leg), two are speak and listen, one stereo
    file is speak on the left and listen on the right; both are recorded. Anything libsndfile
    reads will do; "-" is standard input; raw PCM needs --rate.

    Prints the terminal event as JSON. Exits with 0 when it is finished, 3 for no_input, 2 for
    wrong use and 1 for anything else.
    """
    if len(inputs) > 2:
        raise click.UsageError(f"expected one input, or two, speak and listen; got {len(inputs)}")
    if output is not None and directory is not None:
        raise click.UsageError("--output and --directory exclude each other")
    audio["format"] = _format(format_, output)
    if direction is not None:
        audio["direction"] = direction
    options = RecordOptions(**audio)
    sources = _open_all(inputs, rate, encoding)
    if direction is None and len(sources) * sources[0].channels == 2:
        options = options.replace(direction="both")  # nothing given is left out
    call = Call(sources[0].rate, directory=directory if directory is not None else "recordings")
    interrupted = _interrupts()
    action = call.record(options, control_id=control_id, path=output)
    try:
        with _progress(sources) as bar:
            for speak, listen in _legs(sources):
                call.feed(speak=speak, listen=listen, encoding=encoding)  # type: ignore[call-overload]
                bar.update(len(speak))
                if action.state in _ENDED or interrupted:
                    break
    finally:
        # Whatever happened: what was recorded is kept.
        call.hangup()
    event = action.join()
    click.echo(json.dumps(event.payload))
    click.echo(_for_a_person(event), err=True)
    sys.exit(1 if interrupted else _EXIT.get(event.state, 1))


def _interrupts() -> list[int]:
    """What Ctrl-C and the like leave behind: they end the recording between two blocks."""
    received: list[int] = []
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, _: received.append(number))
    return received


def _format(format_: str | None, output: Path | None) -> str:
    ending = output.suffix.lower().removeprefix(".") if output is not None else ""
    if ending not in {"", "wav", "mp3"}:
        raise click.UsageError(f"--output: expected a name in .wav or .mp3, got {output}")
    if format_ is None:
        return ending or "wav"
    if ending and ending != format_:
        raise click.UsageError(f"--format {format_} does not fit --output {output}")
    return format_


def _progress(sources: list[_Source]) -> Any:
    lengths = [source.frames for source in sources]
    if not sys.stderr.isatty() or None in lengths:
        return contextlib.nullcontext(_NoBar())
    return click.progressbar(
        length=max(n for n in lengths if n is not None), file=sys.stderr, label="recording"
    )


class _NoBar:
    def update(self, n: int) -> None:
        """Show nothing."""


def _for_a_person(event: RecordEvent) -> str:
    record = event.record
    why = record["reason"].replace("_", " ") + (f" {record['digit']}" if "digit" in record else "")
    error = f": {record['error']}" if "error" in record else ""
    return (
        f"{event.state} ({why}){error}: {event.duration:.2f} s, {event.size} bytes in {event.url}"
    )


# -- recorder recover ----------------------------------------------------------------------


@main.command("recover")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def recover_(directory: Path) -> None:
    """Finish the recordings that a crash left in a folder.

    They are completed and get their names; nothing is overwritten, and what is still being
    recorded is left alone. Prints one JSON object for each file found. Exits with 1 when one
    cannot be read.
    """
    found = recover(directory)
    for file in found:
        fields = asdict(file) | {"staged": str(file.staged), "path": file.path and str(file.path)}
        click.echo(json.dumps(fields))
    if any(file.outcome == "unreadable" for file in found):
        sys.exit(1)


# -- recorder detect -----------------------------------------------------------------------


@main.command("detect")
@click.argument("input_", metavar="INPUT")
@_sensitivity_option
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@_with_input_options
def detect_(
    input_: str, input_sensitivity: float, as_json: bool, rate: int | None, encoding: str
) -> None:
    """Report the digits, the voice and the levels of a file, leg by leg.

    Of a stereo file the left channel is the speak leg, the right one the listen leg.
    """
    sources = _open_all((input_,), rate, encoding)
    source = sources[0]
    parts = list(source.blocks) or [np.zeros((0, source.channels), np.int16)]
    audio = np.concatenate(parts)
    found = {
        leg: detect(
            np.ascontiguousarray(audio[:, channel]),
            source.rate,
            input_sensitivity,
            encoding=source.encoding,  # type: ignore[arg-type]
        )
        for channel, leg in enumerate(("speak", "listen")[: source.channels])
    }
    if as_json:
        click.echo(json.dumps(_as_json(found, source, len(audio), input_sensitivity)))
    else:
        click.echo(_as_table(found, source, len(audio), input_sensitivity))


def _as_json(
    found: dict[str, Detection], source: _Source, n: int, sensitivity: float
) -> dict[str, Any]:
    rate = source.rate
    return {
        "sample_rate": rate,
        "duration": n / rate,
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
            for leg, detection in found.items()
        },
    }


def _rounded(level: float | None) -> float | None:
    return None if level is None or math.isinf(level) else round(level, 1)


def _as_table(found: dict[str, Detection], source: _Source, n: int, sensitivity: float) -> str:
    rate = source.rate
    lines = [f"{source.name}: {n / rate:.2f} s at {rate} Hz, gate at {-sensitivity:g} dBFS"]
    for leg, detection in found.items():
        lines += ["", f"{leg} leg"]
        rows = [("digit " + d.digit, d.start, d.end) for d in detection.digits]
        rows += [("voice", v.start, v.end) for v in detection.voice]
        for what, start, end in sorted(rows, key=lambda row: row[1]):
            lines.append(f"  {what:<12}{start / rate:10.3f} s  to {end / rate:10.3f} s")
        if not rows:
            lines.append("  no digits, no voice")
        lines += [
            f"  {'speech level':<28}{_level(detection.speech_level)}",
            f"  {'noise floor':<28}{_level(detection.noise_floor)}",
            f"  {'suggested input_sensitivity':<28}{_suggestion(detection)}",
        ]
    return "\n".join(lines)


def _level(level: float | None) -> str:
    return "-" if level is None else f"{level:.1f} dBFS"


def _suggestion(detection: Detection) -> str:
    suggested = detection.suggested_input_sensitivity
    return "- (nothing stands out of the noise)" if suggested is None else str(suggested)
