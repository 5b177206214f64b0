# SPDX-License-Identifier: MIT
"""A file under a name of its own until it is complete, and names that stay in their folder.

A recording is written to `.STEM.part.SUFFIX` beside its final name, and plays from there, too. The
process that writes it holds a lock on it, so that a staged file without a lock is what a crash
left: `recover` publishes it, and a new recording of the same name leaves it alone.
"""

import contextlib
import errno
import os
import re
import stat
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from weakref import WeakSet

from recorder.errors import FileError
from recorder.runtime import lifecycle
from recorder.writing.disk import (
    MOVES_OPEN_FILES,
    create,
    free_number,
    give_name,
    is_named,
    is_own,
    lock,
    open_existing,
    release,
    sync_folder,
)
from recorder.writing.wav import WavEncoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from recorder.writing.mp3 import Mp3Encoder

Format = Literal["wav", "mp3"]

_LONGEST_PART: Final = 80
# How many staged files of one name are asked, the last ones first, whether they are being written.
# More is what crashes left, and a recording beside a live one gets a number at worst.
_MOST_ASKED: Final = 16
_STAGED: Final = re.compile(r"\.(.+)\.part(?:-[0-9]+)?(\.(?:wav|mp3))", re.IGNORECASE | re.DOTALL)

# Files that are being written, for a fork to close: the lock is its parent's alone.
_open: Final["WeakSet[FileIO]"] = WeakSet()


