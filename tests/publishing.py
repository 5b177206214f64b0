# SPDX-License-Identifier: MIT
"""Where tests send recordings and events to, and a clock that they set."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from recorder.publishing import HEADER, verify
from recorder.publishing.agent import AGENT
from recorder.publishing.attempts import Clock
from recorder.publishing.outbox import _leave_to_parent
from recorder.publishing.targets import PUBLISHING
from tests.conftest import settle

KEY = "a key for tests"


class ManualClock(Clock):
    """Time passes by `advance` only."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0
        self.waiting: list[tuple[float, Callable[[], None]]] = []

    def restart(self) -> None:
        self.waiting = []

    def now(self) -> float:
        return self.seconds

    def after(self, seconds: float, job: Callable[[], None]) -> None:
        self.waiting.append((self.seconds + seconds, job))

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        sent()
        end = self.seconds + seconds
        while due := sorted((one for one in self.waiting if one[0] <= end), key=lambda one: one[0]):
            self.waiting.remove(due[0])
            self.seconds = max(self.seconds, due[0][0])
            due[0][1]()
            sent()
        self.seconds = end


def sent() -> None:
    """Wait until each attempt that is due was made, and is told."""
    settle()
    assert PUBLISHING.drain(30)
    settle()


def until(condition: Callable[[], object]) -> None:
    """Wait for something that other threads or processes do."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


def die() -> None:
    """Forget everything, as if this process had been killed."""
    _leave_to_parent()
    AGENT.restart()


def outbox_of(folder: Path) -> list[str]:
    """What is in a folder's outbox; [] where there is none."""
    return sorted(path.name for path in (folder / ".outbox").glob("*"))


class Receiver:
    """An HTTP server that keeps what it is sent, and answers as it is told, else by 200."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.answers: list[int] = []
        self.genuine: list[bool] = []
        self.hangs = threading.Event()  # set: it answers; clear: it does not
        self.hangs.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(body, self.headers[HEADER])
                receiver.hangs.wait(30)
                status = receiver.answers.pop(0) if receiver.answers else 200
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def take(self, body: bytes, header: str | None) -> None:
        now = AGENT.means.clock.now()
        self.genuine.append(verify(KEY, body, header, now=now))
        self.headers.append(header)
        self.bodies.append(json.loads(body))

    @property
    def states(self) -> list[str]:
        sent()
        return [body["params"]["state"] for body in self.bodies]

    def close(self) -> None:
        self.hangs.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()


class FlakyFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Memory that fails as it is told: a store with folders, where files are renamed."""

    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    failures: ClassVar[list[Exception]] = []
    puts: ClassVar[list[str]] = []
    flips = 0  # how many files arrive damaged
    hangs = threading.Event()  # set: it works; clear: it hangs

    @classmethod
    def reset(cls) -> None:
        cls.store.clear()
        cls.failures.clear()
        cls.puts.clear()
        cls.flips = 0
        cls.hangs.set()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("flaky://")))

    def put_file(self, lpath: str, rpath: str, *args: Any, **kwargs: Any) -> None:
        self.puts.append(rpath)
        self.hangs.wait(30)
        if self.failures:
            raise self.failures.pop(0)
        data = bytearray(Path(lpath).read_bytes())
        if FlakyFileSystem.flips:
            FlakyFileSystem.flips -= 1
            data[50] ^= 1
        self.pipe_file(rpath, bytes(data))


fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


def stored() -> dict[str, bytes]:
    """What is stored by flaky://, by its path."""
    return {path: file.getvalue() for path, file in FlakyFileSystem.store.items()}
