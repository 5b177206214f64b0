# SPDX-License-Identifier: MIT
"""What is still to be sent, on the disk: a folder `.outbox` beside the recordings.

It has a file for each recording, `OWNER.RECORDING_ID.json`, which is replaced as a whole. The
process that works on it holds a lock on `OWNER.lock`: what has no such process belongs to whoever
gets the lock.
"""

import json
import logging
import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, Final, Literal, Self
from weakref import WeakSet

from recorder.runtime import lifecycle
from recorder.writing.disk import (
    create,
    is_named,
    lock,
    make_folder,
    open_existing,
    release,
    sync_folder,
)

Upload = Literal["none", "waiting", "pending", "done", "failed"]

_LOG: Final = logging.getLogger("recorder")
_FOLDER: Final = ".outbox"
_VERSION: Final = 1
_MODE: Final = 0o600

# For a fork to close: the locks are its parent's alone.
_locks: Final["WeakSet[FileIO]"] = WeakSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recording in the outbox.

    - `recording_id`, `file`: which recording, and the name of its file in the folder; `inode` is
      that file's, by which it is known if its process has died before it had that name.
    - `storage`, `keep_local`, `status_url`, `allow_private`: as in Destinations.
    - `event`: the last event, as it came: the terminal one if it has `ended`. Its URL is the
      object's.
    - `upload`: "waiting" until the first attempt has failed; `begun` once anything was written.
    - `told`: whether the terminal event was passed on, and is in `events` or was sent.
    - `events`: what is still to be POSTed, in order.
    """

    recording_id: str
    file: str
    inode: int
    sample_rate: int
    storage: str | None
    keep_local: bool
    status_url: str | None
    allow_private: bool
    event: dict[str, Any]
    ended: bool = False
    upload: Upload = "none"
    begun: bool = False
    sha256: str = ""
    error: str = ""
    told: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to be done."""
        return self.told and self.upload in {"none", "done", "failed"} and not self.events


class Outbox:
    """The entries of one owner in a folder. To be made by `open_outbox` and `left_over`."""

    def __init__(self, folder: Path, owner: str, file: FileIO) -> None:
        self.folder = folder  # of the recordings
        self._owner = owner
        self._file = file
        _locks.add(file)

    def _path(self, recording_id: str) -> Path:
        return self.folder / _FOLDER / f"{self._owner}.{recording_id}.json"

    def save(self, entry: Entry, *, sync: bool = True) -> None:
        """Keep an entry instead of what was kept of it; OSError when that fails.

        With `sync` it survives a power cut.
        """
        path = self._path(entry.recording_id)
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        data = json.dumps({"version": _VERSION, **asdict(entry)}).encode()
        with create(part, _MODE) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            if sync:
                os.fsync(file.fileno())
        part.replace(path)
        if sync:
            sync_folder(path.parent)

    def remove(self, recording_id: str) -> None:
        """Forget an entry."""
        self._path(recording_id).unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """Return those that are kept; one that cannot be read is logged, and stays."""
        found = []
        for path in sorted((self.folder / _FOLDER).glob(f"{self._owner}.*.json")):
            try:
                found.append(_parse(path.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                _LOG.error("cannot read %s: %s", path, error)
        return found

    def close(self) -> None:
        """Give it up: what is left in it is another's."""
        folder = self.folder / _FOLDER
        with suppress(OSError):
            for part in folder.glob(f"{self._owner}.*.part"):  # its process died in `save`
                part.unlink(missing_ok=True)
            if not any(folder.glob(f"{self._owner}.*.json")):
                (folder / f"{self._owner}.lock").unlink(missing_ok=True)
        release(self._file)
        with suppress(OSError):  # others are in it
            folder.rmdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parse(data: bytes) -> Entry:
    values = json.loads(data)
    version = values.pop("version")
    if version != _VERSION:
        raise ValueError(f"expected version {_VERSION}, got {version}")
    return Entry(**values)


def open_outbox(folder: Path) -> Outbox:
    """Make an outbox of this process in a folder; OSError when that fails."""
    while True:
        owner = uuid.uuid4().hex
        path = folder / _FOLDER / f"{owner}.lock"
        make_folder(path.parent, _MODE)
        try:
            file = create(path, _MODE)
        except FileNotFoundError:  # another process has removed the empty folder
            continue
        try:
            lock(file)
        except BlockingIOError:  # another process takes it for left over: leave it to that one
            file.close()
            continue
        except OSError:
            pass  # no locks on this file system: nobody takes over there
        if is_named(file, path):
            return Outbox(folder, owner, file)
        file.close()


def left_over(folder: Path) -> list[Outbox]:
    """Take the outboxes in a folder that belong to nobody any more."""
    found = []
    for path in sorted((folder / _FOLDER).glob("*.lock")):
        try:
            file = open_existing(path)
        except OSError:  # gone meanwhile, or none of ours
            continue
        try:
            lock(file)
        except OSError:  # its process lives, or there are no locks on this file system
            file.close()
            continue
        if is_named(file, path):
            found.append(Outbox(folder, path.stem, file))
        else:
            file.close()
    return found


def _leave_to_parent() -> None:
    """After a fork: close, but do not unlock: that would unlock the parent's outboxes too."""
    for file in tuple(_locks):
        file.close()


lifecycle.at_fork(_leave_to_parent)
