# SPDX-License-Identifier: MIT
"""The sessions of clients, and the connections that they come by.

A session outlives its connections: a client that comes back with the name of its session, its
`protocol`, is sent again what it has not acknowledged.
"""

import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from recorder.errors import shown
from recorder.relay import schema
from recorder.relay.calls import VERBS
from recorder.relay.schema import Params, Refusal

if TYPE_CHECKING:
    from recorder.relay.calls import RelayCall

_LOG: Final = logging.getLogger("recorder")
# What is kept for a client that does not acknowledge. Beyond the first, events that are not the
# last of their kind are dropped; beyond the second, the session ends.
_MOST_KEPT: Final = 10_000
_MOST_KEPT_AT_ALL: Final = 20_000
_CONNECT_SECONDS: Final = 10.0  # for the first message of a connection
# Clients that are refused try again at once, some of them for ever.
_REFUSAL_SECONDS: Final = 3.0
_LAST_STATES: Final = frozenset({"finished", "no_input", "no_match", "error"})
_OTHER_VERBS: Final = frozenset({"calling", "messaging", "queuing", "tasking", "provisioning"})
_BLADE: Final = (
    "this client speaks Blade, which is RELAY's protocol of before: use signalwire-sdk from PyPI,"
    " or @signalwire/realtime-api from npm"
)


class Session:
    """What a client is to be sent, and the calls that are its own. Its name is `protocol`."""

    def __init__(self, signature: str, project: str) -> None:
        # JavaScript's client gives its name again only if the second part is the signature.
        self.protocol = f"signalwire_{signature}_{uuid.uuid4().hex}"
        self.identity = f"{uuid.uuid4()}@recorder"
        self.contexts: set[str] = set()
        self.calls: dict[str, RelayCall] = {}
        self.link: Link | None = None
        self.away_since = 0.0
        self.has_too_much = False
        self._project = project
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @property
    def kept(self) -> int:
        """How many events are not acknowledged."""
        return len(self._kept)

    def emit(self, context: str, event_type: str, params: Params) -> None:
        """Send an event, now or when the client is back, until it is acknowledged."""
        number, text = schema.event_request(
            event_type, params, protocol=self.protocol, project=self._project, context=context
        )
        is_last = params.get("state") in _LAST_STATES or event_type == schema.STATE_EVENT
        self._kept[number] = _Kept(text, event_type, params["call_id"], is_last=is_last)
        if len(self._kept) > _MOST_KEPT:
            self._drop_one()
        if self.link is not None:
            self.link.send(text)

    def _drop_one(self) -> None:
        for number, one in self._kept.items():
            if not one.is_last and one.event_type != schema.RECEIVE_EVENT:
                del self._kept[number]
                return
        self.has_too_much = len(self._kept) > _MOST_KEPT_AT_ALL

    def acknowledge(self, number: object) -> None:
        """The client has an event."""
        if isinstance(number, str):
            self._kept.pop(number, None)

    def withdraw(self, call_id: str) -> bool:
        """Take back the offer of a call that was not acknowledged; False where it was."""
        mine = [number for number, one in self._kept.items() if one.call_id == call_id]
        if not mine or self._kept[mine[0]].event_type != schema.RECEIVE_EVENT:
            return False
        for number in mine:
            del self._kept[number]
        self.calls.pop(call_id, None)
        return True

    def attach(self, link: "Link") -> None:
        """The client has come, or come back: send what it may not have."""
        if self.link is not None:
            self.link.replace()
        self.link = link
        for one in [*self._kept.values()]:
            link.send(one.text)

    def detach(self, link: "Link", now: float) -> None:
        """A connection is gone."""
        if self.link is link:
            self.link = None
            self.away_since = now


class _Kept:
    __slots__ = ("call_id", "event_type", "is_last", "text")

    def __init__(self, text: str, event_type: str, call_id: str, *, is_last: bool) -> None:
        self.text = text
        self.event_type = event_type
        self.call_id = call_id
        self.is_last = is_last


class Desk(Protocol):
    """What a connection needs of the hub."""

    def admit(self, wanted: schema.Connect) -> Session | None:
        """Return the session of a client, its own or a new one; None for wrong credentials."""

    def call(self, session: Session, call_id: str) -> "RelayCall | None":
        """Return a call of a session."""

    def now(self) -> float:
        """Return the time, in seconds."""


