# SPDX-License-Identifier: MIT
"""`recorder serve`: record the calls that others send."""

import ipaddress
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from recorder.cli.audio import DEFAULTS, audio_options
from recorder.cli.console import Console, console_options, give_up_output
from recorder.cli.publishing import destinations, publishing_options
from recorder.errors import OptionError
from recorder.options import RecordOptions

if TYPE_CHECKING:
    from recorder.server.meters import Readings
    from recorder.server.relay import RelaySettings
    from recorder.server.settings import Settings

_MOST_PORT: Final = 65535
_SOURCES: Final = ("audiosocket", "asterisk-websocket", "media-stream")
_TOKEN: Final = "RECORDER_TOKEN"  # of the environment
_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)


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
@_listens("--relay", "Give the calls to clients of SignalWire's RELAY that connect there, by TLS.")
@click.option("--tls-cert", type=_FILE, help="The certificate for --relay, in PEM.")
@click.option("--tls-key", type=_FILE, help="Its key, in PEM.")
@click.option("--project", metavar="ID", help="What RELAY's clients are to give as their project.")
@click.option(
    "--token-file",
    type=_FILE,
    help=f"Holds their token.  [default: the environment's {_TOKEN}]",
)
@click.option("--node-id", metavar="ID", help="Stands in RELAY's events.  [default: made up]")
@click.option(
    "--context", default="default", show_default=True, metavar="NAME", help="RELAY's, of all calls."
)
@click.option(
    "--audio-directory", type=_FOLDER, help="RELAY's clients may play the files in it by file:."
)
@click.option(
    "--tts-command",
    metavar="COMMAND",
    help="Takes text on standard input, prints a WAV.  [default: espeak-ng]",
)
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

    With --relay a call is given to a client, which records it as it likes. Where no client is
    there, the call is recorded as without, if any option of a recording is given, or else refused.
    """
    import asyncio  # here: it takes long, and other commands do not need it

    from recorder.server.settings import Settings

    console = Console(quiet=quiet, verbose=verbose)
    found = {name: others.pop(name.replace("-", "_")) for name in _SOURCES}
    sources = {name: address for name, address in found.items() if address is not None}
    if not sources:
        raise click.UsageError(f"expected one of --{', --'.join(_SOURCES)}")
    relay = _relay_settings(others, workers)
    where = destinations(others)  # which do not say that anything is to be recorded
    source = click.get_current_context().get_parameter_source
    is_given = [
        name
        for name in ("direction", "format_", *others)
        if source(name) is not ParameterSource.DEFAULT
    ]
    others["format"] = format_ or DEFAULTS.format
    others["direction"] = direction or ("both" if others["stereo"] else DEFAULTS.direction)
    settings = Settings(
        sources=sources,
        options=RecordOptions(**others) if relay is None or is_given else None,
        directory=directory,
        max_calls=max_calls,
        max_idle=max_idle,
        destinations=where,
    )
    listening = [*sources.values(), *([http] if http else []), *([relay.address] if relay else [])]
    for host, _ in listening:
        if not _is_loopback(host):
            console.say(f"recorder: warning: {host} is not loopback: others can connect")
    if workers == 1:
        error = asyncio.run(_serve(settings, http, relay))
    else:
        flags = ["--quiet"] * quiet + ["--verbose"] * verbose
        error = asyncio.run(_serve_by(workers, flags, settings, http))
    if error is not None:
        give_up_output(error)


def _relay_settings(others: dict[str, Any], workers: int) -> "RelaySettings | None":
    """Take what belongs to --relay out of the options."""
    address = others.pop("relay")
    names = ("tls_cert", "tls_key", "project", "token_file", "node_id", "audio_directory")
    given = {name: others.pop(name) for name in (*names, "tts_command")}
    context = others.pop("context")
    if address is None:
        for name, value in given.items():
            if value is not None:
                raise click.UsageError(f"--{name.replace('_', '-')} needs --relay")
        return None
    for name in ("tls_cert", "tls_key", "project"):
        if not given[name]:
            raise click.UsageError(f"--relay needs --{name.replace('_', '-')}")
    if workers > 1:
        raise click.UsageError(
            "--relay needs --workers 1: a call and its client have to meet in one process"
        )
    token = _token(given["token_file"])
    try:
        from recorder.relay.hub import Access
        from recorder.server.media import MediaSettings
        from recorder.server.relay import RelaySettings
    except ImportError:
        raise OptionError(
            "--relay needs the extra `relay`: pip install 'recorder-telephony[relay]'"
        ) from None
    node = {"node_id": given["node_id"]} if given["node_id"] else {}
    return RelaySettings(
        address=address,
        certificate=given["tls_cert"],
        key=given["tls_key"],
        access=Access(project=given["project"], token=token, context=context, **node),
        media=MediaSettings(
            audio_directory=given["audio_directory"], tts_command=given["tts_command"]
        ),
    )


def _token(path: Path | None) -> str:
    """Return what clients have to show; never from the command line, where others could see it."""
    if path is None:
        token = os.environ.get(_TOKEN, "")
    else:
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise OptionError(f"--token-file: cannot read {path}: {error}") from None
    if not token:
        raise click.UsageError(
            f"--relay needs a token for its clients: set {_TOKEN} in the environment, or name a"
            " file by --token-file"
        )
    return token


async def _serve(
    settings: "Settings", http: tuple[str, int] | None, relay: "RelaySettings | None"
) -> OSError | None:
    """Serve in this process; return why standard output failed, if it did."""
    from recorder.server.lines import Lines
    from recorder.server.serving import Server
    from recorder.server.stopping import Stop

    stop, lines = Stop(), Lines()
    server = Server(settings, lines.put, relay)

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
