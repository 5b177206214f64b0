# SPDX-License-Identifier: MIT
"""Media streams over a WebSocket: one parser for the dialects of `recorder.sources.dialects`."""

import base64
import json
import logging
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import CallEndedError, OptionError, WireError, shown
from recorder.placement.resampling import check_rate
from recorder.sources.dialects import DIALECTS, Dialect, DialectName, Template, filled
from recorder.sources.forms import LEGS, AudioForm, Unsaid
from recorder.sources.messages import excerpt, field, parse_object, short_id, whole
from recorder.sources.pcm import ByteOrder, to_wire
from recorder.sources.playback import TICKS_A_SECOND, Playback
from recorder.sources.stream_events import digit_of, discarded_by, mark_of, media_of
from recorder.sources.tracks import Track

if TYPE_CHECKING:
    from recorder.call import Call

_LOG: Final = logging.getLogger("recorder")

_MOST_NUMBER: Final = 1 << 62
_PROBE: Final = "00000000-0000-0000-0000-000000000000"  # a conversation that is none
_TYPES: Final = {"pcmu": "audio/x-mulaw", "pcma": "audio/x-alaw", "pcm16": "audio/x-l16"}


class MediaStream:
    """One WebSocket on which a service streams a call's audio.

    - `open_call(stream_id, rate)`: makes the Call, whose frames have that rate in Hz, at the
      stream's start. The id is the stream's own, "" where the wire has none.
    - `dialect`: one of DIALECTS; recognised by the first message when not given. mod_audio_fork
      and mod_audio_stream have to be given, since their first message may be anything.
    - `rate`, `channels`: of binary audio whose form the wire does not say, in Hz, 1 or 2.
    - `byte_order`: of 16-bit audio in JSON, "little" or "big"; when not given, the one in which
      the first audio that is not silent has clearly less energy.
    - `on_mark`: called with the name of each mark that the party's audio has reached.

    `start` is the stream's first message, with ids and parameters, and `name` its dialect.

    The inbound track is what the party says (speak), the outbound one what it hears (listen): a
    stream with both carries what is played, too, so nothing is to be played into its call.

    Audio is fed to a Call with a clock (`live=True`) as it arrives; what has no timestamps at each
    tick, and after a gap of 50 ms it lies where it arrived. Where a timestamp jumps ahead
    of the audio so far by more than 30 ms, as much is silence: see `Track`.

    OptionError for an argument out of range. `receive` raises WireError for what is not of the
    dialect, and for nothing else that the wire can send; unknown events are ignored.
    """

    def __init__(
        self,
        open_call: Callable[[str, int], "Call"],
        *,
        dialect: DialectName | None = None,
        rate: int = 8000,
        channels: int = 1,
        byte_order: ByteOrder | None = None,
        on_mark: Callable[[str], object] | None = None,
    ) -> None:
        for key, value, allowed in (
            ("dialect", dialect, (None, *DIALECTS)),
            ("byte_order", byte_order, (None, "little", "big")),
            ("channels", channels, (1, 2)),
        ):
            if value not in allowed:
                expected = ", ".join(map(str, allowed))
                raise OptionError(f"{key}: expected one of {expected}, got {shown(value)}")
        check_rate("rate", rate)
        self.call: Call | None = None
        self.call_id = ""  # the stream's own
        self.ended = False
        self.start: dict[str, Any] | None = None
        self.name: DialectName | None = dialect
        self._dialect: Dialect | None = None if dialect is None else DIALECTS[dialect]
        self._open_call = open_call
        self._unsaid: Unsaid = (rate, channels)
        self._order = byte_order
        self._on_mark = on_mark
        self._greeting: dict[str, Any] | None = None
        self._form = AudioForm(encoding="pcmu", rate=rate)
        self._tracks: dict[str, Track] = {}
        self._digits: list[tuple[str, str]] = []  # when they were pressed, if in any order
        self._playback: Playback | None = None
        self._sent = self._received = 0  # sequence numbers

    # -- from the service ------------------------------------------------------------------

    def receive(self, message: str | bytes) -> list[str | bytes]:
        """Take one message; return what to answer at once. WireError for none of the dialect."""
        try:
            if isinstance(message, str):
                return self._text(message)
            if self.start is None and self._is_free:
                self._begin({}, {})
            if self.start is None or self._dialect is None or self._dialect.is_json:
                raise WireError(f"expected a text message, got {len(message)} bytes")
            if not self.ended and self._tracks:
                self._tracks["binary"].lay(bytes(message), None)
        except CallEndedError:
            self.ended = True
        return []

    @property
    def _is_free(self) -> bool:
        """Whether its first message may be anything."""
        return self._dialect is not None and self._dialect.signs is None

    def _text(self, text: str) -> list[str | bytes]:
        if self._is_free and not text.lstrip().startswith("{"):
            message: dict[str, Any] = {}  # such a module sends on what it was given
        else:
            message = parse_object(text, fold=True)
        named = message.get("event", message.get("type"))
        kind = named if isinstance(named, str) else ""
        if self.start is not None:
            self._note_number(message)
            return self._event(kind, message)
        if self.ended:
            return []
        if kind == "connected":
            self._greeting = message
            return []
        if self._dialect is None:
            greeted = {**message, "connected": self._greeting}
            self.name = next(
                (name for name, one in DIALECTS.items() if one.is_start(greeted)), None
            )
            if self.name is None:
                raise WireError(f"expected a start of {', '.join(DIALECTS)}, got {excerpt(text)}")
            self._dialect = DIALECTS[self.name]
        elif not self._dialect.may_be_start(message):
            raise WireError(f"expected a start of {self.name}, got {excerpt(text)}")
        return self._begin(message, parse_object(text) if message else {})

    def _begin(self, message: dict[str, Any], start: dict[str, Any]) -> list[str | bytes]:
        assert self._dialect is not None
        self._note_number(message)
        found = (field(message, *path.split(".")) for path in self._dialect.ids)
        self.call_id = short_id("id", next((one for one in found if isinstance(one, str)), ""))
        self._form = form = self._dialect.form(message, self._unsaid)
        order = self._order if form.order is None else form.order
        if field(message, "parameters", "conversationid") != _PROBE:
            self.call = call = self._open_call(self.call_id, form.rate)
            samples = form.rate * self._dialect.ticks // TICKS_A_SECOND
            self._playback = Playback(call, form.rate, samples)
            if self._dialect.is_json:
                for leg in LEGS:
                    self._tracks[leg] = Track(call, form, (leg,), order, tells_gaps=True)
            else:
                tells_gaps = self._dialect.is_counted
                self._tracks["binary"] = Track(call, form, form.legs, order, tells_gaps=tells_gaps)
        self.start = start
        if form.chosen is None:
            return []
        # The keys of an offer are the same in both ways: none of them has capitals.
        parameters = {"startPaused": False, "media": [form.chosen]}
        opened = {"type": "opened", "parameters": "{parameters}"}
        return self._messages(opened, parameters=parameters)

    def _note_number(self, message: dict[str, Any]) -> None:
        if self._dialect is not None and self._dialect.is_counted:
            self._received = whole("seq", message.get("seq"), 0, _MOST_NUMBER)

    def _event(self, kind: str, message: dict[str, Any]) -> list[str | bytes]:
        assert self._dialect is not None
        is_counted = self._dialect.is_counted
        if kind == "ping" and is_counted:
            return self._messages({"type": "pong", "parameters": {}})
        if kind == "close" and is_counted:
            answer = self._messages({"type": "closed", "parameters": {}})
            self.end()
            return answer
        if self.ended:
            return []
        if kind == "media" and self._dialect.is_json:
            self._media(message)
        elif kind in {"dtmf", "websocket:dtmf"}:
            self._dtmf(message)
        elif kind in {"mark", "playedStream", "websocket:notify"}:
            name = mark_of(message)
            if name is not None and self._on_mark is not None:
                self._on_mark(name)
        elif kind in {"discarded", "resumed"} and is_counted:
            for track in self._tracks.values():
                track.gap += discarded_by(message)
        elif kind == "stop" and self._dialect.is_json:
            self.end()
        elif kind == "start" and self._dialect.is_json:
            raise WireError("expected one start, got another")
        elif kind == "error":
            _LOG.warning("%s reports an error: %s", self.name, excerpt(message))
        return []

    def _dtmf(self, message: dict[str, Any]) -> None:
        digit = digit_of(message)
        if digit is None or self.call is None or self._dialect is None:
            return
        if self._dialect.is_unordered:
            self._digits.append((str(message.get("occurredat", "")), digit))
        else:
            for track in self._tracks.values():
                track.feed_arrived()
            self.call.digit(digit)

    def _press_waiting(self) -> None:
        digits, self._digits = sorted(self._digits, key=itemgetter(0)), []
        for _, digit in digits:
            if self.call is not None:
                self.call.digit(digit)

    def _media(self, message: dict[str, Any]) -> None:
        media = media_of(message)
        track = self._tracks[media.leg]
        if media.chunk is not None and self._dialect is not None and self._dialect.is_unordered:
            track.put(media.data, media.timestamp, media.chunk)
        else:
            track.lay(media.data, media.timestamp)

    # -- to the service --------------------------------------------------------------------

    def tick(self) -> list[str | bytes]:
        """Every 20 ms: what the party is to hear now, unless it is silence.

        Services play what comes when it comes, and a stream that goes one way takes no audio: it
        gets none unless something is played.
        """
        if self._playback is None or self.ended:
            return []
        try:
            self._press_waiting()
            for track in self._tracks.values():
                track.tick()
            pieces = self._playback.tick()
        except CallEndedError:
            self.ended = True
            return []
        return [message for pcm in pieces if pcm.strip(b"\0") for message in self._media_of(pcm)]

    def _media_of(self, pcm: bytes) -> list[str | bytes]:
        order = next(iter(self._tracks.values())).order or "little"
        data = to_wire(pcm, self._form.encoding, order)
        if self._dialect is None or self._dialect.media is None:
            return [data]
        return self._messages(self._dialect.media, payload=base64.b64encode(data).decode())

    def clear(self) -> list[str | bytes]:
        """Barge-in: take back what the party has not heard, here and at the service."""
        if self.call is None or self._dialect is None or self.ended:
            return []
        self.call.clear()
        return self._messages(self._dialect.clear)

    def mark(self, name: str) -> list[str | bytes]:
        """Mark the end of what was sent; `on_mark` is called when the party has heard it.

        Nothing where the dialect has no marks. OptionError for a name that is no string.
        """
        if not isinstance(name, str) or not name:
            raise OptionError(f"name: expected a string, not empty, got {shown(name)}")
        if self.start is None or self._dialect is None:
            return []
        return self._messages(self._dialect.mark, name=name)

    def hang_up(self) -> list[str | bytes]:
        """End the call from here: what to send before closing."""
        self.end()
        if self.start is None or self._dialect is None:
            return []
        return self._messages(self._dialect.hang_up)

    def end(self) -> None:
        """The connection is closed, with or without a stop: hang up."""
        if self.call is not None and not self.ended:
            try:
                self._press_waiting()
                for track in self._tracks.values():
                    track.flush()
            except CallEndedError:
                pass
        self.ended = True
        if self.call is not None:
            self.call.hangup()

    def _messages(self, template: Template | None, **values: object) -> list[str | bytes]:
        if template is None or self._dialect is None:
            return []
        form = {"type": _TYPES[self._form.encoding], "rate": self._form.rate}
        message = filled(template, {"stream": self.call_id, **form, **values})
        if self._dialect.is_counted:
            self._sent += 1
            counts = {"seq": self._sent, "clientseq": self._received}
            message = {"version": "2", "id": self.call_id, **counts, **message}
        return [json.dumps(message)]
