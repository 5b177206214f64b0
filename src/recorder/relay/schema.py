# SPDX-License-Identifier: MIT
"""RELAY's messages: JSON becomes requests and options, and events become JSON.

A request that cannot be carried out as it stands raises Refusal, whose code and message the client
gets: 400 for what is wrong in it, 404 for a call or an action that is not there, 409 for a
control_id in use, 429 for too many at once, 500 for what failed here, 501 for what is not there.
"""

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeGuard

from recorder.errors import OptionError, shown
from recorder.options import (
    MOST_SECONDS,
    RecordOptions,
    check_number,
    normalise_digits,
)
from recorder.recording.state import PAUSE_BEHAVIORS, PauseBehavior

Params = dict[str, Any]
MediaKind = Literal["tts", "audio", "silence"]

RECEIVE_EVENT: Final = "calling.call.receive"
STATE_EVENT: Final = "calling.call.state"
PLAY_EVENT: Final = "calling.call.play"
RECORD_EVENT: Final = "calling.call.record"
COLLECT_EVENT: Final = "calling.call.collect"
DETECT_EVENT: Final = "calling.call.detect"
DIGITS_EVENT: Final = "calling.call.send_digits"

AUTHENTICATION_FAILED: Final = -32002
METHOD_NOT_FOUND: Final = -32601
INVALID_REQUEST: Final = -32600

MOST_PLAY_SECONDS: Final = 600.0  # of one `play`, with its loops
_MOST_MEDIA: Final = 100  # in one `play`
_MOST_LOOPS: Final = 1000
_MOST_TEXT: Final = 10_000  # characters to speak
_MOST_DIGITS: Final = 200
_MOST_ID: Final = 256  # characters
_MOST_MESSAGE: Final = 600  # characters of a refusal
_MOST_DB: Final = 40.0  # of volume, either way
# What each may wait for when the request does not say, in seconds.
_INITIAL_TIMEOUT: Final = 5.0
_DIGIT_TIMEOUT: Final = 5.0
_DETECT_TIMEOUT: Final = 30.0
_END_REASONS: Final = (
    *("hangup", "cancel", "busy", "noAnswer", "decline", "error", "abandoned"),
    *("max_duration", "not_found"),
)
_ALWAYS: Final = ("node_id", "call_id")
_PAUSES: Final = "wW,"  # among digits to send


class Refusal(Exception):  # noqa: N818  # it is an answer, and no fault of this program
    """A request is refused; the client gets the code and the message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        # It may show what was sent, of any length.
        self.message = message if len(message) <= _MOST_MESSAGE else f"{message[:_MOST_MESSAGE]}..."


# -- what was sent -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Who a client says it is. `protocol` names a session that it had before, or is empty."""

    project: str
    token: str
    contexts: tuple[str, ...]
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One piece to play: `text` to speak, the `url` of audio, or `seconds` of silence."""

    kind: MediaKind
    text: str = ""
    language: str = ""
    voice: str = ""
    url: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRequest:
    """What to play: `media` one after another, `loop` times; `volume` in dB."""

    control_id: str
    media: tuple[Media, ...]
    volume: float
    loop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """What to record."""

    control_id: str
    options: RecordOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectRequest:
    """Digits to collect. Times are in seconds; `starts_timers`: the first one runs from the start.

    `most` digits end it, and any of `terminators`.
    """

    control_id: str
    most: int
    terminators: str
    initial_timeout: float
    digit_timeout: float
    starts_timers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectRequest:
    """Digits to report, for so many seconds."""

    control_id: str
    digits: str
    timeout: float


def parse(text: str | bytes) -> Params | None:
    """Return the object that a frame carries; None for anything else."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def connect_request(params: Params) -> Connect:
    """Return what `signalwire.connect` says."""
    authentication = params.get("authentication")
    given = authentication if isinstance(authentication, dict) else {}
    if "jwt_token" in given:
        raise Refusal(
            AUTHENTICATION_FAILED, "expected project and token: there are no JWTs on this server"
        )
    return Connect(
        project=_text(given, "project"),
        token=_text(given, "token"),
        contexts=contexts(params, optional=True),
        protocol=_text(params, "protocol"),
    )


def contexts(params: Params, *, optional: bool = False) -> tuple[str, ...]:
    """Return the names of contexts."""
    given = params.get("contexts", [] if optional else None)
    if not _is_list(given) or not all(isinstance(one, str) and one for one in given):
        raise Refusal(400, f"contexts: expected a list of names, got {shown(given)}")
    return tuple(given)


def record_request(params: Params) -> RecordRequest:
    """Return what `calling.record` asks for."""
    _check_keys("record", params, ("control_id", "record"))
    record = _mapping(params.get("record", {}), "record")
    _check_keys("record", record, ("audio",), always=())
    return RecordRequest(control_id=control_id(params), options=_options(record.get("audio")))


def behavior(params: Params) -> PauseBehavior | None:
    """Return how `calling.record.pause` is to pause; None where it does not say."""
    given = params.get("behavior")
    if given is None:
        return None
    if given not in PAUSE_BEHAVIORS:
        raise Refusal(
            400, f"behavior: expected one of {', '.join(PAUSE_BEHAVIORS)}, got {shown(given)}"
        )
    return "skip" if given == "skip" else "silence"


