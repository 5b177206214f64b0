# SPDX-License-Identifier: MIT
"""`recorder serve`, for real, and its parts by themselves."""

import asyncio
import http.client
import itertools
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from recorder import FileError, RecordOptions
from recorder.cli import main
from recorder.placement.beep import SECONDS as BEEP_SECONDS
from recorder.server.calls import Calls
from recorder.server.connection import Connection
from recorder.server.http import HttpServer
from recorder.server.meters import Readings
from recorder.server.settings import Settings
from recorder.server.stopping import Stop
from recorder.server.ticker import Ticker
from recorder.server.workers import Workers
from recorder.sources.audiosocket import AudioSocket
from tests import signals
from tests.command import read, recorder
from tests.signals import Pcm
from tests.test_audiosocket import audio, frames, message

T = TypeVar("T")

COMMAND: Final = [sys.executable, "-W", "error", "-m", "recorder", "serve"]


class Server:
    def __init__(self, process: "subprocess.Popen[str]", sockets: int = 1) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        listening = [self.line() for _ in range(sockets)]
        self.ports: dict[str, int] = {line["listening"]: line["port"] for line in listening}
        self.port = self.ports["audiosocket"]

    def line(self) -> dict[str, Any]:
        """The next line of its output."""
        assert self.process.stdout is not None
        self.lines.append(json.loads(self.process.stdout.readline()))
        return self.lines[-1]

    def file_of(self, params: dict[str, Any]) -> Path:
        return Path(urlsplit(params["url"]).path)

    def event(self) -> dict[str, Any]:
        """The next terminal event's params."""
        while True:
            params: dict[str, Any] = self.line()["params"]
            if params["state"] in {"finished", "no_input", "error"}:
                return params

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=30)
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def metrics(self) -> dict[str, float]:
        _, text = self.get("/metrics")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@contextmanager
def server(folder: Path, *options: str, also: Sequence[str] = ()) -> Iterator[Server]:
    """A server of AudioSocket and `also` of others, on ports that it picks."""
    sockets = [part for name in ("audiosocket", *also) for part in (f"--{name}", "127.0.0.1:0")]
    command = [*COMMAND, *sockets, "--directory", "calls", *options]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Server(process, 1 + len(also))
        finally:
            process.kill()


def opening() -> tuple[str, bytes]:
    call_id = uuid.uuid4()
    return str(call_id), message(0x01, call_id.bytes)


