# SPDX-License-Identifier: MIT
"""Record a Pipecat bot: a processor behind the transport's output, in a small pipeline.

`RecordedCall` is what you take. The transport stands in for yours: its user says voicemail.wav for
three seconds, and interrupts the bot. Needs pipecat-ai.
"""

import asyncio
import wave
from pathlib import Path

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    EndWorkerFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from recorder import Call, RecordOptions, VoiceEvent

MESSAGE = Path(__file__).with_name("voicemail.wav")
PARAMS = TransportParams(
    audio_in_enabled=True, audio_out_enabled=True, audio_out_end_silence_secs=0
)


class RecordedCall(FrameProcessor):
    """Comes behind `transport.output()`: there it sees what was sent, when it was sent."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                self._call.feed(speak=frame.audio)
            case BotStartedSpeakingFrame():
                # 10 ms of silence: what comes next may come a little after the last has ended.
                self._call.play(bytes(2 * self._call.sample_rate // 100))
            case OutputAudioRawFrame():  # as it is sent, which may be ahead of time
                self._call.play(frame.audio, frame.sample_rate)
            case InterruptionFrame():
                self._call.clear()
        await self.push_frame(frame, direction)


class Microphone(BaseInputTransport):
    """In place of `transport.input()`: the user says the sample message."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._user = self.create_task(self._speak())

    async def _speak(self) -> None:
        with wave.open(str(MESSAGE)) as source:
            for _ in range(150):  # 3 s
                await asyncio.sleep(0.02)
                said = source.readframes(160)
                await self.push_audio_frame(InputAudioRawFrame(said, 8000, 1))
        await self.push_frame(EndWorkerFrame(), FrameDirection.UPSTREAM)


class Speaker(BaseOutputTransport):
    """In place of `transport.output()`: one that takes audio as fast as it is made."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        return bool(frame.audio)


async def main() -> None:
    """Let the bot speak for three seconds; the user interrupts it."""
    async with Call(sample_rate=8000, live=True) as call:
        pipeline = Pipeline([Microphone(PARAMS), Speaker(PARAMS), RecordedCall(call)])
        worker = PipelineWorker(
            pipeline,
            params=PipelineParams(audio_in_sample_rate=8000, audio_out_sample_rate=24000),
        )

        async def interrupt(event: VoiceEvent) -> None:  # what else decides it, sends this, too
            if event.leg == "speak" and event.state == "start":
                await worker.queue_frame(InterruptionFrame())

        call.on("voice", interrupt)
        action = await call.record(RecordOptions.whole_call(stereo=True))
        tone = 3000 * np.sin(2 * np.pi * 440 * np.arange(3 * 24000) / 24000)
        await worker.queue_frame(TTSAudioRawFrame(tone.astype(np.int16).tobytes(), 24000, 1))
        runner = WorkerRunner()
        await runner.add_workers(worker)
        await runner.run()
    event = action.result
    assert event is not None
    heard = call.stats.listen.taken / call.sample_rate
    print(f"{event.duration:.1f} s, of which the user heard the bot for {heard:.2f} s: {event.url}")


if __name__ == "__main__":
    logger.disable("pipecat")
    asyncio.run(main())
