# SPDX-License-Identifier: MIT
"""Which client gets which call."""

import hmac
import logging
import secrets
import uuid
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from recorder.relay.calls import RelayCall, Surroundings
from recorder.relay.session import Link, Session

if TYPE_CHECKING:
    from recorder.call import Call
    from recorder.relay.schema import Connect, Params

_LOG: Final = logging.getLogger("recorder")
# A client that does not come back for so long is given up, and its calls with it.
AWAY_SECONDS: Final = 120.0
_MOST_SESSIONS: Final = 1000
# A client takes no more by itself, and drops the next one in silence.
_MOST_CALLS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What clients have to show, and what their calls are called.

    `context` is that of all calls; `node_id` stands in their events.
    """

    project: str
    token: str = field(repr=False)
    context: str = "default"
    node_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Hub:
    """The clients and the calls of a server. All of it is to run in one thread or loop.

    `now` is a clock in seconds; `idle` is called whenever the last call has ended.
    """

    def __init__(
        self,
        access: Access,
        surroundings: Surroundings,
        now: Callable[[], float],
        *,
        most_calls: int = _MOST_CALLS,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self.access = access
        self.now = now
        self._around = surroundings
        self._most_calls = most_calls
        self._idle = idle
        self._signature = secrets.token_hex(8)
        self._sessions: dict[str, Session] = {}  # in the order of their turns
        self._links: set[Link] = set()
        self._calls: dict[str, tuple[RelayCall, Session]] = {}

    # -- connections -------------------------------------------------------------------------

    def link(self, send: Callable[[str], None], close: Callable[[str], None]) -> Link:
        """Take a connection; `gone` is to be called when it is closed."""
        link = Link(self, send, close)
        self._links.add(link)
        return link

    def gone(self, link: Link) -> None:
        """A connection is closed. Calls that its client may not know of are offered to others."""
        self._links.discard(link)
        session = link.session
        link.closed()
        if session is None:
            return
        for call in [*session.calls.values()]:
            other = None if call.is_taken else self._choose(call.offered_to)
            if other is not None and session.withdraw(call.call_id):
                call.leave()
                self._assign(call, other)

    def admit(self, wanted: "Connect") -> Session | None:
        """Return the session of a client, its own or a new one; None for wrong credentials."""
        # Both are compared, whatever the first one gives: the time that it takes says nothing.
        is_project = _is_same(wanted.project, self.access.project)
        if not _is_same(wanted.token, self.access.token) or not is_project:
            return None
        session = self._sessions.get(wanted.protocol)
        if session is None:
            if len(self._sessions) >= _MOST_SESSIONS:
                self._make_room()
            session = Session(self._signature, self.access.project)
            self._sessions[session.protocol] = session
        return session

    def _make_room(self) -> None:
        """Give up the client that has been away for longest and has no calls."""
        away = [one for one in self._sessions.values() if one.link is None and not one.calls]
        if away:
            del self._sessions[min(away, key=lambda one: one.away_since).protocol]

    # -- calls -------------------------------------------------------------------------------

    @property
    def calls(self) -> int:
        """How many calls clients have."""
        return len(self._calls)

    def has_client(self) -> bool:
        """Whether a client would get a call now."""
        return self._choose() is not None

    def has_call(self, call_id: str) -> bool:
        """Whether a client has a call of that id."""
        return call_id in self._calls

    def offer(self, call: "Call", rate: int, hang_up: Callable[[], None]) -> RelayCall | None:
        """Give a call to the client whose turn it is; None when there is none.

        `rate` is that of its listen leg; `hang_up` ends its media.
        """
        session = self._choose()
        if session is None or self.has_call(call.call_id):
            return None
        found = RelayCall(
            call,
            rate,
            self._around,
            context=self.access.context,
            project=self.access.project,
            emit=_nowhere,
            hang_up=hang_up,
            on_ended=self._ended,
        )
        self._assign(found, session)
        return found

    def call(self, session: Session, call_id: str) -> RelayCall | None:
        """Return a call of a session."""
        return session.calls.get(call_id)

    def _choose(self, but: Container[str] = ()) -> Session | None:
        for session in self._sessions.values():
            is_here = session.link is not None and not session.has_too_much
            if (
                is_here
                and session.protocol not in but
                and self.access.context in session.contexts
                and len(session.calls) < self._most_calls
            ):
                return session
        return None

    def _assign(self, call: RelayCall, session: Session) -> None:
        del self._sessions[session.protocol]  # the next call is for the next one
        self._sessions[session.protocol] = session
        session.calls[call.call_id] = call
        self._calls[call.call_id] = call, session
        call.offered_to.add(session.protocol)
        call.emit_to = partial(session.emit, self.access.context)
        call.offer()

    def _ended(self, call: RelayCall) -> None:
        _, session = self._calls.pop(call.call_id)
        session.calls.pop(call.call_id, None)
        if not self._calls:
            self._idle()

    # -- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Every 100 ms or so: look after calls, connections and clients that are away."""
        for call, _ in [*self._calls.values()]:
            call.tick()
        for link in [*self._links]:
            link.tick()
        for session in [*self._sessions.values()]:
            is_away = session.link is None and self.now() - session.away_since > AWAY_SECONDS
            if is_away or session.has_too_much:
                self._give_up(session, "does not come back" if is_away else "acknowledges nothing")

    def _give_up(self, session: Session, why: str) -> None:
        del self._sessions[session.protocol]
        if session.calls:
            _LOG.warning("a RELAY client %s: its %d calls are hung up", why, len(session.calls))
        if session.link is not None:
            session.link.close(why)
        for call in [*session.calls.values()]:
            call.hang_up()

    def close(self, why: str) -> None:
        """Close all connections."""
        for link in [*self._links]:
            link.close(why)


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _nowhere(event_type: str, params: "Params") -> None:
    del event_type, params