def until_closed(connection: socket.socket) -> bytes:
    """All that still comes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def paced(connection: socket.socket, said: Pcm) -> bytes:
    """Send audio at the pace of what comes back, a message for each tick, until it is closed.

    Returns what came back.
    """
    received = bytearray()
    for number, frame in enumerate(frames(said), 1):
        try:
            connection.sendall(audio(frame))
            while len(received) < 323 * number:
                piece = connection.recv(65536)
                if not piece:
                    return bytes(received)
                received += piece
        except ConnectionError:
            break
    return bytes(received)


def assert_is_in(path: Path, said: Pcm) -> None:
    """Up to its end a file is what was said, but for silence where this process was too slow."""
    sounds, recorded = said[said != 0], read(path)
    recorded = recorded[recorded != 0]
    assert len(recorded) > 0.5 * len(sounds)
    assert np.array_equal(recorded, sounds[: len(recorded)])


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals end a process there")


def test_a_call_that_ends_by_its_terminator(tmp_path: Path) -> None:
    said = np.concatenate([signals.noise(0.6, -25), signals.dtmf("#", 0.1), signals.silence(0.3)])
    with server(tmp_path) as serve, serve.connect() as connection:
        assert serve.lines[0] == {
            "listening": "audiosocket",
            "host": "127.0.0.1",
            "port": serve.port,
        }
        call_id, first = opening()
        connection.sendall(first)
        received = paced(connection, said) + until_closed(connection)
        assert received.endswith(message(0x00, b""))
        params = serve.event()
        assert (params["call_id"], params["record"]["reason"]) == (call_id, "terminator")
        assert [line["params"]["state"] for line in serve.lines[1:]] == ["recording", "finished"]
        (path,) = (tmp_path / "calls").iterdir()
        assert params["url"] == path.as_uri()
        assert_is_in(path, said)
        status, out, err = serve.stop()
        assert (status, out, err) == (0, "", "")


def test_the_peer_hangs_up_and_others_go_on(tmp_path: Path) -> None:
    with (
        server(tmp_path, "--terminators", "") as serve,
        serve.connect() as one,
        serve.connect() as other,
    ):
        ids = []
        for connection in (one, other):
            call_id, first = opening()
            ids.append(call_id)
            connection.sendall(first)
            paced(connection, signals.noise(0.2, -25))
        one.sendall(message(0x00, b""))
        params = serve.event()
        assert (params["call_id"], params["record"]["reason"]) == (ids[0], "hangup")
        paced(other, signals.noise(0.2, -25))
        other.close()  # without a word
        params = serve.event()
        assert (params["call_id"], params["record"]["reason"]) == (ids[1], "hangup")
        assert params["duration"] == pytest.approx(0.4, abs=0.2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_hangs_up_and_completes_the_files(tmp_path: Path, number: int) -> None:
    with server(tmp_path, "--initial-timeout", "0") as serve:
        connections = [serve.connect() for _ in range(3)]
        for connection in connections:
            connection.sendall(opening()[1])
            paced(connection, signals.noise(0.2, -25))
        status, out, err = serve.stop(number)
        assert (status, err) == (0, "")
        ended = [json.loads(line)["params"] for line in out.splitlines()]
        ended = [params for params in ended if params["state"] == "finished"]
        assert [params["record"]["reason"] for params in ended] == ["hangup"] * 3
        for connection in connections:
            assert until_closed(connection).endswith(message(0x00, b""))
            connection.close()
        assert len(list((tmp_path / "calls").glob("*.wav"))) == 3


def test_what_others_send_harms_no_call(tmp_path: Path) -> None:
    """Garbage, half messages, a reset, and more connections than are allowed."""
    with (
        server(tmp_path, "--initial-timeout", "0", "--max-calls", "2") as serve,
        serve.connect() as good,
    ):
        call_id, first = opening()
        good.sendall(first)
        paced(good, signals.noise(0.1, -25))
        for data in (b"GET / HTTP/1.1\r\n\r\n", first[:7], first + b"\x99\0\0", first[:1]):
            with serve.connect() as bad:
                bad.sendall(data)
                bad.shutdown(socket.SHUT_WR)
                until_closed(bad)
        with serve.connect() as second:
            second.sendall(b"\x01")
            with serve.connect() as third:
                assert until_closed(third) == b""
        paced(good, signals.noise(0.1, -25))
        good.close()
        params = serve.event()
        assert params["call_id"] == call_id
        status, _, err = serve.stop()
        assert status == 0
        assert err.count("expected AudioSocket") == 1
        assert err.count("got 0x99") == 1
        assert "2 calls are open: another one is refused (max-calls, 1 so far)" in err


def test_a_reader_of_its_output_that_stalls_delays_no_call(tmp_path: Path) -> None:
    """The output of many calls is more than a pipe holds."""
    with server(tmp_path) as serve:
        for _ in range(60):
            with serve.connect() as connection:
                said = audio(signals.noise(0.02, -25))
                connection.sendall(opening()[1] + said + message(0x00, b""))
                until_closed(connection)
        with serve.connect() as connection:
            connection.sendall(opening()[1])
            assert len(paced(connection, signals.noise(0.2, -25))) >= 10 * 323
        status, out, _ = serve.stop()
        assert status == 0
        ended = [json.loads(line)["params"]["state"] for line in out.splitlines()]
        assert ended.count("recording") == ended.count("finished") == 61


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_ends_the_server(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "--audiosocket", "127.0.0.1:0"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "recorder: cannot write to standard output: No space left on device\n"


def test_two_servers_on_one_port(tmp_path: Path) -> None:
    with server(tmp_path) as serve:
        address = f"127.0.0.1:{serve.port}"
        done = subprocess.run(
            [*COMMAND, "--audiosocket", address], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"recorder: cannot listen on {address}: ")


@pytest.mark.parametrize("address", ["9092", "localhost", "localhost:", ":9092", "a:b", "a:70000"])
def test_addresses_that_are_none(tmp_path: Path, address: str) -> None:
    result = recorder("serve", "--audiosocket", address, folder=tmp_path)
    assert result.status == 2
    assert "expected HOST:PORT, such as 127.0.0.1:9092" in result.err


def test_an_address_that_others_reach_is_warned_of(tmp_path: Path) -> None:
    command = [*COMMAND, "--audiosocket", "0.0.0.0:0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert "0.0.0.0 is not loopback" in err


# -- WebSockets ------------------------------------------------------------------------------------


def test_a_websocket_of_asterisk_s(tmp_path: Path) -> None:
    said = np.concatenate([signals.noise(0.4, -25), signals.dtmf("#", 0.1), signals.silence(0.3)])
    with (
        server(tmp_path, "--beep", also=["asterisk-websocket"]) as serve,
        connect(f"ws://127.0.0.1:{serve.ports['asterisk-websocket']}/media") as peer,
    ):
        peer.send("MEDIA_START channel_id:17.2 format:slin optimal_frame_size:320 ptime:20")
        heard = bytearray()
        messages: list[str | bytes] = []
        for frame in frames(np.concatenate([signals.silence(0.4), said])):
            peer.send(frame.astype("<i2").tobytes())
            messages.append(peer.recv())
            if isinstance(messages[-1], str):
                break
            heard += messages[-1]
        messages += peer  # until it is closed
        assert "HANGUP" in messages
        assert peer.protocol.close_code == 1000
        beep = np.flatnonzero(np.frombuffer(heard, np.int16))
        assert beep[-1] - beep[0] == pytest.approx(BEEP_SECONDS * 8000, abs=20)
        params = serve.event()
        assert (params["call_id"], params["record"]["reason"]) == ("17.2", "terminator")
        (path,) = (tmp_path / "calls").iterdir()
        assert_is_in(path, said)
        assert serve.stop() == (0, "", "")


def test_a_media_stream_and_its_path(tmp_path: Path) -> None:
    options = ["--terminators", "", "--stereo", "--initial-timeout", "0"]
    with server(tmp_path, *options, also=["media-stream"]) as serve:
        address = f"ws://127.0.0.1:{serve.ports['media-stream']}"
        legs = np.stack([signals.noise(0.2, -25, 16000, seed=seed) for seed in range(2)], axis=1)
        with connect(f"{address}/mod_audio_fork?rate=16000&channels=2") as peer:
            for frame in np.split(legs, 10):
                peer.send(frame.astype("<i2").tobytes())
        params = serve.event()
        assert params["record"]["reason"] == "hangup"
        recorded, rate = soundfile.read(serve.file_of(params), dtype="int16")
        assert rate == 16000
        recorded = recorded[recorded.any(axis=1)]  # without silence of a slow machine
        assert np.array_equal(recorded, legs[legs.any(axis=1)])
        with pytest.raises(InvalidStatus, match="HTTP 400"):
            connect(f"{address}/what")
        assert "path: expected / or" in serve.stop()[2]


# -- HTTP ------------------------------------------------------------------------------------------


def test_health_and_metrics(tmp_path: Path) -> None:
    with server(tmp_path, "--initial-timeout", "0", also=["http"]) as serve:
        assert serve.get("/healthz") == (200, "ok\n")
        assert serve.get("/what") == (404, "expected /healthz or /metrics\n")
        with serve.connect() as connection:
            connection.sendall(opening()[1])
            paced(connection, signals.noise(0.4, -25))
            assert serve.metrics()["recorder_calls"] == 1
            connection.sendall(message(0x00, b""))
            until_closed(connection)
        event = serve.event()
        with serve.connect() as connection:
            connection.sendall(b"what")
            until_closed(connection)
        found = serve.metrics()
        assert found["recorder_connections_total"] == 2
        assert found['recorder_refusals_total{why="protocol"}'] == 1
        assert found['recorder_recordings_total{reason="hangup",state="finished"}'] == 1
        assert found["recorder_recorded_bytes_total"] == event["size"]
        assert found["recorder_recorded_seconds_total"] == event["duration"]
        assert found['recorder_audio_seconds_total{leg="speak",what="taken"}'] == pytest.approx(0.4)
        assert found['recorder_audio_seconds_total{leg="speak",what="late"}'] == 0
        assert found["recorder_tick_lateness_seconds_count"] > 0
        for gauge in ("calls", "unsent_bytes", "unwritten_bytes", "unprinted_events"):
            assert found[f"recorder_{gauge}"] == 0
        assert serve.stop()[0] == 0


def test_http_by_itself() -> None:
    well = [True]
    readings = Readings([(("refusals", 'a"b\\c\n'), 2), (("tick_lateness_seconds", "3"), 1)])
    with HttpServer("127.0.0.1", 0, is_well=lambda: well[0], readings=lambda: readings) as serve:
        serve.start()
        port = serve.server_address[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def ask(method: str, path: str) -> tuple[int, str]:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()

        assert ask("GET", "/healthz?now") == (200, "ok\n")
        assert ask("HEAD", "/healthz") == (200, "")
        well[0] = False
        assert ask("GET", "/healthz") == (503, "stalled\n")
        status, text = ask("GET", "/metrics")
        assert status == 200
        assert r'recorder_refusals_total{why="a\"b\\c\n"} 2.0' in text
        assert 'recorder_tick_lateness_seconds_bucket{le="0.005"} 0.0' in text
        assert 'recorder_tick_lateness_seconds_bucket{le="0.01"} 1.0' in text
        assert "recorder_calls 0.0" in text
        assert ask("POST", "/metrics")[0] == 501
        connection.close()
        with pytest.raises(FileError, match=f"cannot listen on 127[.]0[.]0[.]1:{port}: "):
            HttpServer("127.0.0.1", port, is_well=bool, readings=Readings)
        serve.shutdown()


# -- processes -------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="ports cannot be shared")
def test_processes_share_a_port_and_one_that_is_killed_is_replaced(tmp_path: Path) -> None:
    options = ["--workers", "2", "--initial-timeout", "0", "--terminators", ""]
    with server(tmp_path, *options, also=["http"]) as serve:
        assert list(serve.ports) == ["http", "audiosocket"]
        ids, connections = [], []
        for _ in range(12):
            call_id, first = opening()
            connection = serve.connect()
            connection.sendall(first)
            ids.append(call_id)
            connections.append(connection)
        for connection in connections:
            assert len(paced(connection, signals.noise(0.3, -25))) >= 15 * 323
        children = Path(f"/proc/{serve.process.pid}/task/{serve.process.pid}/children")
        if children.exists():  # Linux
            one, other = map(int, children.read_text().split())
            os.kill(one, signal.SIGKILL)
            broken = [connection for connection in connections if is_broken(connection)]
            assert 0 < len(broken) < 12  # the system dealt them out
            while len(set(map(int, children.read_text().split())) - {one, other}) < 1:
                assert serve.process.poll() is None
            for _ in range(12):  # whichever takes it
                with serve.connect() as connection:
                    connection.sendall(opening()[1] + audio(signals.noise(0.02, -25)))
                    assert connection.recv(1) == b"\x10"
        else:
            broken = []
        status, out, err = serve.stop()
        assert status == 0
        ended = [json.loads(line)["params"] for line in out.splitlines() if "reason" in line]
        assert len([one for one in ended if one["call_id"] in ids]) == 12 - len(broken)
        assert ("another one replaces it" in err) == bool(broken)
        for connection in connections:
            connection.close()
        left = recorder("recover", "calls", folder=tmp_path)
        assert left.status == 0
        outcomes = [json.loads(line)["outcome"] for line in left.out.splitlines()]
        assert outcomes == ["empty"] * len(broken)  # less than a second was in them


def is_broken(connection: socket.socket) -> bool:
    """Whether the peer is gone: else it sends all the time."""
    connection.settimeout(30)
    try:
        seen = 0
        while seen < 323 * 50:
            piece = connection.recv(65536)
            if not piece:
                return True
            seen += len(piece)
    except ConnectionError:
        return True
    return False


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="ports cannot be shared")
def test_processes_that_cannot_listen(tmp_path: Path) -> None:
    with server(tmp_path) as serve:
        address = f"127.0.0.1:{serve.port}"
        done = subprocess.run(
            [*COMMAND, "--audiosocket", address, "--workers", "2"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"recorder: cannot listen on {address}: ")


def test_a_process_that_never_listens_ends_the_server(tmp_path: Path) -> None:
    settings = Settings(
        sources={"audiosocket": ("127.0.0.1", 0)},
        options=RecordOptions(stereo=True, terminators="1#"),
        directory=tmp_path,
        max_calls=3,
        max_idle=1.5,
    )
    assert Settings.from_json(json.loads(json.dumps(settings.as_json()))) == settings

    async def main() -> None:
        command = [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"]
        workers = Workers(2, command, settings, lambda line: None)
        await workers.run(Stop(), lambda line: None)

    with pytest.raises(FileError, match="ended with 3 before it listened"):
        asyncio.run(main())


@pytest.fixture
def process_kept() -> Iterator[None]:
    """The signals and the logger of this process are as they were, afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    logger = logging.getLogger("recorder")
    level, handlers = logger.level, logger.handlers.copy()
    yield
    logger.setLevel(level)
    logger.handlers = handlers
    for number, handler in kept.items():
        signal.signal(number, handler)


