# SPDX-License-Identifier: MIT
"""What a call reports: RELAY's `calling.call.record` events, and voice and digits."""

import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

RECORD_EVENT: Final = "calling.call.record"
VOICE_EVENT: Final = "voice"
DIGIT_EVENT: Final = "digit"
PUBLISHING_EVENT: Final = "publishing"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent:
    """One event of a recording, in RELAY's shape.

    `params` holds everything that RELAY has; most properties read it. `path` is the file's, None
    while it has none.
    """

    event_type: str
    timestamp: float
    call_id: str
    params: dict[str, Any]
    path: Path | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """The event as JSON can carry it, as RELAY's own clients parse it."""
        return {
            "event_type": self.event_type,
            "timestamp": self.timestamp,
            "params": self.params,
        }

    @property
    def control_id(self) -> str:
        """The recording's name on its call."""
        return str(self.params["control_id"])

    @property
    def recording_id(self) -> str:
        """The recording's name everywhere."""
        return str(self.params["recording_id"])

    @property
    def state(self) -> str:
        """`recording`, `paused`, `finished`, `no_input` or `error`."""
        return str(self.params["state"])

    @property
    def url(self) -> str:
        """Where the file is, or will be once complete."""
        return str(self.params["url"])

    @property
    def duration(self) -> float:
        """Seconds in the file: exactly samples / rate."""
        return float(self.params["duration"])

    @property
    def size(self) -> int:
        """Bytes of the complete file, 0 until then."""
        return int(self.params["size"])

    @property
    def reason(self) -> str | None:
        """Why the recording ended; None until then."""
        reason = self.params["record"].get("reason")
        return None if reason is None else str(reason)

    @property
    def digit(self) -> str | None:
        """The digit that ended the recording, if one did."""
        digit = self.params["record"].get("digit")
        return None if digit is None else str(digit)

    @property
    def error(self) -> str | None:
        """What went wrong, if something did."""
        error = self.params["record"].get("error")
        return None if error is None else str(error)

    @property
    def record(self) -> dict[str, Any]:
        """`url`, `duration`, `size`, `format`, `audio`, and at the end `reason`."""
        return dict(self.params["record"])

    def __repr__(self) -> str:
        why = f" {self.reason}" if self.reason else ""
        return f"<RecordEvent {self.control_id!r} {self.state}{why} {self.duration:.3f} s>"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceEvent:
    """Voice began or ended on a leg, at a position of the call in samples."""

    event_type: str = field(default=VOICE_EVENT, init=False)
    timestamp: float
    call_id: str
    leg: Literal["speak", "listen"]
    state: Literal["start", "end"]
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitEvent:
    """The party pressed a key; `position`, in samples of the call, is where its tone began.

    Of a digit that was reported out of band it is where the call was then.
    """

    event_type: str = field(default=DIGIT_EVENT, init=False)
    timestamp: float
    call_id: str
    digit: str
    position: int
    in_band: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingEvent:
    """A file is about to be stored; or what became of what could not be sent at once.

    - `what`: "upload": the file; "status": an event; "outbox": what is kept of both on the disk.
    - `state`: "started": the file is complete, and about to be stored; "pending": an attempt
      failed, and others follow; "done": one succeeded; "failed": it is given up.
    - `url`: where to; `error`: what went wrong, if anything did.
    """

    event_type: str = field(default=PUBLISHING_EVENT, init=False)
    timestamp: float
    call_id: str
    control_id: str
    recording_id: str
    what: Literal["upload", "status", "outbox"]
    state: Literal["started", "pending", "done", "failed"]
    url: str
    error: str | None

    @property
    def payload(self) -> dict[str, Any]:
        """The event as JSON can carry it."""
        params = asdict(self)
        return {
            "event_type": params.pop("event_type"),
            "timestamp": params.pop("timestamp"),
            "params": params,
        }


Event = RecordEvent | VoiceEvent | DigitEvent | PublishingEvent


def file_url(base_url: str | None, path: Path) -> str:
    """Return a file's URL: its own, or the base's with its name; a query stays behind that."""
    if base_url is None:
        return path.as_uri()
    from urllib.parse import quote, urlsplit, urlunsplit  # here: who has no base needs none

    name = quote(os.fsencode(path.name))
    scheme, host, folder, query, fragment = urlsplit(base_url)
    return urlunsplit((scheme, host, f"{folder.rstrip('/')}/{name}", query, fragment))


def record_event(
    *,
    call_id: str,
    node_id: str,
    control_id: str,
    recording_id: str,
    state: str,
    url: str,
    path: Path | None,
    duration: float,
    size: int,
    start_time: float | None,
    end_time: float | None,
    audio: dict[str, Any],
    why: dict[str, Any],
) -> RecordEvent:
    """Build an event of a recording; `why` is empty until the terminal one."""
    timestamp = time.time()
    file = {"url": url, "duration": duration, "size": size}
    params = {
        "call_id": call_id,
        "node_id": node_id,
        "control_id": control_id,
        "recording_id": recording_id,
        "state": state,
        **file,
        "start_time": start_time,
        "end_time": end_time,
        "timestamp": timestamp,
        "record": {**file, "format": audio["format"], "audio": audio, **why},
    }
    return RecordEvent(
        event_type=RECORD_EVENT, timestamp=timestamp, call_id=call_id, params=params, path=path
    )


def record_event_of(payload: dict[str, Any], path: Path | None) -> RecordEvent:
    """Return the event whose payload this is."""
    return RecordEvent(
        event_type=payload["event_type"],
        timestamp=payload["timestamp"],
        call_id=payload["params"]["call_id"],
        params=payload["params"],
        path=path,
    )
