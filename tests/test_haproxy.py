# SPDX-License-Identifier: MIT
"""Two `recorder serve` behind HAProxy, by the configuration of `examples/haproxy.cfg` as it is."""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tests.command import read, recorder
from tests.signals import Pcm
from tests.wires import KINDS, PATIENCE, Serve, call, lies_at, new_id, said, serving

CONFIGURATION: Final = Path(__file__).parent.parent / "examples" / "haproxy.cfg"
PORTS: Final = {"audiosocket": 9092, "media-stream": 9093, "asterisk-websocket": 9094}
HTTP_PORT: Final = 9095
MOST_LOST: Final = 1.0  # seconds, of what was said when the process was killed
AHEAD: Final = 0.2  # seconds that a party is ahead of its call

HAPROXY: Final = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform != "linux", reason="loopback has one address elsewhere"),
    pytest.mark.skipif(HAPROXY is None, reason="needs haproxy"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """HAProxy, and the servers behind it."""

    host: str
    servers: tuple[Serve, Serve]
    tls: ssl.SSLContext
    admin: Path

    async def call(
        self, kind: int, call_id: str, pcm: Pcm, sent_of: dict[str, int] | None = None
    ) -> int:
        """One whole call; WebSockets by TLS."""
        source = KINDS[kind % len(KINDS)]
        tls = self.tls if source.shake else None
        address = self.host, PORTS[source.name]
        return await call(source, address, call_id, pcm, tls=tls, sent_of=sent_of)

    def command(self, line: str) -> str:
        """Say something to HAProxy, as an operator does; what it answers."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.admin))
            sock.sendall(line.encode() + b"\n")
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(4096), b"")).decode()

    def calls(self) -> tuple[float, ...]:
        """How many are open on each server that lives."""
        return tuple(
            serve.metrics()["recorder_calls"]
            for serve in self.servers
            if serve.process.poll() is None
        )

    async def until_calls(self, *expected: float) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.calls() != expected:
                await asyncio.sleep(0.05)


@contextmanager
def front(folder: Path) -> Iterator[Front]:
    # Addresses of its own on loopback: the ports are those of the configuration.
    chosen = random.SystemRandom()
    net = f"127.{chosen.randrange(1, 255)}.{chosen.randrange(1, 255)}"
    hosts = [f"{net}.{number}" for number in (1, 2, 3)]
    certificate, key, admin = (folder / name for name in ("cert.pem", "key.pem", "admin.sock"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=recorder", "-addext", f"subjectAltName=IP:{hosts[0]}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    with ExitStack() as stack:
        servers = []
        for name, host in zip(("one", "two"), hosts[1:], strict=True):
            ports = {source.replace("-", "_"): f"{host}:{port}" for source, port in PORTS.items()}
            ports["http"] = f"{host}:{HTTP_PORT}"
            servers.append(stack.enter_context(serving(folder, directory=name, **ports)))
        environment = {
            **os.environ,
            "LISTEN_ON": hosts[0],
            "RECORDER_1": hosts[1],
            "RECORDER_2": hosts[2],
            "CERTIFICATE": str(both),
            "ADMIN_SOCKET": str(admin),
        }
        assert HAPROXY is not None
        process = stack.enter_context(
            subprocess.Popen(
                [HAPROXY, "-db", "-f", str(CONFIGURATION)],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        stack.callback(process.kill)
        began = time.monotonic()
        while not admin.exists() and time.monotonic() - began < PATIENCE:
            assert process.poll() is None
            time.sleep(0.02)
        tls = ssl.create_default_context(cafile=str(certificate))
        yield Front(host=hosts[0], servers=(servers[0], servers[1]), tls=tls, admin=admin)


def test_one_of_two_servers_is_killed(tmp_path: Path) -> None:
    """Its calls break, and their files are recovered; the other's calls do not notice."""
    pcm = {new_id(): said(6.0, seed) for seed in range(6)}
    sent: dict[str, int] = {}

    async def main(haproxy: Front) -> None:
        one, two = haproxy.servers
        calls = []
        for kind, (call_id, spoken) in enumerate(pcm.items()):
            calls.append(asyncio.create_task(haproxy.call(kind % 3, call_id, spoken, sent)))
            async with asyncio.timeout(PATIENCE):  # one after the other: each kind in turns
                while call_id not in sent:
                    await asyncio.sleep(0.01)
        await haproxy.until_calls(3, 3)
        while min(sent.values()) < 2 * 8000:
            await asyncio.sleep(0.01)
        # A directory in use is left alone.
        busy = recorder("recover", "one", folder=tmp_path)
        assert busy.status == 0
        assert [json.loads(line)["outcome"] for line in busy.out.splitlines()] == ["busy"] * 3

        one.process.send_signal(signal.SIGKILL)
        at_death = dict(sent)
        one.process.wait(PATIENCE)  # until then it has connections to break
        new = {new_id(): said(0.5, 100 + kind) for kind in range(6)}
        await asyncio.gather(
            *(haproxy.call(kind, call_id, new[call_id]) for kind, call_id in enumerate(new))
        )
        for call_id, spoken in new.items():
            await two.until_ended(call_id)
            assert lies_at(two.audio(call_id), spoken) is not None

        ends = await asyncio.gather(*calls, return_exceptions=True)
        broken = [
            call_id
            for call_id, end in zip(pcm, ends, strict=True)
            if isinstance(end, (ConnectionError, ssl.SSLError))
        ]
        whole = [call_id for call_id, end in zip(pcm, ends, strict=True) if end == 6 * 8000]
        assert (len(broken), len(whole)) == (3, 3), ends
        for call_id in whole:
            await two.until_ended(call_id)
            assert lies_at(two.audio(call_id), pcm[call_id]) is not None

        done = recorder("recover", "one", folder=tmp_path)
        assert done.status == 0
        found = [json.loads(line) for line in done.out.splitlines()]
        assert [one["outcome"] for one in found] == ["recovered"] * 3
        for call_id in broken:
            (path,) = (tmp_path / "one").glob(f"{call_id}*.wav")
            audio = read(path)
            start = int(np.flatnonzero(audio)[0])
            n = len(audio) - start
            assert np.array_equal(audio[start:], pcm[call_id][:n])
            assert n >= at_death[call_id] - (MOST_LOST + AHEAD) * 8000

    with front(tmp_path) as haproxy:
        asyncio.run(main(haproxy))
        assert haproxy.servers[1].stop() == 0


def test_one_of_two_servers_is_drained_and_stopped(tmp_path: Path) -> None:
    """For an upgrade: it gets no new calls, and those it has go on to their ends."""

    async def main(haproxy: Front) -> None:
        one, two = haproxy.servers
        old = {new_id(): said(3.0, seed) for seed in range(6)}
        sent: dict[str, int] = {}
        calls = []
        for kind, (call_id, spoken) in enumerate(old.items()):
            calls.append(asyncio.create_task(haproxy.call(kind % 3, call_id, spoken, sent)))
            async with asyncio.timeout(PATIENCE):
                while call_id not in sent:
                    await asyncio.sleep(0.01)
        await haproxy.until_calls(3, 3)
        for source in KINDS:
            assert haproxy.command(f"set server {source.name}/one state drain").strip() == ""
        new = {new_id(): said(0.2, 100 + kind) for kind in range(6)}
        await asyncio.gather(
            *(haproxy.call(kind, call_id, new[call_id]) for kind, call_id in enumerate(new))
        )
        assert await asyncio.gather(*calls) == [3 * 8000] * 6
        await haproxy.until_calls(0, 0)
        assert one.stop() == 0
        assert (len(one.ended), len(two.ended)) == (3, 9)
        for call_id, spoken in {**old, **new}.items():
            serve = one if call_id in one.ended else two
            await serve.until_ended(call_id)
            assert lies_at(serve.audio(call_id), spoken) is not None

    with front(tmp_path) as haproxy:
        asyncio.run(main(haproxy))
