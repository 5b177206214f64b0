# SPDX-License-Identifier: MIT
"""Complete what a crash left, and give it its name."""

import os
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Final, Literal

from recorder.errors import FileError
from recorder.writing.disk import (
    MOVES_OPEN_FILES,
    free_number,
    give_name,
    is_named,
    lock,
    next_data,
    numbered,
    open_existing,
    release,
    sync_folder,
    write_at,
)
from recorder.writing.mp3 import (
    LONGEST_INFO_FRAME,
    FrameCounter,
    info_frame,
    is_cut_info_frame,
    parse_info_frame,
    playable,
)
from recorder.writing.staged import final_name
from recorder.writing.wav import HEADER_BYTES, SAMPLE_BYTES, header, parse_header

_READ_BYTES: Final = 1 << 20
# Zeros behind the last frame that are read: 17 minutes of audio, when a system writes what it holds
# within a minute. A hole is not read and has no bound.
_MOST_ZEROS: Final = 16 << 20

# The names in a folder by the number of the file behind them.
_Names = Mapping[int, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """One staged file that `recover` found, and what became of it.

    - `staged`: the name it had; gone with "recovered" and "empty".
    - `outcome`: "recovered"; "busy": a process that lives writes it; "empty": it held no audio and
      was removed; "unreadable": left as it was, or where it was when it could not be published.
    - `path`: its final name when recovered.
    - `duration`: in seconds when recovered, otherwise 0.
    - `size`: in bytes.
    - `reason`: why it is unreadable, or what went wrong after it got its final name.
    """

    staged: Path
    outcome: Literal["recovered", "busy", "empty", "unreadable"]
    path: Path | None = None
    duration: float = 0.0
    size: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audio:
    """What a file holds: how it should start, its bytes, and the seconds it plays then."""

    start: bytes
    size: int
    duration: float


_NOTHING: Final = _Audio(start=b"", size=0, duration=0)  # not even a header


def recover(directory: str | os.PathLike[str]) -> list[Recovered]:
    """Complete and publish the recordings that a crash left in a folder, not below it.

    What a process still writes is left alone, nothing is overwritten, no link is followed, and what
    cannot be understood stays as it is. May be called at any time, by several processes at once.
    Raises FileError when there is no such folder, or it cannot be read.
    """
    names: defaultdict[int, list[str]] = defaultdict(list)
    found = []
    try:
        folder = Path(directory).absolute()
        with os.scandir(folder) as entries:
            for entry in entries:
                names[entry.inode()].append(entry.name)
                if final_name(Path(entry.name)) is not None:
                    found.append(folder / entry.name)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot recover in {directory}: {error}") from error
    results = [_recover(path, names) for path in sorted(found)]
    return [result for result in results if result is not None]


def _recover(staged: Path, names: _Names) -> Recovered | None:
    """Recover one file; None when it is gone already."""
    size = 0
    try:
        status = staged.lstat()
        size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            reason = "it is no ordinary file"
            return Recovered(staged=staged, outcome="unreadable", size=size, reason=reason)
        with open_existing(staged) as file:
            lock(file)
            try:
                return _finish(file, staged, names) if is_named(file, staged) else None
            finally:
                release(file)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return Recovered(staged=staged, outcome="busy", size=size)
    except Exception as error:  # whatever it is, the other files are recovered
        reason = str(error) or type(error).__name__
        return Recovered(staged=staged, outcome="unreadable", size=size, reason=reason)


def _finish(file: FileIO, staged: Path, names: _Names) -> Recovered:
    audio = _wav(file) if staged.suffix.lower() == ".wav" else _mp3(file)
    path = _published(file, staged, names)
    publish = path is None and audio.duration > 0
    if publish:
        file.truncate(audio.size)
        write_at(file, 0, audio.start)
        os.fsync(file.fileno())
    if not MOVES_OPEN_FILES:
        release(file)
    if publish:
        path = give_name(staged, _final(staged))
    reason = ""
    try:
        staged.unlink(missing_ok=True)
        sync_folder(staged.parent)
    except OSError as error:
        if path is None:
            raise
        reason = str(error)
    if path is None:
        return Recovered(staged=staged, outcome="empty")
    return Recovered(
        staged=staged,
        outcome="recovered",
        path=path,
        duration=audio.duration,
        size=audio.size,
        reason=reason,
    )


def _final(staged: Path) -> Path:
    path = final_name(staged)
    assert path is not None
    return path


def _published(file: FileIO, staged: Path, names: _Names) -> Path | None:
    """The final name that a file has already beside its staged one."""
    status = os.fstat(file.fileno())
    if status.st_nlink < 2:
        return None
    final = _final(staged)
    # `names` may be older than the name: what was given last is the last number that is taken.
    last = free_number(partial(numbered, final)) - 1
    listed = [staged.with_name(name) for name in sorted(names.get(status.st_ino, ()))]
    for path in (*listed, final, numbered(final, max(0, last))):
        alike = path.name.startswith(final.stem) and path.suffix == final.suffix
        if alike and is_named(file, path):
            return path
    return None


def _wav(file: FileIO) -> _Audio:
    """What a WAV holds, by its size; ValueError when it is no WAV."""
    size = os.fstat(file.fileno()).st_size
    start = _read(file, HEADER_BYTES)
    if size < HEADER_BYTES and b"RIFF".startswith(start[:4]):
        return _NOTHING
    sample_rate, channels = parse_header(start)
    frame_bytes = SAMPLE_BYTES * channels
    samples = (size - HEADER_BYTES) // frame_bytes
    return _Audio(
        start=header(sample_rate, channels, samples),
        size=HEADER_BYTES + samples * frame_bytes,
        duration=samples / sample_rate,
    )


def _mp3(file: FileIO) -> _Audio:
    """What an MP3 holds, by its frames; ValueError when it is no MP3."""
    start = _read(file, LONGEST_INFO_FRAME)
    if is_cut_info_frame(start):
        return _NOTHING
    sample_rate, channels, claimed, samples = parse_info_frame(start)
    first = len(info_frame(sample_rate, channels, 0, 0, 0))
    counter = FrameCounter(sample_rate)
    file.seek(first)
    try:
        while data := file.read(_READ_BYTES):
            counter.count(data)
    except RuntimeError as error:
        # After a power cut a file may be as long as it was, with zeros for what was lost.
        if not _ends_in_zeros(file, first + counter.end):
            raise ValueError(str(error)) from error
    partial = counter.missing > 0
    frames = counter.total - partial
    size = first + (counter.last if partial else counter.end)
    if frames != claimed:
        samples = playable(sample_rate, frames)
    return _Audio(
        start=info_frame(sample_rate, channels, frames, size, samples),
        size=size,
        duration=samples / sample_rate,
    )


def _ends_in_zeros(file: FileIO, position: int) -> bool:
    """Whether only zeros follow a position; ValueError when that takes too long to find out."""
    left = _MOST_ZEROS
    at = next_data(file, position)
    while at is not None:
        if left <= 0:
            raise ValueError(f"expected at most {_MOST_ZEROS} bytes after its last frame, got more")
        file.seek(at)
        data = file.read(min(left, _READ_BYTES))
        if not data:
            break
        if data.strip(b"\0"):
            return False
        left -= len(data)
        at = next_data(file, at + len(data))
    return True


def _read(file: FileIO, n: int) -> bytes:
    """Up to n bytes from the start: fewer only when there are no more."""
    file.seek(0)
    data = b""
    while len(data) < n and (more := file.read(n - len(data))):
        data += more
    return data
