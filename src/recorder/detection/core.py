# SPDX-License-Identifier: MIT
"""The border to the C core (csrc/recorder_core.h): the only module that touches it.

A `Line` is both legs of a call; its positions are the call's. A detector of its own is of one leg;
its positions count from its first sample, and its samples are native 16-bit PCM, reached through a
pointer that `samples` makes once and several detectors may share.
"""

import numbers
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np

from recorder._core import ffi, lib
from recorder.errors import OptionError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

SAMPLE_RATES: Final = (8000, 16000, 24000, 32000, 44100, 48000)
DIGITS: Final = "0123456789ABCD*#"

EdgeKind = Literal["voice_start", "voice_end", "digit_start", "digit_end", "voice_revised"]
Law = Literal["pcmu", "pcma"]

SPEAK: Final[int] = lib.REC_SPEAK
LISTEN: Final[int] = lib.REC_LISTEN
# What `Line.feed` may do with a leg: see rec_line_feed.
ASK: Final[int] = lib.REC_LEG_ASK
CONTINUES: Final[int] = lib.REC_LEG_CONTINUES
QUIET: Final[int] = lib.REC_LEG_QUIET

# For `Line.feed`: a leg that is not fed.
NO_FRAME: Final = ffi.NULL

_NO_LEVELS: Final = ffi.NULL
_NOTHING_KEPT: Final = 2**63 - 1
_FIRST_TAP: Final = 2  # sources of reports: the legs' digits come first
_SPARE_REPORTS: Final = 16
# So much of a whole file is processed at a time without Python's lock.
_SLICE_SECONDS: Final = 40

