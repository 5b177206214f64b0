# SPDX-License-Identifier: MIT
"""A bot on plain asyncio that stops speaking when the party begins to (barge-in).

Here the party says voicemail.wav, in real time; yours is behind a WebSocket, RTP or an audio
socket. In the file the party is on the left, and on the right what it heard of the bot.
"""

import asyncio
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recorder import Call, RecordOptions, VoiceEvent

MESSAGE = Path(__file__).with_name("voicemail.wav")
RATE = 8000


def prompt() -> NDArray[np.int16]:
    """In place of speech synthesis: ten seconds of a tone."""
    t = np.arange(10 * RATE) / RATE
    return (3000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)


def start(call: Call) -> None:
    """The bot: it says its prompt at once, and is silent once the party speaks."""

    def barge_in(event: VoiceEvent) -> None:
        if event.leg == "speak" and event.state == "start":
            call.clear()  # what was not heard yet; to a service send its own clear, too

    call.on("voice", barge_in)
    call.play(prompt(), sample_rate=RATE)


async def party() -> AsyncIterator[bytes]:
    """The first three seconds of the message, 20 ms at a time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with wave.open(str(MESSAGE)) as source:
        for n in range(1, 151):
            await asyncio.sleep(began + n * 0.02 - loop.time())
            yield source.readframes(160)


async def main() -> None:
    """Record the whole call in stereo."""
    heard = b""
    async with Call(sample_rate=RATE, live=True) as call:
        start(call)
        action = await call.record(RecordOptions.whole_call(stereo=True))
        async for said in party():
            heard += call.feed(speak=said)  # what `feed` returns is to be sent to the party
    event = action.result
    assert event is not None
    seconds = len(heard.rstrip(b"\0")) / 2 / RATE
    print(
        f"the party interrupted the bot after {seconds:.2f} s; {event.duration:.2f} s: {event.url}"
    )


if __name__ == "__main__":
    asyncio.run(main())