def take_call(client: ClientConnection, media: socket.socket) -> None:
    """Be a program on RELAY that records the call which comes by a socket, until it is hung up."""
    numbers = itertools.count()

    def ask(method: str, **params: Any) -> None:
        request = {"jsonrpc": "2.0", "id": str(next(numbers)), "method": method, "params": params}
        client.send(json.dumps(request))

    def wait_for(wanted: str) -> dict[str, Any]:
        """The next answer, or event of a type and state; events are acknowledged."""
        while True:
            found: dict[str, Any] = json.loads(client.recv(timeout=30))
            if "method" not in found:
                if wanted == "answer":
                    return found
                continue
            client.send(json.dumps({"jsonrpc": "2.0", "id": found["id"], "result": {}}))
            event = found["params"]
            states = {event["params"].get("state"), event["params"].get("call_state")}
            if wanted == event["event_type"] or wanted in states:
                params: dict[str, Any] = event["params"]
                return params

    access = {"project": "project", "token": "a token"}
    ask("signalwire.connect", authentication=access, contexts=["default"], event_acks=True)
    assert wait_for("answer")["result"]["protocol"]
    media.sendall(opening()[1] + audio(signals.silence(0.02)))
    offer = wait_for("calling.call.receive")
    call = {"node_id": offer["node_id"], "call_id": offer["call_id"]}
    ask("calling.answer", **call)
    ask("calling.record", **call, control_id="one", record={"audio": {}})
    wait_for("recording")
    paced(media, signals.noise(0.2, -25))
    media.sendall(message(0x00, b""))
    wait_for("ended")