class Link:
    """One connection: frames in; frames out by `send`, and `close` ends it.

    `send` and `close` are called while a method runs, or its session has news.
    """

    def __init__(
        self, desk: Desk, send: Callable[[str], None], close: Callable[[str], None]
    ) -> None:
        self.send = send
        self.session: Session | None = None
        self._desk = desk
        self._close = close
        self._deadline: float | None = desk.now() + _CONNECT_SECONDS
        self._refused: str | None = None  # the answer that a refused client is yet to get
        self.is_closed = False

    def receive(self, text: str | bytes) -> None:
        """Take a frame."""
        message = schema.parse(text)
        if message is None or self.is_closed or self._refused is not None:
            if message is None:
                _LOG.debug("a RELAY client: expected an object of JSON, got %s", _brief(text))
            return
        if "method" not in message:
            if self.session is not None:
                self.session.acknowledge(message.get("id"))
            return
        number, method = message.get("id"), message["method"]
        params = message.get("params")
        if not isinstance(params, dict):
            params = {}
        try:
            self._take(number, method, params)
        except Refusal as refusal:
            self._answer(number, refusal)

    def tick(self) -> None:
        """Every 100 ms or so: close what has not connected, refuse what was refused."""
        if self._deadline is None or self.is_closed or self._desk.now() < self._deadline:
            return
        if self._refused is not None:
            self.send(self._refused)
        self.close("credentials" if self._refused is not None else "no signalwire.connect")

    def close(self, why: str) -> None:
        """End the connection."""
        if not self.is_closed:
            self.is_closed = True
            self._close(why)

    def replace(self) -> None:
        """The client has come back by another connection."""
        self.session = None
        self.close("replaced")

    def closed(self) -> None:
        """The connection is gone."""
        self.is_closed = True
        session, self.session = self.session, None
        if session is not None:
            session.detach(self, self._desk.now())

    # -- methods -----------------------------------------------------------------------------

    def _take(self, number: object, method: object, params: Params) -> None:
        if method == "signalwire.connect":
            self._connect(number, params)
        elif not isinstance(method, str) or method.startswith("blade."):
            why = _BLADE if isinstance(method, str) else "expected a method"
            self.send(schema.error(number, schema.INVALID_REQUEST, why))
            self.close("Blade" if isinstance(method, str) else "no method")
        elif self.session is None:
            why = "expected signalwire.connect first"
            self.send(schema.error(number, schema.AUTHENTICATION_FAILED, why))
            self.close(why)
        elif method == "signalwire.ping":
            self.send(schema.result(number, {"timestamp": time.time()}))
        elif method == "signalwire.receive":
            self.session.contexts |= {*schema.contexts(params)}
            self.send(schema.result(number, {"code": "200", "message": "ok"}))
        elif method == "signalwire.unreceive":
            self.session.contexts -= {*schema.contexts(params)}
            self.send(schema.result(number, {"code": "200", "message": "ok"}))
        else:
            self._do(self.session, number, method, params)

    def _connect(self, number: object, params: Params) -> None:
        try:
            wanted = schema.connect_request(params)
        except Refusal as refusal:
            if refusal.code > 0:
                self._answer(number, refusal)
                self.close("not as expected")
                return
            session, why = None, refusal.message
        else:
            session, why = self._desk.admit(wanted), "expected the project and token of this server"
        if session is None:
            _LOG.warning("a RELAY client is refused: %s", why)
            self._refused = schema.error(number, schema.AUTHENTICATION_FAILED, why)
            self._deadline = self._desk.now() + _REFUSAL_SECONDS
            return
        self._deadline = None
        if self.session is not None and self.session is not session:
            self.session.detach(self, self._desk.now())
        session.contexts |= {*wanted.contexts}
        signature = session.protocol.split("_")[1]
        found = schema.connected(session.protocol, session.identity, wanted.project, signature)
        self.send(schema.result(number, found))
        if self.session is not session:
            self.session = session
            session.attach(self)

    def _do(self, session: Session, number: object, method: str, params: Params) -> None:
        area, _, verb = method.partition(".")
        if area not in _OTHER_VERBS:
            why = f"there is no method {method[:100]!r}"
            self.send(schema.error(number, schema.METHOD_NOT_FOUND, why))
            return
        if area != "calling" or verb not in VERBS:
            raise Refusal(
                501, f"{_known(verb)} is not there on this server; {', '.join(_SHOWN)} are"
            )
        call = self._desk.call(session, schema.call_id(params))
        if call is None:
            raise Refusal(404, "no such call")
        call.do(verb, params, lambda found: self._answer(number, found))

    def _answer(self, number: object, found: Params | Refusal) -> None:
        if self.is_closed:
            return  # the client has given it up with the connection
        if isinstance(found, Refusal):
            found = {"code": str(found.code), "message": found.message}
        self.send(schema.result(number, found))


_SHOWN: Final = [verb for verb in VERBS if "." not in verb]


def _known(verb: str) -> str:
    return verb[:100] or "that"


def _brief(text: Any) -> str:
    return shown(text[:100])
