# SPDX-License-Identifier: MIT
"""A call that a source feeds: its clock, its recording, and what has to hold of all three."""

import json
import logging
import wave
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from recorder import AudioOptions, Call, CallEndedError, RecordAction, WireError
from recorder.sources.pcm import call_rates
from tests.recordings import path_of
from tests.signals import noise

Message = str | bytes
Act = Literal["", "tick", "play", "clear", "mark", "hang up"]

TICK: Final = 0.02
# What a source holds besides the audio and text that came: numbers, tables, names.
OWN_WEIGHT: Final = 4000
_LONGEST_MESSAGE: Final = 500  # of an error, or of a log
_PROMPT: Final = noise(0.05, -20)


class Fault(AssertionError):  # noqa: N818 - no error of the program's
    """Something that must not be."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Fault(what)


class Formatted(logging.Handler):
    """Formats what is logged, as any handler would, and keeps nothing of it."""

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        expect(len(text) <= _LONGEST_MESSAGE, f"{len(text)} characters are logged: {text[:80]}")
        expect(record.exc_info is None, f"an error is logged: {text}")


@dataclass(frozen=True, slots=True)
class Step:
    """What comes after so many seconds, if anything, and what the application does then."""

    seconds: float
    message: Message | None
    act: Act = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call; `error` is the kind of the first one."""

    error: str
    state: str = ""
    reason: str | None = None
    digit: str | None = None
    audio: bytes = b""

    def __repr__(self) -> str:
        return f"({self.error}, {self.state}, {self.reason}, {self.digit}, {len(self.audio)} bytes)"


class Wire:
    """The call that a source opens, once, and its recording.

    - `ahead`: seconds by which a call may be ahead of its clock without audio.
    - `least_rate`: bytes of a second of audio, where that is not the call's rate.
    """

    def __init__(
        self,
        folder: Path,
        options: AudioOptions,
        *,
        is_live: bool = True,
        ahead: float = 0.15,
        least_rate: int | None = None,
    ) -> None:
        self.seconds = 0.0
        self.came = 0  # bytes
        self.call: Call | None = None
        self.is_hung_up = False  # from here
        self._folder = folder
        self._options = options
        self._is_live = is_live
        self._ahead = ahead
        self._least_rate = least_rate
        self._rate = 0
        self._action: RecordAction | None = None

    def open(self, call_id: str, rate: int) -> Call:
        expect(self.call is None, "a second call is opened")
        self._rate = rate
        self.call = Call(
            call_id=call_id,
            directory=self._folder,
            live=(lambda: self.seconds) if self._is_live else False,
            **call_rates(rate),
        )
        self._action = self.call.record(self._options)
        return self.call

    def check_position(self) -> None:
        """No call is further on than the time that passed and the audio that came explain."""
        if self.call is not None:
            position = self.call.position / self.call.sample_rate
            most = self.seconds + self.came / (self._least_rate or self._rate) + self._ahead
            expect(position <= most, f"the call is at {position:.2f} s instead of {most:.2f} s")

    def finish(self, error: str) -> Outcome:
        """The recording has ended by itself, or does by now; with a file that is whole."""
        if self.call is None or self._action is None:
            return Outcome(error)
        with suppress(CallEndedError):
            self.call.feed(speak=bytes(320))
            raise Fault("the call goes on")
        event = self._action.join(30)
        expect(event.state in {"finished", "no_input"}, f"it ends as {event.state}: {event.error}")
        if not event.url:
            return Outcome(error, event.state, event.reason, event.digit)
        path = path_of(event)
        expect(path.stat().st_size == event.size, "the file has not the size that its event says")
        with wave.open(str(path)) as file:
            n = file.getnframes()
            audio = file.readframes(n)
        path.unlink()
        expect(len(audio) == 4 * n, f"the file has {len(audio)} bytes of audio instead of {4 * n}")
        seconds = n / self.call.sample_rate
        expect(event.duration == seconds, f"it lasts {event.duration} s instead of {seconds} s")
        return Outcome(error, event.state, event.reason, event.digit, audio)


def drive(
    wire: Wire,
    source: Any,
    steps: Sequence[Step],
    most_kept: Callable[[int, int], int],
    *,
    goes_on: bool = False,
) -> Outcome:
    """Let a source take a conversation; what becomes of its call.

    `most_kept` is what it may keep, in bytes, for the size of the largest message so far and that
    of all since the last tick. With `goes_on`, the wire does not stop at an error.
    """
    first = ""
    largest = since = 0
    for step in steps:
        wire.seconds += step.seconds
        error = ""
        if step.message is not None:
            is_text = isinstance(step.message, str)
            wire.came += len(step.message) * 3 // 4 if is_text else len(step.message)  # base64
            size = len(step.message) * (4 if is_text else 1)
            largest, since = max(largest, size), since + size
            error = _attempt(wire, source, partial(source.receive, step.message))
        if step.act and not error and not source.ended:
            error = _act(wire, source, step.act)
            since = 0 if step.act == "tick" else since
        wire.check_position()
        first = first or error
        if error and not goes_on:
            break
        kept, most = weight(source), most_kept(largest, since) + OWN_WEIGHT
        expect(kept <= most, f"it keeps {kept} bytes instead of {most}")
    source.end()
    return wire.finish(first)


def _act(wire: Wire, source: Any, act: Act) -> str:
    if act == "tick":
        return _attempt(wire, source, source.tick)
    if wire.call is None or wire.is_hung_up:
        return ""
    if act == "play":
        wire.call.play(_PROMPT)
    elif act == "hang up":
        wire.call.hangup()
        wire.is_hung_up = True
    elif hasattr(source, "clear"):
        _check_sent(source.clear() if act == "clear" else source.mark("m"))
    return ""


def _attempt(wire: Wire, source: Any, act: Callable[[], object]) -> str:
    """The kind of an error that may be; nothing if there is none."""
    try:
        _check_sent(act())
    except (WireError, CallEndedError) as error:
        if isinstance(error, CallEndedError):
            expect(wire.is_hung_up and source.raises_of_the_call, "the call has not ended")
        said = str(error)
        expect(len(said) <= _LONGEST_MESSAGE, f"an error of {len(said)} characters: {said[:80]}")
        said.encode()
        return type(error).__name__
    return ""


def _check_sent(sent: object) -> None:
    """What a source sends is bytes, or text that can be sent."""
    for message in sent if isinstance(sent, list) else [sent or b""]:
        if isinstance(message, str):
            message.encode()
            if message.startswith("{"):
                json.loads(message)
        else:
            expect(isinstance(message, bytes), f"it sends {message!r}")


def weight(thing: object) -> int:
    """Bytes of audio and text that something holds, and one for each object; calls left out."""
    total, seen, waiting = 0, set(), [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (Call, Wire, type)) or callable(one):
            continue
        seen.add(id(one))
        total += 1
        if isinstance(one, (bytes, bytearray, str)):
            total += len(one)
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, deque)):
            waiting += one
        elif type(one).__module__.startswith(("recorder.sources", "tests.")):
            slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
            waiting += [getattr(one, name) for name in slots if hasattr(one, name)]
            waiting += getattr(one, "__dict__", {}).values()
    return total
