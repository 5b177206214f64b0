# SPDX-License-Identifier: MIT
"""Test a bot by what it says: a fixture that plays a party to it, and records both.

Run: python -m pytest examples/test_bot.py. The bot is that of bot.py. Nothing waits for real time.
"""

import asyncio
import wave
from collections.abc import Callable
from pathlib import Path

import bot
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from recorder import Call, RecordOptions

Pcm = NDArray[np.int16]
Recorded = Callable[[Callable[[Call], None], bytes], tuple[Pcm, Pcm]]
RATE = bot.RATE


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """Starts a bot on a call, lets the party say something, and returns both legs of the WAV."""

    async def hold(start: Callable[[Call], None], said: bytes) -> Path:
        async with Call(sample_rate=RATE, directory=tmp_path) as call:
            action = await call.record(RecordOptions.whole_call(stereo=True))
            start(call)
            for at in range(0, len(said), 320):  # 20 ms
                call.feed(speak=said[at : at + 320])
                await asyncio.sleep(0)  # here the bot's handlers run
        assert action.result is not None
        assert action.result.path is not None
        return action.result.path

    def record(start: Callable[[Call], None], said: bytes) -> tuple[Pcm, Pcm]:
        path = asyncio.run(hold(start, said))
        speak, listen = soundfile.read(path, dtype="int16")[0].T
        return speak, listen

    return record


def test_it_says_its_prompt_to_the_end(recorded: Recorded) -> None:
    _, heard = recorded(bot.start, bytes(2 * 12 * RATE))  # a party that is silent
    prompt = bot.prompt()
    assert np.array_equal(heard[: len(prompt)], prompt)
    assert not heard[len(prompt) :].any()


def test_it_stops_when_the_party_speaks(recorded: Recorded) -> None:
    with wave.open(str(bot.MESSAGE)) as source:
        message = source.readframes(5 * RATE)
    said, heard = recorded(bot.start, message)
    assert said.tobytes() == message
    begins, silent = round(0.54 * RATE), round(0.7 * RATE)  # where the message is voice
    assert np.array_equal(heard[:begins], bot.prompt()[:begins])
    assert not heard[silent:].any()
