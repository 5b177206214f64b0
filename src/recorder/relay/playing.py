# SPDX-License-Identifier: MIT
"""What a client plays to a call's party: in order, and stopped, paused or turned up at any time.

All audio is queued on the call at once, so that whatever the call queues behind it, a beep, comes
behind it. A change takes back what was not heard, and queues again what remains.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from recorder.errors import CallEndedError

if TYPE_CHECKING:
    from recorder.call import Call

PlayState = Literal["playing", "paused", "finished", "error"]

# Makes the PCM of a piece at a rate, at its leisure, and then calls what it is given: with the PCM,
# or with what went wrong.
Produce = Callable[[Callable[["bytes | str"], None]], None]

_SAMPLE_BYTES: Final = 2


class Piece:
    """One `play`, from its verb to its end. `report` is called with each of its states.

    Its PCM is at the rate of the listen leg. `why` says what went wrong.
    """

    def __init__(self, report: Callable[[PlayState], None], *, loop: int, volume: float) -> None:
        self._report = report
        self._loop = loop
        self.volume = volume
        self.pcm: bytes | None = None  # None while it is made
        self.why = ""
        self.state: PlayState | None = None  # None before it begins
        self.is_paused = False
        self.begin = 0  # the first sample that was not heard, or is not known to be
        self.is_queued = False
        self.end = 0  # where on the call it ends

    def take(self, pcm: bytes) -> None:
        """Its audio is there."""
        self.pcm = pcm * self._loop

    @property
    def total(self) -> int:
        """Its samples."""
        return 0 if self.pcm is None else len(self.pcm) // _SAMPLE_BYTES

    def remainder(self) -> bytes:
        """Return what was not heard, as loud as it is to be."""
        assert self.pcm is not None
        rest = self.pcm[self.begin * _SAMPLE_BYTES :]
        if not self.volume:
            return rest
        louder = np.frombuffer(rest, np.int16) * np.float32(10 ** (self.volume / 20))
        pcm: bytes = np.rint(np.clip(louder, -32768, 32767)).astype(np.int16).tobytes()
        return pcm

    def become(self, state: PlayState) -> None:
        """Report a state, unless it is the one that was reported last."""
        if state != self.state and self.state not in {"finished", "error"}:
            self.state = state
            self._report(state)


class Player:
    """The pieces of one call in the order of their verbs. `rate` is that of its listen leg."""

    def __init__(self, call: "Call", rate: int) -> None:
        self._call = call
        self._rate = rate
        self._order: list[Piece | Callable[[], None]] = []

    # -- verbs -------------------------------------------------------------------------------

    def add(self, piece: Piece, produce: Produce) -> None:
        """Play a piece behind those before; its audio is still to be made."""
        self._order.append(piece)
        produce(partial(self._take, piece))

    def then(self, work: Callable[[], None]) -> None:
        """Do something once all pieces so far are queued: what it queues comes behind them."""
        self._order.append(work)
        self._pump()

    @property
    def is_waiting(self) -> bool:
        """Whether pieces are still to be queued."""
        return not all(isinstance(one, Piece) and one.is_queued for one in self._order)

    def forget(self, work: Callable[[], None]) -> None:
        """Do not do what `then` was given."""
        self._order.remove(work)

    def stop(self, piece: Piece) -> None:
        """End one: what was not heard is never heard."""
        self._take_back()
        self._leave(piece, "finished")
        self._pump()

    def pause(self, piece: Piece) -> None:
        """Keep one, and those behind it, until `resume`."""
        if not piece.is_paused:
            piece.is_paused = True
            self._take_back()
            piece.become("paused")
            self._pump()

    def resume(self, piece: Piece) -> None:
        """Continue."""
        if piece.is_paused:
            piece.is_paused = False
            self._pump()
            # One that waits for others is no longer paused all the same.
            piece.become("playing")

    def change_volume(self, piece: Piece, volume: float) -> None:
        """Make what was not heard louder or quieter, in dB beside what it was made of."""
        piece.volume = volume
        self._take_back()
        self._pump()

    def end(self) -> None:
        """The call has ended: so has all that plays."""
        for one in self._order[:]:
            if isinstance(one, Piece):
                self._leave(one, "finished")
        self._order.clear()

    # -- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Report what has begun and what has ended since."""
        position = self._call.position
        for one in self._order[:]:
            if not isinstance(one, Piece) or not one.is_queued:
                continue
            length = (one.total - one.begin) * self._call.sample_rate // self._rate
            if position >= one.end - length and one.state is None:
                one.become("playing")
            if position >= one.end:
                self._leave(one, "finished")

    def _take(self, piece: Piece, made: bytes | str) -> None:
        """The audio of a piece is there, or will never be."""
        if piece not in self._order:
            return  # it was stopped
        if isinstance(made, str):
            piece.why = made
            self._leave(piece, "error")
        else:
            piece.take(made)
        self._pump()

    def _pump(self) -> None:
        """Queue all up to the first piece that is paused, or whose audio is not there yet."""
        while self._order:
            waiting = [
                one for one in self._order if not isinstance(one, Piece) or not one.is_queued
            ]
            if not waiting:
                return
            first = waiting[0]
            if not isinstance(first, Piece):
                self._order.remove(first)
                first()
                continue
            if first.pcm is None or first.is_paused or not self._queue(first):
                return

    def _queue(self, piece: Piece) -> bool:
        try:
            piece.end = self._call.play(piece.remainder(), self._rate)
        except CallEndedError:  # which `end` is about to follow
            return False
        piece.is_queued = True
        if self._order[0] is piece:
            piece.become("playing")
        return True

    def _take_back(self) -> None:
        """Take back what was not heard, from all that are queued."""
        taken = self._call.clear()
        for one in reversed(self._order):
            if isinstance(one, Piece) and one.is_queued and taken:
                n = min(taken, one.total - one.begin)
                taken -= n
                one.begin = one.total - n
                one.is_queued = not n

    def _leave(self, piece: Piece, state: PlayState) -> None:
        if piece in self._order:
            self._order.remove(piece)
            piece.become(state)
