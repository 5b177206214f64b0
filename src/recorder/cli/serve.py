# SPDX-License-Identifier: MIT
"""`recorder serve`: record the calls that others send."""

import ipaddress
import json
import os
import signal
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import click

from recorder.cli.audio import DEFAULTS, audio_options
from recorder.cli.console import Console, console_options, give_up_output
from recorder.options import RecordOptions

_MOST_PORT: Final = 65535
_LINES_SECONDS: Final = 1.0


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

    lines = _Lines()

    def make_calls() -> Calls:
        return Calls(
            options,
            directory,
            lines.put,
            most=max_calls,
            most_idle_seconds=max_idle,
        )

    asyncio.run(serve_audiosocket(make_calls, host, port, lines.put))
    lines.finish()


class _Lines:
    """Prints JSON on standard output, a line each, in a thread: who reads it delays no call.

    Where that fails the server ends as by a signal, and `finish` ends the command with 1.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[bytes] = SimpleQueue()
        self._error: OSError | None = None
        # Not through sys.stdout, whose lock it would hold at the exit when nobody reads.
        self._out = sys.stdout.fileno()
        self._thread = threading.Thread(target=self._print, name="recorder-lines", daemon=True)
        self._thread.start()

    def put(self, line: dict[str, Any]) -> None:
        self._waiting.put(json.dumps(line).encode() + b"\n")

    def finish(self) -> None:
        """Wait until all is printed, for as long as somebody reads."""
        self._waiting.put(b"")
        self._thread.join(_LINES_SECONDS)
        if self._error is not None:
            give_up_output(self._error)

    def _print(self) -> None:
        try:
            while line := self._waiting.get():
                while line:
                    line = line[os.write(self._out, line) :]
        except OSError as error:
            self._error = error
            os.kill(os.getpid(), signal.SIGTERM)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
