# SPDX-License-Identifier: MIT
"""Calls, recordings and commands from many threads at once; the interpreter switches all the time.

What each thread does is decided by a seed; how they meet is not. Whatever happens: no exception
but CallEndedError, events in a legal order with one terminal one, and files as long as those say.
"""

import asyncio
import contextlib
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import Call, CallEndedError, RecordAction, RecordEvent, RecordOptions
from tests.conftest import settle
from tests.marks import mostly_slow
from tests.recordings import NO_LIMITS, audio_of, path_of
from tests.signals import Pcm

FRAME = 160
PATIENCE = 60  # seconds after which a thread counts as stuck


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


def counting(start: int, n: int) -> Pcm:
    """Samples that say where they are: each is one more than the last."""
    return (np.arange(start, start + n) & 0xFFFF).astype(np.uint16).view(np.int16)


def run_all(*targets: Callable[[], None]) -> None:
    """Run each in a thread, all begun at once; raise what the first one to fail raised."""
    begin = threading.Barrier(len(targets))
    raised: list[BaseException] = []

    def run(target: Callable[[], None]) -> None:
        begin.wait(PATIENCE)
        try:
            target()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(target,), daemon=True) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if raised:
        raise raised[0]
    assert not any(thread.is_alive() for thread in threads), "a thread is stuck"


class Busy:
    """A call whose legs count, and what becomes of its recordings."""

    def __init__(self, directory: Path) -> None:
        self.call = Call(8000, directory=directory)
        self.call.on("calling.call.record", self._receive)
        self.events: dict[str, list[RecordEvent]] = {}  # by recording_id
        self.completed: list[RecordEvent] = []
        self.actions: list[RecordAction] = []
        self.whole: list[RecordAction] = []  # from the start to the hangup, without a command
        self.fed = 0

    def _receive(self, event: RecordEvent) -> None:
        self.events.setdefault(event.params["recording_id"], []).append(event)

    def _complete(self, event: RecordEvent) -> None:
        for action in tuple(self.actions):  # a handler asks back
            assert action.state
        self.completed.append(event)

    def record(self, **options: Any) -> RecordAction:
        action = self.call.record(
            RecordOptions(**{**NO_LIMITS, **options}), on_completed=self._complete
        )
        self.actions.append(action)
        return action

    def record_whole(self) -> None:
        """From now on, all that is fed, in each format."""
        self.whole = [
            self.call.record({**NO_LIMITS, "format": kind}, on_completed=self._complete)
            for kind in ("wav", "mp3")
        ]

    def feed(self) -> None:
        """For one thread only."""
        frame = counting(self.fed, FRAME)
        self.call.feed(speak=frame, listen=frame)
        self.fed += FRAME

    def act(self, rng: random.Random) -> None:
        """Something that a user may do at any moment."""
        action = rng.choice(self.actions)
        behavior: Any = rng.choice(["skip", "silence"])
        match rng.choice(["record", "stop", "pause", "resume", "pause", "resume", "digit", "ask"]):
            case "record":
                self.record(
                    format=rng.choice(["wav", "wav", "mp3"]),
                    direction=rng.choice(["speak", "listen", "both"]),
                    stereo=rng.random() < 0.5,
                    beep=rng.random() < 0.2,
                    terminators=rng.choice(["", "#"]),
                    max_length=rng.choice([0, 0, 0.5]),
                )
            case "stop":
                assert action.stop()["code"] in {"200", "404"}
            case "pause":
                assert action.pause(behavior)["code"] in {"200", "404"}
            case "resume":
                assert action.resume()["code"] in {"200", "404"}
            case "digit":
                self.call.digit(rng.choice("12#"))
            case "ask":
                assert action.state in {"created", "recording", "paused", "finished"}
                speak = self.call.stats.speak
                assert speak.taken % FRAME == speak.filled == speak.held == 0
                assert speak.late == speak.duplicate == speak.overlap == 0

    def check(self) -> None:
        """The call has ended: nothing is missing, and nothing came twice."""
        settle()
        actions = [*self.actions, *self.whole]
        ids = {action.recording_id for action in actions}
        assert len(ids) == len(actions)
        assert set(self.events) == ids
        assert Counter(e.params["recording_id"] for e in self.completed) == Counter(ids)
        assert len({path_of(action.result) for action in actions}) == len(actions)
        for action in actions:
            self._check_events(action)
            self._check_file(action)
        for action in self.whole:
            assert action.result is not None
            assert action.result.record["reason"] == "hangup"
            assert round(action.result.duration * 8000) == self.fed
        if self.whole:
            assert np.array_equal(audio_of(self.whole[0].result), counting(0, self.fed))

    def _check_events(self, action: RecordAction) -> None:
        *before, last = self.events[action.recording_id]
        assert last is action.result
        assert action.is_done
        assert action.state == last.state == "finished", last.error
        # Recording first, then paused and recording in turn; none of them while the beep plays.
        states = [event.state for event in before]
        assert states == [("recording", "paused")[i % 2] for i in range(len(before))]
        assert states or last.duration == 0

    def _check_file(self, action: RecordAction) -> None:
        event = action.result
        assert event is not None
        audio = audio_of(event)
        assert len(audio) == round(event.duration * 8000)
        assert path_of(event).stat().st_size == event.size
        paused = any(e.state == "paused" for e in self.events[action.recording_id])
        shape = event.record["audio"]
        if not paused and shape["format"] == "wav" and shape["direction"] != "listen":
            if shape["stereo"]:
                audio = audio[:, 0]
            elif shape["direction"] == "both":
                return
            steps = np.diff(np.ascontiguousarray(audio).view(np.uint16))
            assert np.all(steps == 1), "audio is missing, or came twice"


