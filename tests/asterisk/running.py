# SPDX-License-Identifier: MIT
"""The two processes: `recorder serve`, and an Asterisk with a configuration of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from recorder import AudioOptions
from tests.asterisk.installing import Installed

CONFIGURATION: Final = Path(__file__).parent / "etc"
DEADLINE_SECONDS: Final = 60.0
# Those of the server, as it names them.
WIRES: Final = ("audiosocket", "asterisk-websocket")

Report = dict[str, Any]


class Reports:
    """What a process has reported so far; anybody may wait for what is still to come."""

    def __init__(self, of: str) -> None:
        self._of = of
        self._all: list[Report] = []
        self._changed = threading.Condition()
        self._ended = False

    def fill(self, source: Iterable[Report]) -> None:
        """Take all that comes, in a thread."""

        def run() -> None:
            with suppress(OSError):  # the process was killed
                for report in source:
                    with self._changed:
                        self._all.append(report)
                        self._changed.notify_all()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the rest, when the process has ended."""
        self._thread.join(DEADLINE_SECONDS)

    def all(self, wanted: Callable[[Report], object]) -> list[Report]:
        """Those that have come."""
        with self._changed:
            return [report for report in self._all if wanted(report)]

    def first(self, what: str, wanted: Callable[[Report], object]) -> Report:
        """The first one, once it has come."""
        with self._changed:

            def found() -> Report | None:
                return next((report for report in self._all if wanted(report)), None)

            self._changed.wait_for(lambda: found() or self._ended, DEADLINE_SECONDS)
            report = found()
        assert report is not None, f"{what} was not reported by {self._of}"
        return report


class Server:
    """`recorder serve` for all wires of an Asterisk."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.folder = folder
        self._ended: tuple[int, str] | None = None
        self.reports = Reports("the server")
        self.reports.fill(map(json.loads, process.stdout))

    def address(self, wire: str) -> str:
        """Where it listens, as HOST:PORT."""
        first = self.reports.first(f"listening {wire}", lambda one: one.get("listening") == wire)
        return f"{first['host']}:{first['port']}"

    def events(self, call_id: str) -> list[Report]:
        """The params of a call's events so far."""
        found = self.reports.all(lambda one: one.get("params", {}).get("call_id") == call_id)
        return [one["params"] for one in found]

    def event(self, call_id: str, *states: str) -> Report:
        """The params of its first event with one of these states, once it has come."""

        def wanted(one: Report) -> bool:
            params = one.get("params", {})
            return params.get("call_id") == call_id and params["state"] in states

        params: Report = self.reports.first(f"{states} of {call_id}", wanted)["params"]
        return params

    def stop(self) -> tuple[int, str]:
        """End it by SIGTERM, once; its exit status and what it complained of."""
        if self._ended is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.stderr is not None
            complaints = self.process.stderr.read()
            self._ended = self.process.wait(DEADLINE_SECONDS), complaints
        return self._ended


@contextmanager
def running_server(folder: Path, options: AudioOptions) -> Iterator[Server]:
    command = [sys.executable, "-W", "error", "-m", "recorder", "serve", "--directory", "calls"]
    for wire in WIRES:
        command += [f"--{wire}", "127.0.0.1:0"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as process:
        _prefer(process)
        server = Server(process, folder)
        try:
            yield server
        finally:
            process.kill()
            server.reports.finish()


class Asterisk:
    """A running one: starts calls, and says what becomes of them."""

    def __init__(self, manager: socket.socket, folder: Path, sip_port: int) -> None:
        self.folder = folder
        self.sip_port = sip_port
        self.reports = Reports("Asterisk")
        self._manager = manager
        self.reports.fill(_messages(manager.makefile("r", encoding="utf-8", newline="\r\n")))
        self._act(Action="Login", Username="tests", Secret="tests")
        self.reports.first("a login", lambda one: one.get("Response") == "Success")

    def start_call(self, call_id: str, recorded: str, party: str, **variables: str) -> None:
        """Start a call of two sides, each an extension of extensions.conf.

        `call_id` is the channel's id on the recorded side.
        """
        self._act(
            Action="Originate",
            ActionID=call_id,
            Async="true",
            ChannelId=call_id,
            OtherChannelId=f"{call_id}-party",
            # Not optimized away: what the party hears is kept on its channel.
            Channel=f"Local/{party}@party/n",
            Codecs="slin",
            Context="recorded",
            Exten=recorded,
            Priority="1",
            Variable=[f"{name}={value}" for name, value in variables.items()],
        )

    def told(self, name: str, call_id: str) -> Report:
        """The dialplan's UserEvent of a call, once it has come."""
        return self.reports.first(
            f"{name} of {call_id}",
            lambda one: (one.get("UserEvent"), one.get("Call")) == (name, call_id),
        )

    def dialled(self, call_id: str) -> str:
        """The id of the channel that the recorded side has dialled."""
        found = self.reports.first(
            f"a dialled channel of {call_id}",
            lambda one: one.get("Event") == "DialBegin" and one.get("Uniqueid") == call_id,
        )
        return str(found["DestUniqueid"])

    def _act(self, **fields: str | list[str]) -> None:
        lines = []
        for name, value in fields.items():
            lines += [f"{name}: {one}" for one in ([value] if isinstance(value, str) else value)]
        self._manager.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())


def _messages(lines: Iterable[str]) -> Iterator[Report]:
    """The messages of Asterisk's manager: fields line by line, and an empty line."""
    message: Report = {}
    for line in lines:
        name, _, value = line.strip().partition(": ")
        if name:
            message[name] = value
        elif message:
            yield message
            message = {}


@contextmanager
def running_asterisk(
    installed: Installed, folder: Path, websockets: dict[str, str]
) -> Iterator[Asterisk]:
    """`websockets` are the names of connections and the servers' HOST:PORT."""
    ports = {"MANAGER": _free_port(socket.SOCK_STREAM), "SIP": _free_port(socket.SOCK_DGRAM)}
    places = {"FOLDER": folder, "MODULES": installed.modules, "DATA": installed.data, **ports}
    configuration = folder / "etc"
    configuration.mkdir()
    for template in CONFIGURATION.iterdir():
        text = template.read_text()
        for name, value in places.items():
            text = text.replace(f"@{name}@", str(value))
        (configuration / template.name).write_text(text)
    (configuration / "websocket_client.conf").write_text(
        "".join(_connection(name, address) for name, address in websockets.items())
    )
    with _Readiness(folder / "ready") as readiness:
        process = subprocess.Popen(
            [*installed.command, "-f", "-C", str(configuration / "asterisk.conf")],
            cwd=folder,
            env={**os.environ, "NOTIFY_SOCKET": readiness.address},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # all is in messages.log
            stderr=subprocess.STDOUT,
        )
        with process:
            _prefer(process)
            try:
                readiness.wait()
                with socket.create_connection(("127.0.0.1", ports["MANAGER"])) as manager:
                    asterisk = Asterisk(manager, folder, ports["SIP"])
                    yield asterisk
                    process.kill()
                    asterisk.reports.finish()
            finally:
                process.kill()


def _prefer(process: "subprocess.Popen[Any]") -> None:
    """Let a process with live calls go before others, where that may be asked for."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, process.pid, -10)


class _Readiness:
    """What a service says to systemd when it has started."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self._socket.bind(self.address)
        self._socket.settimeout(DEADLINE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def wait(self) -> None:
        while b"READY=1" not in self._socket.recv(4096):
            pass


def _connection(name: str, address: str) -> str:
    return f"""\
[{name}]
type = websocket_client
connection_type = per_call_config
uri = ws://{address}/media
protocols = media
"""


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
