# SPDX-License-Identifier: MIT
"""A server from its first socket to the last complete file."""

import asyncio
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import FileError
from recorder.server.audiosocket import Connection
from recorder.server.ticker import Ticker

if TYPE_CHECKING:
    from recorder.server.calls import Calls

_PATIENCE_SECONDS: Final = 3.0  # of an end, for files


async def serve_audiosocket(
    make_calls: "Callable[[], Calls]",
    host: str,
    port: int,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """Serve until SIGINT or SIGTERM; then hang up, and wait for the files.

    `report` is called with `{"listening", "host", "port"}`. A second signal does not wait. Raises
    FileError when nothing can listen there.
    """
    loop = asyncio.get_running_loop()
    calls, ticker = make_calls(), Ticker()
    connections: set[Connection] = set()
    try:
        server = await loop.create_server(
            lambda: Connection(calls, ticker, connections), host, port, backlog=1024
        )
    except OSError as error:
        raise FileError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    host, port = server.sockets[0].getsockname()[:2]
    report({"listening": "audiosocket", "host": host, "port": port})
    ended, abandoned = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (abandoned if ended.is_set() else ended).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        # Not by the loop, which cannot on Windows.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(end))
    ticking = asyncio.create_task(ticker.run())
    waiting = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait((ticking, waiting), return_when=asyncio.FIRST_COMPLETED)
        if ticking.done():
            ticking.result()  # raises what ended it
    finally:
        server.close()
        ticking.cancel()
        waiting.cancel()
        for connection in tuple(connections):
            connection.hang_up()
    finishing = asyncio.create_task(calls.finish(_PATIENCE_SECONDS))
    giving_up = asyncio.create_task(abandoned.wait())
    await asyncio.wait((finishing, giving_up), return_when=asyncio.FIRST_COMPLETED)
    giving_up.cancel()
    finishing.cancel()
