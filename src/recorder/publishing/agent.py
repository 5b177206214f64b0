# SPDX-License-Identifier: MIT
"""All that a process has to send: what its calls record, and what others left."""

import logging
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import FileError
from recorder.publishing.destinations import Destinations
from recorder.publishing.lines import Lines
from recorder.publishing.outbox import Entry, Outbox, left_over, open_outbox
from recorder.publishing.publication import Deliver, Publication, Report, Surroundings
from recorder.publishing.targets import PUBLISHING, Means
from recorder.runtime import lifecycle
from recorder.writing.disk import free_number, numbered
from recorder.writing.recovery import recover
from recorder.writing.staged import readable_samples

if TYPE_CHECKING:
    import os

    from recorder.events import PublishingEvent, RecordEvent

_LOG: Final = logging.getLogger("recorder")
# How long what is being sent may keep the process from its end, in all.
_EXIT_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.25
_CUT_OFF: Final = "the process that recorded it ended before it reported how the recording ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """One recording that was in an outbox, and what `finish` made of it.

    - `path`: of its file; None once that is removed.
    - `url`: of the object, or of the file where none is stored.
    - `upload`: "none" if it is not to be stored; "done"; "pending": to be tried again; "failed":
      given up, and the file is kept.
    - `unsent_events`: how many of its events are still to be sent.
    - `error`: why the last attempt failed, or "".
    """

    recording_id: str
    path: Path | None
    url: str
    upload: str
    unsent_events: int
    error: str = ""


class Agent:
    """Sends what the calls of this process record, and what processes left that are gone.

    Nothing here waits for a store or an address but `finish` and the process's end, both for a
    bounded time.
    """

    def __init__(self) -> None:
        self.means = Means()
        self.exit_seconds = _EXIT_SECONDS
        self._lines = Lines(self.means)
        self._around = Surroundings(
            means=self.means, lines=self._lines, open_outbox=self._open, ended=self._ended
        )
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()  # for background threads, and `finish`
        self._publications: set[Publication] = set()
        self._keys: dict[Path, str] = {}  # what is left over in a folder is signed with this
        self._own: dict[Path, Outbox] = {}
        self._users: dict[Outbox, int] = {}

    def restart(self) -> None:
        """After a fork: what is to be sent is the parent's to send."""
        PUBLISHING.restart()
        self.means.restart()
        self._lines.restart()
        self._clear()

    # -- what is recorded ------------------------------------------------------------------

    def publication(
        self,
        destinations: Destinations,
        *,
        call_id: str,
        folder: Path,
        sample_rate: int,
        deliver: Deliver,
        report: Report,
    ) -> Publication:
        """Return what takes the events of a recording that is about to begin."""
        if destinations.status_key:
            self.set_key(folder, destinations.status_key)
        publication = Publication(
            self._around,
            call_id=call_id,
            folder=folder,
            key=destinations.status_key,
            deliver=deliver,
            report=report,
        )
        publication.make_entries(destinations, sample_rate)
        self._publications.add(publication)
        return publication

    def _open(self, folder: Path) -> Outbox:
        with self._lock:
            outbox = self._own.get(folder)
            if outbox is None:
                outbox = self._own[folder] = open_outbox(folder)
                self._users[outbox] = 0
                self.take_over_later(folder)
            self._users[outbox] += 1
            return outbox

    def _ended(self, publication: Publication, outbox: Outbox | None) -> None:
        self._publications.discard(publication)
        if outbox is None:
            return
        with self._lock:
            self._users[outbox] -= 1
            if not self._users[outbox]:
                del self._users[outbox]
                if self._own.get(outbox.folder) is outbox:
                    del self._own[outbox.folder]
                outbox.close()

    # -- what others left ------------------------------------------------------------------

    def take_over_later(self, folder: Path) -> None:
        """Do so in the background."""
        PUBLISHING.lane().put(partial(self._take_over, folder.absolute()))

    def _take_over(self, folder: Path) -> None:
        self.take_over(folder)

    def take_over(self, folder: Path) -> list[Publication]:
        """Continue with what processes that are gone left in a folder. Waits for the disk."""
        with self._lock:
            outboxes = [(outbox, outbox.entries()) for outbox in left_over(folder)]
            for outbox, entries in outboxes:
                self._users[outbox] = len(entries)
                if not entries:
                    del self._users[outbox]
                    outbox.close()
        found = [(outbox, entry) for outbox, entries in outboxes for entry in entries]
        if any(_file_of(folder, entry) is None for _, entry in found if not entry.ended):
            recover(folder)
        resumed = [self._resume(outbox, entry) for outbox, entry in found]
        # In the order in which they came, over all recordings.
        letters = [
            (queued["number"], one, queued) for one in resumed for queued in one.entry.events
        ]
        for _, publication, queued in sorted(letters, key=lambda letter: letter[0]):
            publication.send(queued)
        for publication in resumed:
            publication.go_on()
        return resumed

    def _resume(self, outbox: Outbox, entry: Entry) -> Publication:
        if not entry.ended:
            entry = _cut_off(outbox.folder, entry)
        publication = Publication(
            self._around,
            call_id=entry.event["params"]["call_id"],
            folder=outbox.folder,
            key=self._keys.get(outbox.folder),
            deliver=_nobody,
            report=_nobody,
        )
        self._publications.add(publication)
        publication.resume(outbox, entry)
        return publication

    def set_key(self, folder: Path, key: str) -> None:
        """Sign what others left in a folder with a key."""
        self._keys[folder] = key

    # -- its end ---------------------------------------------------------------------------

    def hurry(self) -> None:
        """Report the terminal events that wait for their files to be stored."""
        for publication in self._publications.copy():
            publication.tell_now()

    def drain(self, patience: float) -> bool:
        """Wait until each attempt that is due has ended; False after `patience` seconds."""
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0:
            if PUBLISHING.drain(min(left, _LOOK_SECONDS)):
                return True
        return False

    def close(self) -> None:
        """The process ends: what is not sent now stays in the outbox."""
        self.drain(self.exit_seconds)
        self.hurry()
        if left := len(self._publications):
            _LOG.warning(
                "%d recordings, or events of them, are still to be sent: the next process that"
                " records into their folder does that, or `recorder recover`",
                left,
            )


