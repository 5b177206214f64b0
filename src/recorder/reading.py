# SPDX-License-Identifier: MIT
"""Audio files as the legs of a call: blocks of PCM at a rate that calls have.

Everything that libsndfile reads, and raw audio, which has no header: its rate has to be given.
"""

import logging
import os
import re
import wave
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from recorder.detection import core
from recorder.detection.core import SAMPLE_RATES
from recorder.errors import FileError, FrameError, OptionError, shown
from recorder.placement.frames import SAMPLE_BYTES
from recorder.placement.resampling import Resampler, check_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

Leg = Literal["speak", "listen"]
RawEncoding = Literal["pcm16", "pcmu", "pcma", "gsm"]

LEGS: Final[tuple[Leg, Leg]] = ("speak", "listen")
RAW_ENCODINGS: Final = ("pcm16", "pcmu", "pcma", "gsm")

_LOG: Final = logging.getLogger("recorder")
# Whole 20 ms frames at every rate. What comes through a pipe may be live, and is taken soon.
_BLOCK_SECONDS: Final = 5.0
_PIPE_BLOCK_SECONDS: Final = 0.2
# An MP3's length is not known exactly before it is read: less than this does not make it cut.
_CUT_SECONDS: Final = 0.1

_HEADERS: Final = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")
# How names of raw audio end, Asterisk's among them.
_RAW_ENDINGS: Final[dict[str, RawEncoding]] = {
    **dict.fromkeys(("raw", "pcm"), "pcm16"),
    **dict.fromkeys((f"sln{rate}" for rate in ("", 12, 16, 24, 32, 44, 48, 96, 192)), "pcm16"),
    **dict.fromkeys(("pcmu", "ulaw", "mulaw", "ul", "mu"), "pcmu"),
    **dict.fromkeys(("pcma", "alaw", "al"), "pcma"),
    "gsm": "gsm",
}
# libsndfile's notes that a header gives another size, of the audio or of the file, than there is.
_WRONG_SIZE: Final = re.compile(
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: *(\d+) \(should be (\d+)\)", re.MULTILINE
)
# What ffmpeg, sox and others give as the size when they write to a pipe, and do not know it yet.
_SIZE_NOT_KNOWN: Final = (range(0x7FFF0000, 0x80000000), range(0xFFFF0000, 0x100000000))
# libsndfile's count of samples for a FLAC that was written to a pipe, and has no length.
_LENGTH_NOT_KNOWN: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFile:
    """One open input.

    `rate` is its own, in Hz; `frames` is its length in samples per channel, None where only its
    end says. `blocks` yields (n, channels) int16, `block_seconds` long each but the last.
    """

    name: str
    rate: int
    channels: int
    frames: int | None
    block_seconds: float
    blocks: "Iterator[NDArray[np.int16]]"


def open_audio(
    source: "str | os.PathLike[str] | BufferedReader",
    sample_rate: int | None = None,
    encoding: RawEncoding | None = None,
    *,
    name: str = "",
) -> AudioFile:
    """Open a file, or a stream that is given a `name`.

    `sample_rate` is that of raw audio, in Hz, and None for a file with a header; `encoding` is one
    of RAW_ENCODINGS: when not given, the one that the name's ending stands for, or pcm16.

    Raises FileError when it cannot be read, OptionError when an argument does not fit it. What is
    wrong with it but does not keep it from being read is logged as a warning.
    """
    if encoding is not None and encoding not in RAW_ENCODINGS:
        expected = ", ".join(RAW_ENCODINGS)
        raise OptionError(f"encoding: expected one of {expected}, got {shown(encoding)}")
    if sample_rate is not None:
        check_rate("sample_rate", sample_rate)
    elif encoding is not None:
        raise OptionError(
            f"encoding {encoding} is one of raw audio: add the rate, --rate 8000"
            " (in Python sample_rate=8000)"
        )
    opened = _Source(source, name)
    if sample_rate is not None:
        return _raw(opened, int(sample_rate), encoding or opened.raw_encoding or "pcm16")
    if opened.raw_encoding is not None and not opened.has_header:
        raise OptionError(
            f"{opened.name} is raw audio, which has no header: add the rate, --rate 8000"
            " (in Python sample_rate=8000)"
        )
    return _with_header(opened)


