# SPDX-License-Identifier: MIT
"""Record a WebRTC call with aiortc: what a track receives is fed, what is played is a track.

Here the party is a second connection in the same process, which says voicemail.wav for three
seconds; yours sends its offer by your signalling. Needs aiortc.
"""

import asyncio
from fractions import Fraction
from pathlib import Path

import aioice.ice
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc.contrib.media import MediaBlackhole, MediaPlayer
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler

from recorder import Call, RecordOptions

MESSAGE = Path(__file__).with_name("voicemail.wav")


async def feed(call: Call, track: MediaStreamTrack) -> None:
    """Feed what the party says: Opus comes as 48 kHz stereo."""
    to_mono = AudioResampler(format="s16", layout="mono", rate=48000)
    try:
        while True:
            received = await track.recv()
            assert isinstance(received, AudioFrame)
            for frame in to_mono.resample(received):
                call.feed(speak=frame.to_ndarray()[0])
    except MediaStreamError:
        pass  # the party has hung up


class PlayedTrack(MediaStreamTrack):
    """What the party hears: all that the call plays, and silence, 20 ms at a time."""

    kind = "audio"

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call
        self._sent = 0
        self._began = asyncio.get_running_loop().time()

    async def recv(self) -> AudioFrame:
        due = self._began + self._sent / 8000
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        pcm = np.frombuffer(self._call.playout(160), np.int16)
        frame = AudioFrame.from_ndarray(pcm[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 8000, self._sent, Fraction(1, 8000)
        self._sent += 160
        return frame


async def main() -> None:
    """Answer a call, play a second of a tone, and record both legs for three seconds."""
    aioice.ice.get_host_addresses = lambda **_: ["127.0.0.1"]  # for this example only: loopback
    here, party = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    async with Call(sample_rate=8000, speak_rate=48000, live=True) as call:
        action = await call.record(RecordOptions.whole_call(stereo=True, max_length=3))
        feeding = []

        @here.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            feeding.append(asyncio.create_task(feed(call, track)))

        here.addTrack(PlayedTrack(call))
        message = MediaPlayer(str(MESSAGE)).audio
        assert message is not None
        party.addTrack(message)
        heard = MediaBlackhole()
        party.on("track", heard.addTrack)

        await party.setLocalDescription(await party.createOffer())
        await here.setRemoteDescription(party.localDescription)
        await here.setLocalDescription(await here.createAnswer())
        await party.setRemoteDescription(here.localDescription)
        await heard.start()
        call.play(3000 * np.sin(2 * np.pi * np.arange(8000) * 440 / 8000) / 32768)

        event = await action.wait(timeout=10)
        await heard.stop()
        await party.close()
        await here.close()
        await asyncio.gather(*feeding)
    print(f"{event.duration} s of what the party said and heard: {event.url}")


if __name__ == "__main__":
    asyncio.run(main())
