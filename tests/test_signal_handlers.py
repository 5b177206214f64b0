# SPDX-License-Identifier: MIT
"""A handler of `signal.signal` commands calls while its thread is in the middle of `feed`."""

import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest

from recorder import AudioOptions, Call, CallEndedError, RecordAction
from tests import signals
from tests.marks import mostly_slow
from tests.recordings import NO_LIMITS, audio_of

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such timers there"),
    pytest.mark.usefixtures("untraced"),
]
BOTH: AudioOptions = {**NO_LIMITS, "direction": "both", "stereo": True}
AUDIO = signals.noise(1, -20)


@contextmanager
def handler(handle: Callable[[], object], seconds: float) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        handle()

    before = signal.signal(signal.SIGALRM, on_signal)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def frames(rng: random.Random) -> Iterator[tuple[dict[str, Any], int]]:
    """Frames of both legs in all ways: as C takes them, long, apart, and as arrays."""
    at = 0
    while True:
        n = rng.choice([160, 160, 160, 37, 1200])
        part = np.resize(AUDIO[at % 4000 :], n)
        at += n
        match rng.randrange(4):
            case 0:
                yield {"speak": part.tobytes(), "listen": part.tobytes()}, n
            case 1:
                yield {"speak": part, "listen": part}, n
            case 2:
                yield {"speak": part.astype(np.float32) / 32768, "listen": part / 32768}, n
            case _:
                yield {"speak": bytearray(part.tobytes()), "listen": part.tobytes()}, n


@pytest.mark.parametrize("seed", mostly_slow(range(3), 0))
def test_stop_and_record_lose_nothing_of_others(make_call: Callable[..., Call], seed: int) -> None:
    rng = random.Random(seed)
    call = make_call()
    whole = call.record(BOTH)
    others: list[RecordAction] = [call.record(NO_LIMITS)]
    came = 0
    expected: list[Any] = []

    def command() -> None:
        nonlocal came
        came += 1
        what = came % 4
        if what == 0:
            assert others[-1].stop()["code"] in {"200", "404"}
            others.append(call.record(BOTH if came % 8 else NO_LIMITS))
        elif what == 1:
            others[-1].pause("silence")
        elif what == 2:
            others[-1].resume()
        else:
            call.digit("1")

    with handler(command, 0.0007):
        for one, _n in frames(rng):
            expected.append(np.asarray(as_samples(one["listen"])))
            call.feed(**one)
            if came >= 600:
                break
    call.hangup()
    recorded = audio_of(whole.join(30))
    truth = np.concatenate(expected)
    assert len(recorded) == len(truth)
    assert np.array_equal(recorded[:, 0], truth)
    assert np.array_equal(recorded[:, 1], truth)
    for action in others:
        event = action.join(30)
        assert event.state == "finished"
        assert len(audio_of(event)) == round(event.duration * 8000)


def as_samples(frame: Any) -> Any:
    from recorder.placement.frames import to_pcm

    return np.frombuffer(to_pcm(frame), np.int16)


@pytest.mark.parametrize("seed", range(40))
def test_hangup(make_call: Callable[..., Call], seed: int) -> None:
    """The frame in whose middle it came is in the file whole, or not at all."""
    rng = random.Random(seed)
    call = make_call()
    actions = [call.record(BOTH), call.record(NO_LIMITS)]
    lengths = [0]

    def feed() -> None:
        for one, n in frames(rng):
            call.feed(**one)
            lengths.append(lengths[-1] + n)

    with handler(call.hangup, rng.uniform(0.001, 0.004)), pytest.raises(CallEndedError):
        feed()
    for action in actions:
        event = action.join(30)
        assert event.reason == "hangup"
        assert len(audio_of(event)) in {lengths[-1]}


def test_feed_from_a_handler(make_call: Callable[..., Call]) -> None:
    """What it feeds comes after the frame that it interrupted."""
    call = make_call()
    action = call.record(NO_LIMITS)
    fed = 0

    def feed_more() -> None:
        nonlocal fed
        if fed < 200:
            fed += 1
            call.feed(speak=np.full(80, 7, np.int16))

    rng = random.Random(1)
    own = 0
    with handler(feed_more, 0.0005):
        while fed < 200:
            n = rng.choice([160, 333])
            call.feed(speak=np.full(n, 3, np.int16))
            own += n
    call.hangup()
    recorded = audio_of(action.join(30))
    assert np.count_nonzero(recorded == 7) == 200 * 80
    assert np.count_nonzero(recorded == 3) == own