class _Source:
    """Where bytes come from: a file, which is opened when it is read, or a stream."""

    def __init__(self, source: "str | os.PathLike[str] | BufferedReader", name: str) -> None:
        self._path = None if isinstance(source, BufferedReader) else Path(source)
        self.name = name or str(self._path)
        # Of raw audio, by its name; None for names of other files.
        self.raw_encoding = _RAW_ENDINGS.get(Path(self.name).suffix.lower().removeprefix("."))
        try:
            stream = source if isinstance(source, BufferedReader) else Path(source).open("rb")  # noqa: SIM115
            start = stream.peek(36)
            self.size = os.fstat(stream.fileno()).st_size if stream.seekable() else None
        except (OSError, ValueError) as error:
            raise _unreadable(self.name, error) from error
        self.is_empty = not start
        self.has_header = start[:4] in _HEADERS
        self.is_pipe = self.size is None
        is_pcm = start[:4] == b"RIFF" and start[8:16] == b"WAVEfmt " and start[20:22] == b"\1\0"
        self.is_piped_wav = self.is_pipe and is_pcm and start[34:36] == b"\x10\0"
        self._stream = stream
        if self._path is not None and not self.is_pipe:
            stream.close()

    def open(self) -> BufferedReader:
        """The stream, from its start."""
        if self._path is not None and self._stream.closed:
            return self._path.open("rb")
        return self._stream

    def whole(self) -> BytesIO:
        """All bytes, in memory."""
        with self.open() as stream:
            return BytesIO(_read(self, stream, -1))

    def for_libsndfile(self) -> "bytes | BufferedReader | BytesIO":
        """A path, which libsndfile reads by itself, or a stream that can seek."""
        if self.is_pipe or self.raw_encoding is not None:
            return self.whole()
        return os.fsencode(self._path) if self._path is not None else self._stream


def _unreadable(name: str, error: Exception) -> FileError:
    return FileError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}")


# -- what libsndfile decodes -----------------------------------------------------------------------


def _with_header(source: _Source) -> AudioFile:
    if source.is_empty:
        raise FileError(f"cannot read {source.name}: it is empty")
    if source.is_piped_wav:
        return _piped_wav(source)
    try:
        sound = _sound(source.for_libsndfile())
    except RuntimeError as error:  # libsndfile's own reasons are of no help: "System error"
        reason = f"cannot read {source.name}: it is no audio that libsndfile reads"
        if source.is_pipe:
            reason += "; raw audio needs its rate, --rate 8000 (in Python sample_rate=8000)"
        elif not source.has_header:
            wav = Path(source.name).with_suffix(".wav").name
            reason += f"; convert it first, for instance by: ffmpeg -i {source.name} {wav}"
        raise FileError(reason) from error
    check_rate(source.name, sound.samplerate)
    if not sound.frames:
        _LOG.warning("%s holds no samples that can be read", source.name)
    seconds = sound.frames / sound.samplerate
    for promised, found in _WRONG_SIZE.findall(sound.extra_info):
        if int(promised) > int(found) and not any(int(promised) in r for r in _SIZE_NOT_KNOWN):
            _warn_of_cut(source.name, seconds * int(promised) / int(found), seconds)
            break
    return _decoded(source.name, sound)


def _sound(source: Any, **raw: Any) -> Any:
    import soundfile  # here: it takes long, and who feeds frames does not need it

    class Sound(soundfile.SoundFile):  # type: ignore[misc]
        def seekable(self) -> bool:
            """No: else it seeks, after each read, to where it is, which FLAC cannot at its end."""
            return False

    return Sound(source, **raw)


def _piped_wav(source: _Source) -> AudioFile:
    """16-bit PCM, which needs no libsndfile and comes as it is written."""
    stream = source.open()
    try:
        sound = wave.open(stream)  # noqa: SIM115 - read, and its stream closed, later
    except (EOFError, wave.Error) as error:
        raise FileError(f"cannot read {source.name}: its WAV header is damaged: {error}") from error
    rate, channels = sound.getframerate(), sound.getnchannels()
    check_rate(source.name, rate)

    def blocks() -> "Iterator[NDArray[np.int16]]":
        with stream:
            while data := sound.readframes(round(rate * _PIPE_BLOCK_SECONDS)):
                whole = len(data) - len(data) % (channels * SAMPLE_BYTES)
                yield np.frombuffer(data[:whole], np.int16).reshape(-1, channels)

    return AudioFile(
        name=source.name,
        rate=rate,
        channels=channels,
        frames=None,
        block_seconds=_PIPE_BLOCK_SECONDS,
        blocks=blocks(),
    )


