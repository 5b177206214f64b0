# SPDX-License-Identifier: MIT
"""The border to the C core (csrc/recorder_core.h): the only module that touches it.

Detectors here hear one leg; positions are in samples since the detector's first one. Their
samples are the bytes of native 16-bit PCM, reached through a pointer that `samples` makes once
and several detectors may share.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from recorder._core import ffi, lib
from recorder.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

SAMPLE_RATES: Final = (8000, 16000, 24000, 32000, 44100, 48000)
DIGITS: Final = "0123456789ABCD*#"

EdgeKind = Literal["voice_start", "voice_end", "digit_start", "digit_end", "voice_revised"]
Encoding = Literal["pcmu", "pcma"]

_NO_LEVELS: Final = ffi.NULL

_KINDS: Final[dict[int, EdgeKind]] = {
    lib.REC_VOICE_START: "voice_start",
    lib.REC_VOICE_END: "voice_end",
    lib.REC_DIGIT_START: "digit_start",
    lib.REC_DIGIT_END: "digit_end",
    lib.REC_VOICE_REVISED: "voice_revised",
}


class Edge(NamedTuple):
    """Something began or ended on a leg.

    `position` is in samples: the first sample of what began, the one after the last of what
    ended. `digit` names the DTMF digit; it is empty for voice.

    A `voice_revised` takes back the stretches of voice that began at its position or later, by
    what is known now; the next `replaced_by` voice edges take their place. It holds as of the
    position `known`. What comes to light after one may have a position before the `known` of
    its own edge: nothing happens any more before that.
    """

    kind: EdgeKind
    position: int
    digit: str = ""
    replaced_by: int = 0
    known: int = 0


def check_sample_rate(sample_rate: int) -> None:
    """Raise OptionError unless the rate is one of SAMPLE_RATES."""
    if not isinstance(sample_rate, int) or sample_rate not in SAMPLE_RATES:
        allowed = ", ".join(map(str, SAMPLE_RATES))
        raise OptionError(f"sample_rate is {sample_rate!r}: allowed are {allowed}")


def level_frame(sample_rate: int) -> int:
    """Samples in the 20 ms over which level is measured."""
    return int(lib.rec_level_frame(sample_rate))


# samples(pcm): a pointer to native 16-bit PCM in bytes, valid as long as it is held. No function of
# Python's own: it is called for every frame.
samples: Final = partial(ffi.from_buffer, "int16_t[]")


class _EdgeBuffer:
    """Room for the edges that one call of a process function with 0.1 s of audio may report."""

    __slots__ = ("capacity", "edges")

    def __init__(self, rate: int) -> None:
        self.capacity = rate // 10
        self.edges = ffi.new("rec_edge[]", lib.rec_edges_bound(rate, self.capacity))

    def read(self, count: int) -> "list[Edge]":
        return [_edge(self.edges[i]) for i in range(count)]

    def slices(self, n: int) -> "Iterator[tuple[int, int]]":
        """Where to cut n samples so that the room is enough: offsets and lengths."""
        for at in range(0, n, self.capacity):
            yield at, min(self.capacity, n - at)


def _edge(edge: Any) -> Edge:
    kind = _KINDS[edge.kind]
    if kind == "voice_revised":
        return Edge(kind, edge.position, replaced_by=edge.detail, known=edge.known)
    return Edge(kind, edge.position, chr(edge.detail) if edge.detail else "", known=edge.known)


class VoiceDetector:
    """When there is input on a leg: three 20 ms frames of five above the gate, and the noise.

    `input_sensitivity` S, 0 to 100, puts the gate at -S dBFS. With `noise_tracking` steady noise
    above the gate is learnt, and what was taken for input may be revised up to 4 s later; a
    line that was noisy is quiet again after `quiet_blocks` times 100 ms below the gate. With
    `voice_only` breaths, knocks and slams are no input.
    """

    __slots__ = ("_buffer", "_process", "_state", "frame")

    def __init__(
        self,
        sample_rate: int,
        input_sensitivity: float,
        *,
        noise_tracking: bool = True,
        voice_only: bool = False,
        quiet_blocks: int = 4,
    ) -> None:
        check_sample_rate(sample_rate)
        self._state = ffi.new("rec_voice *")
        options = ffi.new("rec_voice_options *")
        options.input_sensitivity = input_sensitivity
        options.noise_tracking = noise_tracking
        options.voice_only = voice_only
        options.quiet_blocks = quiet_blocks
        if lib.rec_voice_init(self._state, sample_rate, options):
            raise OptionError(f"input_sensitivity is {input_sensitivity!r}: allowed is 0 to 100")
        self._buffer = _EdgeBuffer(sample_rate)
        self._process = lib.rec_voice_process
        self.frame = level_frame(sample_rate)

    def process(self, pcm: Any, n: int) -> "Sequence[Edge]":
        """Hear n samples; return the edges that became known, in the order they take effect."""
        buffer = self._buffer
        if n > buffer.capacity:
            slices = buffer.slices(n)
            return [edge for at, part in slices for edge in self.process(pcm + at, part)]
        count = self._process(self._state, pcm, n, buffer.edges, _NO_LEVELS)
        return buffer.read(count) if count else ()

    def process_levels(self, pcm: Any, n: int, levels: "NDArray[np.float32]") -> "list[Edge]":
        """As `process` from a detector's start, and write each frame's level, in dBFS, to `levels`.

        `levels` has room for n // frame + 1 values.
        """
        out = ffi.from_buffer("float[]", levels)
        edges: list[Edge] = []
        # 0.1 s holds whole frames at every rate.
        for at, part in self._buffer.slices(n):
            count = self._process(
                self._state, pcm + at, part, self._buffer.edges, out + at // self.frame
            )
            edges += self._buffer.read(count)
        return edges

    def finish(self) -> "Sequence[Edge]":
        """No samples will follow: the edges of what was still open."""
        return self._buffer.read(lib.rec_voice_finish(self._state, self._buffer.edges))

    @property
    def known(self) -> int:
        """No edge before this position will be reported any more, revisions aside."""
        return int(lib.rec_voice_known(self._state))


class DigitDecoder:
    """DTMF digits on a leg, with the onset and end of each tone."""

    __slots__ = ("_buffer", "_process", "_state")

    def __init__(self, sample_rate: int) -> None:
        check_sample_rate(sample_rate)
        self._state = ffi.new("rec_dtmf *")
        lib.rec_dtmf_init(self._state, sample_rate)
        self._buffer = _EdgeBuffer(sample_rate)
        self._process = lib.rec_dtmf_process

    def process(self, pcm: Any, n: int) -> "Sequence[Edge]":
        """Hear n samples; return the edges that became known."""
        buffer = self._buffer
        if n > buffer.capacity:
            slices = buffer.slices(n)
            return [edge for at, part in slices for edge in self.process(pcm + at, part)]
        count = self._process(self._state, pcm, n, buffer.edges)
        return buffer.read(count) if count else ()

    def finish(self) -> "Sequence[Edge]":
        """No samples will follow: the edges of what was still open."""
        return self._buffer.read(lib.rec_dtmf_finish(self._state, self._buffer.edges))

    @property
    def known(self) -> int:
        """No digit that starts before this position will be reported any more."""
        return int(lib.rec_dtmf_known(self._state))

    def sounding(self, digit: str) -> int | None:
        """Where a tone of this digit that sounds now, sure or not yet, began."""
        position = int(lib.rec_dtmf_sounding(self._state, ord(digit)))
        return None if position < 0 else position


_DECODE: Final[dict[Encoding, "Callable[..., None]"]] = {
    "pcmu": lib.rec_ulaw_decode,
    "pcma": lib.rec_alaw_decode,
}
_ENCODE: Final[dict[Encoding, "Callable[..., None]"]] = {
    "pcmu": lib.rec_ulaw_encode,
    "pcma": lib.rec_alaw_encode,
}


def g711_decode(coded: bytes, encoding: Encoding) -> bytes:
    """ITU-T G.711 to native 16-bit PCM."""
    pcm = np.empty(len(coded), np.int16)
    source, target = ffi.from_buffer("uint8_t[]", coded), ffi.from_buffer("int16_t[]", pcm)
    _DECODE[encoding](source, target, len(coded))
    return pcm.tobytes()


def g711_encode(pcm: bytes, encoding: Encoding) -> bytes:
    """Native 16-bit PCM to ITU-T G.711."""
    coded = np.empty(len(pcm) // 2, np.uint8)
    _ENCODE[encoding](samples(pcm), ffi.from_buffer("uint8_t[]", coded), len(coded))
    return coded.tobytes()