AGENT: Final = Agent()

lifecycle.at_fork(AGENT.restart)
lifecycle.at_exit(AGENT.close)


def finish(
    directory: "str | os.PathLike[str]", *, status_key: str | None = None, patience: float = 60.0
) -> list[Unsent]:
    """Send what processes that are gone left in a folder, and return what became of it.

    Each file and event is tried once, for at most `patience` seconds in all; what fails stays, and
    is tried again for as long as this process lives, and by the next one. `status_key` is what
    events are signed with; the one in the environment when not given. Their terminal events go to
    the `status_url` only. Raises FileError when the folder cannot be read.
    """
    folder = Path(directory).absolute()
    if status_key is not None:
        AGENT.set_key(folder, status_key)
    try:
        publications = AGENT.take_over(folder)
    except OSError as error:
        raise FileError(f"cannot finish in {directory}: {error}") from error
    AGENT.drain(patience)
    return [_unsent(publication) for publication in publications]


def _unsent(publication: Publication) -> Unsent:
    entry = publication.entry
    path = publication.path if publication.path.exists() else None
    is_stored = entry.upload == "done"
    url = entry.event["params"]["url"]
    return Unsent(
        recording_id=entry.recording_id,
        path=path,
        url=url if is_stored else publication.path.as_uri(),
        upload="pending" if entry.upload == "waiting" else entry.upload,
        unsent_events=len(entry.events),
        error=entry.error or publication.last_error,
    )


def _nobody(*_: "RecordEvent | PublishingEvent | bool") -> None:
    pass


def _file_of(folder: Path, entry: Entry) -> Path | None:
    """The complete file of a recording whose process died: it has its name, or a number behind."""
    target = folder / entry.file
    for number in range(free_number(partial(numbered, target))):
        path = numbered(target, number)
        if path.lstat().st_ino == entry.inode:
            return path
    return None


def _cut_off(folder: Path, entry: Entry) -> Entry:
    """How a recording ended whose process died before its terminal event came."""
    path = _file_of(folder, entry)
    size, samples, ended_at = 0, 0, time.time()
    if path is not None:
        status = path.stat()
        size, ended_at = status.st_size, status.st_mtime
        samples = readable_samples(path) or 0
    params: dict[str, Any] = entry.event["params"]
    name = entry.file if path is None else path.name
    before, found, behind = params["url"].rpartition(entry.file)
    url = f"{before}{name}{behind}" if found else params["url"]
    file = {"url": url, "size": size, "duration": samples / entry.sample_rate}
    how: dict[str, Any] = {"timestamp": time.time()}
    why: dict[str, Any] = {}
    if path is None or "reason" not in params["record"]:
        start_time = params["start_time"] or ended_at
        how |= {"state": "error", "start_time": start_time, "end_time": ended_at}
        why = {"reason": "error", "error": _CUT_OFF}
    params = {**params, **file, **how, "record": {**params["record"], **file, **why}}
    event = {**entry.event, "timestamp": params["timestamp"], "params": params}
    if path is None and entry.upload == "waiting":
        return replace(entry, ended=True, event=event, upload="failed", error="there is no file")
    return replace(entry, ended=True, event=event, file=name)
