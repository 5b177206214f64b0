# SPDX-License-Identifier: MIT
"""What a user may feed as audio of one leg, and PCM, which is what everything inside takes.

PCM is `bytes` of mono native 16-bit samples: immutable, so that it can be kept without a copy.
"""

from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from recorder.detection import core
from recorder.errors import FrameError, OptionError

Frame = (
    bytes
    | bytearray
    | memoryview
    | NDArray[np.int16]
    | NDArray[np.uint8]
    | NDArray[np.float32]
    | NDArray[np.float64]
)
Encoding = Literal["pcm16", "pcmu", "pcma"]

ENCODINGS: Final = ("pcm16", "pcmu", "pcma")
FULL_SCALE: Final = 32768
SAMPLE_BYTES: Final = 2  # of PCM
_INT16: Final = np.dtype(np.int16)
_FLOATS: Final = (np.dtype(np.float32), np.dtype(np.float64))
_EXPECTED = "bytes, bytearray, memoryview, or a one-dimensional array of int16 or floats in [-1, 1]"


def check_encoding(encoding: str) -> None:
    """Raise OptionError unless it is one of ENCODINGS."""
    if encoding not in ENCODINGS:
        raise OptionError(f"encoding: expected one of {', '.join(ENCODINGS)}, got {encoding!r}")


def check_whole(pcm: bytes) -> bytes:
    """Return PCM as it is; FrameError when it ends in mid-sample."""
    if len(pcm) & 1:
        raise FrameError(f"a frame: expected an even number of bytes of 16-bit PCM, got {len(pcm)}")
    return pcm


def to_pcm(frame: Frame, encoding: Encoding = "pcm16") -> bytes:
    """Return the frame's samples as PCM; FrameError when it is not what `Frame` says."""
    if type(frame) is bytes and encoding == "pcm16":
        return check_whole(frame)
    if isinstance(frame, np.ndarray):
        return _array_to_pcm(frame, encoding)
    if not isinstance(frame, (bytes, bytearray, memoryview)):
        raise FrameError(f"a frame: expected {_EXPECTED}, got {type(frame).__name__}")
    check_encoding(encoding)
    try:
        if isinstance(frame, memoryview):
            _check_view(frame, encoding)
        data = bytes(frame)
    except ValueError as error:
        if isinstance(error, FrameError):
            raise
        raise FrameError(f"a memoryview was released: {error}") from None
    if encoding != "pcm16":
        return core.g711_decode(data, encoding)
    return check_whole(data)


def from_pcm(pcm: bytes, like: Frame, encoding: Encoding = "pcm16") -> Frame:
    """Return PCM in the form that `like` has: the inverse of `to_pcm`."""
    if encoding != "pcm16":
        data = core.g711_encode(pcm, encoding)
        if isinstance(like, np.ndarray):
            return np.frombuffer(data, np.uint8).copy()
    else:
        data = pcm
    if isinstance(like, np.ndarray):
        array = np.frombuffer(data, np.int16)
        if like.dtype == np.int16:
            return array.copy()
        return cast("Frame", (array / FULL_SCALE).astype(like.dtype))
    if isinstance(like, memoryview):
        view = memoryview(data)
        return view.cast("h") if like.itemsize == view.itemsize * 2 else view
    return bytearray(data) if isinstance(like, bytearray) else data


def silence_like(frame: Frame, encoding: Encoding = "pcm16") -> Frame:
    """Return as much silence as a frame has samples, in its form."""
    if type(frame) is bytes and encoding == "pcm16":
        return bytes(len(frame))
    if isinstance(frame, np.ndarray):
        if encoding == "pcm16":
            return np.zeros_like(frame)
        return from_pcm(bytes(SAMPLE_BYTES * len(frame)), frame, encoding)
    size = memoryview(frame).nbytes
    return from_pcm(bytes(size if encoding == "pcm16" else SAMPLE_BYTES * size), frame, encoding)


def add(a: bytes, b: bytes) -> bytes:
    """Return the sum of two pieces of PCM of one length, saturated."""
    total = np.frombuffer(a, np.int16).astype(np.int32) + np.frombuffer(b, np.int16)
    return np.clip(total, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16).tobytes()


def _check_view(view: memoryview, encoding: Encoding) -> None:
    formats = ("B", "b", "c", "h", "@h") if encoding == "pcm16" else ("B", "b", "c")
    if view.ndim != 1 or view.format not in formats:
        raise FrameError(
            f"a memoryview: expected one dimension of format {' or '.join(map(repr, formats))},"
            f" got {view.ndim} of {view.format!r}"
        )


def _array_to_pcm(array: NDArray[np.generic], encoding: Encoding) -> bytes:
    if array.ndim != 1:
        raise FrameError(
            f"an array: expected one dimension, the samples of one leg, got shape {array.shape}"
        )
    if type(array) is not np.ndarray and hasattr(array, "mask"):  # numpy.ma is not imported here
        raise FrameError("an array: expected one without a mask, got a masked array")
    if encoding != "pcm16":
        check_encoding(encoding)
        if array.dtype != np.uint8:
            raise FrameError(f"an array of {encoding}: expected dtype uint8, got {array.dtype}")
        return core.g711_decode(array.tobytes(), encoding)
    dtype = array.dtype
    if dtype in _FLOATS:
        try:
            return core.floats_to_pcm(array)
        except core.SampleError as error:
            worst = array[error.index]
            raise FrameError(f"a float array: expected samples in [-1, 1], got {worst}") from None
    if dtype == _INT16:
        return array.tobytes()
    raise FrameError(
        "an array: expected dtype int16 in native byte order, or float32 or float64 in [-1, 1],"
        f" got {array.dtype}"
    )
