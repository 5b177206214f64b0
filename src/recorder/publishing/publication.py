# SPDX-License-Identifier: MIT
"""One recording on its way out: its file to a store, its events to an address and to the program.

Each step is kept in the outbox before the next one, so that whoever continues there, this process
or another one, repeats a step at worst: the object is written again under the same name, or an
event is sent again with the same `event_id`.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from recorder.events import PublishingEvent, RecordEvent, record_event_of
from recorder.publishing.attempts import Hopeless, backoff
from recorder.publishing.destinations import Destinations
from recorder.publishing.lines import Letter, Lines
from recorder.publishing.outbox import Entry, Outbox
from recorder.publishing.storage import host_of, upload, without_password
from recorder.publishing.targets import Means
from recorder.writing.staged import final_name

Deliver = Callable[[RecordEvent, bool], None]
Report = Callable[[PublishingEvent], None]

_LOG: Final = logging.getLogger("recorder")
# So long the terminal event waits for the first attempt to store the file.
_TOLD_SECONDS: Final = 30.0
_LONGEST_PAUSE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a publication is given: outboxes by folder, and who takes them back."""

    means: Means
    lines: Lines
    open_outbox: Callable[[Path], Outbox]
    ended: Callable[["Publication", Outbox | None], None]


class Publication:
    """Takes the events of a recording, and has them delivered.

    `note` and `take` are for the recording's threads: `take` never waits, `note` writes a small
    file. `deliver` gets each event, and whether it is the last one: that one once the file is
    stored, or is known to take longer. `report` gets what becomes of what could not be sent at
    once.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        call_id: str,
        folder: Path,
        key: str | None,
        deliver: Deliver,
        report: Report,
    ) -> None:
        self.folder = folder
        self._around = surroundings
        self._key = key
        self._deliver = deliver
        self._report = report
        self._lock = threading.RLock()  # of background threads, and of `note`
        self._outbox: Outbox | None = None
        self._entry: Entry | None = None
        self._new: Callable[[RecordEvent], Entry] | None = None
        self._lane = surroundings.means.lane(call_id)
        self._failures = 0
        self._reported: set[str] = set()
        self._unsent: list[dict[str, Any]] = []  # until they are kept
        self._is_over = False
        self._last_error = ""

    # -- how it comes here -----------------------------------------------------------------

    def make_entries(self, destinations: Destinations, sample_rate: int) -> None:
        """It is of this process: say where it is to go."""
        self._new = partial(_new_entry, destinations, sample_rate)

    def note(self, event: RecordEvent, staged: Path) -> None:
        """Keep in the outbox how it stands: if this process dies, the next one knows no more."""
        with self._lock:
            entry = self._made(event) if self._entry is None else self._entry
            self._entry = replace(entry, event=event.payload)
            with suppress(OSError):  # then it is not found if this process dies
                self._entry = replace(self._entry, inode=staged.stat().st_ino)
            self._save(sync=False)

    def take(self, event: RecordEvent, last: bool) -> None:
        """An event has come."""
        if not last:
            self._deliver(event, False)
        self._lane.put(partial(self._take, event, last))

    def resume(self, outbox: Outbox, entry: Entry) -> None:
        """It was left over: this is how it stands. `send` and `go_on` are to follow."""
        with self._lock:
            self._outbox, self._entry = outbox, entry

    # -- in the background -----------------------------------------------------------------

    def _made(self, event: RecordEvent) -> Entry:
        assert self._new is not None
        return self._new(event)

    @property
    def entry(self) -> Entry:
        """What is known of it by now."""
        assert self._entry is not None
        return self._entry

    @property
    def path(self) -> Path:
        """The file, as long as it is there."""
        return self.folder / self.entry.file

    def _take(self, event: RecordEvent, last: bool) -> None:
        with self._lock:
            entry = self._made(event) if self._entry is None else self._entry
            if last or "reason" not in entry.event["params"]["record"]:  # it may know more already
                entry = replace(entry, event=event.payload)
            self._entry = replace(entry, ended=last)
            if not last:
                self._queue(event)
                if self._entry.status_url:
                    self._save(sync=False)
                return
            assert event.path is not None
            self._entry = replace(self._entry, file=event.path.name)
            if self._entry.storage and (not event.size or final_name(event.path) is not None):
                error = event.error or "there is no complete file"
                self._entry = replace(self._entry, upload="failed", error=error)
            is_started = self._entry.upload == "waiting"
            if is_started:
                self._save()
        if is_started:
            self._tell_about("upload", "started", self.entry.event["params"]["url"], "")
        self.go_on()

    def go_on(self) -> None:
        """It has ended: do what is still to be done."""
        entry = self.entry
        if entry.upload in {"waiting", "pending"}:
            if not entry.told:
                late = partial(self._lane.put, self._tell_late)
                self._around.means.clock.after(_TOLD_SECONDS, late)
            self._try()
        elif entry.upload == "done" or not entry.told:
            self._settle(entry)
        else:
            self._save()

    @property
    def last_error(self) -> str:
        """Why the last event was not sent, or ""."""
        return self._last_error

    def tell_now(self) -> None:
        """Do not let the terminal event wait any longer."""
        entry = self._entry
        if entry is not None and entry.ended and not entry.told:
            self._tell_late("it has not been stored yet")

    def _tell_late(self, why: str = f"it takes longer than {_TOLD_SECONDS:g} s") -> None:
        with self._lock:
            if self.entry.told:
                return
            pending = replace(self.entry, upload="pending", error=why)
        _LOG.warning("%s is not stored yet: %s", self.path, why)
        self._settle(pending)

    # -- the file --------------------------------------------------------------------------

    def _try(self) -> None:
        assert self.entry.storage is not None
        self._around.means.target(host_of(self.entry.storage)).put(self._upload)

    def _upload(self) -> None:
        entry = self.entry
        assert entry.storage is not None
        try:
            digest = upload(self.path, entry.storage, is_begun=entry.begun, begin=self._begin)
        except Hopeless as error:
            self._settle(replace(self.entry, upload="failed", error=str(error)))
        except Exception as error:  # whatever it is, another attempt may help
            self._fail(str(error) or type(error).__name__)
        else:
            self._settle(replace(self.entry, upload="done", sha256=digest, error=""))

    def _begin(self) -> None:
        with self._lock:
            if not self.entry.begun:
                self._entry = replace(self.entry, begun=True)
                self._save()

    def _fail(self, why: str) -> None:
        with self._lock:
            self._failures += 1
            pause = backoff(self._failures, _LONGEST_PAUSE_SECONDS, self._around.means.chance)
            pending = replace(self.entry, upload="pending", error=why)
        _LOG.warning("cannot store %s: %s; tried again in %.0f s", self.path, why, pause)
        self._settle(pending)
        self._around.means.clock.after(pause, self._try)

    # -- what is reported ----------------------------------------------------------------------

    def _settle(self, found: Entry) -> None:
        """Keep what became of the file; tell it, unless that was told already."""
        with self._lock:
            before = self.entry
            if before.upload in {"done", "failed"} and found.upload == "pending":
                return  # it took long, but has come to its end meanwhile
            is_new = not before.told
            is_news = is_new or found.upload != before.upload
            # Another thread may have told it, or have sent an event, in between.
            self._entry = replace(
                before,
                upload=found.upload,
                begun=before.begun or found.begun,
                sha256=found.sha256,
                error=found.error,
                told=True,
            )
            event = self._told_event()
            if is_news:
                self._queue(event)
            self._save()
        if self.entry.upload == "done" and not self.entry.keep_local:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:  # the next process tries again
                _LOG.warning("cannot remove %s, which is stored: %s", self.path, error)
        if is_news:
            self._tell(event, is_new=is_new)
        if found.upload == "done":
            with self._lock:
                self._save()

    def _tell(self, event: RecordEvent, *, is_new: bool) -> None:
        entry = self.entry
        if entry.upload == "failed":
            _LOG.error("%s is not stored: %s", self.path, entry.error)
        if is_new:
            self._deliver(event, True)
        elif entry.upload == "done":
            self._tell_about("upload", "done", entry.event["params"]["url"], "")
        elif entry.upload == "failed":
            self._tell_about("upload", "failed", without_password(entry.storage or ""), entry.error)

    def _told_event(self) -> RecordEvent:
        """The terminal event with what became of the file."""
        entry = self.entry
        if entry.upload == "none":
            return record_event_of(entry.event, self.path)
        about: dict[str, Any] = {"upload": "pending" if entry.upload == "waiting" else entry.upload}
        if entry.sha256:
            about["sha256"] = entry.sha256
        if entry.error:
            about["upload_error"] = entry.error
        url = entry.event["params"]["url"]  # the object's
        if entry.upload == "failed":
            url = self.path.as_uri()
        record = {**entry.event["params"]["record"], "url": url, **about}
        params = {**entry.event["params"], "url": url, "record": record}
        is_here = entry.upload != "done" or entry.keep_local
        return record_event_of({**entry.event, "params": params}, self.path if is_here else None)

    def _tell_about(
        self,
        what: Literal["upload", "status", "outbox"],
        state: Literal["started", "pending", "done", "failed"],
        url: str,
        error: str,
    ) -> None:
        params = self.entry.event["params"]
        self._report(
            PublishingEvent(
                timestamp=self._around.means.clock.now(),
                call_id=params["call_id"],
                control_id=params["control_id"],
                recording_id=self.entry.recording_id,
                what=what,
                state=state,
                url=url,
                error=error or None,
            )
        )

    # -- events for an address -------------------------------------------------------------

    def _queue(self, event: RecordEvent) -> None:
        """Have an event sent, after those before it. With the lock."""
        if not self.entry.status_url:
            return
        queued = {
            "event_id": str(uuid.uuid4()),
            "number": self._around.means.number(),
            "payload": event.payload,
        }
        self._entry = replace(self.entry, events=[*self.entry.events, queued])
        self._unsent.append(queued)

    def send(self, queued: dict[str, Any]) -> None:
        """Have an event sent that is in the outbox."""
        entry = self.entry
        assert entry.status_url is not None
        letter = Letter(
            event={"event_id": queued["event_id"], **queued["payload"]},
            number=queued["number"],
            key=self._key,
            allow_private=entry.allow_private,
            failed=partial(self._not_sent, queued["event_id"]),
            ended=partial(self._sent, queued["event_id"]),
        )
        self._around.lines.put(entry.event["params"]["call_id"], entry.status_url, letter)

    def _not_sent(self, event_id: str, why: str) -> None:
        self._last_error = why
        url = without_password(self.entry.status_url or "")
        _LOG.warning("cannot send an event to %s: %s", url, why)
        if event_id not in self._reported:
            self._reported.add(event_id)
            self._tell_about("status", "pending", url, why)

    def _sent(self, event_id: str, why: str) -> None:
        self._last_error = why
        with self._lock:
            left = [queued for queued in self.entry.events if queued["event_id"] != event_id]
            self._entry = replace(self.entry, events=left)
            self._save(sync=False)
        url = without_password(self.entry.status_url or "")
        if why:
            _LOG.error("an event to %s is dropped: %s", url, why)
            self._tell_about("status", "failed", url, why)
        elif event_id in self._reported:
            self._tell_about("status", "done", url, "")

    # -- the outbox ------------------------------------------------------------------------

    def _save(self, *, sync: bool = True) -> None:
        """Keep what is known, or forget it when all is done. With the lock."""
        entry = self.entry
        is_done = entry.is_done and not (
            entry.upload == "done" and not entry.keep_local and self.path.exists()
        )
        try:
            if self._outbox is None and not is_done:
                self._outbox = self._around.open_outbox(self.folder)
            if self._outbox is not None:
                if is_done:
                    self._outbox.remove(entry.recording_id)
                else:
                    self._outbox.save(entry, sync=sync)
        except OSError as error:
            if "outbox" not in self._reported:
                self._reported.add("outbox")
                _LOG.error("cannot keep the outbox in %s: %s", self.folder, error)
                self._tell_about("outbox", "failed", self.folder.as_uri(), str(error))
        unsent, self._unsent = self._unsent, []
        for queued in unsent:
            self._lane.put(partial(self.send, queued))
        if is_done and not self._is_over:
            self._is_over = True
            outbox, self._outbox = self._outbox, None
            self._around.ended(self, outbox)


def _new_entry(destinations: Destinations, sample_rate: int, event: RecordEvent) -> Entry:
    assert event.path is not None
    return Entry(
        recording_id=event.recording_id,
        file=event.path.name,
        inode=0,
        sample_rate=sample_rate,
        storage=destinations.storage or None,
        keep_local=destinations.keep_local,
        status_url=destinations.status_url or None,
        allow_private=destinations.allow_private,
        event=event.payload,
        upload="waiting" if destinations.storage else "none",
    )
