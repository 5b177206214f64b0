# SPDX-License-Identifier: MIT
"""A call in a real Pipecat pipeline, and where in its recordings what the party heard lies.

Pipecat's own are the pipeline, BaseInputTransport and BaseOutputTransport. Simulated is what lies
behind a transport: a microphone, and a far end that hears what it is sent, chunk after chunk.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from tests import signals
from tests.signals import Pcm

logger.disable("pipecat")

RATE: Final = 8000
FRAME_SECONDS: Final = 0.02
CHUNK_SECONDS: Final = 0.04  # Pipecat's default
_FRAME: Final = 160
_SNIPPET: Final = 32  # samples: of noise, no two are alike
_TAIL_SECONDS: Final = 1.5  # of the call, after the last utterance

# How long after it was sent a chunk's write may return: when so much is still to be heard.
PACED: Final = CHUNK_SECONDS  # as Pipecat's WebSocket transports do
AHEAD: Final = 1.0  # as LiveKit's does
BEHIND: Final = 0.01  # as SmallWebRTC's does


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What the bot says, and when, in seconds of the call."""

    at: float
    seconds: float
    interrupted_at: float | None = None


@dataclass(slots=True, kw_only=True)
class Chunk:
    """Audio that the far end hears from `start` on, in seconds of the loop's time."""

    start: float
    audio: bytes
    is_cut: bool = False

    @property
    def end(self) -> float:
        return self.start + len(self.audio) / 2 / RATE


class Microphone(BaseInputTransport):
    """Noise, 20 ms at a time, in real time.

    `began` is when its first sample was heard, `late` by how much the machine let a frame be late.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(_params())
        self.said = signals.noise(seconds, -40, RATE, seed=1)
        self.began = self.late = 0.0
        self.speaks = asyncio.Event()
        self._speaking: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._speaking = self.create_task(self._speak())

    async def _speak(self) -> None:
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        self.speaks.set()
        for n, said in enumerate(self.said.reshape(-1, _FRAME), 1):
            due = self.began + n * FRAME_SECONDS
            await asyncio.sleep(due - loop.time())
            self.late = max(self.late, loop.time() - due)
            await self.push_audio_frame(
                InputAudioRawFrame(audio=said.tobytes(), sample_rate=RATE, num_channels=1)
            )


class FarEnd(BaseOutputTransport):
    """Hears what it is sent, in a row. A write returns when no more than `ahead` is to be heard."""

    def __init__(self, ahead: float) -> None:
        super().__init__(_params())
        self.heard: list[Chunk] = []
        self._ahead = ahead

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now = asyncio.get_running_loop().time()
        start = max([now, *(chunk.end for chunk in self.heard[-1:])])
        self.heard.append(Chunk(start=start, audio=frame.audio))
        await asyncio.sleep(self.heard[-1].end - now - self._ahead)
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):  # whoever listens is told to drop the rest
            now = asyncio.get_running_loop().time()
            self.heard = [chunk for chunk in self.heard if chunk.start < now]
            for chunk in self.heard[-1:]:
                heard = chunk.audio[: 2 * round((now - chunk.start) * RATE)]
                chunk.is_cut = len(heard) < len(chunk.audio)
                chunk.audio = heard


def _params() -> TransportParams:
    return TransportParams(
        audio_in_enabled=True, audio_out_enabled=True, audio_out_end_silence_secs=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What was said and heard, in seconds since the microphone began.

    `late` is by how much the machine let a frame of the microphone be late.
    """

    said: Pcm
    heard: Sequence[Chunk]
    spoken: Sequence[Pcm]
    late: float


