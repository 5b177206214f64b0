# SPDX-License-Identifier: MIT
"""`recorder serve`: record the calls that others send."""

import ipaddress
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from recorder.cli.audio import DEFAULTS, audio_options
from recorder.cli.console import Console, console_options, give_up_output
from recorder.cli.publishing import destinations, publishing_options
from recorder.errors import OptionError
from recorder.options import RecordOptions

if TYPE_CHECKING:
    from recorder.server.meters import Readings
    from recorder.server.settings import Settings

_MOST_PORT: Final = 65535
_SOURCES: Final = ("audiosocket", "asterisk-websocket", "media-stream")


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


def _listens(name: str, what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, type=_Address(), metavar="HOST:PORT", help=what)


@click.command("serve")
@_listens("--audiosocket", "Take calls of Asterisk's AudioSocket there. Port 0 picks one.")
@_listens("--asterisk-websocket", "Take calls of Asterisk's chan_websocket there.")
@_listens("--media-stream", "Take media streams of services and of FreeSWITCH there.")
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
    help="More connections at once are refused, by each process.",
)
@click.option(
    "--max-idle",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="A connection on which nothing comes for so long is closed.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the ports: one for each core.",
)
@_listens("--http", "Answer /healthz and /metrics there.")
@publishing_options
@console_options
def serve_command(
    directory: Path,
    max_calls: int,
    max_idle: float,
    workers: int,
    http: tuple[str, int] | None,
    format_: str | None,
    direction: str | None,
    *,
    quiet: bool,
    verbose: int,
    **others: Any,
) -> None:
    """Record the calls that others send, each from its start to its end.

    Prints JSON, a line each: first where it listens, then every event of every recording. When a
    recording ends by its options the connection is closed. SIGTERM and Ctrl-C hang up all calls,
    complete their files, and end with 0.
    """
    import asyncio  # here: it takes long, and other commands do not need it

    from recorder.server.settings import Settings

    console = Console(quiet=quiet, verbose=verbose)
    found = {name: others.pop(name.replace("-", "_")) for name in _SOURCES}
    sources = {name: address for name, address in found.items() if address is not None}
    if not sources:
        raise click.UsageError(f"expected one of --{', --'.join(_SOURCES)}")
    where = destinations(others)
    others["format"] = format_ or DEFAULTS.format
    others["direction"] = direction or ("both" if others["stereo"] else DEFAULTS.direction)
    settings = Settings(
        sources=sources,
        options=RecordOptions(**others),
        directory=directory,
        max_calls=max_calls,
        max_idle=max_idle,
        destinations=where,
    )
    for host, _ in [*sources.values(), *([http] if http else [])]:
        if not _is_loopback(host):
            console.say(f"recorder: warning: {host} is not loopback: others can connect")
    if workers == 1:
        error = asyncio.run(_serve(settings, http))
    else:
        flags = ["--quiet"] * quiet + ["--verbose"] * verbose
        error = asyncio.run(_serve_by(workers, flags, settings, http))
    if error is not None:
        give_up_output(error)


async def _serve(settings: "Settings", http: tuple[str, int] | None) -> OSError | None:
    """Serve in this process; return why standard output failed, if it did."""
    from recorder.server.lines import Lines
    from recorder.server.serving import Server
    from recorder.server.stopping import Stop

    stop, lines = Stop(), Lines()
    server = Server(settings, lines.put)

    def readings() -> "Readings":
        found = server.readings()
        found.add("unprinted_events", value=lines.waiting)
        return found

    listening = await server.listen()
    listening += _answer_http(http, lambda: server.is_well, readings)
    for line in listening:
        lines.put(line)
    await server.run(stop)
    return lines.finish()


async def _serve_by(
    number: int, flags: list[str], settings: "Settings", http: tuple[str, int] | None
) -> OSError | None:
    """The same in processes of their own, which this one looks after."""
    from recorder.server.lines import Lines
    from recorder.server.stopping import Stop
    from recorder.server.workers import Workers

    warnings = [f"-W{one}" for one in sys.warnoptions]
    command = [sys.executable, *warnings, "-m", "recorder.cli.worker", *flags]
    stop, lines = Stop(), Lines()
    workers = Workers(number, command, settings, lines.put_line)

    def readings() -> "Readings":
        found = workers.readings()
        found.add("unprinted_events", value=lines.waiting)
        return found

    for line in _answer_http(http, lambda: workers.is_well, readings):
        lines.put(line)
    await workers.run(stop, lines.put)
    return lines.finish()


def _answer_http(
    address: tuple[str, int] | None,
    is_well: Callable[[], bool],
    readings: Callable[[], "Readings"],
) -> list[dict[str, Any]]:
    """Answer HTTP at an address, if there is one; return where."""
    if address is None:
        return []
    try:
        from recorder.server.http import HttpServer
    except ImportError:
        raise OptionError(
            "--http needs the extra `serve`: pip install 'recorder-telephony[serve]'"
        ) from None
    server = HttpServer(*address, is_well=is_well, readings=readings)
    server.start()
    host, port = server.socket.getsockname()[:2]
    return [{"listening": "http", "host": host, "port": port}]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
