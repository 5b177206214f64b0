# SPDX-License-Identifier: MIT
"""The calls of a server: each is recorded from its start, or belongs to a client of RELAY.

The events of all recordings are reported.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recorder.call import Call
from recorder.errors import CallRefusedError
from recorder.events import RECORD_EVENT, RecordEvent
from recorder.options import RecordOptions
from recorder.runtime.lanes import WRITING
from recorder.server.meters import Readings
from recorder.sources.pcm import call_rates

if TYPE_CHECKING:
    from recorder.action import RecordAction
    from recorder.relay.calls import RelayCall
    from recorder.relay.hub import Hub

_LOG: Final = logging.getLogger("recorder")


class Calls:
    """Makes calls for sources, records each with the same options, and counts.

    - `report` is called with each event of a recording, as JSON can carry it, in the event loop.
    - `hub`: whose clients get the calls. Where there is no client a call is recorded all the same,
      or, with None for `options`, refused.
    """

    def __init__(
        self,
        options: RecordOptions | None,
        directory: Path,
        report: Callable[[dict[str, Any]], None],
        *,
        most: int,
        most_idle_seconds: float,
        hub: "Hub | None" = None,
    ) -> None:
        self._options = options
        self._directory = directory
        self._report = report
        self._most = most
        self.most_idle_seconds = most_idle_seconds
        self._hub = hub
        self._clients: dict[Call, RelayCall] = {}
        self.now = asyncio.get_running_loop().time
        self._set_up_at: float | None = None
        self._running: set[RecordAction] = set()
        self._connections = 0
        self._calls: set[Call] = set()
        self.counted = Readings()

    # -- connections -----------------------------------------------------------------------

    def accept(self) -> bool:
        """Count a connection; False when there are as many as may be."""
        if self._connections >= self._most:
            self.refuse("max-calls", f"{self._most} calls are open: another one is refused")
            return False
        self._connections += 1
        self.counted.add("connections")
        return True

    def leave(self, call: Call | None) -> None:
        """A connection that was accepted is gone, and its call has ended."""
        self._connections -= 1
        self.hung_up(call)
        if call is not None:
            self._calls.discard(call)
            self.counted.add_audio(call.stats, call.sample_rate)

    def hung_up(self, call: Call | None) -> None:
        """A call takes no more; once is enough. Its recordings may still be on their way."""
        relayed = None if call is None else self._clients.pop(call, None)
        if relayed is not None:
            relayed.hung_up()

    def refuse(self, what: str, why: str) -> None:
        """Count and log that a connection was refused or broken off."""
        self.counted.add("refusals", what)
        _LOG.warning("%s (%s, %d so far)", why, what, self.counted.values["refusals", what])

    # -- calls -----------------------------------------------------------------------------

    def open(self, call_id: str, rate: int, ended: Callable[[], None]) -> Call:
        """Make a call whose wire has audio of this rate; `ended` is called when it is to be closed.

        That is after its recording, or when its client ends it. CallRefusedError when nobody would
        record it.
        """
        # No time passes while it is set up: the audio that opens it is in the file from its start.
        self._set_up_at = self.now()
        try:
            return self._set_up(call_id, rate, ended)
        finally:
            self._set_up_at = None

    def _clock(self) -> float:
        return self.now() if self._set_up_at is None else self._set_up_at

    def _set_up(self, call_id: str, rate: int, ended: Callable[[], None]) -> Call:
        hub, options = self._hub, self._options
        goes_to_client = hub is not None and hub.has_client() and not hub.has_call(call_id)
        if options is None and not goes_to_client:
            is_there = hub is not None and hub.has_call(call_id)
            why = "a client has one of that id" if is_there else "no RELAY client is there"
            raise CallRefusedError(f"call {call_id!r}: {why}")
        call = Call(
            **call_rates(rate),
            call_id=call_id or None,
            node_id=None if hub is None else hub.access.node_id,
            directory=self._directory,
            live=self._clock,
        )

        action: RecordAction | None = None  # of a call that is recorded by the options

        def take(event: RecordEvent) -> None:
            self._report(event.payload)
            if event.reason is None:
                return
            self._count(event)
            if action is not None:
                self._running.discard(action)
                ended()

        call.on(RECORD_EVENT, take)
        self._calls.add(call)
        relayed = hub.offer(call, rate, ended) if hub is not None and goes_to_client else None
        if relayed is not None:
            self._clients[call] = relayed
            return call

        action = call.record(options)
        self._running.add(action)
        return call

    def _count(self, event: RecordEvent) -> None:
        self.counted.add("recordings", event.state, event.reason or "")
        self.counted.add("recorded_bytes", value=event.size)
        self.counted.add("recorded_seconds", value=event.duration)

    async def finish(self, patience: float) -> None:
        """Wait until the files of the calls that were hung up are complete."""
        running = [asyncio.ensure_future(action.wait()) for action in self._running]
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()

    # -- counts ----------------------------------------------------------------------------

    def readings(self) -> Readings:
        """Return what was counted so far, and how things stand. From any thread."""
        readings = Readings(list(self.counted.values.items()))
        calls = self._calls.copy()
        readings.add("calls", value=len(calls))
        for call in calls:
            readings.add_audio(call.stats, call.sample_rate)
        readings.add("unwritten_bytes", value=WRITING.pending)
        return readings
