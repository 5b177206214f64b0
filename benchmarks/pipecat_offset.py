# SPDX-License-Identifier: MIT
"""Where a stereo recording of a Pipecat bot has what the bot said, beside where it was heard.

    python -m benchmarks.pipecat_offset [--seconds 24] [--directory DIR]

Pipecat's pipeline and its BaseOutputTransport, in real time: a microphone's noise goes in, and a
bot says 2.4 s of noise every 4 s. The far end is simulated: it hears what it is sent, in a row. Its
transport is

- paced: a write returns when a chunk of 40 ms is still to be heard, as Pipecat's WebSockets do;
- ahead: when a second is still to be heard, as LiveKit's does;
- behind: when 10 ms of the chunk are still to be heard, as SmallWebRTC's does.

In `ahead, interrupted` the user interrupts each utterance, and the far end drops what it has not
played yet; `unheard` is how much of the bot is in the recording that nobody heard.

In the pipeline, behind the output, are the processor of examples/pipecat_processor.py and Pipecat's
AudioBufferProcessor. (Behind, recorder's feeds the audio as heard instead of playing it.) Both are
given the same frames. An offset is that of the worst chunk, since the microphone's first sample;
`across` is that against the microphone's audio of the same moment. `late` is
how late the machine let a frame of the microphone be: what is later by chance is misplaced by as
much. Goal: recorder's offset is at most 20 ms. Exit status 1 when it is missed.
"""

import argparse
import asyncio
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from recorder import Call, RecordOptions
from tests.pipecat_calls import AHEAD, BEHIND, PACED, Placed, Utterance, hold, placed

_GOAL_SECONDS: Final = 0.02
_EVERY_SECONDS: Final = 4.0
_UTTERANCE_SECONDS: Final = 2.4
_INTERRUPTED_SECONDS: Final = 1.22  # in the middle of a chunk
_TRANSPORTS: Final = {
    "paced": PACED,
    "ahead": AHEAD,
    "ahead, interrupted": AHEAD,
    "behind": BEHIND,
}
_EXAMPLE: Final = Path(__file__).parent.parent / "examples" / "pipecat_processor.py"


class _AsHeard(FrameProcessor):
    """For a transport whose write returns when the audio was heard: it is fed, not played."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self._call = call

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                self._call.feed(speak=frame.audio)
            case OutputAudioRawFrame():
                self._call.feed(listen=frame.audio)
        await self.push_frame(frame, direction)


def _example() -> Any:
    spec = importlib.util.spec_from_file_location("pipecat_processor", _EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def _measured(
    ahead: float, seconds: float, folder: Path, *, as_heard: bool, is_interrupted: bool
) -> tuple[Placed, Placed, float]:
    """Where recorder's file has it, where Pipecat's buffers do, and how late the machine was."""
    count = max(1, round(seconds / _EVERY_SECONDS))
    utterances = [
        Utterance(
            at=at,
            seconds=_UTTERANCE_SECONDS,
            interrupted_at=at + _INTERRUPTED_SECONDS if is_interrupted else None,
        )
        for at in (0.5 + _EVERY_SECONDS * n for n in range(count))
    ]
    tracks: list[Any] = []
    rival = AudioBufferProcessor(num_channels=2, auto_start_recording=True)

    async def keep(_: object, user: bytes, bot: bytes, rate: int, channels: int) -> None:
        del rate, channels
        tracks.extend(np.frombuffer(leg, np.int16) for leg in (user, bot))

    rival.add_event_handler("on_track_audio_data", keep)
    async with Call(sample_rate=8000, live=True, directory=folder) as call:
        action = await call.record(RecordOptions.whole_call(stereo=True))
        own = _AsHeard(call) if as_heard else _example().RecordedCall(call)
        conversation = await hold(utterances, ahead=ahead, processors=lambda: [own, rival])
    assert action.result is not None
    speak, listen = soundfile.read(action.result.path, dtype="int16")[0].T
    own_placed, rival_placed = placed(conversation, speak, listen), placed(conversation, *tracks)
    return own_placed, rival_placed, conversation.late


def _row(transport: str, name: str, found: Placed, late: float) -> str:
    first, last = 1000 * found.offsets[0], 1000 * found.offsets[-1]
    worst = 1000 * np.max(np.abs(found.offsets))
    across = 1000 * np.max(np.abs(found.across))
    return (
        f"| {transport} | {name} | {worst:,.0f} | {first:,.0f} | {last:,.0f} | {across:,.0f}"
        f" | {found.gaps} | {found.unheard:.2f} | {1000 * late:.0f} |"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, in milliseconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipecat_offset")
    parser.add_argument("--seconds", type=float, default=24, help="of each call")
    parser.add_argument("--directory", type=Path, help="where to make a folder for the files")
    chosen = parser.parse_args(arguments)
    print("| transport | | worst, ms | first | last | across | gaps | unheard, s | late, ms |")
    print("| --- | --- |" + " ---: |" * 7)
    is_met = True
    for transport, ahead in _TRANSPORTS.items():
        with tempfile.TemporaryDirectory(dir=chosen.directory) as folder:
            own, rival, late = asyncio.run(
                _measured(
                    ahead,
                    chosen.seconds,
                    Path(folder),
                    as_heard=ahead == BEHIND,
                    is_interrupted="interrupted" in transport,
                )
            )
        print(_row(transport, "recorder", own, late))
        print(_row(transport, "AudioBufferProcessor", rival, late), flush=True)
        is_met = is_met and bool(np.max(np.abs(own.offsets)) <= _GOAL_SECONDS)
    print(f"goal, at most {1000 * _GOAL_SECONDS:.0f} ms: {'met' if is_met else 'MISSED'}")
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