async def hold(
    utterances: Sequence[Utterance],
    *,
    ahead: float,
    processors: Callable[[], Sequence[FrameProcessor]],
) -> Conversation:
    """Let a bot say it all to a microphone's noise; `processors` come behind the output."""
    frames = round((max(one.at + one.seconds for one in utterances) + _TAIL_SECONDS) * 50)
    seconds = frames * FRAME_SECONDS
    microphone, far_end = Microphone(seconds), FarEnd(ahead)
    pipeline = Pipeline([microphone, far_end, *processors()])
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    spoken = [signals.noise(one.seconds, -20, RATE, seed=2 + n) for n, one in enumerate(utterances)]

    async def bot() -> None:
        loop = asyncio.get_running_loop()
        await microphone.speaks.wait()
        for one, audio in zip(utterances, spoken, strict=True):
            await asyncio.sleep(microphone.began + one.at - loop.time())
            frames = [
                TTSAudioRawFrame(audio=part.tobytes(), sample_rate=RATE, num_channels=1)
                for part in np.array_split(audio, max(1, round(one.seconds / 0.1)))
            ]
            await worker.queue_frames([TTSStartedFrame(), *frames, TTSStoppedFrame()])
            if one.interrupted_at is not None:
                await asyncio.sleep(microphone.began + one.interrupted_at - loop.time())
                await worker.queue_frame(InterruptionFrame())
        await asyncio.sleep(microphone.began + seconds - loop.time())
        await worker.queue_frame(EndFrame())

    await asyncio.gather(runner.run(), bot())
    heard = [replace(chunk, start=chunk.start - microphone.began) for chunk in far_end.heard]
    return Conversation(said=microphone.said, heard=heard, spoken=spoken, late=microphone.late)


# -- where it lies in a recording -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """How a recording has what the far end heard. Offsets are in seconds; NaN: it is not there.

    - `offsets`: of each utterance the worst of its chunks, which lie so much later in the file than
      they were heard, both since the microphone's first sample.
    - `across`: the same against what the microphone heard at that moment, wherever the file has it.
    - `gaps`: joints at which a chunk does not follow the one before it although it was heard so.
    - `unheard`: seconds of the bot's audio that nobody heard.
    """

    offsets: Sequence[float]
    across: Sequence[float]
    gaps: int
    unheard: float


def placed(conversation: Conversation, speak: Pcm, listen: Pcm) -> Placed:
    """Compare a recording's legs with what was said and heard."""
    in_speak, in_listen = _Finder(speak), _Finder(listen)
    spoken = [audio.tobytes() for audio in conversation.spoken]
    began = _said_at(conversation.said, 0, in_speak)
    offsets: list[list[float]] = [[] for _ in spoken]
    across: list[list[float]] = [[] for _ in spoken]
    gaps = 0
    before, before_at = -1.0, -1
    for chunk in conversation.heard:
        snippet = chunk.audio[: 2 * _SNIPPET]
        number = next((n for n, audio in enumerate(spoken) if snippet in audio), None)
        if number is None or chunk.is_cut:
            continue
        at = in_listen.find(snippet)
        moment = chunk.start * RATE
        then = _said_at(conversation.said, round(moment), in_speak)
        offsets[number].append((at - began - moment) / RATE if at >= 0 else np.nan)
        across[number].append((at - then) / RATE if at >= 0 else np.nan)
        is_next = abs(chunk.start - before) < 1 / RATE
        gaps += is_next and at != before_at
        before, before_at = chunk.end, at + len(chunk.audio) // 2
    heard = sum(np.count_nonzero(np.frombuffer(one.audio, np.int16)) for one in conversation.heard)
    return Placed(
        offsets=[_worst(some) for some in offsets],
        across=[_worst(some) for some in across],
        gaps=gaps,
        unheard=(np.count_nonzero(listen) - heard) / RATE,
    )


def _worst(offsets: Sequence[float]) -> float:
    return max(offsets, key=lambda offset: np.inf if np.isnan(offset) else abs(offset))


def _said_at(said: Pcm, moment: int, speak: "_Finder") -> int:
    """Where the file has a sample of the microphone's; near it something may have been put in."""
    for by in range(0, RATE, _SNIPPET):
        at = speak.find(said[moment + by : moment + by + _SNIPPET].tobytes())
        if at >= 0:
            return at - by
    raise ValueError("the microphone's audio is not there")


class _Finder:
    """Finds noise in noise: at its sample, -1 where it is not."""

    def __init__(self, audio: Pcm) -> None:
        self._data = np.ascontiguousarray(audio).tobytes()

    def find(self, snippet: bytes) -> int:
        at = self._data.find(snippet)
        while at % 2 and at >= 0:
            at = self._data.find(snippet, at + 1)
        return at // 2 if at >= 0 else -1