def once_it_listens(connect_to_it: Callable[[], T]) -> T:
    """Connect as soon as that is not refused."""
    while True:
        try:
            return connect_to_it()
        except ConnectionRefusedError:
            continue


def talk_and_end(ports: Sequence[int], found: dict[str, str]) -> None:
    """Be Asterisk, a program on RELAY, Prometheus, and whoever ends the server: this process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        media = once_it_listens(
            lambda: socket.create_connection(("127.0.0.1", ports[0]), timeout=30)
        )
        client = once_it_listens(lambda: connect(f"wss://127.0.0.1:{ports[2]}", ssl=context))
        with media, client:
            take_call(client, media)
        page = http.client.HTTPConnection("127.0.0.1", ports[1], timeout=30)
        page.request("GET", "/metrics")
        found["metrics"] = page.getresponse().read().decode()
        page.close()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("process_kept")
def test_the_command_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert recorder("certificate", "tls", folder=tmp_path).status == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECORDER_TOKEN", "a token")
    ports = []
    for _ in range(3):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            ports.append(sock.getsockname()[1])
    found: dict[str, str] = {}
    party = threading.Thread(target=talk_and_end, args=(ports, found))
    party.start()
    names = ("audiosocket", "http", "relay")
    where = zip(names, ports, strict=True)
    addresses = [part for name, port in where for part in (f"--{name}", f"127.0.0.1:{port}")]
    tls = ["--tls-cert", "tls/relay-cert.pem", "--tls-key", "tls/relay-key.pem"]
    main(["serve", *addresses, *tls, "--project", "project", "--quiet"], standalone_mode=False)
    party.join()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {line["listening"] for line in lines[:3]} == set(names)
    assert [line["params"]["state"] for line in lines[3:]] == ["recording", "finished"]
    assert 'recordings_total{reason="hangup",state="finished"} 1.0' in found["metrics"]


def test_a_server_of_nothing(tmp_path: Path) -> None:
    result = recorder("serve", folder=tmp_path)
    assert result.status == 2
    assert "expected one of --audiosocket, --asterisk-websocket, --media-stream" in result.err


@pytest.mark.parametrize(
    ("option", "library"), [("media-stream", "websockets"), ("http", "prometheus_client")]
)
def test_a_library_that_is_missing(tmp_path: Path, option: str, library: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from recorder.cli import main; main()"
    sockets = [f"--{option}", "127.0.0.1:0", "--audiosocket", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", *sockets],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    extra = "pip install 'recorder-telephony[serve]'"
    assert done.stderr == f"recorder: --{option} needs the extra `serve`: {extra}\n"


# -- parts -----------------------------------------------------------------------------------------


def ignore(lateness: float) -> None:
    pass


class FakeTransport(asyncio.Transport):
    """What is written is kept."""

    def __init__(self) -> None:
        super().__init__({"peername": "a peer"})
        self.written = bytearray()
        self.aborted = self.closed = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.aborted or self.closed

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True


@contextmanager
def connection_in(
    tmp_path: Path, **limits: Any
) -> Iterator[tuple[Connection, FakeTransport, Calls, Ticker]]:
    """A connection whose clock stands, for use within a running loop."""
    reported: list[dict[str, Any]] = []
    calls = Calls(
        RecordOptions(initial_timeout=0),
        tmp_path,
        reported.append,
        **{"most": 10, "most_idle_seconds": 60, **limits},
    )
    seconds = [0.0]
    calls.now = lambda: seconds[0]
    calls.advance = lambda by: seconds.__setitem__(0, seconds[0] + by)  # type: ignore[attr-defined]
    ticker, transport = Ticker(ignore), FakeTransport()
    connection = Connection(AudioSocket, calls, ticker, set())
    connection.connection_made(transport)
    yield connection, transport, calls, ticker
    connection.connection_lost(None)


def receive(connection: Connection, data: bytes) -> None:
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


def test_a_peer_that_does_not_read(tmp_path: Path) -> None:
    async def main() -> None:
        with connection_in(tmp_path) as (connection, transport, calls, ticker):
            receive(connection, opening()[1])
            connection.pause_writing()
            assert transport.aborted
            assert calls.counted.values["refusals", "slow-reader"] == 1
            assert not ticker._members
        assert calls._connections == 0

    asyncio.run(main())


def test_a_connection_on_which_nothing_comes(tmp_path: Path) -> None:
    async def main() -> None:
        with connection_in(tmp_path, most_idle_seconds=2) as (connection, transport, calls, ticker):
            (tick,) = ticker._members
            receive(connection, opening()[1])
            calls.advance(1.9)  # type: ignore[attr-defined]
            tick()
            assert not transport.closed
            calls.advance(0.2)  # type: ignore[attr-defined]
            tick()
            assert transport.closed
            assert transport.written.endswith(message(0x00, b""))
            assert calls.counted.values["refusals", "idle"] == 1

    asyncio.run(main())


def test_a_connection_that_says_no_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.server.connection._FIRST_MESSAGE_SECONDS", 0.0)

    async def main() -> None:
        with connection_in(tmp_path) as (_, transport, calls, _ticker):
            while not transport.closed:
                await asyncio.sleep(0)
            assert calls.counted.values["refusals", "first-message"] == 1
        with connection_in(tmp_path) as (connection, transport, calls, _ticker):
            receive(connection, opening()[1])
            for _ in range(10):
                await asyncio.sleep(0)
            assert not transport.closed

    asyncio.run(main())


def test_the_ticker_ticks_for_all_time_that_passes() -> None:
    """As often as 20 ms have passed, though a tick takes longer once."""

    async def main() -> None:
        ticker = Ticker(ignore)
        loop = asyncio.get_running_loop()
        ticks: list[float] = []
        done = asyncio.Event()

        def tick() -> None:
            ticks.append(loop.time())
            if len(ticks) == 10:
                done.set()

        ticker.add(tick)
        began = loop.time()
        task = asyncio.create_task(ticker.run())
        await done.wait()
        task.cancel()
        assert ticks[-1] - began >= 0.2 - 1e-3
        ticker.discard(tick)
        assert not ticker._members

    asyncio.run(main())


def test_a_member_of_the_ticker_that_fails_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        ticker = Ticker(ignore)
        done = asyncio.Event()

        def fail() -> None:
            ticker.add(done.set)
            raise ValueError("on purpose")

        ticker.add(fail)
        task = asyncio.create_task(ticker.run())
        await done.wait()
        task.cancel()
        assert ticker._members == {done.set}

    asyncio.run(main())
    assert caplog.text.count("ValueError: on purpose") == 1


def test_a_folder_that_cannot_be_made_ends_the_call(tmp_path: Path) -> None:
    with server(tmp_path) as serve, serve.connect() as connection:
        (tmp_path / "calls").write_text("a file")
        connection.sendall(opening()[1])
        received = paced(connection, signals.noise(1, -25)) + until_closed(connection)
        assert received.endswith(message(0x00, b""))
        params = serve.event()
        assert params["state"] == "error"
        assert "cannot make the folder" in params["record"]["error"]
        assert serve.stop()[0] == 0