def play_request(params: Params, *, also: Sequence[str] = ()) -> PlayRequest:
    """Return what `calling.play` asks for; `also` are keys that the verb has besides."""
    _check_keys("play", params, ("control_id", "play", "volume", "loop", "direction", *also))
    direction = params.get("direction")
    if direction not in {None, "", "listen"}:
        raise Refusal(400, f"direction: expected listen, got {shown(direction)}")
    given = params.get("play")
    if not _is_list(given) or not 1 <= len(given) <= _MOST_MEDIA:
        raise Refusal(
            400, f"play: expected a list of 1 to {_MOST_MEDIA} media, got {_brief(given)}"
        )
    loop = params.get("loop", 1)
    if isinstance(loop, bool) or not isinstance(loop, int) or not 1 <= loop <= _MOST_LOOPS:
        raise Refusal(400, f"loop: expected a whole number from 1 to {_MOST_LOOPS}, got {loop!r}")
    return PlayRequest(
        control_id=control_id(params),
        media=tuple(_media(one) for one in given),
        volume=volume(params, optional=True),
        loop=loop,
    )


def volume(params: Params, *, optional: bool = False) -> float:
    """Return a volume in dB."""
    given = params.get("volume", 0 if optional else None)
    if not _is_number(given) or not -_MOST_DB <= given <= _MOST_DB:
        raise Refusal(
            400, f"volume: expected dB from -{_MOST_DB:g} to {_MOST_DB:g}, got {shown(given)}"
        )
    return float(given)


def collect_request(params: Params, *, is_standalone: bool = True) -> CollectRequest:
    """Return what `calling.collect` asks for, or the `collect` of `calling.play_and_collect`."""
    what = "collect"
    given = params if is_standalone else _mapping(params.get("collect"), what)
    timers = "start_input_timers"
    keys = ("initial_timeout", "digits", "speech", "partial_results", "continuous")
    also = (*keys, timers, "send_start_of_input", *(["control_id"] if is_standalone else []))
    _check_keys(what, given, also, always=_ALWAYS if is_standalone else ())
    if given.get("speech") is not None:
        raise Refusal(501, "collect of speech is not there on this server; digits are")
    for key in ("partial_results", "continuous", "send_start_of_input"):
        if given.get(key):
            raise Refusal(501, f"{key} is not there on this server")
    digits = _mapping(given.get("digits"), "digits")
    _check_keys("digits", digits, ("max", "terminators", "digit_timeout"), always=())
    most = digits.get("max")
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= _MOST_DIGITS:
        raise Refusal(
            400, f"max: expected a whole number from 1 to {_MOST_DIGITS}, got {shown(most)}"
        )
    starts = given.get(timers)
    return CollectRequest(
        control_id=control_id(params),
        most=most,
        terminators=_digits("terminators", digits.get("terminators", "")),
        initial_timeout=_seconds("initial_timeout", given, _INITIAL_TIMEOUT),
        digit_timeout=_seconds("digit_timeout", digits, _DIGIT_TIMEOUT),
        starts_timers=starts is None or bool(starts),
    )


def detect_request(params: Params) -> DetectRequest:
    """Return what `calling.detect` asks for."""
    _check_keys("detect", params, ("control_id", "detect", "timeout"))
    detect = _mapping(params.get("detect"), "detect")
    kind = detect.get("type")
    if kind != "digit":
        raise Refusal(501, f"detect of {shown(kind)} is not there on this server; digit is")
    given = _mapping(detect.get("params", {}), "params")
    _check_keys("detect", given, ("digits",), always=())
    return DetectRequest(
        control_id=control_id(params),
        digits=_digits("digits", given.get("digits") or "0123456789*#ABCD"),
        timeout=_seconds("timeout", params, _DETECT_TIMEOUT),
    )


def digits_to_send(params: Params) -> str:
    """Return what `calling.send_digits` is to send: digits, and w and W for pauses."""
    _check_keys("send_digits", params, ("control_id", "digits"))
    given = params.get("digits")
    if isinstance(given, str) and 0 < len(given) <= _MOST_DIGITS:
        plain = "".join(one for one in given if one not in _PAUSES)
        _digits("digits", plain)
        return "".join(one if one in _PAUSES else one.upper() for one in given)
    raise Refusal(400, f"digits: expected 1 to {_MOST_DIGITS} digits, got {_brief(given)}")


def control_id(params: Params) -> str:
    """Return the name of an action."""
    return _id("control_id", params)


def call_id(params: Params) -> str:
    """Return the name of a call."""
    return _id("call_id", params)


def end_reason(params: Params) -> str:
    """Return why a client ends a call."""
    given = params.get("reason", "hangup")
    return given if given in _END_REASONS else "hangup"


