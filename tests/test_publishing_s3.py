# SPDX-License-Identifier: MIT
"""An S3 server over loopback that fails, hangs, and dies in mid-upload."""

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from recorder import Call
from recorder.publishing.agent import AGENT
from tests import signals
from tests.publishing import ManualClock, die, outbox_of, sent, until
from tests.recordings import NO_LIMITS

for module in ("s3fs", "moto", "flask"):
    pytest.importorskip(module, reason=f"needs {module}: the extra `bench`")

pytestmark = pytest.mark.slow

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
MOST_BEFORE_IT_DIES = 100_000  # bytes of a request


class Way:
    """What lies between a client and the server: it passes all, fails, hangs, or breaks off."""

    def __init__(self, port: int) -> None:
        self.does = "pass"
        self.requests = 0
        self._to = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.is_open = threading.Event()
        self.is_open.set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            start = client.recv(65536)
            self.requests += 1
            is_put = start.startswith(b"PUT")
            if self.does == "fail":
                answer = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                client.sendall(answer)
                return
            if self.does == "hang" and is_put:
                self.is_open.wait(60)
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                server.sendall(start)
                back = threading.Thread(target=self._copy, args=(server, client))
                back.start()
                most = MOST_BEFORE_IT_DIES if self.does == "die" and is_put else 1 << 60
                self._copy(client, server, most)
                for one in (client, server):
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                back.join()

    def _copy(self, source: socket.socket, target: socket.socket, most: int = 1 << 60) -> None:
        with suppress(OSError):
            while most > 0 and (data := source.recv(65536)):
                target.sendall(data)
                most -= len(data)

    def close(self) -> None:
        self.is_open.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    """The port of a server that works."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


class Bucket:
    """A bucket of the server, looked into without the way."""

    def __init__(self, port: int, name: str) -> None:
        import boto3

        self.name = name
        self._client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket=name)

    def objects(self) -> dict[str, bytes]:
        found = self._client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {
            item["Key"]: self._client.get_object(Bucket=self.name, Key=item["Key"])["Body"].read()
            for item in found
        }

    def metadata(self, key: str) -> dict[str, str]:
        found: dict[str, str] = self._client.head_object(Bucket=self.name, Key=key)["Metadata"]
        return found


@pytest.fixture
def way(s3: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    import fsspec.config
    import s3fs

    way = Way(s3)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    config = {
        "endpoint_url": f"http://127.0.0.1:{way.port}",
        "config_kwargs": {"read_timeout": 30},
    }
    monkeypatch.setitem(fsspec.config.conf, "s3", config)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    yield way
    way.close()


@pytest.fixture
def bucket(s3: int, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(s3, hashlib.sha256(request.node.name.encode()).hexdigest()[:20])


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualClock]:
    clock = ManualClock()
    monkeypatch.setattr(AGENT.means, "clock", clock)
    yield clock
    sent()
    die()


def record(make_call: Callable[..., Call], bucket: Bucket) -> Any:
    call = make_call(storage=f"s3://{bucket.name}/calls", keep_local=True)
    action = call.record(NO_LIMITS)
    call.feed(speak=signals.noise(20, -20))  # 320 kB: more than fits in buffers at once
    action.stop()
    return action


def check_whole(bucket: Bucket, path: Path | None) -> None:
    assert path is not None
    data = path.read_bytes()
    assert bucket.objects() == {f"calls/{path.name}": data}
    sha256 = hashlib.sha256(data).hexdigest()
    assert bucket.metadata(f"calls/{path.name}") == {"sha256": sha256}
    assert outbox_of(path.parent) == []


def test_a_bucket(make_call: Callable[..., Call], way: Way, bucket: Bucket) -> None:
    event = record(make_call, bucket).join(30)
    assert event.record["upload"] == "done"
    assert event.path is not None
    assert event.url == f"s3://{bucket.name}/calls/{event.path.name}"
    sent()
    check_whole(bucket, event.path)


def test_it_fails(
    make_call: Callable[..., Call], way: Way, bucket: Bucket, clock: ManualClock
) -> None:
    way.does = "fail"
    event = record(make_call, bucket).join(30)
    assert event.record["upload"] == "pending"
    assert bucket.objects() == {}
    way.does = "pass"
    clock.advance(2)
    check_whole(bucket, event.path)


def test_it_hangs(
    make_call: Callable[..., Call], way: Way, bucket: Bucket, clock: ManualClock
) -> None:
    way.is_open.clear()
    way.does = "hang"
    action = record(make_call, bucket)
    until(lambda: clock.waiting)
    assert not action.is_done
    clock.waiting.pop(0)[1]()  # it has hung for 30 s
    event = action.join(30)
    assert event.record["upload"] == "pending"
    way.is_open.set()
    sent()
    check_whole(bucket, event.path)


def test_it_dies_in_mid_upload(
    make_call: Callable[..., Call], way: Way, bucket: Bucket, clock: ManualClock
) -> None:
    way.does = "die"
    event = record(make_call, bucket).join(60)
    assert event.record["upload"] == "pending"
    assert bucket.objects() == {}
    way.does = "pass"
    clock.advance(2)
    check_whole(bucket, event.path)


def test_there_is_no_such_bucket(make_call: Callable[..., Call], way: Way, bucket: Bucket) -> None:
    bucket.name = "another-bucket"
    event = record(make_call, bucket).join(30)
    assert event.record["upload"] == "failed"
    assert "there is no such bucket" in event.record["upload_error"]
    assert event.path is not None
    assert event.path.exists()


def test_a_process_is_killed_in_mid_upload(tmp_path: Path, way: Way, bucket: Bucket) -> None:
    """By the command, configured by AWS's own environment."""
    way.is_open.clear()
    way.does = "hang"
    environment = {
        **os.environ,
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{way.port}",
    }
    recorder = [sys.executable, "-m", "recorder"]
    raw = signals.noise(5, -20).tobytes()
    (tmp_path / "in.raw").write_bytes(raw)
    options = ["--rate", "8000", "--initial-timeout", "0", "--end-silence-timeout", "0"]
    command = [*recorder, "record", "in.raw", *options, "--storage", f"s3://{bucket.name}/calls"]
    requests = way.requests
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as process:
        while way.requests < requests + 2:  # one that asks whether it is there, one that puts
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert bucket.objects() == {}
    way.does = "pass"
    way.is_open.set()
    (path,) = (tmp_path / "recordings").glob("*.wav")
    data = path.read_bytes()
    done = subprocess.run(
        [*recorder, "recover", "recordings"],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done
    assert bucket.objects() == {f"calls/{path.name}": data}
    assert list((tmp_path / "recordings").iterdir()) == []
