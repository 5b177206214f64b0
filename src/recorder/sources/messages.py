# SPDX-License-Identifier: MIT
"""JSON messages of wires: numbers may be strings, and names are written in several ways."""

import json
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from recorder.errors import WireError, shown

_MOST_SHOWN: Final = 80
_MOST_ID: Final = 256
# No service sends so many; Python can read more of them than it can show.
_MOST_LEVELS: Final = 100


def excerpt(value: object) -> str:
    """A value of a message as an error shows it."""
    text = shown(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "..."


@lru_cache(maxsize=256)
def folded(name: str) -> str:
    """A key without case, underscores and hyphens: sample_rate and sampleRate are one."""
    return name.replace("_", "").replace("-", "").lower()


def _fold(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {folded(name): value for name, value in pairs}


def parse_object(text: str, *, fold: bool = False) -> dict[str, Any]:
    """Return the JSON object that a text message is; with `fold`, its keys are `folded`.

    WireError for anything else.
    """
    try:
        found = json.loads(text, object_pairs_hook=_fold if fold else None)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or _is_deep(text, found):
        raise WireError(f"a text message: expected a JSON object, got {excerpt(text)}")
    return found


def _is_deep(text: str, value: Any) -> bool:
    if text.count("{") + text.count("[") <= _MOST_LEVELS:
        return False
    level = [value]
    for _ in range(_MOST_LEVELS):
        inside = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for values in inside for one in values if isinstance(one, (dict, list))]
    return bool(level)


def field(message: object, *path: str) -> Any:
    """What lies in nested objects under a path of folded keys; None where there is nothing."""
    for name in path:
        if not isinstance(message, dict):
            return None
        message = message.get(name)
    return message


def whole(name: str, value: Any, least: int, most: int) -> int:
    """Return a whole number, which may be a string; WireError for another, or out of range."""
    if isinstance(value, str) and len(value) <= _MOST_SHOWN:
        with suppress(ValueError):
            value = int(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and least <= value <= most and value == int(value):
        return int(value)
    raise WireError(f"{name}: expected a whole number from {least} to {most}, got {excerpt(value)}")


def short_id(name: str, value: str) -> str:
    """Return an id of the wire's; WireError for one that no log or event should have to carry."""
    if len(value) > _MOST_ID:
        raise WireError(f"{name}: expected at most {_MOST_ID} characters, got {len(value)}")
    return value