def _warn_of_cut(name: str, promised: float, found: float) -> None:
    _LOG.warning(
        "%s is cut short: its header promises %.2f s, and %.2f s can be read",
        name,
        promised,
        found,
    )


def _decoded(name: str, sound: Any) -> AudioFile:
    is_float = sound.subtype in {"FLOAT", "DOUBLE", "VORBIS", "OPUS"} or sound.format == "MP3"
    dtype = "float32" if is_float else "int16"
    rate: int = sound.samplerate
    frames: int | None = sound.frames if sound.frames < _LENGTH_NOT_KNOWN else None

    def blocks() -> "Iterator[NDArray[np.int16]]":
        read = 0
        n = round(rate * _BLOCK_SECONDS)
        with sound:
            while True:
                block = np.empty((n, sound.channels), dtype)
                try:
                    got = sound.buffer_read_into(block, dtype)
                except RuntimeError:  # damaged; what came before is in the block
                    got = max(0, sound.tell() - read)
                if got:
                    read += got
                    yield _saturated(name, block[:got]) if is_float else block[:got]
                if got < n:
                    break
        if frames is not None and frames - read > rate * _CUT_SECONDS:
            _warn_of_cut(name, frames / rate, read / rate)

    return AudioFile(
        name=name,
        rate=rate,
        channels=sound.channels,
        frames=frames,
        block_seconds=_BLOCK_SECONDS,
        blocks=blocks(),
    )


def _saturated(name: str, block: "NDArray[np.float32]") -> "NDArray[np.int16]":
    try:
        pcm = core.floats_to_pcm(np.clip(block, -1.0, 1.0).ravel())
    except core.SampleError as error:
        raise FrameError(f"{name}: expected samples in [-1, 1], got nan") from error
    return np.frombuffer(pcm, np.int16).reshape(block.shape)


# -- raw audio ---------------------------------------------------------------------------------


def _raw(source: _Source, rate: int, encoding: RawEncoding) -> AudioFile:
    if source.has_header:
        raise OptionError(
            f"{source.name} has a header, which says its rate: leave out --rate"
            " (in Python sample_rate)"
        )
    if encoding == "gsm":  # GSM 06.10 as it is sent, 33 bytes for every 20 ms
        sound = _sound(source.whole(), samplerate=rate, channels=1, format="RAW", subtype="GSM610")
        return _decoded(source.name, sound)
    size = SAMPLE_BYTES if encoding == "pcm16" else 1
    seconds = _PIPE_BLOCK_SECONDS if source.size is None else _BLOCK_SECONDS

    def blocks() -> "Iterator[NDArray[np.int16]]":
        with source.open() as stream:
            while data := _read(source, stream, round(rate * seconds) * size):
                if len(data) % size:
                    raise FileError(
                        f"{source.name}: raw PCM ends in mid-sample, after an odd number of bytes"
                    )
                pcm = data if encoding == "pcm16" else core.g711_decode(data, encoding)
                yield np.frombuffer(pcm, np.int16)[:, np.newaxis]

    return AudioFile(
        name=source.name,
        rate=rate,
        channels=1,
        frames=None if source.size is None else source.size // size,
        block_seconds=seconds,
        blocks=blocks(),
    )


def _read(source: _Source, stream: BufferedReader, n: int) -> bytes:
    """The next n bytes; less only at the end."""
    try:
        return stream.read(n)
    except OSError as error:
        raise _unreadable(source.name, error) from error


# -- legs --------------------------------------------------------------------------------------

Blocks = Iterator[tuple[bytes, ...]]  # PCM of each leg, of one length


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLegs:
    """The legs that one file or two are.

    `rate` is one that calls have; `length` is in samples at that rate, None where only the end
    says; `blocks` yields PCM of each of `names`, of one length, whole 20 ms but for the last.
    `digits` are those that the party pressed out of band, and where, in samples.
    """

    names: tuple[Leg, ...]
    rate: int
    length: int | None
    blocks: Blocks
    digits: tuple[tuple[int, str], ...] = ()

    def pieces(self) -> Iterator[tuple[tuple[bytes, ...], str]]:
        """The blocks, cut where digits were pressed, and the digits at the end of each."""
        waiting = deque(sorted(self.digits))
        position = 0
        for block in self.blocks:
            done, n = 0, len(block[0]) // SAMPLE_BYTES
            while waiting and waiting[0][0] < position + n:
                at, digit = waiting.popleft()
                cut = max(done, at - position)
                yield _part(block, done, cut), digit
                done = cut
            yield _part(block, done, n) if done else block, ""
            position += n
        if waiting:
            yield tuple(b"" for _ in self.names), "".join(digit for _, digit in waiting)


