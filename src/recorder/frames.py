# SPDX-License-Identifier: MIT
"""What a user may feed as audio of one leg, and PCM, which is what everything inside takes.

PCM is `bytes` of mono native 16-bit samples: immutable, so that it can be kept without a copy.
"""

from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from recorder import core
from recorder.errors import FrameError, OptionError

Frame = (
    bytes | bytearray | memoryview | NDArray[np.int16 | np.uint8] | NDArray[np.float32 | np.float64]
)
Encoding = Literal["pcm16", "pcmu", "pcma"]

ENCODINGS: Final = ("pcm16", "pcmu", "pcma")
FULL_SCALE: Final = 32768
SAMPLE_BYTES: Final = 2  # of PCM
# Past full scale a float saturates: filters and resamplers overshoot. So far past it, it was
# never scaled to [-1, 1].
_NOT_SCALED: Final = 2.0

_ALLOWED = (
    "bytes, bytearray, memoryview, or a one-dimensional array of int16 or of float in [-1, 1]"
)


def check_encoding(encoding: str) -> None:
    """Raise OptionError unless it is one of ENCODINGS."""
    if encoding not in ENCODINGS:
        raise OptionError(f"encoding is {encoding!r}: allowed are {', '.join(ENCODINGS)}")


def to_pcm(frame: Frame, encoding: Encoding = "pcm16") -> bytes:
    """The frame's samples as PCM; FrameError when it is not what `Frame` says."""
    if type(frame) is bytes and encoding == "pcm16":
        if len(frame) & 1:
            raise FrameError(_odd(len(frame)))
        return frame
    if isinstance(frame, np.ndarray):
        return _array_to_pcm(frame, encoding)
    if not isinstance(frame, (bytes, bytearray, memoryview)):
        raise FrameError(f"a frame is {type(frame).__name__}: allowed are {_ALLOWED}")
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
    if len(data) & 1:
        raise FrameError(_odd(len(data)))
    return data


def from_pcm(pcm: bytes, like: Frame, encoding: Encoding = "pcm16") -> Frame:
    """PCM in the form that `like` has: the inverse of `to_pcm`."""
    if isinstance(like, np.ndarray):
        array = np.frombuffer(pcm, np.int16)
        if like.dtype == np.int16:
            return array.copy()
        return cast("Frame", (array / FULL_SCALE).astype(like.dtype))
    data = pcm if encoding == "pcm16" else core.g711_encode(pcm, encoding)
    if isinstance(like, memoryview):
        view = memoryview(data)
        return view.cast("h") if like.itemsize == view.itemsize * 2 else view
    return bytearray(data) if isinstance(like, bytearray) else data


def _odd(length: int) -> str:
    return f"a frame has {length} bytes: 16-bit PCM has an even number of them"


def _check_view(view: memoryview, encoding: Encoding) -> None:
    allowed = ("B", "b", "c", "h", "@h") if encoding == "pcm16" else ("B", "b", "c")
    if view.ndim != 1 or view.format not in allowed:
        raise FrameError(
            f"a memoryview has format {view.format!r} and {view.ndim} dimensions:"
            f" allowed is one dimension of {' or '.join(map(repr, allowed))}"
        )


def _array_to_pcm(array: NDArray[np.generic], encoding: Encoding) -> bytes:
    if array.ndim != 1:
        raise FrameError(
            f"an array has shape {array.shape}: allowed is one dimension, the samples of one leg"
        )
    if encoding != "pcm16":
        check_encoding(encoding)
        if array.dtype != np.uint8:
            raise FrameError(f"an array of {encoding} has dtype {array.dtype}: allowed is uint8")
        return core.g711_decode(array.tobytes(), encoding)
    if array.dtype == np.int16:
        return array.tobytes()
    if array.dtype in (np.float32, np.float64):
        return _floats_to_pcm(cast("NDArray[np.float64]", array))
    raise FrameError(
        f"an array has dtype {array.dtype}: allowed are int16 in native byte order, and float32"
        " or float64 in [-1, 1]"
    )


def _floats_to_pcm(array: NDArray[np.float64]) -> bytes:
    # Written so that NaN fails it.
    if array.size and not (np.max(np.abs(array)) < _NOT_SCALED):
        worst = array[np.argmax(~(np.abs(array) < _NOT_SCALED))]
        raise FrameError(f"a float array holds {worst}: allowed are samples in [-1, 1]")
    scaled = np.rint(array * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16).tobytes()
