# SPDX-License-Identifier: MIT
"""RELAY's documented example, but for the host, the project and the token; run as a program."""

import os

from signalwire.relay import RelayClient

client = RelayClient(
    project=os.environ["PROJECT"],
    token=os.environ["TOKEN"],
    host=os.environ["HOST"],
    contexts=["default"],
)


@client.on_call
async def handle_call(call):  # type: ignore[no-untyped-def]
    await call.answer()
    await call.play([{"type": "tts", "text": "Leave a message after the beep."}])
    action = await call.record(audio={"beep": True, "end_silence_timeout": 3, "terminators": "#"})
    event = await action.wait()
    print(f"Recording saved: {event.params.get('record', {}).get('url', '')}", flush=True)
    await call.hangup()


client.run()
