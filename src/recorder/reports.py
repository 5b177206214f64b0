# SPDX-License-Identifier: MIT
"""Who is subscribed to a call's events, and what is logged of it."""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from recorder.events import RECORD_EVENT, DigitEvent, Event, RecordEvent, VoiceEvent
from recorder.runtime.handlers import Delivery, Subscription

if TYPE_CHECKING:
    from recorder.action import RecordAction
    from recorder.placement.timeline import Leg, Loss

_LOG: Final = logging.getLogger("recorder")


class Reports:
    """Delivers the events of one call. Nothing here waits for a handler, or needs a lock."""

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id
        self._subscriptions: list[tuple[str, Subscription]] = []
        self._has_lost = False

    def subscribe(self, event_type: str, subscription: Subscription) -> None:
        """Deliver all events of a type from now on."""
        self._subscriptions.append((event_type, subscription))

    def _subscribed(self, event_type: str) -> list[Subscription]:
        return [one for kind, one in tuple(self._subscriptions) if kind == event_type]

    def publish(self, event: Event) -> None:
        """Deliver an event."""
        for subscription in self._subscribed(event.event_type):
            subscription.deliver(event, _nothing)

    def recording(
        self,
        action: "RecordAction",
        on_completed: Subscription | None,
        delivered: Callable[[], None],
        event: RecordEvent,
        last: bool,
    ) -> None:
        """Deliver an event of a recording.

        With `last`, the terminal one: `delivered` is called once all handlers were called.
        """
        if not last:
            if event.state == "recording" and not event.duration:
                _LOG.info("call %r: recording %r starts", self._call_id, event.control_id)
            self.publish(event)
            return
        _LOG.info(
            "call %r: recording %r ends: %s, %.3f s",
            *(self._call_id, event.control_id, event.reason, event.duration),
        )
        subscriptions = self._subscribed(RECORD_EVENT)
        if on_completed is not None:
            subscriptions.insert(0, on_completed)
        delivery = Delivery(event, subscriptions, delivered)
        action._finish(event, delivery)
        delivery.start()

    def digit(self, digit: str, position: int, in_band: bool) -> None:
        """Report a press."""
        self.publish(
            DigitEvent(
                timestamp=time.time(),
                call_id=self._call_id,
                digit=digit,
                position=position,
                in_band=in_band,
            )
        )

    def voice_to(
        self, subscription: Subscription
    ) -> Callable[["Leg", Literal["start", "end"], int], None]:
        """Return what reports voice to one subscription, which has a detector of its own."""
        return partial(self._voice, subscription)

    def _voice(
        self, subscription: Subscription, leg: "Leg", state: Literal["start", "end"], position: int
    ) -> None:
        event = VoiceEvent(
            timestamp=time.time(), call_id=self._call_id, leg=leg, state=state, position=position
        )
        subscription.deliver(event, _nothing)

    def loss(self, leg: "Leg", why: "Loss", n: int) -> None:
        """Warn of the first audio that is lost; a duplicate is no loss."""
        if why == "duplicate" or self._has_lost:
            return
        self._has_lost = True
        reason = "over other audio" if why == "overlap" else "late, or faster than it can be spoken"
        _LOG.warning(
            "call %r: audio of the %s leg is lost, %d samples so far, since it came %s. For audio"
            " that is still to be heard use play(), for packets with timestamps feed(at=...), for a"
            " wire that falls silent Call(live=True); call.stats counts what is lost",
            *(self._call_id, leg, n, reason),
        )


def _nothing() -> None:
    pass