def _media(given: Any) -> Media:
    media = _mapping(given, "media")
    kind = media.get("type")
    inner = media.get("params")
    # Both shapes are in use: what describes it beside its type, or in `params`.
    values = dict(inner) if isinstance(inner, dict) else {}
    values |= {key: value for key, value in media.items() if key not in {"type", "params"}}
    if kind == "tts":
        _check_keys("tts", values, ("text", "language", "voice", "gender"), always=())
        text = values.get("text")
        if not isinstance(text, str) or not 0 < len(text) <= _MOST_TEXT:
            raise Refusal(400, f"text: expected 1 to {_MOST_TEXT} characters, got {_brief(text)}")
        return Media(
            kind="tts",
            text=text,
            language=_text(values, "language"),
            voice=_text(values, "voice"),
        )
    if kind == "audio":
        _check_keys("audio", values, ("url",), always=())
        return Media(kind="audio", url=_id("url", values, most=4096))
    if kind == "silence":
        _check_keys("silence", values, ("duration",), always=())
        seconds = values.get("duration")
        if not _is_number(seconds) or not 0 <= seconds <= MOST_PLAY_SECONDS:
            raise Refusal(
                400,
                f"duration: expected seconds from 0 to {MOST_PLAY_SECONDS:g}, got {shown(seconds)}",
            )
        return Media(kind="silence", seconds=float(seconds))
    raise Refusal(
        501 if kind == "ringtone" else 400,
        f"play of type {shown(kind)}: expected one of tts, audio, silence",
    )


def _options(audio: Any) -> RecordOptions:
    try:
        return RecordOptions.from_audio(audio)
    except OptionError as error:
        raise Refusal(400, str(error)) from None


def _digits(key: str, given: Any) -> str:
    try:
        return normalise_digits(key, given)
    except OptionError as error:
        raise Refusal(400, str(error)) from None


def _seconds(key: str, values: Mapping[str, Any], default: float) -> float:
    try:
        return check_number(key, values.get(key, default), MOST_SECONDS, "seconds (a year)")
    except OptionError as error:
        raise Refusal(400, str(error)) from None


def _check_keys(
    what: str, given: Mapping[str, Any], keys: Sequence[str], always: Sequence[str] = _ALWAYS
) -> None:
    """Refuse what would be ignored in silence."""
    for key in given:
        if key not in keys and key not in always:
            raise Refusal(400, f"{what} has no option {shown(key)}; there are {', '.join(keys)}")


def _mapping(given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Refusal(400, f"{what}: expected an object, got {_brief(given)}")
    return given


def _id(key: str, params: Mapping[str, Any], most: int = _MOST_ID) -> str:
    given = params.get(key)
    if not isinstance(given, str) or not 0 < len(given) <= most:
        raise Refusal(400, f"{key}: expected 1 to {most} characters, got {_brief(given)}")
    return given


def _text(params: Mapping[str, Any], key: str) -> str:
    given = params.get(key)
    return given if isinstance(given, str) else ""


def _is_list(given: Any) -> TypeGuard[list[Any]]:
    return isinstance(given, list)


def _is_number(given: Any) -> TypeGuard[float]:
    return isinstance(given, (int, float)) and not isinstance(given, bool)


def _brief(given: Any) -> str:
    text = shown(given)
    return text if len(text) <= 200 else f"{text[:200]}..."


# -- what is to be sent --------------------------------------------------------------------------


def result(request_id: Any, found: Params) -> str:
    """Return the answer to a request."""
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": found})


def error(request_id: Any, code: int, message: str) -> str:
    """Return the refusal of a request by an error frame."""
    return json.dumps(
        {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
    )


def request(method: str, params: Params) -> tuple[str, str]:
    """Return the id of a request to the client, and its text."""
    request_id = str(uuid.uuid4())
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return request_id, json.dumps(message)


def event_request(
    event_type: str, params: Params, *, protocol: str, project: str, context: str
) -> tuple[str, str]:
    """Return the id of an event's message, and its text."""
    # Clients read the timestamp inside params; beside them it is as SignalWire has it.
    return request(
        "signalwire.event",
        {
            "event_type": event_type,
            "event_channel": protocol,
            "timestamp": params["timestamp"],
            "project_id": project,
            "space_id": "local",
            "context": context,
            "params": params,
        },
    )


def stamped(params: Params) -> Params:
    """Return an event's params with the time of now, where they have none."""
    return {"timestamp": time.time(), **params}


def connected(protocol: str, identity: str, project: str, signature: str) -> Params:
    """Return the answer to `signalwire.connect`. JavaScript's client needs the signature."""
    authorization = {"project": project, "signature": signature}
    return {"protocol": protocol, "identity": identity, "authorization": authorization}


def failed_as_no_input(params: Params) -> Params:
    """Return the terminal event of a recording that failed, as clients know one.

    They wait for ever on `error`, which is the event before this one.
    """
    return {**params, "state": "no_input"}


def never_begun(control: str, reason: str, why: str) -> Params:
    """Return what a recording's events have besides, where it has not come to a file."""
    file: Params = {"url": "", "duration": 0.0, "size": 0}
    record = {**file, "reason": reason} | ({"error": why} if why else {})
    return {
        "control_id": control,
        "recording_id": "",
        **file,
        "start_time": None,
        "end_time": None,
        "record": record,
    }
