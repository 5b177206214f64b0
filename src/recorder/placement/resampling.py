# SPDX-License-Identifier: MIT
"""Audio of a leg that comes at another rate than the call's, on the call's clock.

Inside soxr samples are floats: with 16-bit ones it adds dither, which differs from run to run and
is heard as noise where there was digital silence.
"""

import numbers
from math import gcd
from typing import TYPE_CHECKING, Any, Final

from recorder.detection import core
from recorder.errors import OptionError, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOWEST_RATE: Final = 4000
HIGHEST_RATE: Final = 192000

_QUALITY: Final = "HQ"
# Input further away from a sample than this, in samples of the lower of the two rates, has no part
# in it: at this quality, twice what soxr's filters were seen to reach.
REACH: Final = 256
# A call of soxr costs as much for one frame as for several: they are taken together.
_BATCH_SECONDS: Final = 0.1


def check_rate(name: str, rate: int) -> None:
    """Raise OptionError unless audio may come at this rate, in Hz."""
    is_whole = isinstance(rate, numbers.Integral) and not isinstance(rate, bool)
    if not is_whole or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise OptionError(
            f"{name}: expected a whole number from {LOWEST_RATE} to {HIGHEST_RATE} Hz,"
            f" got {shown(rate)}"
        )


def new_stream(in_rate: int, out_rate: int) -> Any:
    """Return a soxr.ResampleStream of mono float32."""
    import soxr  # here: a call whose audio comes at its own rate does not need it

    return soxr.ResampleStream(in_rate, out_rate, 1, dtype="float32", quality=_QUALITY)


def resample(floats: "NDArray[np.float32]", in_rate: int, out_rate: int) -> "NDArray[np.float32]":
    """Resample a stretch as if silence were around it."""
    import soxr

    out: NDArray[np.float32] = soxr.resample(floats, in_rate, out_rate, quality=_QUALITY)
    return out


def part(pcm: bytes, whole: int, offset: int, n: int) -> bytes:
    """Of PCM that stands for `whole` call samples, what stands for `n` from `offset` on.

    Neighbouring parts touch and all together are the PCM, whatever its rate.
    """
    samples = len(pcm) >> 1
    return pcm[samples * offset // whole * 2 : samples * (offset + n) // whole * 2]


class Resampler:
    """PCM at `in_rate` becomes PCM at `out_rate`, cut anywhere with the same outcome.

    Sample k of a stream's output is of the moment k / out_rate of its input. What `process` gives
    lags behind, by up to a third of a second, in bursts; what is still inside comes with `flush`.

    OptionError unless `in_rate` is a whole number of Hz from 4000 to 192000 and `out_rate` one
    that calls have.
    """

    __slots__ = (
        "_batch",
        "_batch_samples",
        "_batch_size",
        "_carried",
        "_due",
        "_given",
        "_in_rate",
        "_kept",
        "_kept_from",
        "_out_rate",
        "_period",
        "_reach",
        "_stream",
        "_taken",
        "carries",
    )

    def __init__(self, in_rate: int, out_rate: int) -> None:
        core.check_sample_rate(out_rate)
        check_rate("in_rate", in_rate)
        self._in_rate = in_rate
        self._out_rate = out_rate
        self._stream = new_stream(in_rate, out_rate)
        self._batch: list[bytes] = []  # input for the next call of soxr
        self._batch_samples = 0
        self._batch_size = round(in_rate * _BATCH_SECONDS)
        self._taken = 0  # input samples since the start, of all streams
        self._carried = b""  # input that is not worth an output sample yet
        self.carries = False  # whether there is such input, or some that counts for the next one
        self._due = 0  # output samples that this stream's input so far stands for
        self._given = 0  # those of them that came out
        # The stream's last input, from where the phase is that of its start.
        self._kept = bytearray()
        self._kept_from = 0
        self._period = in_rate // gcd(in_rate, out_rate)
        self._reach = REACH * max(in_rate, out_rate) // out_rate

    def take(self, pcm: bytes) -> tuple[int, bytes]:
        """How many call samples the next input stands for, and the PCM to be processed for them.

        Counted over all input, so that lengths add up without drift. What is not worth a sample
        yet is kept for the next time.
        """
        rate_in, rate_out = self._in_rate, self._out_rate
        before = self._taken * rate_out // rate_in
        self._taken += len(pcm) >> 1
        n = self._taken * rate_out // rate_in - before
        self.carries = self._taken * rate_out % rate_in != 0
        if self._carried:
            pcm = self._carried + pcm
            self._carried = b""
        if n:
            return n, pcm
        self._carried = pcm
        return 0, b""

    @property
    def pending(self) -> int:
        """Call samples that the stream's input stands for and that have not come out."""
        return self._due - self._given

    def continue_with(self, pcm: bytes, n: int) -> bytes:
        """Take and process input that is worth a whole number of call samples."""
        self._taken += len(pcm) >> 1
        return self.process(pcm, n)

    def process(self, pcm: bytes, n: int) -> bytes:
        """Take the stream's next input, which stands for `n` call samples; what is ready."""
        self._due += n
        self._batch.append(pcm)
        self._batch_samples += len(pcm) >> 1
        if self._batch_samples < self._batch_size:
            return b""
        return self._resample(last=False)

    def _resample(self, *, last: bool) -> bytes:
        pcm = b"".join(self._batch)
        self._batch.clear()
        self._batch_samples = 0
        out = core.rounded_to_pcm(self._stream.resample_chunk(core.pcm_to_floats(pcm), last=last))
        if not last:
            self._kept += pcm
        if out and not last:
            self._given += len(out) >> 1
            needed = self._given * self._in_rate // self._out_rate - self._reach
            surplus = (needed - self._kept_from) // self._period * self._period
            if surplus > 0:
                del self._kept[: 2 * surplus]
                self._kept_from += surplus
        return out

    def flush(self) -> bytes:
        """End the stream: what is still inside. The next input begins another, from silence.

        With what `process` gave, it is as long as what the input stands for.
        """
        if not self._due:
            return b""
        self._batch.append(self._carried)
        self._carried = b""
        rest = self._exactly_due(self._resample(last=True))
        self._stream.clear()
        self._due = self._given = self._kept_from = 0
        self._kept.clear()
        return rest

    def peek(self) -> bytes:
        """What `flush` would give, to within rounding; the stream continues."""
        ahead = self._given - self._kept_from * self._out_rate // self._in_rate
        kept = core.pcm_to_floats(bytes(self._kept) + b"".join(self._batch) + self._carried)
        out = resample(kept, self._in_rate, self._out_rate)
        return self._exactly_due(core.rounded_to_pcm(out[ahead:]))

    def _exactly_due(self, pcm: bytes) -> bytes:
        length = 2 * max(0, self._due - self._given)
        return pcm[:length].ljust(length, b"\0")
