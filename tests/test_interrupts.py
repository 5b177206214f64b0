# SPDX-License-Identifier: MIT
"""Ctrl-C and signal handlers, in the middle of anything."""

import linecache
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import recorder
from recorder import AudioOptions, Call, CallEndedError, RecordAction
from tests.conftest import Events, settle
from tests.faults.running import event_of, linux, output_of
from tests.marks import mostly_slow
from tests.recordings import (
    AUDIO,
    BOTH,
    NO_LIMITS,
    audio_of,
    result_of,
)


@linux
def test_interrupts_for_real(tmp_path: Path) -> None:
    (printed,) = output_of("interrupted", tmp_path)
    event = event_of(printed["params"])
    assert event.state == "finished"
    assert len(audio_of(event)) == event.duration * 8000 == printed["position"]
    # Of an interrupted frame all is there, or nothing.
    assert 0 <= printed["position"] / 160 - printed["frames"] <= 100


class Interrupt:
    """Raises KeyboardInterrupt at the nth line that the package runs in this thread.

    But at no `with`: leaving one is a line too, where Python never looks for signals.
    """

    def __init__(self, n: int) -> None:
        self.left = n
        self.happened = False
        self._package = str(Path(recorder.__file__).parent)

    def __call__(self, frame: FrameType, what: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._package):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if what == "line" and not self.happened and not line.lstrip().startswith("with "):
            if self.left == 0:
                self.happened = True
                raise KeyboardInterrupt
            self.left -= 1
        return self


def interrupted(n: int, use: Callable[[], object]) -> bool:
    """Do something, interrupted at its nth line; False when it has fewer."""
    interrupt = Interrupt(n)
    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        use()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return interrupt.happened


@pytest.mark.slow
@pytest.mark.parametrize("what", ["block", "one leg", "end", "stop", "hangup"])
def test_an_interrupt_at_any_line(make_call: Callable[..., Call], what: str) -> None:
    """Wherever Ctrl-C comes, afterwards the call continues, and all recordings end."""
    n = 0
    happened = True
    while happened:
        call = make_call()
        limit: AudioOptions = {"max_length": 0.5} if what == "end" else {}
        action = call.record({**BOTH, "stereo": True, **limit})
        other = call.record({**NO_LIMITS, "terminators": "#"})
        one = slice(0, 3900)
        call.feed(speak=AUDIO[one], listen=AUDIO[one])
        two = slice(3900, 4060)
        feed = partial(call.feed, speak=AUDIO[two], listen=AUDIO[two])
        uses: dict[str, Callable[[], object]]
        uses = {"block": feed, "end": feed, "stop": action.stop, "hangup": call.hangup}
        uses["one leg"] = partial(call.feed, speak=AUDIO[two])
        happened = interrupted(n, uses[what])
        if what != "hangup":
            call.feed(speak=AUDIO[:8000], listen=AUDIO[:8000])
            assert action.state in {"recording", "finished"}
        call.hangup()
        for recording in (action, other):
            event = result_of(recording)
            kept = audio_of(event)
            assert (event.state, event.duration) == ("finished", len(kept) / 8000), n
            assert len(kept) in {3900, 4000, 4060, 11900, 12060}, n
            if what in {"block", "one leg"}:  # both legs, from here on, are where they belong
                legs = kept if kept.ndim == 2 else kept[:, np.newaxis]
                assert all(np.array_equal(leg[-8000:], AUDIO[:8000]) for leg in legs.T), n
        n += 1
    assert n > 20
    settle()


# -- signal handlers that command -----------------------------------------------------------------


class Handler:
    """Does something at the nth line that the package runs in this thread, as a signal would."""

    def __init__(self, n: int, act: Callable[[], object]) -> None:
        self.left = n
        self.happened = False
        self._act = act
        self._package = str(Path(recorder.__file__).parent)

    def __call__(self, frame: FrameType, what: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._package):
            return None
        if what == "line" and not self.happened:
            if self.left == 0:
                self.happened = True
                self._act()  # Python does not trace what a trace function does
            self.left -= 1
        return self


def signalled(n: int, use: Callable[[], object], act: Callable[[], object]) -> bool:
    """Do something, with a handler at its nth line; False when it has fewer."""
    handler = Handler(n, act)
    raised: list[BaseException] = []

    def run() -> None:
        sys.settrace(handler)
        try:
            use()
        except BaseException as error:
            raised.append(error)
        finally:
            sys.settrace(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), f"deadlock at line {n}"
    if raised:
        raise raised[0]
    return handler.happened


def record_more(call: Call, more: list[RecordAction]) -> None:
    more.append(call.record(NO_LIMITS))


@pytest.mark.parametrize("during", mostly_slow(["block", "one leg", "digit", "pause"], "one leg"))
@pytest.mark.parametrize(
    "command", mostly_slow(["stop", "hangup", "pause", "digit", "record"], "stop", "record")
)
def test_a_signal_handler_at_any_line(
    make_call: Callable[..., Call], command: str, during: str
) -> None:
    """It waits for nothing, what it asks for happens, and no other recording loses anything."""
    n = 0
    happened = True
    while happened:
        call = make_call()
        events = Events(call)
        action = call.record(BOTH)
        other = call.record(BOTH)
        call.feed(speak=AUDIO[:3900], listen=AUDIO[:3900])
        frame = AUDIO[3900:4060]
        more: list[RecordAction] = []
        acts: dict[str, Callable[[], object]] = {
            "stop": action.stop,
            "hangup": call.hangup,
            "pause": action.pause,
            "digit": partial(call.digit, "5"),
            "record": partial(record_more, call, more),
        }
        uses: dict[str, Callable[[], object]] = {
            "block": partial(call.feed, speak=frame, listen=frame),
            "one leg": partial(call.feed, speak=frame),
            "digit": partial(call.digit, "7"),
            "pause": other.pause,
        }
        try:
            happened = signalled(n, uses[during], acts[command])
        except CallEndedError:
            assert command == "hangup"
        if command == "hangup":
            assert not happened or other.join(10).reason == "hangup"
        else:
            other.resume()
            call.feed(speak=AUDIO[:8000], listen=AUDIO[:8000])
        call.hangup()
        fed = 160 if during in {"block", "one leg"} else 0
        kept = audio_of(result_of(other))
        ended = result_of(action)
        assert (ended.state, ended.duration) == ("finished", len(audio_of(ended)) / 8000), n
        assert len(more) == (happened and command == "record")
        assert all(result_of(one).state == "finished" for one in more)
        if command == "hangup":
            assert len(kept) in {3900, 3900 + fed}, n
        else:
            assert len(kept) == 11900 + fed, n
        states = [e.state for e in events.received if e.control_id == action.control_id]
        paused = happened and command == "pause"
        assert states == ["recording", *["paused"] * paused, "finished"], n
        if happened and command == "stop":
            assert len(audio_of(ended)) in {3900, 3900 + fed}, n
        # The frame of a call that only records is the one that matters most; else some lines do.
        n += 1 if during == "block" and command in {"stop", "hangup"} else 7
    assert n > 5
