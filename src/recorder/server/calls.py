# SPDX-License-Identifier: MIT
"""The calls of a server: each is recorded from its start, or belongs to a client of RELAY.

The events of all recordings are reported.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recorder.call import Call
from recorder.errors import CallRefusedError
from recorder.events import PUBLISHING_EVENT, RECORD_EVENT, PublishingEvent, RecordEvent
from recorder.options import RecordOptions
from recorder.publishing.agent import AGENT
from recorder.publishing.destinations import NOWHERE, Destinations
from recorder.runtime.lanes import WRITING
from recorder.server.meters import Readings
from recorder.sources.pcm import call_rates

if TYPE_CHECKING:
    from recorder.action import RecordAction
    from recorder.relay.calls import RelayCall
    from recorder.relay.hub import Hub

_LOG: Final = logging.getLogger("recorder")
_EXIT_SECONDS: Final = 1.0  # for what is to be sent, besides the time for files
# Of the time for files, what they have to be stored before their events go out without that.
_STORING_SHARE: Final = 0.6
# What the calls' clock passes at most from one tick to the next, in seconds: twice a tick, so that
# a few ticks are less than a call's max_skew.
_MOST_A_TICK: Final = 0.04
# Recordings at once, for each call that may be open: those that wait for the disk take memory, too.
_MOST_UNFINISHED: Final = 2


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
        destinations: Destinations = NOWHERE,
    ) -> None:
        self._options = options
        self._directory = directory
        self._destinations = destinations
        if destinations:  # what a process before this one left
            AGENT.take_over_later(directory)
        self._report = report
        self._most = most
        self.most_idle_seconds = most_idle_seconds
        self._hub = hub
        self._clients: dict[Call, RelayCall] = {}
        self.now = time.monotonic
        self.clock_limit = self.now() + _MOST_A_TICK
        self._running: set[RecordAction] = set()
        self._connections = 0
        self._calls: set[Call] = set()
        self.counted = Readings()

    # -- connections -----------------------------------------------------------------------

    def accept(self) -> bool:
        """Count a connection; False when there are as many calls, or files, as may be."""
        if self._connections >= self._most:
            self.refuse("max-calls", f"{self._most} calls are open: another one is refused")
            return False
        if self._unfinished >= _MOST_UNFINISHED * self._most:
            why = f"{self._unfinished} files are not complete: the disk is slower than calls end"
            self.refuse("unfinished", why)
            return False
        self._connections += 1
        self.counted.add("connections")
        return True

    @property
    def _unfinished(self) -> int:
        """How many recordings, or calls of clients, are not complete."""
        return len(self._running) + (0 if self._hub is None else self._hub.calls)

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

    # -- time ------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let 20 ms pass for the calls, or what has passed of a stall.

        While this process stood still no call was silent: what was said is still to be read. So
        the calls' clock does not jump: it stays below `clock_limit`, and catches up by ticks,
        between which is read.
        """
        self.clock_limit = min(self.now(), self.clock_limit) + _MOST_A_TICK

    # -- calls -----------------------------------------------------------------------------

    def open(self, call_id: str, rate: int, ended: Callable[[], None]) -> Call:
        """Make a call whose wire has audio of this rate; `ended` is called when it is to be closed.

        That is after its recording, or when its client ends it. CallRefusedError when nobody would
        record it.
        """
        hub, options = self._hub, self._options
        goes_to_client = hub is not None and hub.has_client() and not hub.has_call(call_id)
        if options is None and not goes_to_client:
            is_there = hub is not None and hub.has_call(call_id)
            why = "a client has one of that id" if is_there else "no RELAY client is there"
            raise CallRefusedError(f"call {call_id!r}: {why}")
        clock = _Clock(self)
        call = Call(
            **call_rates(rate),
            call_id=call_id or None,
            node_id=None if hub is None else hub.access.node_id,
            directory=self._directory,
            live=clock,
            **asdict(self._destinations),
        )
        has_ended = False

        def end() -> None:
            nonlocal has_ended
            if not has_ended:
                has_ended = True
                ended()

        action: RecordAction | None = None  # of a call that is recorded by the options

        def take(event: RecordEvent) -> None:
            self._report(event.payload)
            if event.reason is None:
                return
            self._count(event)
            if action is not None:
                self._running.discard(action)
                end()

        def take_publishing(event: PublishingEvent) -> None:
            if event.state != "started":
                self._report(event.payload)
            elif action is not None:  # the file is complete, and the party need not wait
                end()

        call.on(RECORD_EVENT, take)
        call.on(PUBLISHING_EVENT, take_publishing)
        self._calls.add(call)
        relayed = hub.offer(call, rate, ended) if hub is not None and goes_to_client else None
        if relayed is not None:
            self._clients[call] = relayed
        else:
            action = call.record(options)
            self._running.add(action)
        # No time has passed meanwhile: the audio that opens it is in the file from its start.
        clock.start(call)
        return call

    def _count(self, event: RecordEvent) -> None:
        self.counted.add("recordings", event.state, event.reason or "")
        self.counted.add("recorded_bytes", value=event.size)
        self.counted.add("recorded_seconds", value=event.duration)

    async def finish(self, patience: float) -> None:
        """Wait until the files of the calls that were hung up are complete."""
        AGENT.exit_seconds = _EXIT_SECONDS
        running = [asyncio.ensure_future(action.wait()) for action in self._running]
        if running:
            _, late = await asyncio.wait(running, timeout=patience * _STORING_SHARE)
            AGENT.hurry()
            if late:
                _, late = await asyncio.wait(late, timeout=patience * (1 - _STORING_SHARE))
            for task in late:
                task.cancel()

    # -- counts ----------------------------------------------------------------------------

    def readings(self) -> Readings:
        """Return what was counted so far, and how things stand. From any thread."""
        readings = Readings(list(self.counted.values.items()))
        calls = self._calls.copy()
        readings.add("calls", value=len(calls))
        readings.add("unfinished_recordings", value=self._unfinished)
        for call in calls:
            readings.add_audio(call.stats, call.sample_rate)
        readings.add("unwritten_bytes", value=WRITING.pending)
        return readings


class _Clock:
    """A live call's clock: it stands until `start`, and passes as far as audio says in a stall."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._began = min(calls.now(), calls.clock_limit)
        self._call: Call | None = None
        self._is_asking = False  # the call, which asks back

    def start(self, call: Call) -> None:
        """Let time pass."""
        self._call = call

    def __call__(self) -> float:
        if self._call is None:
            return self._began
        now, limit = self._calls.now(), self._calls.clock_limit
        if now <= limit or self._is_asking:
            return min(now, limit)
        self._is_asking = True
        said = self._began + self._call.position / self._call.sample_rate
        self._is_asking = False
        return min(now, max(limit, said))
