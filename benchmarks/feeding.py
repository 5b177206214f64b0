# SPDX-License-Identifier: MIT
"""The ways in which audio of both legs reaches a call that records them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import signals
from benchmarks.signals import RATE, Samples
from recorder import Call, RecordAction, RecordOptions
from recorder.placement.frames import FULL_SCALE, Frame
from recorder.runtime.lanes import WRITING

Ticks = Sequence[tuple[Frame, Frame]]  # a frame of each leg

DOUBLE_RATE: Final = 2 * RATE
_FRAME: Final = signals.frame_length()
_PATIENCE: Final = 60.0
_MOST_MISSING: Final = 0.1
_TOGETHER: Final = 250  # calls that begin before their files are waited for


# -- what is fed ------------------------------------------------------------------------------


def ticks(speak_rate: int = RATE, listen_rate: int = RATE) -> list[tuple[bytes, bytes]]:
    """Eight seconds of a call: the same speech on both legs, at other moments and levels."""
    speak = signals.material("speech", speak_rate)
    listen = signals.material("speech", listen_rate)
    listen = (np.roll(listen, len(listen) // 2) * 0.6).astype(np.int16)
    legs = signals.in_frames(speak, speak_rate), signals.in_frames(listen, listen_rate)
    return list(zip(*legs, strict=True))


def mono(both: Sequence[tuple[bytes, bytes]], *, listen: bool) -> Samples:
    """The speak leg's samples, or the sum of both legs, as a mono recording of them has it."""
    speak = np.frombuffer(b"".join(a for a, _ in both), np.int16)
    if not listen:
        return speak
    total = speak.astype(np.int32) + np.frombuffer(b"".join(b for _, b in both), np.int16)
    return np.clip(total, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _floats() -> Ticks:
    return [(_float(speak), _float(listen)) for speak, listen in ticks()]


def _float(pcm: bytes) -> Frame:
    return np.frombuffer(pcm, np.int16).astype(np.float32) / np.float32(FULL_SCALE)


# -- how it is fed ----------------------------------------------------------------------------


def _in_step(call: Call, frames: Ticks) -> None:
    feed = call.feed
    for speak, listen in frames:
        feed(speak=speak, listen=listen)


def _with_at(call: Call, frames: Ticks) -> None:
    feed, position = call.feed, call.position
    for speak, listen in frames:
        feed(speak=speak, listen=listen, at=position)
        position += _FRAME


def _speak_alone(call: Call, frames: Ticks) -> None:
    feed = call.feed
    for speak, _ in frames:
        feed(speak=speak)


def _apart(call: Call, frames: Ticks) -> None:
    feed = call.feed
    for speak, listen in frames:
        feed(speak=speak)
        feed(listen=listen)


def _with_advance(call: Call, frames: Ticks) -> None:
    feed, advance = call.feed, call.advance
    for speak, listen in frames:
        feed(speak=speak, listen=listen)
        advance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way of feeding: what a tick is, how it is fed, and the options of the call for it."""

    feed: Callable[[Call, Ticks], None] = _in_step
    ticks: Callable[[], Ticks] = ticks
    options: Mapping[str, Any] = field(default_factory=dict)


IN_STEP: Final = "both legs"
WAYS: Final[Mapping[str, Way]] = {
    IN_STEP: Way(),
    "with at=": Way(feed=_with_at),
    "one leg alone": Way(feed=_speak_alone),
    "legs apart": Way(feed=_apart),
    "float32": Way(ticks=_floats),
    "a leg at 16 kHz": Way(
        ticks=lambda: ticks(listen_rate=DOUBLE_RATE), options={"listen_rate": DOUBLE_RATE}
    ),
    "live": Way(options={"live": True}),
    "live, with its clock": Way(feed=_with_advance, options={"live": True}),
}


# -- recordings that are fed ------------------------------------------------------------------


def drain() -> None:
    """Wait until all that was handed to the background is written."""
    assert WRITING.drain(_PATIENCE), "the disk has stalled"


class Recorded:
    """A call that is recorded, fed in one of the ways, again and again the same eight seconds."""

    def __init__(self, way: Way, directory: Path, **options: Any) -> None:
        self._way = way
        self._frames = way.ticks()
        self._call = Call(RATE, directory=directory, **way.options)
        self._action = self._call.record(RecordOptions.whole_call(**options))

    def run(self, rounds: int) -> int:
        """Feed it all so often, and write it; return how many ticks that was."""
        for _ in range(rounds):
            self._way.feed(self._call, self._frames)
        drain()
        return rounds * len(self._frames)

    def close(self) -> None:
        """End the call and remove its file; what was fed must be in it."""
        lost = self._call.stats
        assert not any(
            leg.late or leg.duplicate or leg.overlap for leg in (lost.speak, lost.listen)
        )
        fed = self._call.position
        self._call.hangup()
        _remove(self._action, fed)


class ManyRecorded:
    """So many calls with one stereo recording each, fed in turn, both legs."""

    def __init__(self, count: int, directory: Path) -> None:
        self._frames = ticks()
        self._at = 0
        self._calls: list[Call] = []
        self._actions: list[RecordAction] = []
        for number in range(count):
            call = Call(RATE, directory=directory)
            self._calls.append(call)
            self._actions.append(call.record(RecordOptions.whole_call(stereo=True)))
            # Not all of them hand on their blocks in the same tick.
            first = bytes(2 * (number * RATE // 2 // count))
            call.feed(speak=first, listen=first)
            if number % _TOGETHER == 0:
                drain()

    def run(self, rounds: int) -> int:
        """Feed each call so many frames; return how many that was in all."""
        frames = self._frames
        feeds = [call.feed for call in self._calls]
        for _ in range(rounds):
            at = self._at
            for feed in feeds:
                speak, listen = frames[at % len(frames)]
                feed(speak=speak, listen=listen)
                at += 1
            self._at += 1
        drain()
        return rounds * len(feeds)

    def close(self) -> None:
        """End the calls and remove their files."""
        fed = [call.position for call in self._calls]
        for call in self._calls:
            call.hangup()
        for action, samples in zip(self._actions, fed, strict=True):
            _remove(action, samples)


def _remove(action: RecordAction, samples: int) -> None:
    event = action.join(_PATIENCE)
    # A live call's time passed between `Call` and `record`.
    assert event.state == "finished", event
    assert 0 <= samples / RATE - event.duration < _MOST_MISSING, event
    assert event.path is not None
    event.path.unlink()
