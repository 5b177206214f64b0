# SPDX-License-Identifier: MIT
"""What RELAY's clients play, made into PCM."""

import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import pytest

from recorder.relay.schema import Media
from recorder.server import media as made
from recorder.server.media import MediaSettings, Workshop, pcm_of
from tests import signals
from tests.command import write
from tests.signals import Pcm

VOICE: Final = f"{sys.executable} -m tests.voice"
NOISE: Final = signals.noise(0.5, -20)


def audio(url: str) -> Media:
    return Media(kind="audio", url=url)


def pcm(media: Media, rate: int = 8000, **settings: Any) -> Pcm:
    return np.frombuffer(pcm_of(media, rate, MediaSettings(**settings)), np.int16)


def refused(media: Media, **settings: Any) -> str:
    with pytest.raises(made._MediaError) as caught:
        pcm(media, **settings)
    return str(caught.value)


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "audio"
    (found / "deep").mkdir(parents=True)
    write(found / "a.wav", NOISE)
    write(found / "deep" / "a b.wav", NOISE)
    write(tmp_path / "secret.wav", NOISE)
    (found / "link.wav").symlink_to(found / "a.wav")
    (found / "out.wav").symlink_to(tmp_path / "secret.wav")
    (found / "up").symlink_to(tmp_path)
    (found / "text.txt").write_text("no audio, and long enough to be looked into", encoding="utf-8")
    return found


def test_files_of_the_folder(folder: Path) -> None:
    for url in (
        "file:a.wav",
        "file:deep/../a.wav",
        "file:link.wav",
        "file:deep/a%20b.wav",
        (folder / "a.wav").as_uri(),
        f"file://localhost{folder}/a.wav",
    ):
        assert np.array_equal(pcm(audio(url), audio_directory=folder), NOISE), url


def test_nothing_outside_of_the_folder(folder: Path, tmp_path: Path) -> None:
    for url in (
        "file:../secret.wav",
        "file:out.wav",
        "file:up/secret.wav",
        "file:%2e%2e/secret.wav",
        "file:deep/../../secret.wav",
        (tmp_path / "secret.wav").as_uri(),
        "file:///etc/passwd",
        "file:///dev/zero",
        "file:.",
        "file:none.wav",
        "file:a\0b",
        "file://another-host/a.wav",
    ):
        why = refused(audio(url), audio_directory=folder)
        assert "file" in why, url
    assert "no --audio-directory" in refused(audio("file:a.wav"))
    assert "there is no file" in refused(audio("file:a.wav"), audio_directory=tmp_path / "none")
    why = refused(audio("file:text.txt"), audio_directory=folder)
    assert "no audio that libsndfile reads" in why
    assert str(folder) not in why


@pytest.mark.parametrize("url", ["a.wav", "ftp://host/a.wav", "data:,x", "", "javascript:x"])
def test_urls_that_are_not_taken(url: str) -> None:
    assert refused(audio(url)).startswith("url: expected http:, https: or file:")


def test_rates_and_channels(tmp_path: Path) -> None:
    tone = signals.tone(0.5, -10, 44100)
    write(tmp_path / "a.wav", np.stack([tone, np.zeros_like(tone), tone], axis=1), 44100)
    found = pcm(audio("file:a.wav"), 16000, audio_directory=tmp_path)
    assert len(found) == 8000
    expected = signals.tone(0.5, -10, 16000)[1000:-1000].astype(float) * 2 / 3
    assert np.abs(found[1000:-1000] - expected).max() < 30
    write(tmp_path / "empty.wav", np.zeros(0, np.int16))
    assert len(pcm(audio("file:empty.wav"), audio_directory=tmp_path)) == 0


def test_audio_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "MOST_PLAY_SECONDS", 0.4)
    write(tmp_path / "a.wav", NOISE)
    assert "at most 0.4 s" in refused(audio("file:a.wav"), audio_directory=tmp_path)


# -- over HTTP -------------------------------------------------------------------------------------


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/to-file":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif self.path == "/to-a":
            self.send_response(302)
            self.send_header("Location", "/a.wav")
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetching(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for path in ("a.wav", "to-a"):
        assert np.array_equal(pcm(audio(f"{site}/{path}")), NOISE)
    assert "404" in refused(audio(f"{site}/none.wav"))
    assert "cannot fetch" in refused(audio(f"{site}/to-file"))
    monkeypatch.setattr(made, "_MOST_BYTES", 1000)
    assert "expected at most" in refused(audio(f"{site}/a.wav"))


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(made, "_SOCKET_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.wav"
        assert "cannot fetch" in refused(audio(url))
    assert "cannot fetch" in refused(audio(url))
    for broken in ("http://", "http://[/a", "http://127.0.0.1:x/", "http://a b/"):
        assert refused(audio(broken))


# -- text ------------------------------------------------------------------------------------------


def test_a_command_speaks() -> None:
    found = pcm(Media(kind="tts", text="Hello"), tts_command=VOICE)
    assert len(found) == 8000
    assert np.count_nonzero(found) > 7000


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-command --loud", "there is no no-such-command to speak with"),
        ("", "there is no command to speak with"),
        ("false", "false ended with 1"),
        ("true", "the voice's audio"),
        ("cat", "the voice's audio"),
    ],
)
def test_a_command_that_does_not(command: str, why: str) -> None:
    assert why in refused(Media(kind="tts", text="Hello, world"), tts_command=command)


def test_a_command_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "_MOST_SECONDS", 0.1)
    assert "took more than 0.1 s" in refused(Media(kind="tts", text="a"), tts_command="sleep 60")
    assert "expected" in refused(Media(kind="tts", text="a"), tts_command="yes")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="there is no espeak-ng")
def test_espeak_ng_speaks() -> None:
    for media in (
        Media(kind="tts", text="Leave a message after the beep."),
        Media(kind="tts", text="Guten Tag, wie geht es Ihnen?", language="de-DE"),
        Media(kind="tts", text="--help, or not", voice="no such voice"),
        Media(kind="tts", text="A voice of another service", voice="en-US-Neural2-C"),
    ):
        found = pcm(media, 16000)
        assert len(found) > 16000
        assert np.abs(found).max() > 1000


# -- threads ---------------------------------------------------------------------------------------


def test_the_workshop(monkeypatch: pytest.MonkeyPatch) -> None:
    results: SimpleQueue[bytes | str] = SimpleQueue()
    workshop = Workshop(MediaSettings())
    silence = Media(kind="silence", seconds=0.5)
    workshop.produce((silence, silence), 8000, results.put)
    assert results.get(timeout=30) == bytes(16000)
    workshop.produce((silence, audio("file:x")), 8000, results.put)
    assert "no --audio-directory" in str(results.get(timeout=30))

    def fail(*_: object) -> bytes:
        raise MemoryError("no room")

    monkeypatch.setattr(made, "pcm_of", fail)
    for _ in range(20):
        workshop.produce((silence,), 8000, results.put)
    assert {results.get(timeout=30) for _ in range(20)} == {"it cannot be made: no room"}
