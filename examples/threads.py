# SPDX-License-Identifier: MIT
"""The same without an event loop: a thread feeds the call, this one waits for the recording."""

import threading
import wave
from pathlib import Path

from recorder import Call

MESSAGE = Path(__file__).with_name("voicemail.wav")


def media(call: Call) -> None:
    with wave.open(str(MESSAGE)) as source:
        while said := source.readframes(160):
            call.feed(speak=said)


def main() -> None:
    call = Call(sample_rate=8000)
    action = call.record(audio={"end_silence_timeout": 3, "terminators": "#"})
    feeder = threading.Thread(target=media, args=(call,))
    feeder.start()
    event = action.join()
    feeder.join()
    call.hangup()
    print(event.state, event.record["reason"], event.url)


if __name__ == "__main__":
    main()
