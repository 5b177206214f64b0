# SPDX-License-Identifier: MIT
"""A file under a name of its own until it is complete, and names that stay in their folder."""

import contextlib
import errno
import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import soundfile

from recorder.errors import FileError
from recorder.writing.mp3 import Mp3Encoder
from recorder.writing.wav import WavEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_ENCODERS: Final[dict[str, type[WavEncoder | Mp3Encoder]]] = {"wav": WavEncoder, "mp3": Mp3Encoder}
_LONGEST_PART = 80
# What os.link says on a file system that has none.
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def name_part(identifier: str) -> str:
    """An identifier from outside as part of a file name: only letters, digits, `.`, `-`, `_`.

    Never empty, never hidden, never a path, at most 80 characters.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", identifier)[:_LONGEST_PART]
    return safe.lstrip(".-") or "_"


def readable_samples(path: Path) -> int | None:
    """How many samples a file that may be damaged plays, per channel; None when it is no audio."""
    try:
        return int(soundfile.info(str(path)).frames)
    except (OSError, RuntimeError):
        return None


def generated_name(call_id: str, recording_id: str, extension: str) -> str:
    """The file name of a recording: unique, since the recording_id is."""
    return f"{name_part(call_id)}_{name_part(recording_id)}.{extension}"


class StagedFile:
    """A recording's file while it is written: `.NAME.part` beside its final name.

    Raises FileError when it cannot be made. What goes wrong later raises OSError or RuntimeError
    (libsndfile's) and leaves the staged file where it is.
    """

    def __init__(
        self, path: Path, format: Literal["wav", "mp3"], sample_rate: int, channels: int
    ) -> None:
        self.path = path
        try:
            self.staged = path.with_name(f".{path.name}.part")
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            self._file = self.staged.open("x+b")
        except (OSError, ValueError) as error:
            raise FileError(f"cannot record to {path}: {error}") from error
        try:
            self._encoder = _ENCODERS[format](self._file, sample_rate, channels)
        except (OSError, RuntimeError) as error:
            self._file.close()
            self.staged.unlink(missing_ok=True)
            raise FileError(f"cannot record to {path}: {error}") from error

    def write(self, block: "NDArray[np.int16]") -> None:
        """Append samples, (n,) or (n, 2)."""
        self._encoder.write(block)

    def publish(self) -> tuple[Path, int]:
        """Complete the file and give it its name; return that and its size in bytes.

        A file that took the name meanwhile is left alone: this one gets a number.
        """
        self._encoder.close()
        self._file.close()
        size = self.staged.stat().st_size
        for path in itertools.chain([self.path], self._numbered()):
            try:
                self._move_to(path)
            except FileExistsError:
                continue
            return path, size
        raise AssertionError  # numbers do not run out

    def close(self) -> int:
        """Let go of a file that cannot be completed; return its size in bytes, as far as known."""
        for closing in (self._encoder.close, self._file.close):
            with contextlib.suppress(Exception):
                closing()
        try:
            return self.staged.stat().st_size
        except OSError:
            return 0

    def _numbered(self) -> "Iterator[Path]":
        for number in itertools.count(1):
            yield self.path.with_stem(f"{self.path.stem}-{number}")

    def _move_to(self, path: Path) -> None:
        """Rename, but never over something."""
        try:
            os.link(self.staged, path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # Take the name, then replace what took it.
            path.open("xb").close()
            self.staged.replace(path)
        else:
            self.staged.unlink()
