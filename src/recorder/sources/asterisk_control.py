# SPDX-License-Identifier: MIT
"""The control messages of Asterisk's chan_websocket, plain or in JSON."""

import json
import re
from typing import Any, Final

from recorder.errors import WireError
from recorder.sources.messages import excerpt, parse_object

MOST_COMMAND: Final = 128  # bytes; Asterisk ignores longer ones
_NAME: Final = re.compile(r"[A-Z][A-Z_]*")


def parsed(text: str) -> tuple[str, dict[str, Any], bool]:
    """The event and fields of a message, and whether it is JSON. WireError for anything else."""
    if text.lstrip().startswith("{"):
        return *_json(text), True
    return *_plain(text), False


def command(name: str, correlation_id: str = "", *, is_json: bool) -> str:
    """A command for Asterisk."""
    if not is_json:
        return f"{name} {correlation_id}".rstrip()
    fields = {"command": name}
    if correlation_id:
        fields["correlation_id"] = correlation_id
    return json.dumps(fields)


def _json(text: str) -> tuple[str, dict[str, Any]]:
    fields = parse_object(text)
    name = fields.get("event")
    if not isinstance(name, str):
        raise WireError(f"a control message: expected an event, got {excerpt(text)}")
    return name, fields


def _plain(text: str) -> tuple[str, dict[str, Any]]:
    """Name and fields; the value of a field without a name is at ''."""
    name, *words = text.split() or [""]
    if not _NAME.fullmatch(name):
        raise WireError(f"expected a control message of chan_websocket, got {excerpt(text)}")
    named = {key: value for key, _, value in (word.partition(":") for word in words)}
    return name, {"": words[0] if words else "", **named}
