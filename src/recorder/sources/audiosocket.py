# SPDX-License-Identifier: MIT
"""Asterisk's AudioSocket: the bytes of one connection.

A message is a kind, a length of two bytes, big endian, and so many bytes. Audio is 16-bit PCM,
little endian, mono. It has no timestamps: it lies where it arrives.
"""

import logging
import struct
import uuid
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from recorder.detection import core
from recorder.errors import CallEndedError, WireError
from recorder.placement.frames import FULL_SCALE, SAMPLE_BYTES
from recorder.placement.resampling import Resampler
from recorder.sources.arrival import Arrival
from recorder.sources.pcm import Carry, reordered

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from recorder.call import Call

_HANGUP: Final = 0x00
_UUID: Final = 0x01
_DTMF: Final = 0x03
_ERROR: Final = 0xFF
_RATES: Final = {
    0x10: 8000,
    0x11: 12000,
    0x12: 16000,
    0x13: 24000,
    0x14: 32000,
    0x15: 44100,
    0x16: 48000,
    0x17: 96000,
    0x18: 192000,
}
_LOG: Final = logging.getLogger("recorder")
_HEADER: Final = struct.Struct(">BH")
_TICKS_A_SECOND: Final = 50
_MOST_SHOWN: Final = 16  # bytes of an error, which has one
# A party that waits sends nothing: then the call begins without its rate.
_PATIENCE_TICKS: Final = 5
_USUAL: Final = 0x10


