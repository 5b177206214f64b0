# SPDX-License-Identifier: MIT
"""A party and a bot talk, fed as live systems feed: each word lies where it was said and heard.

The party speaks at (1, 2), (6, 7) and (11, 12) s. The bot speaks from 2.5 s for 6 s, is cut off by
the party at 6.2 s, and speaks again at (8, 10) s. 14 s in all.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from recorder import AudioOptions, Call, RecordAction
from tests import signals
from tests.conftest import settle
from tests.marks import mostly_slow
from tests.recordings import NO_LIMITS, audio_of
from tests.signals import Pcm

RATE, TICK = 8000, 160
SECONDS = 14
PARTY = [(1.0, 2.0), (6.0, 7.0), (11.0, 12.0)]
BOT = [(2.5, 8.5), (8.0, 10.0)]  # what it would say
HEARD = [(2.5, 6.2), (8.0, 10.0)]  # what the party hears of it
CUT = 6.2
STEREO: AudioOptions = {**NO_LIMITS, "direction": "both", "stereo": True}
BOT_RATES = [8000, 16000, 24000]


def party() -> Pcm:
    audio = np.zeros(SECONDS * RATE, np.int16)
    for number, (start, end) in enumerate(PARTY):
        words = signals.tone(end - start, -20, RATE, 400 + 100 * number)
        audio[round(start * RATE) : round(end * RATE)] = words
    return audio


def bot(number: int, rate: int) -> Pcm:
    start, end = BOT[number]
    return signals.tone(end - start, -20, rate, 1000 + 200 * number)


def words(audio: Pcm) -> list[tuple[float, float]]:
    """Where there is sound: stretches in seconds, holes shorter than 0.1 s aside."""
    loud = np.abs(audio.astype(int)) > 300
    at = np.flatnonzero(loud)
    if not len(at):
        return []
    breaks = np.flatnonzero(np.diff(at) > RATE // 10)
    starts, ends = [at[0], *at[breaks + 1]], [*at[breaks], at[-1]]
    return [(a / RATE, (b + 1) / RATE) for a, b in zip(starts, ends, strict=True)]


def check(
    action: RecordAction,
    *,
    within: float = 0.02,
    heard: list[tuple[float, float]] = HEARD,
    said: list[tuple[float, float]] = PARTY,
    cut_within: float | None = None,
) -> None:
    recorded = audio_of(action.join(10))
    for channel, truth in ((0, said), (1, heard)):
        found = words(recorded[:, channel])
        assert len(found) == len(truth), (channel, found)
        for (start, end), (true_start, true_end) in zip(found, truth, strict=True):
            assert abs(start - true_start) <= within + 1 / RATE, (channel, found)
            allowed = within if cut_within is None or true_end != CUT else cut_within
            assert abs(end - true_end) <= allowed + 1 / RATE, (channel, found)
    assert len(recorded) == SECONDS * RATE


@dataclass
class Conversation:
    """The call, fed tick by tick; `at` says what else happens at which tick."""

    call: Call
    audio: Pcm = field(default_factory=party)

    def ticks(self) -> Iterator[tuple[float, Pcm]]:
        """The time, and the party's next frame."""
        for at in range(0, len(self.audio), TICK):
            yield at / RATE, self.audio[at : at + TICK]


def is_at(time: float, moment: float) -> bool:
    return moment <= time + 1e-9 < moment + TICK / RATE


@pytest.mark.parametrize("bot_rate", mostly_slow(BOT_RATES, 24000))
@pytest.mark.parametrize("speed", ["at once", 5, 1])
@pytest.mark.parametrize("together", [False, True])
def test_a_bot_by_play(
    make_call: Callable[..., Call], bot_rate: int, speed: Any, together: bool
) -> None:
    call = make_call()
    action = call.record(STEREO)
    queue: list[Pcm] = []
    for time, frame in Conversation(call).ticks():
        for number, (start, _) in enumerate(BOT):
            if is_at(time, start):
                audio = bot(number, bot_rate)
                size = len(audio) if speed == "at once" else bot_rate // 50 * speed
                queue = [audio[at : at + size] for at in range(0, len(audio), size)]
        if is_at(time, CUT):
            queue = []
            call.clear()
        if queue:
            call.play(queue.pop(0).tobytes(), bot_rate)
        if together:
            silence = bytes(2 * TICK)
            call.feed(speak=frame.tobytes(), listen=silence)
        else:
            call.feed(speak=frame.tobytes())
    call.hangup()
    check(action)
    assert call.stats.speak.late == call.stats.listen.late == 0


