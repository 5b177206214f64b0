# SPDX-License-Identifier: MIT
"""What a party is to hear, in pieces for a wire that is sent to at the call's pace."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from recorder.call import Call

TICKS_A_SECOND: Final = 50


class Playback:
    """Takes a call's playout in pieces of `samples`, at the wire's `rate` in Hz.

    Silence is left out where the wire is behind the call's clock, after ticks that came late or a
    peer that took nothing: else all that is played later would be late by as much.
    """

    def __init__(self, call: "Call", rate: int, samples: int) -> None:
        self._call = call
        self._rate = rate
        self._samples = samples
        self._owed = 0  # samples, times TICKS_A_SECOND
        self._given = 0

    def tick(self) -> list[bytes]:
        """Every 20 ms: the pieces of PCM that are due. CallEndedError after `hangup`."""
        self._owed += self._rate
        pieces = []
        while self._owed >= self._samples * TICKS_A_SECOND:
            self._owed -= self._samples * TICKS_A_SECOND
            pieces.append(self._next())
        return pieces

    def _next(self) -> bytes:
        while True:
            pcm = self._call.playout(self._samples)
            self._given += self._samples
            now = self._call.position * self._rate // self._call.sample_rate
            if pcm.strip(b"\0") or now - self._given < self._samples:
                return pcm