class AudioSocket:
    """One connection, from its first byte to its last.

    `call_id` is the UUID once it has come, `call` the call once it is open, which waits for its
    rate, `ended` whether the connection is to be closed. The party's
    audio is the speak leg; what it hears is what is played. The call is to be made `live`, with
    legs at the rate that `open_call` is given. What came is fed to it, and what is to be heard is
    taken from it, at every tick, or at one in `ticks_a_feed`: that costs less, and delays both.

    Any method may raise what a method of Call raises, and `receive` WireError for bytes that are no
    AudioSocket; then the connection is of no more use, and `end` remains to be called.
    """

    def __init__(self, open_call: "Callable[[str, int], Call]", *, ticks_a_feed: int = 1) -> None:
        self._open_call = open_call
        self._ticks_a_feed = ticks_a_feed
        self.call: Call | None = None
        self.ended = False
        self.call_id = ""
        self._waiting = b""  # the beginning of a message
        self._carry = Carry(SAMPLE_BYTES)  # of half a sample
        self._arrival: Arrival | None = None
        self._kind = _USUAL  # of audio, in and out
        self._ticks = 0  # before the call is open
        self._to_send: deque[bytes] = deque()  # the messages of the next ticks
        self._resampler: Resampler | None = None
        self._resampled_kind = _USUAL
        self._check = _LawCheck()

    def receive(self, data: bytes) -> bytes:
        """Take bytes, cut anywhere; what to answer at once: nothing."""
        if self._waiting:
            data = self._waiting + data
        at, size = 0, len(data)
        while size - at >= _HEADER.size and not self.ended:
            kind, length = _HEADER.unpack_from(data, at)
            self._check_kind(kind, length)
            begin = at + _HEADER.size
            if size < begin + length:
                break
            at = begin + length
            self._take(kind, data[begin:at])
        self._waiting = b"" if self.ended else data[at:]
        return b""

    def tick(self) -> bytes:
        """Let 20 ms pass; return what to send for them. From the first moment on, if only silence.

        Asterisk closes a connection on which nothing comes, and some versions send nothing before.
        """
        if self.ended:
            return b""
        if self.call is None:
            self._ticks += 1
            if not self.call_id or self._ticks <= _PATIENCE_TICKS:
                return _message(self._kind, bytes(self._size))
            self._open()
        if not self._to_send:
            assert self.call is not None
            if self._arrival is not None:
                self._arrival.tick()
            self.call.advance()
            size = self._size
            pcm = self.call.playout(size // SAMPLE_BYTES * self._ticks_a_feed)
            data = reordered(pcm, "little")
            for at in range(0, len(data), size):
                self._to_send.append(_message(self._kind, data[at : at + size]))
        return self._to_send.popleft()

    def hang_up(self) -> bytes:
        """End the call from our side; return what to send before the connection is closed."""
        if self.ended:
            return b""
        self.end()
        return _message(_HANGUP, b"")

    def end(self) -> None:
        """The connection is closed: hang up."""
        self.ended = True
        self._waiting = b""
        if self.call is not None:
            with suppress(CallEndedError):
                self._feed()
            self.call.hangup()

    # -- messages ------------------------------------------------------------------------------

    def _check_kind(self, kind: int, length: int) -> None:
        """WireError as soon as the header says that this is no AudioSocket."""
        if not self.call_id and (kind, length) != (_UUID, 16):
            if kind != _HANGUP:
                raise WireError(
                    "expected AudioSocket, which begins with a UUID (0x01, 16 bytes),"
                    f" got 0x{kind:02x} and {length} bytes"
                )
        elif kind not in _RATES and kind not in {_HANGUP, _UUID, _DTMF, _ERROR}:
            raise WireError(f"expected a kind of AudioSocket's messages, got 0x{kind:02x}")

    def _take(self, kind: int, payload: bytes) -> None:
        if kind in _RATES:
            self._take_audio(kind, payload)
            return
        self._feed()
        if kind == _UUID:
            self.call_id = self.call_id or str(uuid.UUID(bytes=payload))
        elif kind == _DTMF:
            self._take_digit(payload)
        else:
            if kind == _ERROR:
                code = payload[:_MOST_SHOWN].hex()
                _LOG.warning("call %r: Asterisk reports error 0x%s", self.call_id, code)
            self.end()

    def _take_digit(self, payload: bytes) -> None:
        if self.call is None:
            self._open()
        assert self.call is not None
        digit = payload.decode("ascii", "replace")
        if len(digit) == 1 and digit.upper() in core.DIGITS:  # a hook flash is none
            self.call.digit(digit)

    def _take_audio(self, kind: int, payload: bytes) -> None:
        if self.call is None:
            self._kind = kind
            self._open()
        assert self.call is not None
        data = self._carry.take(payload)
        if not data:
            return
        if self._check.is_law(data):
            _LOG.warning(
                "call %r: its audio looks like mu-law, but is labelled as linear; in Asterisk's"
                " dialplan use AudioSocket/HOST:PORT/UUID/c(slin)",
                self.call_id,
            )
        pcm = reordered(data, "little")
        if kind != self._kind:
            pcm = self._resampled(kind, pcm)
        assert self._arrival is not None
        self._arrival.take(pcm)

    def _feed(self) -> None:
        if self._arrival is not None:
            self._arrival.flush()

    def _resampled(self, kind: int, pcm: bytes) -> bytes:
        """Of a party that waited first, when the call was opened without its rate."""
        if self._resampler is None and _RATES[self._kind] in core.SAMPLE_RATES:
            self._resampled_kind = kind
            self._resampler = Resampler(_RATES[kind], _RATES[self._kind])
        if self._resampler is None or kind != self._resampled_kind:
            before = self._kind if self._resampler is None else self._resampled_kind
            raise WireError(
                f"expected audio of one rate, got {_RATES[kind]} Hz after {_RATES[before]} Hz"
            )
        n, worth = self._resampler.take(pcm)
        return self._resampler.process(worth, n)

    def _open(self) -> None:
        call = self.call = self._open_call(self.call_id, _RATES[self._kind])

        def feed(pcm: bytes, at: int | None) -> None:
            call.feed(speak=pcm, at=at)

        self._arrival = Arrival(call, "speak", _RATES[self._kind] * SAMPLE_BYTES, feed)

    @property
    def _size(self) -> int:
        """Bytes of 20 ms of audio."""
        return _RATES[self._kind] // _TICKS_A_SECOND * SAMPLE_BYTES


class _LawCheck:
    """Whether audio that is labelled as linear is mu-law.

    Two bytes of mu-law, read as one sample, are loud and unlike their neighbours; speech is
    neither. Decoded as mu-law, it is much quieter, and each sample is like the next.
    """

    _BYTES: Final = 4000
    _MOST_LOOKS: Final = 20
    _LOUD: Final = FULL_SCALE * 10 ** (-12 / 20)
    _QUIETER: Final = 10 ** (-12 / 20)
    _ALIKE: Final = 0.5  # correlation of neighbours

    def __init__(self) -> None:
        self._looks = 0
        self._waiting = b""

    def is_law(self, data: bytes) -> bool:
        """Take audio; True once, when it is."""
        if self._looks == self._MOST_LOOKS:
            return False
        self._waiting += data
        if len(self._waiting) < self._BYTES:
            return False
        linear = np.frombuffer(self._waiting, "<i2").astype(np.float64)
        law = np.frombuffer(core.g711_decode(self._waiting, "pcmu"), np.int16).astype(np.float64)
        self._waiting = b""
        self._looks += 1
        loudness = _rms(linear)
        found = (
            loudness > self._LOUD
            and _rms(law) < self._QUIETER * loudness
            and _likeness(law) > self._ALIKE > _likeness(linear)
        )
        if found:
            self._looks = self._MOST_LOOKS
        return found


def _rms(x: "NDArray[np.float64]") -> float:
    return float(np.sqrt(np.mean(x * x)))


def _likeness(x: "NDArray[np.float64]") -> float:
    power = float(x @ x)
    return float(x[1:] @ x[:-1]) / power if power else 0.0


def _message(kind: int, payload: bytes) -> bytes:
    return _HEADER.pack(kind, len(payload)) + payload
