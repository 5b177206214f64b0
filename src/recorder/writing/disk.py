# SPDX-License-Identifier: MIT
"""What a file needs from the operating system: whole writes, a lock, safe and unique names.

The lock separates a file that is being written from one that a crash left: the kernel releases it
when its process dies, however that dies.
"""

import contextlib
import errno
import os
import stat
import sys
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recorder.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Callable

# What os.link raises on a file system without hard links.
_NO_HARD_LINKS: Final = (
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
)
# What fchmod raises on a file system without permissions.
_NO_MODES: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Where os.lseek finds the next data, past the holes of a sparse file; None where it cannot.
_SEEK_DATA: Final[int | None] = getattr(os, "SEEK_DATA", None)
# Opening what somebody else put there must neither follow it nor wait for it.
_CAUTIOUS: Final[int] = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
)

# Whether an open file can be moved and removed.
MOVES_OPEN_FILES: Final = sys.platform != "win32"

if sys.platform == "win32":
    import msvcrt

    # Windows locks bytes, against reading too: one that no file has.
    _LOCKED_BYTE: Final = 1 << 62

    def lock(file: FileIO) -> None:
        """Lock a file for this process; BlockingIOError when another holds the lock."""
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK)) from error

    def unlock(file: FileIO) -> None:
        """Unlock a locked file."""
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

    def sync_folder(folder: Path) -> None:
        """Nothing: Windows keeps names by its journal, and opens no folder."""

    def write_at(file: FileIO, position: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of the bytes at a position; OSError when the file cannot take them."""
        file.seek(position)
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]

else:
    import fcntl

    def lock(file: FileIO) -> None:
        """Lock a file for this process; BlockingIOError when another holds the lock."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: FileIO) -> None:
        """Unlock a locked file, for forked processes that inherited it too."""
        fcntl.flock(file, fcntl.LOCK_UN)

    def sync_folder(folder: Path) -> None:
        """Have the names in a folder survive a power cut; OSError when the disk fails."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:  # this file system syncs no folders
                raise
        finally:
            os.close(descriptor)

    def write_at(file: FileIO, position: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of the bytes at a position; OSError when the file cannot take them."""
        written = os.pwrite(file.fileno(), data, position)
        while written < len(data):
            rest = memoryview(data)[written:]
            written += os.pwrite(file.fileno(), rest, position + written)


def create(path: Path, mode: int) -> FileIO:
    """Create and open a file with exactly these permissions, whatever the umask.

    FileExistsError when anything has the name, a dangling link too.
    """
    file = FileIO(
        os.fspath(path), "x+", opener=lambda name, flags: os.open(name, flags | _CAUTIOUS, mode)
    )
    try:
        if sys.platform != "win32" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) != mode:
            os.fchmod(file.fileno(), mode)
    except OSError as error:
        if error.errno not in _NO_MODES:
            file.close()
            path.unlink(missing_ok=True)
            raise
    return file


def open_existing(path: Path) -> FileIO:
    """Open an ordinary file for reading and writing; OSError when it is anything else.

    Follows no link, and waits for no pipe.
    """
    file = FileIO(
        os.fspath(path), "r+", opener=lambda name, flags: os.open(name, flags | _CAUTIOUS)
    )
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "expected an ordinary file", os.fspath(path))
    return file


def make_folder(path: Path, mode: int = 0o600) -> None:
    """Make a folder, and those above it, for files with the permissions `mode`.

    Who may read the files may enter the folders: 0o600 makes folders 0o700, and 0o640 makes them
    0o750. A folder that exists stays as it is. Raises FileError.
    """
    folder_mode = 0o700 | mode & 0o777 | (mode & 0o444) >> 2
    missing = []
    try:
        for folder in (path, *path.parents):
            try:
                _make_one(folder, folder_mode)
                break
            except FileNotFoundError:
                missing.append(folder)
        for folder in reversed(missing):
            _make_one(folder, folder_mode)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot make the folder {path}: {error}") from error


def _make_one(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(mode)
    except FileNotFoundError:
        raise
    except OSError:
        # Not only FileExistsError: a folder that cannot be written may refuse before that.
        if not folder.is_dir():
            raise
        return
    found = stat.S_IMODE(folder.stat().st_mode)
    if sys.platform != "win32" and found & 0o777 != mode:
        folder.chmod(found & ~0o777 | mode)  # an inherited setgid bit stays


def is_own(status: os.stat_result) -> bool:
    """Whether a file belongs to this process's user; Windows does not say."""
    return sys.platform == "win32" or status.st_uid == os.geteuid()


def is_named(file: FileIO, path: Path) -> bool:
    """Whether a path is a name of an open file at this moment."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def next_data(file: FileIO, position: int) -> int | None:
    """Where the next data is, at or after a position; None when only a hole follows, or nothing.

    On a file system that does not report its holes this is the position itself.
    """
    size = os.fstat(file.fileno()).st_size
    if position >= size:
        return None
    if _SEEK_DATA is not None:
        try:
            return os.lseek(file.fileno(), position, _SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
    return position


def release(file: FileIO) -> None:
    """Unlock and close a file. May be called again."""
    if file.closed:
        return
    with contextlib.suppress(OSError):
        unlock(file)
    file.close()


def free_number(name: "Callable[[int], Path]", first: int = 0) -> int:
    """A number from `first` on whose name is free; the number before it is taken.

    Doubling steps, then halving them, find it among thousands with a few dozen looks.
    """
    if not os.path.lexists(name(first)):
        return first
    taken, step = first, 1
    while os.path.lexists(name(taken + step)):
        taken += step
        step *= 2
    free = taken + step
    while free - taken > 1:
        middle = (taken + free) // 2
        if os.path.lexists(name(middle)):
            taken = middle
        else:
            free = middle
    return free


def numbered(path: Path, number: int) -> Path:
    """The path itself for 0, and the same with -1, -2 and so on after it."""
    return path.with_stem(f"{path.stem}-{number}") if number else path


def give_name(staged: Path, path: Path) -> Path:
    """Give a staged file its name beside the staged one, and return it; never over something.

    What took the name is left alone: this file gets a number.
    """
    number = 0
    while True:
        number = free_number(partial(numbered, path), number)
        name = numbered(path, number)
        try:
            _give(staged, name)
        except FileExistsError:
            number += 1  # another process was quicker
        else:
            return name


def _give(staged: Path, name: Path) -> None:
    try:
        os.link(staged, name)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Take the name, then replace what took it.
        name.touch(mode=0o600, exist_ok=False)
        try:
            staged.replace(name)
        except BaseException:
            name.unlink()
            raise
