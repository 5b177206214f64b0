# SPDX-License-Identifier: MIT
"""`recorder serve`: record the calls that others send."""

import ipaddress
import json
from pathlib import Path
from typing import Any, Final

import click

from recorder.cli.audio import DEFAULTS, audio_options
from recorder.cli.console import Console, console_options, print_result
from recorder.options import RecordOptions

_MOST_PORT: Final = 65535


class _Address(click.ParamType):  # type: ignore[type-arg]
    """HOST:PORT, as a pair; an IPv6 address in brackets."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > _MOST_PORT:
            self.fail(f"expected HOST:PORT, such as 127.0.0.1:9092, got {value!r}", param, ctx)
        return host.removeprefix("[").removesuffix("]"), int(port)


@click.command("serve")
@click.option(
    "--audiosocket",
    type=_Address(),
    metavar="HOST:PORT",
    required=True,
    help="Take calls of Asterisk's AudioSocket there. Port 0 picks one.",
)
@audio_options(direction="speak, or both with --stereo", format="wav")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default="recordings",
    show_default=True,
    help="Where the files go.",
)
@click.option(
    "--max-calls",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="More connections at once are refused.",
)
@click.option(
    "--max-idle",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="A connection on which nothing comes for so long is closed.",
)
@console_options
def serve_command(
    audiosocket: tuple[str, int],
    directory: Path,
    max_calls: int,
    max_idle: float,
    format_: str | None,
    direction: str | None,
    *,
    quiet: bool,
    verbose: int,
    **audio: Any,
) -> None:
    """Record the calls that an Asterisk sends, each from its start to its end.

    Prints JSON, a line each: first where it listens, then every event of every recording. When a
    recording ends by its options the connection is closed. SIGTERM and Ctrl-C hang up all calls,
    complete their files, and end with 0.
    """
    import asyncio  # here: it takes long, and other commands do not need it

    from recorder.server.calls import Calls
    from recorder.server.serving import serve_audiosocket

    console = Console(quiet=quiet, verbose=verbose)
    audio["format"] = format_ or DEFAULTS.format
    audio["direction"] = direction or ("both" if audio["stereo"] else DEFAULTS.direction)
    options = RecordOptions(**audio)
    host, port = audiosocket
    if not _is_loopback(host):
        console.say(f"recorder: warning: {host} is not loopback: others can send calls")

    def make_calls() -> Calls:
        return Calls(options, directory, _print_line, most=max_calls, most_idle_seconds=max_idle)

    asyncio.run(serve_audiosocket(make_calls, host, port, _print_line))


def _print_line(line: dict[str, Any]) -> None:
    print_result(json.dumps(line))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