def _part(block: tuple[bytes, ...], start: int, end: int) -> tuple[bytes, ...]:
    return tuple(leg[start * SAMPLE_BYTES : end * SAMPLE_BYTES] for leg in block)


def legs_of(files: Sequence[AudioFile], channels: Sequence[int] | None = None) -> FileLegs:
    """Take the speak leg and the listen leg from one file of one or two channels, or one each.

    `channels`, of a single file, says which are the legs, the first one being 1. Other rates are
    resampled to the next one that calls have; of two files, the one that ends first continues as
    silence. OptionError for channels that do not make one leg or two.
    """
    chosen = [_chosen(file, channels, alone=len(files) == 1) for file in files]
    rates = [file.rate for file in files]
    rate = next((one for one in SAMPLE_RATES if one >= max(rates)), SAMPLE_RATES[-1])
    seconds = min(file.block_seconds for file in files)
    size = round(rate * seconds) * SAMPLE_BYTES
    parts = [
        _even(_resampled(file, ours, rate), size) for file, ours in zip(files, chosen, strict=True)
    ]
    blocks = parts[0] if len(parts) == 1 else _side_by_side(*parts)
    lengths = [None if file.frames is None else file.frames * rate // file.rate for file in files]
    for file in files:
        _LOG.info(
            "%s: %d channel%s at %d Hz%s",
            file.name,
            file.channels,
            "" if file.channels == 1 else "s",
            file.rate,
            "" if file.rate == rate else f", resampled to {rate} Hz",
        )
    return FileLegs(
        names=LEGS[: sum(map(len, chosen))],
        rate=rate,
        length=None if None in lengths else max(n for n in lengths if n is not None),
        blocks=blocks,
    )


def _chosen(file: AudioFile, channels: Sequence[int] | None, *, alone: bool) -> list[int]:
    """Indices of the channels that are legs."""
    if not alone and channels is not None:
        raise OptionError("channels: expected none with two inputs, of which each is a leg")
    if not alone and file.channels != 1:
        raise OptionError(f"{file.name} is not mono: of two inputs each is a leg")
    if channels is None and file.channels > 2:
        raise OptionError(
            f"{file.name} has {file.channels} channels: choose one leg or two of them, for"
            " instance --channels 1,3 (in Python channels=(1, 3))"
        )
    if channels is None:
        return list(range(file.channels))
    fits = len(channels) in {1, 2} and len(set(channels)) == len(channels)
    if not fits or not all(channel in range(1, file.channels + 1) for channel in channels):
        raise OptionError(
            f"channels: expected one or two different ones out of 1 to {file.channels}, which"
            f" {file.name} has, got {', '.join(map(str, channels))}"
        )
    return [channel - 1 for channel in channels]


def _resampled(file: AudioFile, channels: Sequence[int], rate: int) -> Blocks:
    if file.rate == rate:
        for block in file.blocks:
            yield tuple(block[:, channel].tobytes() for channel in channels)
        return
    resamplers = [Resampler(file.rate, rate) for _ in channels]
    for block in file.blocks:
        yield tuple(
            resampler.process(pcm, n)
            for resampler, channel in zip(resamplers, channels, strict=True)
            for n, pcm in [resampler.take(block[:, channel].tobytes())]
        )
    yield tuple(resampler.flush() for resampler in resamplers)


def _even(blocks: Blocks, size: int) -> Blocks:
    """The same in blocks of `size` bytes a leg, and what remains."""
    waiting: tuple[bytes, ...] = ()
    for block in blocks:
        waiting = tuple(map(bytes.__add__, waiting, block)) if waiting else block
        while len(waiting[0]) >= size:
            yield tuple(leg[:size] for leg in waiting)
            waiting = tuple(leg[size:] for leg in waiting)
    if waiting and waiting[0]:
        yield waiting


def _side_by_side(speak: Blocks, listen: Blocks) -> Blocks:
    for (a,), (b,) in zip_longest(speak, listen, fillvalue=(b"",)):
        n = max(len(a), len(b))
        yield a.ljust(n, b"\0"), b.ljust(n, b"\0")
