# SPDX-License-Identifier: MIT
"""One process of `recorder serve --workers`: started by it, and not for people."""

import asyncio
import json
import os
import signal
import sys
import threading

import click

from recorder.cli.console import Console, console_options, fail
from recorder.errors import RecorderError
from recorder.server.lines import Lines
from recorder.server.serving import Server
from recorder.server.settings import Settings
from recorder.server.stopping import Stop
from recorder.server.workers import READINGS_SECONDS


@click.command()
@console_options
def main(*, quiet: bool, verbose: int) -> None:
    """Take the settings as a line of JSON, and serve until SIGTERM or the end of the input."""
    Console(quiet=quiet, verbose=verbose)
    settings = Settings.from_json(json.loads(sys.stdin.buffer.readline()))
    try:
        asyncio.run(_serve(settings))
    except RecorderError as error:
        fail(str(error), 1)


async def _serve(settings: Settings) -> None:
    stop, lines = Stop(), Lines()
    threading.Thread(target=_end_with_input, name="recorder-input", daemon=True).start()
    server = Server(settings, lines.put)
    for line in await server.listen(shares_port=True):
        lines.put(line)
    reporting = asyncio.create_task(_report(server, lines))
    await server.run(stop)
    reporting.cancel()
    lines.put({"readings": server.readings().as_json()})
    lines.finish()


async def _report(server: Server, lines: Lines) -> None:
    while True:
        lines.put({"readings": server.readings().as_json()})
        await asyncio.sleep(READINGS_SECONDS)


def _end_with_input() -> None:
    """Whoever started this process has ended."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
