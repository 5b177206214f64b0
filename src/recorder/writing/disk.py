# SPDX-License-Identifier: MIT
"""What a file needs from the operating system: whole writes, a lock, safe and unique names.

The lock tells a file that is being written from one that a crash left: the kernel lets go of it
when its process dies, however that dies.
"""

import contextlib
import errno
import itertools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

# What os.link says on a file system that has none.
_NO_HARD_LINKS: Final = (
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EINVAL,
)

# Whether an open file can be moved and removed.
MOVES_OPEN_FILES: Final = sys.platform != "win32"

if sys.platform == "win32":
    import msvcrt

    # Windows locks bytes, against reading too: one that no file has.
    _LOCKED_BYTE: Final = 1 << 62

    def lock(file: "FileIO") -> None:
        """Hold a file for this process; BlockingIOError when it is held."""
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK)) from error

    def unlock(file: "FileIO") -> None:
        """Let go of a file that is held."""
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

    def sync_folder(folder: Path) -> None:
        """Nothing: Windows keeps names by its journal, and opens no folder."""

else:
    import fcntl

    def lock(file: "FileIO") -> None:
        """Hold a file for this process; BlockingIOError when it is held."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(file: "FileIO") -> None:
        """Let go of a file that is held, for forked processes that inherited it too."""
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


def write_at(file: "FileIO", position: int, data: bytes) -> None:
    """Write all of the bytes at a position; OSError when the file cannot take them."""
    file.seek(position)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def is_named(file: "FileIO", path: Path) -> bool:
    """Whether a path is still, or already, the name of an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def release(file: "FileIO") -> None:
    """Unlock and close a file. May be called again."""
    if file.closed:
        return
    with contextlib.suppress(OSError):
        unlock(file)
    file.close()


def numbered(path: Path) -> "Iterator[Path]":
    """The path, and after it the same with -1, -2 and so on."""
    yield path
    for number in itertools.count(1):
        yield path.with_stem(f"{path.stem}-{number}")


def give_name(staged: Path, path: Path) -> Path:
    """Give a staged file its name beside the staged one, and return it; never over something.

    What took the name is left alone: this one gets a number.
    """
    for name in numbered(path):
        try:
            os.link(staged, name)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # Take the name, then replace what took it.
            try:
                name.open("xb").close()
            except FileExistsError:
                continue
            try:
                staged.replace(name)
            except BaseException:
                name.unlink()
                raise
        return name
    raise AssertionError  # numbers do not run out
