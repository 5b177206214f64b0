# SPDX-License-Identifier: MIT
"""Asterisk's chan_websocket: binary messages are the party's audio, text messages control it."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from recorder.errors import CallEndedError, OptionError, WireError, shown
from recorder.placement.frames import Encoding
from recorder.sources.arrival import Arrival
from recorder.sources.asterisk_control import MOST_COMMAND, command, parsed
from recorder.sources.messages import excerpt, short_id, whole
from recorder.sources.pcm import Carry, reordered, sample_bytes, to_wire
from recorder.sources.playback import TICKS_A_SECOND, Playback, let_time_pass

if TYPE_CHECKING:
    from recorder.call import Call

_LOG: Final = logging.getLogger("recorder")

# Asterisk's names of formats: encoding and rate in Hz.
FORMATS: Final[dict[str, tuple[Encoding, int]]] = {
    "ulaw": ("pcmu", 8000),
    "alaw": ("pcma", 8000),
    "slin": ("pcm16", 8000),
    "slin12": ("pcm16", 12000),
    "slin16": ("pcm16", 16000),
    "slin24": ("pcm16", 24000),
    "slin32": ("pcm16", 32000),
    "slin44": ("pcm16", 44100),
    "slin48": ("pcm16", 48000),
    "slin96": ("pcm16", 96000),
    "slin192": ("pcm16", 192000),
}
_MOST_MESSAGE: Final = 65500  # bytes; Asterisk ends the call over it
_MOST_EARLY: Final = 1 << 20  # bytes of audio before MEDIA_START


class AsteriskWebSocket:
    """One connection of chan_websocket.

    - `open_call(call_id, rate)`: makes the Call, whose frames have that rate in Hz, at
      MEDIA_START. `call_id` is Asterisk's channel_id, or the connection_id where there is none.
    - `on_mark`: called with the name of each mark that the party's audio has reached.

    The wire has no timestamps: audio is fed as it arrives, at each tick, to a Call with a clock
    (`live=True`), on which a gap of the wire is silence. `receive` raises WireError for what is
    not of the protocol, and for nothing else that the wire can send.
    """

    def __init__(
        self,
        open_call: Callable[[str, int], "Call"],
        *,
        on_mark: Callable[[str], object] | None = None,
    ) -> None:
        self.call: Call | None = None
        self.call_id = ""
        self.ended = False
        self._open_call = open_call
        self._on_mark = on_mark
        self._is_json: bool | None = None  # as the first control message was
        self._early = bytearray()  # audio before MEDIA_START
        self._encoding: Encoding = "pcmu"
        self._arrival: Arrival | None = None
        self._playback: Playback | None = None
        self._may_send = True  # whether no MEDIA_XOFF is in force
        self._carry = Carry(1)

    # -- from Asterisk ---------------------------------------------------------------------

    def receive(self, message: str | bytes) -> list[str | bytes]:
        """Take one message; return what to answer at once. WireError for none of the protocol."""
        if self.ended:
            return []
        if isinstance(message, str):
            self._control(message)
        elif self._arrival is not None:
            self._take(self._arrival, bytes(message))
        else:  # one call in ten sends audio first
            size = len(self._early) + len(message)
            if size > _MOST_EARLY:
                raise WireError(f"expected MEDIA_START, got {size} bytes of audio")
            self._early += message
        return []

    def _take(self, arrival: Arrival, data: bytes) -> None:
        frame = self._carry.take(data)
        if self._encoding == "pcm16":
            frame = reordered(frame, "little")
        try:
            arrival.take(frame)
        except CallEndedError:
            self.ended = True

    def _control(self, text: str) -> None:
        name, fields, is_json = parsed(text)
        if self._is_json is None:
            self._is_json = is_json
        if name == "MEDIA_START":
            self._start(fields)
        elif name == "DTMF_END" and self.call is not None:
            self._press(self.call, fields.get("digit"))
        elif name in {"MEDIA_XOFF", "MEDIA_XON"}:
            self._may_send = name == "MEDIA_XON"
        elif name == "MEDIA_MARK_PROCESSED" and self._on_mark is not None:
            self._on_mark(str(fields.get("correlation_id", fields.get("", ""))))
        elif name == "ERROR":
            _LOG.warning("Asterisk reports an error: %s", excerpt(text))

    def _start(self, fields: dict[str, Any]) -> None:
        if self.call is not None:
            raise WireError("expected one MEDIA_START, got another")
        found = FORMATS.get(str(fields.get("format")))
        if found is None:
            expected = ", ".join(FORMATS)
            raise WireError(f"format: expected one of {expected}, got {excerpt(fields)}")
        self._encoding, rate = found
        width = sample_bytes(self._encoding)
        usual = rate // TICKS_A_SECOND * width
        size = fields.get("optimal_frame_size", usual)
        size = whole("optimal_frame_size", size, width, _MOST_MESSAGE)
        self._carry = Carry(width)
        call_id = fields.get("channel_id") or fields.get("connection_id")
        if not isinstance(call_id, str):
            raise WireError(f"MEDIA_START: expected a channel_id, got {excerpt(fields)}")
        self.call_id = short_id("channel_id", call_id)
        self.call = call = self._open_call(call_id, rate)
        self._playback = Playback(call, rate, size // width)

        def feed(frame: bytes, at: int | None) -> None:
            call.feed(speak=frame, encoding=self._encoding, at=at)

        self._arrival = Arrival(call, "speak", rate * width, feed)
        early, self._early = bytes(self._early), bytearray()
        self._take(self._arrival, early)

    def _press(self, call: "Call", digit: object) -> None:
        try:
            self._feed()
            call.digit(str(digit))
        except OptionError:
            raise WireError(f"DTMF_END: expected a digit, got {excerpt(digit)}") from None
        except CallEndedError:
            self.ended = True

    def _feed(self) -> None:
        if self._arrival is not None:
            self._arrival.flush()

    # -- to Asterisk -----------------------------------------------------------------------

    def tick(self) -> list[str | bytes]:
        """Every 20 ms: what the party is to hear now, in messages of `optimal_frame_size`.

        Asterisk takes a message for a frame. While it says MEDIA_XOFF nothing is sent, nor taken
        from `playout`; what was to be heard meanwhile, but silence, follows at MEDIA_XON.
        """
        if self.call is None or self._playback is None or self.ended:
            return []
        try:
            if self._arrival is not None:
                self._arrival.tick()
            if not self._may_send:
                let_time_pass(self.call)
                return []
            return [to_wire(pcm, self._encoding) for pcm in self._playback.tick()]
        except CallEndedError:
            self.ended = True
            return []

    def clear(self) -> list[str | bytes]:
        """Barge-in: take back what the party has not heard, here and in Asterisk's queue."""
        if self.call is None or self.ended:
            return []
        self.call.clear()
        return self._command("FLUSH_MEDIA")

    def mark(self, name: str) -> list[str | bytes]:
        """Mark the end of what was sent; `on_mark` is called when the party has heard it.

        OptionError unless the name is one word that fits into a command.
        """
        if not isinstance(name, str) or not name.isascii() or len(name.split()) != 1:
            raise OptionError(f"name: expected one word, got {shown(name)}")
        marking = self._command("MARK_MEDIA", name.strip())
        if any(len(one) > MOST_COMMAND for one in marking):
            raise OptionError(f"name: expected a shorter one, got {shown(name)}")
        return marking

    def hang_up(self) -> list[str | bytes]:
        """End the call from here: what to send before closing."""
        self.end()
        return self._command("HANGUP")

    def end(self) -> None:
        """The connection is closed: hang up."""
        self.ended = True
        if self.call is not None:
            with suppress(CallEndedError):
                self._feed()
            self.call.hangup()

    def _command(self, name: str, correlation_id: str = "") -> list[str | bytes]:
        if self._is_json is None:  # Asterisk has not said yet in which form it wants commands
            return []
        return [command(name, correlation_id, is_json=self._is_json)]
