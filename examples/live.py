# SPDX-License-Identifier: MIT
"""A live call in asyncio: one task feeds its audio, another records a message.

Here the audio comes from voicemail.wav, as fast as it can be read; yours comes from RTP, a
WebSocket or an audio socket, 20 ms at a time.
"""

import asyncio
import wave
from pathlib import Path

from recorder import Call

MESSAGE = Path(__file__).with_name("voicemail.wav")


async def media(call: Call) -> None:
    """Feed both legs; what `feed` returns is what the party should hear."""
    with wave.open(str(MESSAGE)) as source:
        while said := source.readframes(160):
            silence = bytes(len(said))
            to_the_party = call.feed(speak=said, listen=silence)
            assert to_the_party is not None
            await asyncio.sleep(0)


async def main() -> None:
    """Record until the caller presses # or is silent for three seconds."""
    call = Call(sample_rate=8000)
    call.on("calling.call.record", lambda event: print(event.state))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(media(call))
        action = await call.record(
            audio={"beep": True, "end_silence_timeout": 3, "terminators": "#"},
        )
        event = await action.wait()
        print(event.url, event.duration, event.size, event.record["reason"])
    call.hangup()


if __name__ == "__main__":
    asyncio.run(main())
