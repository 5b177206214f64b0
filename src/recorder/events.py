# SPDX-License-Identifier: MIT
"""What a recording tells: RELAY's `calling.call.record` events."""

from dataclasses import dataclass
from typing import Any, Final

RECORD_EVENT: Final = "calling.call.record"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent:
    """One event, in RELAY's shape.

    `params` holds everything; the properties read it. `duration` is in seconds, exactly
    samples / rate of the file; `size` is in bytes, 0 until the file is complete.
    """

    event_type: str
    timestamp: float
    call_id: str
    params: dict[str, Any]

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
    def state(self) -> str:
        """`recording`, `paused`, `finished`, `no_input` or `error`."""
        return str(self.params["state"])

    @property
    def url(self) -> str:
        """Where the file is, or will be once complete."""
        return str(self.params["url"])

    @property
    def duration(self) -> float:
        """Seconds in the file."""
        return float(self.params["duration"])

    @property
    def size(self) -> int:
        """Bytes of the complete file."""
        return int(self.params["size"])

    @property
    def record(self) -> dict[str, Any]:
        """`url`, `duration`, `size`, `format`, `audio`, and at the end `reason`."""
        return dict(self.params["record"])
