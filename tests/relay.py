# SPDX-License-Identifier: MIT
"""RELAY without sockets: a hub whose time the test sets, its clients and its calls."""

import itertools
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from recorder import Call, RecordEvent
from recorder.relay.calls import RelayCall, Surroundings
from recorder.relay.hub import Access, Hub
from recorder.relay.schema import Media
from tests.conftest import settle
from tests.signals import Pcm

TICK = 0.1
FRAME = 800  # samples of a tick
PROJECT, TOKEN = "project", "token"
MakeCall = Callable[..., Call]
Params = dict[str, Any]


class World:
    """A hub. `made` are media that the test is to make; with `makes` each lasts so long at once."""

    def __init__(self, make_call: MakeCall, *, makes: float | None = None, **hub: Any) -> None:
        self.seconds = 0.0
        self.makes = makes
        self.made: list[tuple[tuple[Media, ...], Callable[[bytes | str], None]]] = []
        self.parties: list[Party] = []
        self._jobs: deque[Callable[[], None]] = deque()
        self._make_call = make_call
        around = Surroundings(
            post=self._jobs.append, produce=self._produce, opening=lambda _, done: done(None)
        )
        access = Access(project=PROJECT, token=TOKEN, node_id="node")
        self.hub = Hub(access, around, lambda: self.seconds, **hub)

    def _produce(
        self, media: tuple[Media, ...], rate: int, take: Callable[[bytes | str], None]
    ) -> None:
        self.made.append((media, take))
        if self.makes is not None:
            take(np.full(round(self.makes * rate), 1000, np.int16).tobytes())

    def client(self, **connect: Any) -> "Client":
        """A client that is connected to the context `default`."""
        client = Client(self)
        client.connect(**{"contexts": ["default"], **connect})
        return client

    def party(self, **options: Any) -> "Party":
        """A call that comes in."""
        return Party(self, self._make_call, **options)

    def settle(self) -> None:
        """Let all that is under way come to its end."""
        settle()
        while self._jobs:
            self._jobs.popleft()()
            settle()

    def wait(self, seconds: float = TICK) -> None:
        """Let time pass; parties say what they have to say."""
        for _ in range(round(seconds / TICK)):
            self.seconds += TICK
            for party in self.parties:
                party.speak()
            self.settle()
            self.hub.tick()
            self.settle()


class Client:
    """One client of the hub. It acknowledges events, unless `acknowledges` is false."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.acknowledges = True
        self.protocol = ""
        self.answers: dict[str, Params] = {}  # whole frames, by the request's id
        self.frames: list[Params] = []  # events, as they came
        self.closed: str | None = None
        self._ids = itertools.count()
        self.plug()

    def plug(self) -> None:
        """Connect the socket."""
        self.closed = None
        self.link = self.world.hub.link(self._take, self._close)

    def unplug(self) -> None:
        """The socket is cut."""
        self.world.hub.gone(self.link)

    def _close(self, why: str) -> None:
        self.closed = why

    def _take(self, text: str) -> None:
        message = json.loads(text)
        assert message["jsonrpc"] == "2.0"
        if "method" not in message:
            self.answers[message["id"]] = message
            return
        assert message["method"] == "signalwire.event"
        self.frames.append(message)
        if self.acknowledges:
            self.acknowledge(message)

    def acknowledge(self, frame: Params) -> None:
        self.send({"jsonrpc": "2.0", "id": frame["id"], "result": {}})

    def send(self, message: Any) -> None:
        self.link.receive(json.dumps(message))

    def ask(self, method: str, params: Params | None = None) -> Params:
        """The frame that answers a request; it has to be there at once."""
        number = str(next(self._ids))
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or {}}
        self.send(message)
        return self.answers.get(number, {})

    def connect(self, token: str = TOKEN, project: str = PROJECT, **others: Any) -> Params:
        authentication = {"project": project, "token": token}
        params = {"version": {"major": 2}, "event_acks": True, "authentication": authentication}
        answer = self.ask("signalwire.connect", {**params, **others})
        if "result" in answer:
            self.protocol = answer["result"]["protocol"]
        return answer

    def do(self, party: "Party", verb: str, control_id: str = "c", **params: Any) -> Params:
        """The result of a verb."""
        ids = {"node_id": "node", "call_id": party.call.call_id, "control_id": control_id}
        answer: Params = self.ask(f"calling.{verb}", {**ids, **params})["result"]
        self.world.settle()
        return answer

    def code(self, party: "Party", verb: str, control_id: str = "c", **params: Any) -> str:
        return str(self.do(party, verb, control_id, **params)["code"])

    @property
    def events(self) -> list[tuple[str, Params]]:
        return [(one["params"]["event_type"], one["params"]["params"]) for one in self.frames]

    def states(self, kind: str, control_id: str | None = None) -> list[str]:
        """The states of the events of a kind, as `record`."""
        return [
            params.get("state") or params.get("call_state", "")
            for event_type, params in self.events
            if event_type == f"calling.call.{kind}"
            and control_id in {None, params.get("control_id")}
        ]

    def last(self, kind: str) -> Params:
        """The params of the last event of a kind."""
        return [params for event_type, params in self.events if event_type.endswith(kind)][-1]


class Party:
    """A call and who speaks on it."""

    def __init__(self, world: World, make_call: MakeCall, rate: int = 8000, **options: Any) -> None:
        self.world = world
        self.rate = rate
        self.call = make_call(rate, live=lambda: world.seconds, node_id="node", **options)
        self.to_say = np.zeros(0, np.int16)
        self.heard: list[Pcm] = []
        self.events: list[RecordEvent] = []
        self.has_hung_up = False
        self.call.on("calling.call.record", self.events.append)
        self.relayed: RelayCall | None = world.hub.offer(self.call, rate, self.hang_up)
        world.parties.append(self)

    def say(self, pcm: Pcm) -> None:
        self.to_say = np.concatenate([self.to_say, pcm])

    def speak(self) -> None:
        if self.has_hung_up:
            return
        size = self.rate // 10
        frame = np.zeros(size, np.int16)
        said, self.to_say = self.to_say[:size], self.to_say[size:]
        frame[: len(said)] = said
        self.call.feed(speak=frame)
        self.heard.append(np.frombuffer(self.call.playout(size), np.int16))

    def hang_up(self) -> None:
        """By either side."""
        if not self.has_hung_up:
            self.has_hung_up = True
            self.call.hangup()
            if self.relayed is not None:
                self.relayed.hung_up()

    @property
    def all_heard(self) -> Pcm:
        return np.concatenate(self.heard)
