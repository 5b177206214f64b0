# SPDX-License-Identifier: MIT
"""What a party is to hear, in pieces for a wire that is sent to at the call's pace."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from recorder.errors import OptionError

if TYPE_CHECKING:
    from recorder.call import Call

TICKS_A_SECOND: Final = 50


def let_time_pass(call: "Call") -> None:
    """Move a call to its clock's now, where it has one. CallEndedError after `hangup`."""
    with suppress(OptionError):  # raised where a call's time is what is fed
        call.advance()


class Playback:
    """Takes a call's playout in pieces of `samples`, at the wire's `rate` in Hz.

    Silence is left out where the wire is behind the call's clock, after ticks that came late or a
    peer that took nothing: else all that is played later would be late by as much. Ticks that make
    up for late ones then find the wire at the clock already, and give nothing.
    """

    def __init__(self, call: "Call", rate: int, samples: int) -> None:
        self._call = call
        self._rate = rate
        self._samples = samples
        self._owed = 0  # samples, times TICKS_A_SECOND
        self._given = 0
        self._left_out = 0  # pieces, for which ticks may still come

    def tick(self) -> list[bytes]:
        """Every 20 ms: the pieces of PCM that are due. CallEndedError after `hangup`."""
        let_time_pass(self._call)
        self._owed += self._rate
        pieces = []
        while self._owed >= self._samples * TICKS_A_SECOND:
            self._owed -= self._samples * TICKS_A_SECOND
            if self._left_out and -self._behind() >= self._samples:
                self._left_out -= 1
            else:
                pieces.append(self._next())
        return pieces

    def _next(self) -> bytes:
        while True:
            pcm = self._call.playout(self._samples)
            self._given += self._samples
            if pcm.strip(b"\0") or self._behind() < self._samples:
                return pcm
            self._left_out += 1

    def _behind(self) -> int:
        return self._call.position * self._rate // self._call.sample_rate - self._given