@pytest.mark.parametrize("bot_rate", BOT_RATES)
@pytest.mark.parametrize("speed", ["at once", 5, 1])
def test_a_bot_that_is_cut_off_by_a_voice_event(
    make_call: Callable[..., Call], bot_rate: int, speed: Any
) -> None:
    call = make_call()
    action = call.record(STEREO)
    queue: list[Pcm] = []
    cleared = []

    def barge_in(event: Any) -> None:
        if event.leg == "speak" and event.state == "start" and 5 < event.position / RATE < 7:
            queue.clear()
            cleared.append(call.clear())

    async def talk() -> None:
        call.on("voice", barge_in)
        for time, frame in Conversation(call).ticks():
            for number, (start, _) in enumerate(BOT):
                if is_at(time, start):
                    audio = bot(number, bot_rate)
                    size = len(audio) if speed == "at once" else bot_rate // 50 * speed
                    queue.extend(audio[at : at + size] for at in range(0, len(audio), size))
            if queue:
                call.play(queue.pop(0).tobytes(), bot_rate)
            call.feed(speak=frame.tobytes())
            await asyncio.sleep(0)
        call.hangup()

    asyncio.run(talk())
    assert len(cleared) == 1
    assert cleared[0] > 0 or speed == 1
    # Voice is reported some 0.1 s after it began.
    check(action, cut_within=0.2)


@pytest.mark.parametrize("bot_rate", mostly_slow(BOT_RATES, 8000, 24000))
@pytest.mark.parametrize("how", mostly_slow(["alone", "together", "at"], "alone"))
def test_a_bot_by_feed(make_call: Callable[..., Call], bot_rate: int, how: str) -> None:
    call = make_call(listen_rate=bot_rate)
    action = call.record(STEREO)
    size = bot_rate // 50
    for time, frame in Conversation(call).ticks():
        spoken: Pcm | None = None
        for number, (start, _) in enumerate(BOT):
            end = HEARD[number][1]
            if start <= time + 1e-9 < end - 1e-9:
                at = round((time - start) * bot_rate)
                spoken = bot(number, bot_rate)[at : at + size]
        position = round(time * RATE)
        if how == "together":
            listen = np.zeros(size, np.int16) if spoken is None else spoken
            call.feed(speak=frame, listen=listen)
        elif how == "at":
            call.feed(speak=frame, at=position)
            if spoken is not None:
                call.feed(listen=spoken, at=position)
        else:
            call.feed(speak=frame)
            if spoken is not None:
                call.feed(listen=spoken)
    call.hangup()
    check(action)
    assert call.stats.speak.late == call.stats.listen.late == 0


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("bot_rate", BOT_RATES)
@pytest.mark.parametrize("order", ["clock first", "feed only"])
def test_a_live_call_whose_party_is_muted(
    make_call: Callable[..., Call], bot_rate: int, order: str
) -> None:
    """For 2.5 s nothing comes from the party, in the middle of what the bot says."""
    clock = Clock()
    call = make_call(live=clock)
    action = call.record(STEREO)
    for time, frame in Conversation(call).ticks():
        for number, (start, _) in enumerate(BOT):
            if is_at(time, start):
                clock.seconds = start
                call.play(bot(number, bot_rate).tobytes(), bot_rate)
        if is_at(time, CUT):
            clock.seconds = CUT
            call.clear()
        clock.seconds = time + TICK / RATE
        if order == "clock first":
            call.advance()
        if not 3.0 <= time < 5.5:
            call.feed(speak=frame)
    call.hangup()
    check(action)
    assert call.stats.speak.filled == round(2.5 * RATE)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bot_rate", mostly_slow(BOT_RATES, 24000))
