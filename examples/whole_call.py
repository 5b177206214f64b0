# SPDX-License-Identifier: MIT
"""A whole call in stereo MP3, with a stretch that must not be kept: a card number."""

import wave
from pathlib import Path

from recorder import Call, RecordOptions

MESSAGE = Path(__file__).with_name("voicemail.wav")


def main() -> None:
    call = Call(sample_rate=8000, call_id="example")
    action = call.record(RecordOptions.whole_call(stereo=True, format="mp3"))
    with wave.open(str(MESSAGE)) as source:
        said = source.readframes(source.getnframes())
    heard = bytes(len(said))
    third = len(said) // 6 * 2
    call.feed(speak=said[:third], listen=heard[:third])
    action.pause("silence")
    call.feed(speak=said[third : 2 * third], listen=heard[third : 2 * third])
    action.resume()
    call.feed(speak=said[2 * third :], listen=heard[2 * third :])
    call.hangup()
    event = action.join()
    print(event.state, event.record["reason"], event.duration, event.url)


if __name__ == "__main__":
    main()
