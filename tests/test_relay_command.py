# SPDX-License-Identifier: MIT
"""`recorder serve --relay` and `recorder certificate`: options, and what they refuse."""

import json
import os
import ssl
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from recorder.relay.hub import Access
from tests.command import recorder
from tests.test_serve import COMMAND

TOKEN = "a secret of theirs"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    assert recorder("certificate", folder, folder=folder).status == 0
    return folder


def options(folder: Path, *but: str) -> list[str]:
    found = {
        "--audiosocket": "127.0.0.1:0",
        "--relay": "127.0.0.1:0",
        "--tls-cert": str(folder / "relay-cert.pem"),
        "--tls-key": str(folder / "relay-key.pem"),
        "--project": "project",
    }
    return [part for pair in found.items() if pair[0] not in but for part in pair]


# -- the certificate -------------------------------------------------------------------------------


def test_a_certificate(tmp_path: Path) -> None:
    result = recorder("certificate", "deep/folder", folder=tmp_path)
    assert (result.status, result.err) == (0, "")
    folder = tmp_path / "deep" / "folder"
    certificate, key = folder / "relay-cert.pem", folder / "relay-key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert f"--tls-cert {certificate} --tls-key {key}" in result.out
    for line in (
        f"SIGNALWIRE_RELAY_CA_FILE={certificate}",
        f"NODE_EXTRA_CA_CERTS={certificate}",
        "SIGNALWIRE_SPACE=localhost:PORT",
    ):
        assert line in result.out.splitlines()
    before = key.read_bytes()
    again = recorder("certificate", "deep/folder", folder=tmp_path)
    assert again.status == 1
    assert "is there already: nothing is overwritten" in again.err
    assert key.read_bytes() == before
    certificate.unlink()
    assert recorder("certificate", "deep/folder", folder=tmp_path).status == 1
    assert not certificate.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "pbx.example.org"])
def test_the_host_of_a_certificate(tmp_path: Path, host: str) -> None:
    assert recorder("certificate", ".", "--host", host, folder=tmp_path).status == 0
    decoded = ssl.create_default_context(cafile=tmp_path / "relay-cert.pem").get_ca_certs()
    assert decoded[0]["subject"] == ((("commonName", host),),)


@pytest.mark.parametrize("host", ["", "a b", "localhost:8443", "x" * 65, "pöx"])
def test_a_host_that_is_none(tmp_path: Path, host: str) -> None:
    result = recorder("certificate", ".", "--host", host, folder=tmp_path)
    assert result.status == 2
    assert "--host: expected a name or an address" in result.err


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["--tls-cert", "--tls-key", "--project"])
def test_what_relay_needs(certificates: Path, name: str) -> None:
    result = recorder("serve", *options(certificates, name), folder=certificates)
    assert result.status == 2
    assert f"--relay needs {name}" in result.err


@pytest.mark.parametrize(
    "option", ["--tls-cert", "--project", "--node-id", "--audio-directory", "--tts-command"]
)
def test_what_needs_relay(tmp_path: Path, option: str) -> None:
    result = recorder("serve", "--audiosocket", "127.0.0.1:0", option, "x", folder=tmp_path)
    assert result.status == 2
    assert f"{option} needs --relay" in result.err


def test_workers(certificates: Path) -> None:
    result = recorder("serve", *options(certificates), "--workers", "2", folder=certificates)
    assert result.status == 2
    assert "--relay needs --workers 1: a call and its client" in result.err


def test_without_a_token(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECORDER_TOKEN", raising=False)
    result = recorder("serve", *options(certificates), folder=certificates)
    assert result.status == 2
    assert "RECORDER_TOKEN" in result.err
    empty = certificates / "empty"
    empty.write_text("\n", encoding="utf-8")
    for path, why in ((empty, "RECORDER_TOKEN"), (certificates / "none", "cannot read")):
        result = recorder(
            "serve", *options(certificates), "--token-file", path, folder=certificates
        )
        assert result.status == 2
        assert why in result.err


def test_a_certificate_that_is_none(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDER_TOKEN", TOKEN)
    key = str(certificates / "relay-key.pem")
    result = recorder(
        "serve",
        *options(certificates, "--tls-cert"),
        *("--tls-cert", key),
        folder=certificates,
        stdin=b"",
    )
    assert result.status == 2
    assert "expected a certificate and its key in PEM" in result.err


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Access(project="p", token=TOKEN))


# -- what it does ----------------------------------------------------------------------------------


class Running:
    """A server, and a client by hand."""

    def __init__(self, folder: Path, *more: str, token: str | None = TOKEN) -> None:
        environment = dict(os.environ) | ({} if token is None else {"RECORDER_TOKEN": token})
        self.process = subprocess.Popen(
            [*COMMAND, *options(folder), *more],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = [json.loads(self.process.stdout.readline()) for _ in range(2)]
        assert [line["listening"] for line in lines] == ["audiosocket", "relay"]
        self.port = lines[1]["port"]
        self.context = ssl.create_default_context(cafile=folder / "relay-cert.pem")

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def connect(self) -> ClientConnection:
        return connect(f"wss://localhost:{self.port}", ssl=self.context, max_size=None)

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


def ask(peer: ClientConnection, method: str, **params: object) -> dict[str, object]:
    peer.send(json.dumps({"jsonrpc": "2.0", "id": "1", "method": method, "params": params}))
    found: dict[str, object] = json.loads(peer.recv(timeout=30))
    return found


def test_a_token_in_a_file_and_an_end_by_a_signal(certificates: Path) -> None:
    path = certificates / "token"
    path.write_text(f"{TOKEN}\n", encoding="utf-8")
    with (
        Running(certificates, "--token-file", "token", token=None) as server,
        server.connect() as peer,
    ):
        authentication = {"project": "project", "token": TOKEN}
        assert "result" in ask(peer, "signalwire.connect", authentication=authentication)
        assert "result" in ask(peer, "signalwire.ping")
        assert server.stop() == (0, "")
        assert list(peer) == []
        assert peer.protocol.close_code == 1000


def test_a_message_that_is_too_long_closes_a_connection(certificates: Path) -> None:
    with Running(certificates) as server, server.connect() as peer:
        authentication = {"project": "project", "token": TOKEN}
        ask(peer, "signalwire.connect", authentication=authentication)
        peer.send("x" * (1 << 20))
        assert "result" in ask(peer, "signalwire.ping")
        with suppress(ConnectionClosed):  # it may be closed before all is sent
            peer.send("x" * ((1 << 20) + 1))
        with pytest.raises(ConnectionClosed):
            peer.recv(timeout=60)
        assert peer.protocol.close_code in {1009, 1006}  # where it was closed before all was sent
        with server.connect() as other:
            assert "result" in ask(other, "signalwire.connect", authentication=authentication)
        assert server.stop()[0] == 0


def test_wrong_credentials_by_hand(certificates: Path) -> None:
    with Running(certificates) as server, server.connect() as peer:
        authentication = {"project": "project", "token": "wrong"}
        found = ask(peer, "signalwire.connect", authentication=authentication)
        assert found["error"]["code"] == -32002  # type: ignore[index]
        assert list(peer) == []
        status, err = server.stop()
        assert status == 0
        assert "a RELAY client is refused" in err
        assert "wrong" not in err
