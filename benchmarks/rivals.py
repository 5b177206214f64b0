# SPDX-License-Identifier: MIT
"""Others that do a part of what recorder does.

Each skips the benchmark that asks for it where it is not installed. The detectors, behind the
interface of test_core.py, decide too, as their users would: a rival that only measured would be
compared with less than recorder does.
"""

import asyncio
import ctypes
import warnings
import weakref
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pytest

from benchmarks.signals import RATE, Samples, frame_length
from recorder.writing.mp3 import BIT_RATES

_FRAME: Final = frame_length()
_LAME_QUALITY: Final = 5  # recorder's


class Spandsp:
    """The DTMF receiver of spandsp: libspandsp2 of Debian, called through ctypes."""

    _MOST_DIGITS: Final = 128  # as many as it buffers

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL("libspandsp.so.2")
        except OSError:
            pytest.skip("spandsp is not installed: apt install libspandsp2")
        library.dtmf_rx_init.restype = ctypes.c_void_p
        library.dtmf_rx_init.argtypes = [ctypes.c_void_p] * 3
        library.dtmf_rx.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        library.dtmf_rx_get.restype = ctypes.c_size_t
        library.dtmf_rx_get.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        library.dtmf_rx_free.argtypes = [ctypes.c_void_p]
        self._receive, self._get = library.dtmf_rx, library.dtmf_rx_get
        self._state = library.dtmf_rx_init(None, None, None)
        self._digits = ctypes.create_string_buffer(self._MOST_DIGITS + 1)
        self._found = ""
        weakref.finalize(self, library.dtmf_rx_free, self._state)

    def by_frame(self, frames: Sequence[bytes]) -> None:
        receive, get, state, digits = self._receive, self._get, self._state, self._digits
        found = []
        for frame in frames:
            receive(state, frame, _FRAME)
            if get(state, digits, self._MOST_DIGITS):
                found.append(digits.value)
        self._found = b"".join(found).decode()

    def at_once(self, pcm: bytes) -> None:
        self._receive(self._state, pcm, len(pcm) // 2)
        self._get(self._state, self._digits, self._MOST_DIGITS)
        self._found = self._digits.value.decode()

    def found(self) -> str:
        """The digits of the last run."""
        return self._found


class Goertzel:
    """What the textbook does, in numpy: the power of eight tones in each frame.

    A digit is on when the strongest tone of each group together are most of the frame's power.
    Nothing guards it against speech, and a digit's place is exact to a frame only.
    """

    _SHARE: Final = 0.8
    _WEAKEST: Final = 1e4 * _FRAME  # about -50 dBFS
    _KEYS: Final = np.array(list("123A456B789C*0#D")).reshape(4, 4)

    def __init__(self) -> None:
        tones = np.array([697, 770, 852, 941, 1209, 1336, 1477, 1633])
        turns = 2 * np.pi / RATE * np.outer(np.arange(_FRAME), tones)
        scale = np.sqrt(2 / _FRAME)  # a tone's power is then its part of the sum of squares
        self._bins = (scale * np.hstack([np.cos(turns), np.sin(turns)])).astype(np.float32)
        self._found: list[str] = []

    def by_frame(self, frames: Sequence[bytes]) -> None:
        self._found = found = []
        last = ""
        for frame in frames:
            x = np.frombuffer(frame, np.int16).astype(np.float32)
            y = x @ self._bins
            power = y[:8] ** 2 + y[8:] ** 2
            low, high = int(power[:4].argmax()), int(power[4:].argmax())
            total = float(x @ x)
            on = total > self._WEAKEST and power[low] + power[4 + high] > self._SHARE * total
            digit = str(self._KEYS[low, high]) if on else ""
            if digit and digit != last:
                found.append(digit)
            last = digit

    def at_once(self, pcm: bytes) -> None:
        x = np.frombuffer(pcm, np.int16).astype(np.float32).reshape(-1, _FRAME)
        y = x @ self._bins
        power = y[:, :8] ** 2 + y[:, 8:] ** 2
        low, high = power[:, :4].argmax(axis=1), power[:, 4:].argmax(axis=1)
        total = np.einsum("ij,ij->i", x, x)
        strongest = power[:, :4].max(axis=1) + power[:, 4:].max(axis=1)
        on = (total > self._WEAKEST) & (strongest > self._SHARE * total)
        digits = np.where(on, self._KEYS[low, high], "")
        new = on & (digits != np.concatenate([[""], digits[:-1]]))
        self._found = digits[new].tolist()

    def found(self) -> str:
        """The digits of the last run."""
        return "".join(self._found)


class WebRtcVad:
    """WebRTC's voice activity detector at its strictest. It takes a frame at a time only."""

    def __init__(self) -> None:
        webrtcvad = pytest.importorskip(
            "webrtcvad", reason="webrtcvad is not installed: pip install webrtcvad-wheels"
        )
        self._is_speech = webrtcvad.Vad(3).is_speech
        self._found = 0

    def by_frame(self, frames: Sequence[bytes]) -> None:
        is_speech = self._is_speech
        found = 0
        for frame in frames:
            if is_speech(frame, RATE):
                found += 1
        self._found = found

    def found(self) -> int:
        """How many frames of the last run are speech."""
        return self._found


class Auditok:
    """auditok's energy of a frame, against its default threshold."""

    _THRESHOLD: Final = 50

    def __init__(self) -> None:
        reason = "auditok is not installed: pip install auditok"
        self._signal = pytest.importorskip("auditok.signal", reason=reason)
        util = pytest.importorskip("auditok.util", reason=reason)
        self._is_valid = util.AudioEnergyValidator(self._THRESHOLD, 2, 1).is_valid
        self._found = 0

    def by_frame(self, frames: Sequence[bytes]) -> None:
        is_valid = self._is_valid
        found = 0
        for frame in frames:
            if is_valid(frame):
                found += 1
        self._found = found

    def at_once(self, pcm: bytes) -> None:
        audio = self._signal.to_array(pcm, 2, 1).reshape(-1, _FRAME)
        energies = self._signal.calculate_energy(audio)
        self._found = int(np.count_nonzero(energies >= self._THRESHOLD))

    def found(self) -> int:
        """How many frames of the last run are above the threshold."""
        return self._found


class Pipecat:
    """Pipecat's AudioBufferProcessor, stereo, that merges each second and has no handler.

    Its frames are made beforehand, and `process_frame` is called without a pipeline. Set up as a
    pipeline does it, it also reads the pipeline's clock for each frame.
    """

    def __init__(self, ticks: Sequence[tuple[bytes, bytes]], *, is_set_up: bool = False) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._begin(ticks, is_set_up=is_set_up))

    async def _begin(self, ticks: Sequence[tuple[bytes, bytes]], *, is_set_up: bool) -> None:
        reason = "pipecat is not installed: pip install 'pipecat-ai>=1.14,<2'"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies
            pytest.importorskip("loguru", reason=reason).logger.disable("pipecat")
            module = pytest.importorskip(
                "pipecat.processors.audio.audio_buffer_processor", reason=reason
            )
            frames: Any = pytest.importorskip("pipecat.frames.frames")
            processors: Any = pytest.importorskip("pipecat.processors.frame_processor")
        self._direction = processors.FrameDirection.DOWNSTREAM
        self._processor: Any = module.AudioBufferProcessor(
            sample_rate=RATE, num_channels=2, buffer_size=2 * RATE
        )
        if is_set_up:
            clock: Any = pytest.importorskip("pipecat.clocks.system_clock")
            tasks: Any = pytest.importorskip("pipecat.utils.asyncio.task_manager")
            setup = processors.FrameProcessorSetup(
                clock=clock.SystemClock(), task_manager=tasks.TaskManager(), pipeline_worker=None
            )
            await self._processor.setup(setup)
        else:
            self._processor._sample_rate = RATE  # the only thing of it that recording needs
        self._frames = [
            (
                frames.InputAudioRawFrame(audio=speak, sample_rate=RATE, num_channels=1),
                frames.OutputAudioRawFrame(audio=listen, sample_rate=RATE, num_channels=1),
            )
            for speak, listen in ticks
        ]

    def run(self, rounds: int) -> int:
        """Buffer it all so often; return how many ticks that was."""
        self._runner.run(self._buffer(rounds))
        return rounds * len(self._frames)

    async def _buffer(self, rounds: int) -> None:
        # Anew each time: it takes the time between two runs for silence.
        await self._processor.stop_recording()
        await self._processor.start_recording()
        process, direction = self._processor.process_frame, self._direction
        for _ in range(rounds):
            for speak, listen in self._frames:
                await process(speak, direction)
                await process(listen, direction)
        assert self._processor.has_audio() or rounds * len(self._frames) % (RATE // _FRAME) == 0

    def close(self) -> None:
        """Let go of the event loop."""
        self._runner.close()


class Lame:
    """LAME alone, with the settings of recorder's MP3: blocks of half a second in, no file."""

    def __init__(self, audio: Samples) -> None:
        lameenc = pytest.importorskip("lameenc")
        self._lame = lameenc.Encoder()
        self._lame.silence()
        self._lame.set_in_sample_rate(RATE)
        self._lame.set_out_sample_rate(RATE)
        self._lame.set_channels(1)
        self._lame.set_bit_rate(BIT_RATES[RATE])
        self._lame.set_quality(_LAME_QUALITY)
        pcm, size = audio.tobytes(), RATE  # bytes of half a second
        self._blocks = [pcm[at : at + size] for at in range(0, len(pcm), size)]
        self._ticks = len(audio) // _FRAME

    def run(self, rounds: int) -> int:
        """Encode it all so often; return how many ticks that was."""
        encode = self._lame.encode
        for _ in range(rounds):
            for block in self._blocks:
                encode(block)
        return rounds * self._ticks

    def close(self) -> None:
        """End its stream."""
        self._lame.flush()
