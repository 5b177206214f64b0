# SPDX-License-Identifier: MIT
"""What distinguishes the media streams of services: a table.

Keys of messages are folded: see `recorder.sources.messages`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from recorder.sources.forms import (
    AudioForm,
    Unsaid,
    of_content_type,
    of_media_format,
    of_metadata,
    of_offers,
)
from recorder.sources.messages import field

DialectName = Literal[
    "twilio",
    "signalwire",
    "telnyx",
    "plivo",
    "vonage",
    "jambonz",
    "mod_audio_fork",
    "mod_audio_stream",
    "audiohook",
]
# What is sent: "{payload}" is replaced by audio in base64, "{stream}", "{type}", "{rate}" and
# "{name}" by the stream's id, the audio's content type and rate, and the name of a mark.
Template = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One service's way to stream media.

    - `signs`: paths into its start message, "a.b", or "a=b" for a value there; all have to be
      there. None where no message identifies it: then `dialect=` has to.
    - `form`: reads the audio's form from the start message.
    - `ids`: where the stream's id may lie in the start message.
    - `media`, `clear`, `mark`, `hang_up`: what is sent; None where there is no such message. Media
      without a template are binary messages.
    - `is_json`: whether audio comes in JSON messages. `is_unordered`: and in any order.
    - `is_counted`: whether messages have a version, an id and sequence numbers.
    - `ticks`: of 20 ms that a message of audio holds.
    """

    signs: tuple[str, ...] | None
    form: Callable[[dict[str, Any], Unsaid], AudioForm]
    ids: tuple[str, ...]
    media: Template | None = None
    clear: Template | None = None
    mark: Template | None = None
    hang_up: Template | None = None
    is_json: bool = False
    is_unordered: bool = False
    is_counted: bool = False
    ticks: int = 1

    def is_start(self, message: dict[str, Any]) -> bool:
        """Whether a message is the one with which it starts."""
        return self.signs is not None and all(_has(message, sign) for sign in self.signs)

    def may_be_start(self, message: dict[str, Any]) -> bool:
        """Whether a message can be, since the dialect is known: there need not be a greeting."""
        signs = (sign for sign in self.signs or () if not sign.startswith("connected."))
        return all(_has(message, sign) for sign in signs)


def _has(message: dict[str, Any], sign: str) -> bool:
    path, _, value = sign.partition("=")
    found = field(message, *path.split("."))
    return found == value if value else found is not None


_TWILIO: Final = Dialect(
    signs=("event=start", "start.streamsid"),
    form=of_media_format,
    ids=("start.streamsid", "streamsid"),
    media={"event": "media", "streamSid": "{stream}", "media": {"payload": "{payload}"}},
    clear={"event": "clear", "streamSid": "{stream}"},
    mark={"event": "mark", "streamSid": "{stream}", "mark": {"name": "{name}"}},
    is_json=True,
)
_FORK: Final = Dialect(
    signs=None,
    form=of_metadata,
    ids=("callsid", "callid", "uuid"),
    clear={"type": "killAudio"},
    mark={"type": "mark", "data": {"name": "{name}"}},
    hang_up={"type": "disconnect"},
)

# In the order in which they are tried.
DIALECTS: Final[dict[DialectName, Dialect]] = {
    # Like Twilio's, and only its greeting differs.
    "signalwire": replace(_TWILIO, signs=(*(_TWILIO.signs or ()), "connected.version=0.2.0")),
    "twilio": _TWILIO,
    "plivo": Dialect(
        signs=("event=start", "start.streamid"),
        form=of_media_format,
        ids=("start.streamid", "start.callid"),
        is_json=True,
        media={
            "event": "playAudio",
            "media": {"contentType": "{type}", "sampleRate": "{rate}", "payload": "{payload}"},
        },
        clear={"event": "clearAudio", "streamId": "{stream}"},
        mark={"event": "checkpoint", "streamId": "{stream}", "name": "{name}"},
    ),
    "telnyx": Dialect(
        signs=("event=start", "streamid"),
        form=of_media_format,
        ids=("streamid", "start.callcontrolid"),
        is_json=True,
        is_unordered=True,
        media={"event": "media", "stream_id": "{stream}", "media": {"payload": "{payload}"}},
        clear={"event": "clear", "stream_id": "{stream}"},
        mark={"event": "mark", "stream_id": "{stream}", "mark": {"name": "{name}"}},
    ),
    "vonage": Dialect(
        signs=("event=websocket:connected",),
        form=of_content_type,
        ids=("uuid", "calluuid", "conversationuuid"),
        clear={"action": "clear"},
        mark={"action": "notify", "payload": {"name": "{name}"}},
    ),
    "audiohook": Dialect(
        signs=("type=open", "version=2"),
        form=of_offers,
        ids=("id",),
        clear={"type": "event", "parameters": {"entities": [{"type": "barge_in", "data": {}}]}},
        hang_up={"type": "disconnect", "parameters": {"reason": "completed"}},
        is_counted=True,
        ticks=10,  # it takes five binary messages a second
    ),
    "jambonz": replace(_FORK, signs=("samplerate", "mixtype")),
    "mod_audio_fork": _FORK,
    "mod_audio_stream": Dialect(
        signs=None,
        form=of_metadata,
        ids=_FORK.ids,
        media={
            "type": "streamAudio",
            "data": {"audioDataType": "raw", "sampleRate": "{rate}", "audioData": "{payload}"},
        },
        ticks=10,  # it makes a file of each
    ),
}


def filled(template: object, values: Mapping[str, object]) -> Any:
    """A template with its places filled in."""
    if isinstance(template, str) and template.startswith("{"):
        return values[template[1:-1]]
    if isinstance(template, Mapping):
        return {key: filled(value, values) for key, value in template.items()}
    return [filled(one, values) for one in template] if isinstance(template, list) else template