def name_part(identifier: str) -> str:
    """An identifier from outside as part of a file name: only letters, digits, `.`, `-`, `_`.

    Never empty, never hidden, never a path, at most 80 characters.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", identifier)[:_LONGEST_PART]
    return safe.lstrip(".-") or "_"


def readable_samples(path: Path) -> int | None:
    """How many samples a file that may be damaged plays, per channel; None when it is no audio."""
    import soundfile  # here: it takes long, and only a damaged file needs it

    try:
        return int(soundfile.info(str(path)).frames)
    except (OSError, RuntimeError):
        return None


def generated_name(call_id: str, recording_id: str, extension: str) -> str:
    """The file name of a recording: unique, since the recording_id is."""
    return f"{name_part(call_id)}_{name_part(recording_id)}.{extension}"


def staged_name(path: Path, format: Format, number: int = 0) -> Path:
    """Where a file is written before it gets its name; `number` separates several of one name.

    It ends as the format does, since players go by that: `mine` is written to `.mine.part.wav`.
    """
    fits = path.suffix.lower() == f".{format}"
    stem, suffix = (path.stem, path.suffix) if fits else (path.name, f".{format}")
    part = f"part-{number}" if number else "part"
    return path.with_name(f".{stem}.{part}{suffix}")


def final_name(staged: Path) -> Path | None:
    """The name that a staged file gets; None when it is not called as one."""
    match = _STAGED.fullmatch(staged.name)
    return None if match is None else staged.with_name(match[1] + match[2])


def _encoder(format: Format) -> "type[WavEncoder | Mp3Encoder]":
    if format == "wav":
        return WavEncoder
    from recorder.writing.mp3 import Mp3Encoder  # here: a WAV does not need it

    return Mp3Encoder


class StagedFile:
    """A recording's file while it is written, and `staged`, where it is: at last its final name.

    `mode` is its permissions, whatever the umask. Raises FileError when it cannot be made, or is
    being recorded already. What goes wrong later raises OSError and leaves the staged file where
    it is, playable as far as it goes.
    """

    def __init__(
        self, path: Path, format: Format, sample_rate: int, channels: int, mode: int = 0o600
    ) -> None:
        self.path = path
        self._size: int | None = None  # in bytes, once complete
        self._published: Path | None = None
        try:
            _check_free(path)
            self._file, self.staged = _create(path, format, mode)
            _open.add(self._file)
        except (OSError, ValueError) as error:
            # Without the name of the staged file, which nobody asked for.
            reason = getattr(error, "strerror", None) or error
            raise FileError(f"cannot record to {path}: {reason}") from error
        try:
            self._encoder = _encoder(format)(self._file, sample_rate, channels)
        except (OSError, RuntimeError) as error:
            release(self._file)
            self.staged.unlink(missing_ok=True)
            raise FileError(f"cannot record to {path}: {error}") from error

    @property
    def samples(self) -> int:
        """How many samples per channel the file on disk plays."""
        return self._encoder.samples

    @property
    def size(self) -> int:
        """The bytes of it that play; 0 when it was gone at `close`."""
        return self._encoder.size if self._size is None else self._size

    def write(self, block: "NDArray[np.int16]") -> None:
        """Append samples, (n,) or (n, 2); the file on disk plays up to `samples` afterwards."""
        self._encoder.write(block)

    def publish(self) -> tuple[Path, int]:
        """Complete the file and give it its name; return that and its size in bytes.

        A file that took the name meanwhile is left alone: this one gets a number. When it returns,
        file and name survive a power cut. When it raises it may be called again.
        """
        if self._size is None:
            self._encoder.close()
            os.fsync(self._file.fileno())
            self._size = os.fstat(self._file.fileno()).st_size
        if not MOVES_OPEN_FILES:
            release(self._file)
        if self._published is None:
            self._published = give_name(self.staged, self.path)
        if self.staged != self._published:
            self.staged.unlink(missing_ok=True)
            self.staged = self._published
        release(self._file)  # first: its descriptor may be the last one to be had
        sync_folder(self.path.parent)
        return self._published, self._size

    def close(self) -> int:
        """Close a file that cannot be published; return its size in bytes, 0 when it is gone."""
        with contextlib.suppress(Exception):
            if self._size is None:
                self._encoder.close()
        with contextlib.suppress(OSError):
            release(self._file)
        try:
            self._size = self.staged.lstat().st_size
        except OSError:
            self._size = 0
        return self._size

    def discard(self) -> None:
        """Remove a file that is not wanted after all."""
        release(self._file)
        self.staged.unlink(missing_ok=True)


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        number = errno.EISDIR if path.is_dir() else errno.EEXIST
        raise OSError(number, os.strerror(number))


def _create(path: Path, format: Format, mode: int) -> tuple[FileIO, Path]:
    """A staged file for a path, locked by this process; what has its names stays where it is."""
    name = partial(staged_name, path, format)
    number = 0
    while True:
        number = free_number(name, number)
        if number:
            for other in (0, *range(max(1, number - _MOST_ASKED), number)):
                _check_left_over(name(other))
        staged = name(number)
        number += 1
        try:
            file = create(staged, mode)
        except FileExistsError:
            _check_left_over(staged)
            continue
        try:
            lock(file)
        except BlockingIOError:
            file.close()  # another process checks whether it is left over: leave it to that one
            continue
        except OSError:
            return file, staged  # no locks on this file system: `recover` touches nothing there
        if is_named(file, staged):
            return file, staged
        file.close()  # `recover` was quicker and took it for left over


def _check_left_over(staged: Path) -> None:
    """OSError when a staged file is being written.

    What this process could not have made is passed over: a link, a folder, another user's file.
    """
    try:
        status = staged.lstat()
        if not stat.S_ISREG(status.st_mode) or not is_own(status):
            return
        file = open_existing(staged)
    except OSError:  # gone meanwhile, or not to be opened
        return
    with file:
        try:
            lock(file)
        except BlockingIOError as error:
            raise FileExistsError(
                errno.EEXIST, "it is being recorded already", str(staged)
            ) from error
        release(file)


def _leave_to_parent() -> None:
    """After a fork: close, but do not unlock: that would unlock the parent's files too."""
    for file in tuple(_open):
        file.close()


lifecycle.at_fork(_leave_to_parent)