@pytest.mark.parametrize("seed", mostly_slow([1, 2, 3], 1))
def test_commands_while_calls_are_fed(tmp_path: Path, seed: int) -> None:
    calls = [Busy(tmp_path) for _ in range(3)]
    commanding = [[0, 1] for _ in calls]  # those who are not done

    def feed(number: int) -> None:
        busy = calls[number]
        while commanding[number] or busy.fed < 8000:
            busy.feed()

    def command(number: int, part: int) -> None:
        rng = random.Random(f"{seed} {number} {part}")
        try:
            for _ in range(150):
                calls[number].act(rng)
        finally:
            commanding[number].remove(part)

    for busy in calls:
        busy.record_whole()
        busy.record()
    numbers = range(len(calls))
    commands = [partial(command, number, part) for number in numbers for part in (0, 1)]
    run_all(*(partial(feed, number) for number in numbers), *commands)
    for busy in calls:
        busy.call.hangup()
    for busy in calls:
        busy.check()


@pytest.mark.slow
def test_many_calls_come_and_go_in_many_threads(tmp_path: Path) -> None:
    shared = Busy(tmp_path)
    shared.record_whole()
    gone: list[Busy] = []

    def come_and_go(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(4):
            busy = Busy(tmp_path)
            gone.append(busy)
            busy.record_whole()
            for _ in range(4):
                busy.record(format=rng.choice(["wav", "mp3"]))
                of_all = shared.record(stereo=True, direction="both")
                for _ in range(rng.randrange(10)):
                    busy.feed()
                rng.choice(busy.actions).stop()
                of_all.stop()
            busy.call.hangup()

    def feed() -> None:
        for _ in range(200):
            shared.feed()

    run_all(feed, *(partial(come_and_go, seed) for seed in range(4)))
    shared.call.hangup()
    for busy in [shared, *gone]:
        busy.check()


@pytest.mark.parametrize("seed", range(10))
def test_a_call_that_ends_while_it_is_fed(tmp_path: Path, seed: int) -> None:
    busy, rng = Busy(tmp_path), random.Random(seed)
    busy.record_whole()
    busy.record()

    def until_it_ends(step: Callable[[], None]) -> None:
        with contextlib.suppress(CallEndedError):
            while True:
                step()

    def end(after: int) -> None:
        while busy.fed < after * FRAME:
            assert busy.call.position >= 0
        busy.call.hangup()

    after = rng.randrange(40)
    run_all(
        lambda: until_it_ends(busy.feed),
        lambda: until_it_ends(lambda: busy.act(rng)),
        lambda: end(after),
        lambda: end(after),
    )
    busy.check()


def test_a_loop_commands_while_a_thread_feeds(tmp_path: Path) -> None:
    fed_enough = threading.Event()

    async def command(busy: Busy, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(4):
            action = await busy.record(format=rng.choice(["wav", "mp3"]))
            for _ in range(rng.randrange(8)):
                await action.pause(rng.choice(["skip", "silence"]))
                await asyncio.sleep(0)
                await action.resume()
                await asyncio.sleep(0)
            await action.stop()
            event = await action.wait(PATIENCE)
            assert event is action.result

    async def main() -> Busy:
        busy = Busy(tmp_path)
        busy.record_whole()

        def feed() -> None:
            while not fed_enough.is_set():
                busy.feed()

        feeding = asyncio.create_task(asyncio.to_thread(run_all, feed))
        try:
            await asyncio.gather(*(command(busy, seed) for seed in range(4)))
        finally:
            fed_enough.set()
            await feeding
        busy.call.hangup()
        await asyncio.gather(*(action.wait(PATIENCE) for action in busy.whole))
        await asyncio.to_thread(settle)
        await asyncio.sleep(0)  # what they put into the loop comes first
        return busy

    asyncio.run(main()).check()
