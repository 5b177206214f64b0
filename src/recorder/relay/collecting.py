# SPDX-License-Identifier: MIT
"""Digits of the party for a client: collected into one result, or reported as they come.

Times are positions of the call, in samples.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from recorder.options import whole_samples

if TYPE_CHECKING:
    from recorder.relay.schema import CollectRequest, DetectRequest

CollectState = Literal["finished", "no_input", "no_match", "error"]

# A tone is reported after it was heard: its frames, and the decision.
_LATE_SECONDS: Final = 0.3


class Collection:
    """One `collect`. `report` is called once, with its state and its result.

    Its first timer runs from `start_timers` on.
    """

    def __init__(
        self,
        request: "CollectRequest",
        sample_rate: int,
        report: Callable[[CollectState, dict[str, object]], None],
    ) -> None:
        self._request = request
        self._rate = sample_rate
        self._report = report
        self._digits = ""
        self._deadline: int | None = None
        self.is_done = False

    @property
    def has_digits(self) -> bool:
        """Whether any came."""
        return bool(self._digits)

    def start_timers(self, position: int) -> None:
        """The first timer runs from here on, unless digits have come already."""
        if not self._digits and self._deadline is None:
            self._wait(self._request.initial_timeout, position)

    def press(self, digit: str, position: int) -> None:
        """Take a digit."""
        if self.is_done:
            return
        if digit in self._request.terminators:
            self._finish(digit)
            return
        self._digits += digit
        if len(self._digits) == self._request.most:
            self._finish("")
        else:
            self._wait(self._request.digit_timeout, position)

    def tick(self, position: int) -> None:
        """Look whether a timer has run out."""
        if self._deadline is not None and position >= self._deadline:
            self.stop()

    def stop(self) -> None:
        """End it with what there is."""
        if self._digits:
            self._finish("")
        else:
            self._end("no_input", {"type": "no_input"})

    def fail(self) -> None:
        """End it: the call has ended."""
        self._end("error", {"type": "error"})

    def _wait(self, seconds: float, position: int) -> None:
        # 0 is for ever, as in recordings.
        samples = whole_samples(seconds + _LATE_SECONDS, self._rate)
        self._deadline = position + samples if seconds else None

    def _finish(self, terminator: str) -> None:
        params = {"digits": self._digits, "terminator": terminator}
        self._end("finished", {"type": "digit", "params": params})

    def _end(self, state: CollectState, result: dict[str, object]) -> None:
        if not self.is_done:
            self.is_done = True
            self._report(state, result)


class Detection:
    """One `detect` of digits. `report` is called with each, and at last with `finished`."""

    def __init__(
        self,
        request: "DetectRequest",
        sample_rate: int,
        position: int,
        report: Callable[[str], None],
    ) -> None:
        self._digits = request.digits
        self._report = report
        self._deadline: int | None = None
        if request.timeout:
            samples = whole_samples(request.timeout + _LATE_SECONDS, sample_rate)
            self._deadline = position + samples
        self.is_done = False

    def press(self, digit: str, position: int) -> None:
        """Take a digit."""
        del position
        if not self.is_done and digit in self._digits:
            self._report(digit)

    def tick(self, position: int) -> None:
        """Look whether its time is over."""
        if self._deadline is not None and position >= self._deadline:
            self.stop()

    def stop(self) -> None:
        """End it."""
        if not self.is_done:
            self.is_done = True
            self._report("finished")

    fail = stop
