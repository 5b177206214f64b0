# SPDX-License-Identifier: MIT
"""What RELAY's clients play: spoken text, and audio from files and over HTTP, as PCM."""

import http.client
import logging
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    url2pathname,
)

import numpy as np

from recorder.detection import core
from recorder.errors import RecorderError
from recorder.placement.resampling import resample
from recorder.reading import open_audio
from recorder.relay.schema import MOST_PLAY_SECONDS, Media

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG: Final = logging.getLogger("recorder")
_MOST_THREADS: Final = 8
_MOST_SECONDS: Final = 20.0  # to speak a text, or to fetch a file
_MOST_BYTES: Final = 64 << 20
_PIECE: Final = 64 << 10
_SOCKET_SECONDS: Final = 5.0  # for each answer of an HTTP server
_ESPEAK: Final = ("espeak-ng", "--stdin", "--stdout")
_VOICE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,40}")

Take = Callable[[bytes | str], None]


class _MediaError(Exception):
    """Why a piece cannot be played."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSettings:
    """Where media come from.

    - `audio_directory`: only files in it are played by `file:`; None: no files are.
    - `tts_command`: takes text on standard input and prints a WAV; None: espeak-ng.
    """

    audio_directory: Path | None = None
    tts_command: str | None = None


class Workshop:
    """Makes PCM in a few threads of its own, so that nobody waits for a voice or a server."""

    def __init__(self, settings: MediaSettings) -> None:
        self._settings = settings
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0

    def produce(self, media: tuple[Media, ...], rate: int, take: Take) -> None:
        """Make the PCM of media, one after another; then call `take` with it, in a thread.

        Where that fails `take` is called with what went wrong.
        """
        self._jobs.put(partial(self._work, media, rate, take))
        if self._threads < _MOST_THREADS:
            self._threads += 1
            threading.Thread(target=self._run, name="recorder-media", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._jobs.get()()

    def _work(self, media: tuple[Media, ...], rate: int, take: Take) -> None:
        made: bytes | str
        try:
            made = b"".join(pcm_of(one, rate, self._settings) for one in media)
        except _MediaError as error:
            made = str(error)
        except Exception as error:  # a client waits for this
            _LOG.exception("a piece to be played cannot be made")
            made = f"it cannot be made: {error}"
        take(made)


def pcm_of(media: Media, rate: int, settings: MediaSettings) -> bytes:
    """Return one piece as PCM of a rate. Blocks; raises an error that says why it cannot."""
    if media.kind == "silence":
        return bytes(2 * round(media.seconds * rate))
    if media.kind == "tts":
        with tempfile.NamedTemporaryFile(prefix="recorder-") as file:
            _speak(media, settings.tts_command, file)
            return _decode(Path(file.name), rate, "the voice's audio")
    try:
        scheme = urlsplit(media.url).scheme
    except ValueError as error:
        raise _MediaError(f"url: {error}, got {media.url[:200]!r}") from None
    if scheme in {"http", "https"}:
        with tempfile.NamedTemporaryFile(prefix="recorder-") as file:
            _fetch(media.url, file)
            return _decode(Path(file.name), rate, media.url)
    if scheme == "file":
        return _decode(_path_of(media.url, settings.audio_directory), rate, media.url)
    raise _MediaError(f"url: expected http:, https: or file:, got {media.url[:200]!r}")


# -- text ------------------------------------------------------------------------------------------


def _speak(media: Media, command: str | None, out: IO[bytes]) -> None:
    words = list(_ESPEAK) if command is None else shlex.split(command)
    if not words or shutil.which(words[0]) is None:
        raise _MediaError(
            f"there is no {words[0] if words else 'command'} to speak with: install espeak-ng, or"
            " name another command by --tts-command"
        )
    voice = media.language or media.voice
    if command is None and _VOICE.fullmatch(voice) and _has_voice(voice):
        words += ["-v", voice.lower()]
    with tempfile.TemporaryFile() as text:
        text.write(media.text.encode("utf-8", "replace"))
        text.seek(0)
        process = subprocess.Popen(
            words, stdin=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        timer = threading.Timer(_MOST_SECONDS, process.kill)
        timer.daemon = True
        timer.start()
        try:
            _copy(iter(partial(process.stdout.read, _PIECE), b""), out)
        finally:
            process.stdout.close()
            if process.poll() is None and not timer.is_alive():
                process.kill()
            status = process.wait()
            timer.cancel()
    if status:
        raise _MediaError(f"{words[0]} ended with {status}, or took more than {_MOST_SECONDS:g} s")


def _has_voice(voice: str) -> bool:
    """Whether espeak-ng has a voice, or one of that language."""
    listed = subprocess.run(
        ["espeak-ng", f"--voices={voice.lower()}"],
        capture_output=True,
        text=True,
        timeout=_MOST_SECONDS,
        check=False,
    )
    return len(listed.stdout.splitlines()) > 1


# -- files -----------------------------------------------------------------------------------------


def _path_of(url: str, folder: Path | None) -> Path:
    if folder is None:
        raise _MediaError("file: is not played by this server, which has no --audio-directory")
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise _MediaError(f"url: expected a file of this machine, got {url[:200]!r}")
    try:
        # Links and dots are followed first: what counts is where the file really is.
        root = folder.resolve(strict=True)
        path = (root / url2pathname(parts.path)).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise _MediaError(f"there is no file {url[:200]}") from None
    if not path.is_relative_to(root) or not path.is_file():
        raise _MediaError(f"{url[:200]} is no file in the --audio-directory")
    return path


def _fetch(url: str, out: IO[bytes]) -> None:
    opener = OpenerDirector()
    # Not those for file: and ftp:, to which a server could redirect.
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPRedirectHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(url, timeout=_SOCKET_SECONDS) as response:
            _copy(iter(partial(response.read1, _PIECE), b""), out)
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise _MediaError(f"cannot fetch {url[:200]}: {error}") from None


def _copy(pieces: Iterable[bytes], out: IO[bytes]) -> None:
    """Write all that comes, within limits of size and time."""
    until = time.monotonic() + _MOST_SECONDS
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > _MOST_BYTES:
            raise _MediaError(f"expected at most {_MOST_BYTES >> 20} MiB of audio")
        if time.monotonic() > until:
            raise _MediaError(f"expected all audio within {_MOST_SECONDS:g} s")
        out.write(piece)
    out.flush()


def _decode(path: Path, rate: int, name: str) -> bytes:
    """Return the audio of a file, all channels as one."""
    try:
        file = open_audio(path)
        most = int(MOST_PLAY_SECONDS * file.rate)
        blocks: list[NDArray[np.int16]] = []
        length = 0
        for block in file.blocks:
            length += len(block)
            if length > most:
                raise _MediaError(f"{name[:200]}: expected at most {MOST_PLAY_SECONDS:g} s")
            blocks.append(np.rint(block.mean(axis=1)).astype(np.int16))
    except RecorderError as error:
        raise _MediaError(str(error).replace(str(path), name[:200])) from None
    if not blocks:
        return b""
    pcm = np.concatenate(blocks).tobytes()
    if file.rate == rate:
        return pcm
    return core.rounded_to_pcm(resample(core.pcm_to_floats(pcm), file.rate, rate))