# Memory that C fills before anyone reads it.
_uncleared: Final = ffi.new_allocator(should_clear_after_alloc=False)

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

    A `voice_revised` withdraws the stretches of voice that began at its position or later; the
    next `replaced_by` voice edges take their place. It holds as of the position `settled`. An edge
    after it may have a position before its own `settled`: it takes effect there. For a
    digit `settled` is 0.
    """

    kind: EdgeKind
    position: int
    digit: str = ""
    replaced_by: int = 0
    settled: int = 0


class SampleError(Exception):
    """A float sample is far past full scale, or no number; `index` says which."""

    def __init__(self, index: int) -> None:
        super().__init__(f"expected a sample, got a value past full scale at index {index}")
        self.index = index


def check_sample_rate(sample_rate: object) -> int:
    """Return the rate as an int; OptionError unless it is one of SAMPLE_RATES."""
    is_whole = isinstance(sample_rate, numbers.Integral) and not isinstance(sample_rate, bool)
    if not is_whole or sample_rate not in SAMPLE_RATES:
        expected = ", ".join(map(str, SAMPLE_RATES))
        raise OptionError(f"sample_rate: expected one of {expected}, got {shown(sample_rate)}")
    return int(sample_rate)


def level_frame(sample_rate: int) -> int:
    """Samples in the 20 ms over which level is measured."""
    return int(lib.rec_level_frame(sample_rate))


# samples(pcm): a pointer to native 16-bit PCM in bytes, valid as long as it is held. No function of
# Python's own: it is called for every frame.
samples: Final = partial(ffi.from_buffer, "int16_t[]")


class _EdgeBuffer:
    """Room for the edges that one call of a process function with `capacity` samples may report."""

    __slots__ = ("capacity", "edges")

    def __init__(self, rate: int, capacity: int) -> None:
        self.capacity = capacity
        self.edges = _uncleared("rec_edge[]", lib.rec_edges_bound(rate, capacity))

    def read(self, count: int) -> "list[Edge]":
        return [_edge(self.edges[i]) for i in range(count)]

    def slices(self, n: int) -> "Iterator[tuple[int, int]]":
        """Where to cut n samples so that the room is enough: offsets and lengths."""
        for at in range(0, n, self.capacity):
            yield at, min(self.capacity, n - at)


def _buffer_for(rate: int, n: int) -> "_EdgeBuffer":
    """For n samples in few calls."""
    return _EdgeBuffer(rate, min(n, _SLICE_SECONDS * rate))


def _edge(edge: Any) -> Edge:
    kind = _KINDS[edge.kind]
    if kind == "voice_revised":
        return Edge(kind, edge.position, replaced_by=edge.detail, settled=edge.settled)
    return Edge(kind, edge.position, chr(edge.detail) if edge.detail else "", settled=edge.settled)


class VoiceDetector:
    """When there is input on a leg: three 20 ms frames of five above the gate, and the noise.

    `input_sensitivity` S, 0 to 100, puts the gate at -S dBFS. With `noise_tracking` steady noise
    above the gate is learnt, and what was taken for input may be revised up to 4 s later; a
    line that was noisy is quiet again after `quiet_blocks` times 100 ms below the gate. With
    `voice_only` breaths, knocks and slams are no input.
    """

    __slots__ = ("_buffer", "_rate", "_state", "frame")

    def __init__(
        self,
        sample_rate: int,
        input_sensitivity: float,
        *,
        noise_tracking: bool = True,
        voice_only: bool = False,
        quiet_blocks: int = 4,
    ) -> None:
        sample_rate = check_sample_rate(sample_rate)
        self._state = _uncleared("rec_voice *")
        options = _voice_options(input_sensitivity, noise_tracking, voice_only, quiet_blocks)
        if lib.rec_voice_init(self._state, sample_rate, options):
            raise OptionError(_sensitivity_refused(input_sensitivity))
        self._rate = sample_rate
        self._buffer = _EdgeBuffer(sample_rate, sample_rate // 10)
        self.frame = level_frame(sample_rate)

    def process(self, pcm: Any, n: int) -> "Sequence[Edge]":
        """Take n samples; return the edges that were decided, in the order they take effect."""
        buffer = self._buffer
        if n > buffer.capacity:
            return self._process_long(pcm, n, None)
        count = lib.rec_voice_process(self._state, pcm, n, buffer.edges, _NO_LEVELS)
        return buffer.read(count) if count else ()

    def process_levels(self, pcm: Any, n: int, levels: "NDArray[np.float32]") -> "list[Edge]":
        """As `process` where a frame begins, and write each frame's level, in dBFS, to `levels`.

        `levels` has room for n // frame + 1 values.
        """
        return self._process_long(pcm, n, ffi.from_buffer("float[]", levels))

    def _process_long(self, pcm: Any, n: int, levels: Any) -> "list[Edge]":
        edges: list[Edge] = []
        is_long = n >= self._rate
        process = lib.unlocked_voice_process if is_long else lib.rec_voice_process
        buffer = _buffer_for(self._rate, n) if is_long else self._buffer
        # A buffer's capacity is whole frames, but for the last one.
        for at, part in buffer.slices(n):
            out = _NO_LEVELS if levels is None else levels + at // self.frame
            edges += buffer.read(process(self._state, pcm + at, part, buffer.edges, out))
        return edges

    def finish(self) -> "Sequence[Edge]":
        """No samples will follow: the edges of what was still open."""
        return self._buffer.read(lib.rec_voice_finish(self._state, self._buffer.edges))

    @property
    def settled_until(self) -> int:
        """No edge before this position will be reported any more, revisions aside."""
        return int(lib.rec_voice_settled_until(self._state))


def _voice_options(
    input_sensitivity: float, noise_tracking: bool, voice_only: bool, quiet_blocks: int
) -> Any:
    return ffi.new(
        "rec_voice_options *", (input_sensitivity, noise_tracking, voice_only, quiet_blocks)
    )


def _sensitivity_refused(input_sensitivity: float) -> str:
    return f"input_sensitivity: expected 0 to 100, got {input_sensitivity!r}"


@cache
def _dtmf_tables(sample_rate: int) -> Any:
    """What all decoders of one rate share."""
    tables = _uncleared("rec_dtmf_tables *")
    lib.rec_dtmf_tables_init(tables, sample_rate)
    return tables


def _dtmf_decoder(sample_rate: int) -> Any:
    """Ready for its first sample. The tables stay as long as the process."""
    state = _uncleared("rec_dtmf *")
    lib.rec_dtmf_init(state, _dtmf_tables(sample_rate))
    return state


class DigitDecoder:
    """DTMF digits on a leg, with the onset and end of each tone."""

    __slots__ = ("_buffer", "_rate", "_state")

    def __init__(self, sample_rate: int) -> None:
        sample_rate = check_sample_rate(sample_rate)
        self._state = _dtmf_decoder(sample_rate)
        self._rate = sample_rate
        self._buffer = _EdgeBuffer(sample_rate, sample_rate // 10)

    def process(self, pcm: Any, n: int) -> "Sequence[Edge]":
        """Take n samples; return the edges that were decided."""
        buffer = self._buffer
        if n > buffer.capacity:
            return self._process_long(pcm, n)
        count = lib.rec_dtmf_process(self._state, pcm, n, buffer.edges)
        return buffer.read(count) if count else ()

    def _process_long(self, pcm: Any, n: int) -> "list[Edge]":
        edges: list[Edge] = []
        is_long = n >= self._rate
        process = lib.unlocked_dtmf_process if is_long else lib.rec_dtmf_process
        buffer = _buffer_for(self._rate, n) if is_long else self._buffer
        for at, part in buffer.slices(n):
            edges += buffer.read(process(self._state, pcm + at, part, buffer.edges))
        return edges

    def finish(self) -> "Sequence[Edge]":
        """No samples will follow: the edges of what was still open."""
        return self._buffer.read(lib.rec_dtmf_finish(self._state, self._buffer.edges))

    @property
    def settled_until(self) -> int:
        """No digit that starts before this position will be reported any more."""
        return int(lib.rec_dtmf_settled_until(self._state))


class VoiceTap:
    """A voice detector on one leg of a `Line`; `source` marks its reports."""

    __slots__ = ("_state", "leg", "source")

    def __init__(self, state: Any, leg: int, source: int) -> None:
        self._state = state
        self.leg = leg
        self.source = source

    @property
    def settled_until(self) -> int:
        """No edge before this position of the call will be reported, revisions aside."""
        return int(lib.rec_tap_settled_until(self._state))

    def be_patient(self) -> None:
        """Let starts and ends of voice wait until something else is due."""
        lib.rec_tap_set_patient(self._state, 1)

    def move(self, start: int) -> None:
        """Begin at this position instead; nothing happens once it has begun."""
        lib.rec_tap_move(self._state, start)


class Line:
    """Both legs of a call, with its digits and the voice taps on them.

    A leg is SPEAK or LISTEN. Positions, of edges too, are samples since the call began. Digits are
    decoded on the speak leg from the start; reports of digits have their leg as source.

    `feed(speak, bytes, listen, bytes, at)` is rec_line_feed: PCM as `bytes`, or NO_FRAME. It
    returns 1 when something is due, 0 when nothing is, and less, having taken nothing, when the
    frames are to be placed and passed to `process`.
    """

    __slots__ = (
        "_decoders",
        "_keep_from",
        "_rate",
        "_reports",
        "_rings",
        "_sources",
        "_state",
        "_taps",
        "feed",
        "longest",
    )

    def __init__(self, sample_rate: int, max_skew: int) -> None:
        check_sample_rate(sample_rate)
        self._state = _uncleared("rec_line *")
        lib.rec_line_init(self._state, sample_rate, max_skew)
        self._rate = sample_rate
        self._keep_from: int | None = None
        # What C holds pointers to.
        self._decoders: dict[int, Any] = {}
        self._taps: dict[int, VoiceTap] = {}
        self._rings: dict[int, Any] = {}
        self._reports = self._new_reports(0)
        for leg in (SPEAK, LISTEN):
            self._set_ring(leg, 1 << (sample_rate - 1).bit_length())
        self._sources = _FIRST_TAP
        self.longest = sample_rate // 10
        self.feed: Callable[[Any, int, Any, int, int], int] = partial(
            lib.rec_line_feed, self._state
        )
        self.decode(SPEAK)

    # -- audio -----------------------------------------------------------------------------

    def process(self, speak: bytes | None, n: int, listen: bytes | None, m: int) -> bool:
        """Take the next n samples of the speak leg and m of the other; None is silence.

        Return whether something is due: reports, or the position of `set_due`.
        """
        most = max(n, m)
        short = (speak is not None and len(speak) < 2 * n) or (
            listen is not None and len(listen) < 2 * m
        )
        if most > self.longest or min(n, m) < 0 or short:
            raise ValueError(f"expected 0 to {self.longest} samples, got {n} and {m}")
        a = NO_FRAME if speak is None else speak
        b = NO_FRAME if listen is None else listen
        while (due := lib.rec_line_process(self._state, a, n, b, m)) < 0:
            self._make_room(n, m)
        return bool(due)

    def read(self, leg: int, start: int, end: int) -> bytes:
        """A stretch of a leg, as PCM: silence where `keep_from` did not keep it."""
        out = _uncleared("int16_t[]", end - start)
        lib.rec_line_read(self._state, leg, start, end - start, out)
        pcm: bytes = ffi.buffer(out)[:]
        return pcm

    def keep_from(self, position: int | None) -> None:
        """Let `read` have everything from this position on; None: nothing."""
        self._keep_from = position
        lib.rec_line_keep_from(self._state, _NOTHING_KEPT if position is None else position)

    def _make_room(self, *lengths: int) -> None:
        needed = lib.rec_line_waiting(self._state) + lib.rec_line_reports_needed(self._state)
        if needed > len(self._reports):
            self._reports = self._new_reports(needed)
        for leg, n in enumerate(lengths):
            position = self.position(leg)
            kept_from = position if self._keep_from is None else max(0, self._keep_from)
            capacity = len(self._rings[leg])
            while position - min(position, kept_from) + n > capacity:
                capacity *= 2
            if capacity > len(self._rings[leg]):
                self._set_ring(leg, capacity)

    def _set_ring(self, leg: int, capacity: int) -> None:
        ring = _uncleared("int16_t[]", capacity)
        lib.rec_line_set_ring(self._state, leg, ring, capacity)
        self._rings[leg] = ring

    def _new_reports(self, needed: int) -> Any:
        capacity = needed + _SPARE_REPORTS
        reports = _uncleared("rec_report[]", capacity)
        lib.rec_line_set_reports(self._state, reports, capacity)
        return reports

    # -- reports ---------------------------------------------------------------------------

    def take(self) -> "list[tuple[int, Edge]]":
        """The reports waiting, each with its source."""
        count = lib.rec_line_waiting(self._state)
        if not count:
            return []
        reports = self._reports
        taken = [(reports[i].source, _edge(reports[i].edge)) for i in range(count)]
        lib.rec_line_drop(self._state, count)
        return taken

    def attach(
        self,
        leg: int,
        start: int,
        *,
        input_sensitivity: float,
        noise_tracking: bool,
        voice_only: bool,
        quiet_blocks: int,
    ) -> VoiceTap:
        """Detect voice, as a VoiceDetector does, on a leg from a position on."""
        options = _voice_options(input_sensitivity, noise_tracking, voice_only, quiet_blocks)
        state = _uncleared("rec_tap *")
        source = self._sources
        if lib.rec_tap_init(state, self._rate, leg, start, source, options):
            raise OptionError(_sensitivity_refused(input_sensitivity))
        self._sources += 1
        self._taps[source] = tap = VoiceTap(state, leg, source)
        lib.rec_line_attach(self._state, state)
        self._make_room()
        return tap

    def detach(self, tap: VoiceTap) -> None:
        """Let the tap have no more samples; its reports that are waiting stay."""
        lib.rec_line_detach(self._state, tap._state)
        self._taps.pop(tap.source, None)

    def decode(self, leg: int) -> None:
        """Decode digits on the leg, too, from here on."""
        if leg not in self._decoders:
            self._decoders[leg] = _dtmf_decoder(self._rate)
            lib.rec_line_decode(self._state, leg, self._decoders[leg])
            self._make_room()

    def digits_settled_until(self, leg: int) -> int:
        """No digit of the leg that starts before this position will be reported any more."""
        return int(lib.rec_line_digits_settled_until(self._state, leg))

    def sounding(self, leg: int, digit: str) -> int | None:
        """Where the confirmed tone of this digit that is sounding on the leg began."""
        position = int(lib.rec_line_sounding(self._state, leg, ord(digit)))
        return None if position < 0 else position

    def finish_digits(self, leg: int) -> "list[Edge]":
        """The edges that the end of audio here would add; the line itself is unchanged."""
        buffer = _EdgeBuffer(self._rate, 0)
        copy = _uncleared("rec_dtmf *")
        count = lib.rec_line_finish_digits(self._state, leg, copy, buffer.edges)
        return buffer.read(count)

    # -- state -----------------------------------------------------------------------------

    def position(self, leg: int) -> int:
        """Where the leg continues."""
        return int(lib.rec_line_position(self._state, leg))

    def filled(self, leg: int) -> int:
        """Samples of silence put in."""
        return int(lib.rec_line_filled(self._state, leg))

    def alone(self, leg: int) -> int:
        """Samples that `feed` took of this leg since it last took any of the other."""
        return int(lib.rec_line_alone(self._state, leg))

    def set_alone(self, leg: int, n: int) -> None:
        """Set what `alone` counts on from."""
        lib.rec_line_set_alone(self._state, leg, n)

    def set_mode(self, leg: int, mode: int) -> None:
        """What `feed` may do with the leg: ASK, CONTINUES or QUIET."""
        lib.rec_line_set_mode(self._state, leg, mode)

    def set_due(self, position: int) -> None:
        """Let `feed` and `process` say when the leg that is further on reaches this position."""
        lib.rec_line_set_due(self._state, position)


# Past full scale a float saturates: filters and resamplers overshoot. So far past it, it was
# never scaled to [-1, 1].
_NOT_SCALED: Final = 2.0
_FULL_SCALE: Final = 32768.0
_MOST: Final = 2.0**21  # of floats in int16 units: what C can round
_PCM: Final = ffi.typeof("int16_t[]")


def floats_to_pcm(
    array: "NDArray[Any]", scale: float = _FULL_SCALE, limit: float = _NOT_SCALED
) -> bytes:
    """(n,) float32 or float64, in [-1, 1] unless scaled otherwise, to PCM, saturated.

    SampleError for one whose magnitude is not below `limit`: it was never scaled.
    """
    n = len(array)
    out = _uncleared(_PCM, n)
    convert = lib.rec_pcm_from_floats if array.itemsize == 4 else lib.rec_pcm_from_doubles
    index = convert(array.tobytes(), n, scale, limit, out)
    if index < n:
        raise SampleError(index)
    pcm: bytes = ffi.buffer(out)[:]
    return pcm


def rounded_to_pcm(floats: "NDArray[np.float32]") -> bytes:
    """(n,) floats in int16 units to PCM, saturated; SampleError for one that is no sound at all."""
    return floats_to_pcm(floats, 1.0, _MOST)


def pcm_to_floats(pcm: bytes) -> "NDArray[np.float32]":
    """PCM to (n,) floats in int16 units."""
    return np.frombuffer(pcm, np.int16).astype(np.float32)


_DECODE: Final[dict[Law, "Callable[..., None]"]] = {
    "pcmu": lib.rec_ulaw_decode,
    "pcma": lib.rec_alaw_decode,
}
_ENCODE: Final[dict[Law, "Callable[..., None]"]] = {
    "pcmu": lib.rec_ulaw_encode,
    "pcma": lib.rec_alaw_encode,
}


def g711_decode(coded: bytes, encoding: Law) -> bytes:
    """ITU-T G.711 to native 16-bit PCM."""
    pcm = np.empty(len(coded), np.int16)
    source, target = ffi.from_buffer("uint8_t[]", coded), ffi.from_buffer("int16_t[]", pcm)
    _DECODE[encoding](source, target, len(coded))
    return pcm.tobytes()


def g711_encode(pcm: bytes, encoding: Law) -> bytes:
    """Native 16-bit PCM to ITU-T G.711."""
    coded = np.empty(len(pcm) // 2, np.uint8)
    _ENCODE[encoding](samples(pcm), ffi.from_buffer("uint8_t[]", coded), len(coded))
    return coded.tobytes()
