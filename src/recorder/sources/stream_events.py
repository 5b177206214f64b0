# SPDX-License-Identifier: MIT
"""What the events of media streams say, wherever each dialect says it; keys are folded."""

import base64
import re
from dataclasses import dataclass
from typing import Any, Final

from recorder.errors import WireError
from recorder.sources.forms import Leg
from recorder.sources.messages import excerpt, field, whole

_DIGITS: Final = "0123456789ABCD*#"
_DURATION: Final = re.compile(r"PT(?:(\d{1,6})M)?(?:(\d{1,6}(?:\.\d{1,9})?)S)?", re.ASCII)
_MOST_NUMBER: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A message of audio: `timestamp` in ms, of whatever start; `chunk` counts messages."""

    leg: Leg
    data: bytes
    timestamp: int | None
    chunk: int | None


def media_of(message: dict[str, Any]) -> Media:
    """The audio of a media event. WireError for a payload or numbers that are none."""
    media = message.get("media")
    try:
        data = base64.b64decode(field(media, "payload"), validate=True)
    except (TypeError, ValueError):
        raise WireError(f"media: expected a payload in base64, got {excerpt(media)}") from None
    return Media(
        leg=_leg(media),
        data=data,
        timestamp=_number("timestamp", media),
        chunk=_number("chunk", media),
    )


def digit_of(message: dict[str, Any]) -> str | None:
    """The key that the party pressed; None for one of the other side. WireError for no key."""
    inner = message.get("dtmf", message.get("parameters"))
    found = inner if isinstance(inner, (str, int)) else field(inner, "digit")
    digit = str(message.get("digit") if found is None else found)
    if len(digit) != 1 or digit.upper() not in _DIGITS:
        raise WireError(f"dtmf: expected one of 0-9 A-D * #, got {excerpt(digit)}")
    return None if _leg(inner) == "listen" else digit


def mark_of(message: dict[str, Any]) -> str | None:
    """The name of a mark that was reached."""
    places = (message, *map(message.get, ("mark", "payload", "data")))
    names = (field(place, "name") for place in places)
    return next((one for one in names if isinstance(one, str)), None)


def discarded_by(message: dict[str, Any]) -> float:
    """Milliseconds of audio that AudioHook has left out. WireError for no ISO 8601 duration."""
    duration = field(message, "parameters", "discarded")
    found = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if found is None:
        raise WireError(f"discarded: expected a duration as PT1.5S, got {excerpt(duration)}")
    return 60000 * int(found[1] or 0) + 1000 * float(found[2] or 0)


def _leg(media: object) -> Leg:
    """Of tracks: "outbound", "outbound_track" and the like are what the party hears."""
    return "listen" if str(field(media, "track")).startswith("outbound") else "speak"


def _number(name: str, media: object) -> int | None:
    value = field(media, name)
    return None if value is None else whole(name, value, 0, _MOST_NUMBER)
