# SPDX-License-Identifier: MIT
"""The calls of a server: each is recorded from its start, and its events are reported."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recorder.call import Call
from recorder.events import RECORD_EVENT, RecordEvent
from recorder.options import RecordOptions
from recorder.sources.pcm import call_rates

if TYPE_CHECKING:
    from recorder.action import RecordAction

_LOG: Final = logging.getLogger("recorder")


class Calls:
    """Makes calls for sources, records each with the same options, and counts.

    `report` is called with each event of a recording, as JSON can carry it, in the event loop.
    `counts` has what was refused or went wrong, by name, and `accepted`.
    """

    def __init__(
        self,
        options: RecordOptions,
        directory: Path,
        report: Callable[[dict[str, Any]], None],
        *,
        most: int,
        most_idle_seconds: float,
    ) -> None:
        self._options = options
        self._directory = directory
        self._report = report
        self._most = most
        self.most_idle_seconds = most_idle_seconds
        self.now = asyncio.get_running_loop().time
        self._set_up_at: float | None = None
        self._running: set[RecordAction] = set()
        self.connections = 0
        self.counts: Counter[str] = Counter()

    def accept(self) -> bool:
        """Count a connection; False when there are as many as may be."""
        if self.connections >= self._most:
            self.count("max-calls", f"{self._most} calls are open: another one is refused")
            return False
        self.connections += 1
        self.counts["accepted"] += 1
        return True

    def count(self, what: str, why: str) -> None:
        """Note and log that something was refused or went wrong."""
        self.counts[what] += 1
        _LOG.warning("%s (%s, %d so far)", why, what, self.counts[what])

    def open(self, call_id: str, rate: int, ended: Callable[[], None]) -> Call:
        """Make a call whose wire has audio of this rate; `ended` is called after its recording."""
        # No time passes while it is set up: the audio that opens it is in the file from its start.
        self._set_up_at = self.now()
        try:
            return self._set_up(call_id, rate, ended)
        finally:
            self._set_up_at = None

    def _clock(self) -> float:
        return self.now() if self._set_up_at is None else self._set_up_at

    def _set_up(self, call_id: str, rate: int, ended: Callable[[], None]) -> Call:
        call = Call(
            **call_rates(rate),
            call_id=call_id,
            directory=self._directory,
            live=self._clock,
        )

        def take(event: RecordEvent) -> None:
            self._report(event.payload)
            if event.reason is not None:
                self._running.discard(action)
                ended()

        call.on(RECORD_EVENT, take)
        action = call.record(self._options)
        self._running.add(action)
        return call

    async def finish(self, patience: float) -> None:
        """Wait until the files of the calls that were hung up are complete."""
        running = [asyncio.ensure_future(action.wait()) for action in self._running]
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()