def test_a_live_call_with_jitter(make_call: Callable[..., Call], bot_rate: int, seed: int) -> None:
    """Each of the party's frames is up to 80 ms late."""
    clock = Clock()
    call = make_call(live=clock)
    action = call.record(STEREO)
    rng = random.Random(seed)
    happenings: list[tuple[float, int, Callable[[], object]]] = []
    for index, (time, frame) in enumerate(Conversation(call).ticks()):
        arrival = time + TICK / RATE + rng.uniform(0, 0.08)
        happenings.append((arrival, index, partial(call.feed, speak=frame)))
    for number, (start, _) in enumerate(BOT):
        audio = bot(number, bot_rate).tobytes()
        happenings.append((start, -1, partial(call.play, audio, bot_rate)))
    happenings.append((CUT, -1, call.clear))
    happenings += [(at / 50, -2, call.advance) for at in range(1, 50 * SECONDS + 1)]
    latest = 0.0
    for time, index, do in sorted(happenings, key=lambda one: (max(one[1], 0), one[0])):
        del index, do
        latest = max(latest, time)
    # Frames stay in order: a late one holds up those behind it.
    held = 0.0
    ordered = []
    for time, index, do in sorted(happenings, key=lambda one: one[1]):
        if index >= 0:
            held = max(held, time)
            ordered.append((held, index, do))
        else:
            ordered.append((time, index, do))
    for time, _, do in sorted(ordered, key=lambda one: (one[0], one[1])):
        clock.seconds = time
        do()
    call.hangup()
    recorded = audio_of(action.join(10))
    for channel, truth in ((0, PARTY), (1, HEARD)):
        found = words(recorded[:, channel])
        assert len(found) == len(truth), (channel, found)
        for one, true in zip(found, truth, strict=True):
            assert np.allclose(one, true, atol=0.081 if channel == 0 else 0.021)
    assert abs(len(recorded) / RATE - SECONDS) <= 0.08 + 1e-9
    assert call.stats.speak.late == 0


@pytest.mark.parametrize("bot_rate", BOT_RATES)
def test_a_sender_that_is_ahead(make_call: Callable[..., Call], bot_rate: int) -> None:
    """It takes what it sends 60 ms before the party hears it; the bot plays that much earlier."""
    call = make_call()
    action = call.record(STEREO)
    ahead = 0.06
    sent = [call.playout(round(ahead * RATE))]
    for time, frame in Conversation(call).ticks():
        for number, (start, _) in enumerate(BOT):
            if is_at(time, start - ahead):
                call.play(bot(number, bot_rate).tobytes(), bot_rate)
        if is_at(time, CUT - ahead):
            call.clear()
        call.feed(speak=frame)
        sent.append(call.playout(TICK))
    call.hangup()
    check(action)
    # What was sent is what is in the file.
    audio = np.frombuffer(b"".join(sent), np.int16)[: SECONDS * RATE]
    assert np.array_equal(audio, audio_of(action.join(10))[:, 1])


@pytest.mark.parametrize("frames", [TICK, 10 * TICK])
@pytest.mark.parametrize("speed", ["at once", 5])
def test_a_burst_by_feed_moves_nothing_of_the_other_leg(
    make_call: Callable[..., Call], caplog: pytest.LogCaptureFixture, frames: int, speed: Any
) -> None:
    """What is still to be heard is not for `feed`: it is lost, counted, and said so once."""
    call = make_call()
    action = call.record(STEREO)
    queue: list[Pcm] = []
    fed = 0
    with caplog.at_level(logging.WARNING, logger="recorder"):
        for time, frame in Conversation(call).ticks():
            for number, (start, _) in enumerate(BOT):
                if is_at(time, start):
                    audio = bot(number, RATE)
                    queue = [audio[at : at + frames] for at in range(0, len(audio), frames)]
            count = len(queue)
            if speed != "at once":
                count = min(count, speed * TICK // frames or 1)
            for chunk in [queue.pop(0) for _ in range(count)]:
                fed += len(chunk)
                call.feed(listen=chunk)
            call.feed(speak=frame)
        call.hangup()
    recorded = audio_of(action.join(10))
    assert np.array_equal(recorded[:, 0], party())
    assert len(recorded) == SECONDS * RATE
    stats = call.stats
    assert stats.speak.taken == SECONDS * RATE
    assert stats.listen.late > 0
    assert stats.listen.taken + stats.listen.late == fed
    (warning,) = caplog.records
    assert "play()" in warning.getMessage()
    settle()
