# SPDX-License-Identifier: MIT
"""RELAY's sessions under random verbs and disconnects.

Nothing is told twice as new, nothing terminal is lost, and no wait is left hanging.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from recorder import Call
from recorder.relay.calls import VERBS
from tests.marks import mostly_slow
from tests.relay import Client, Party, World

LAST: Final = {"finished", "no_input", "no_match", "error"}
# The verbs that begin something, and the kinds of event by which that ends.
STARTING: Final = {
    **{one: [one] for one in ("record", "play", "send_digits", "collect", "detect")},
    "play_and_collect": ["play", "collect"],
}
Params = dict[str, Any]


class Program:
    """A client that does anything, loses its connection, and waits for what it has begun."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.dice = dice
        self.client = Client(world)
        self.client.connect(contexts=["default"])
        self.is_here = True
        self.names = 0
        # What was answered by 2xx: how often, by call, control_id and kind of event.
        self.waits: Counter[tuple[str, str, str]] = Counter()

    def act(self, parties: list[Party]) -> None:
        move = self.dice.random()
        if move < 0.05:
            self.lose()
        elif move < 0.15 and not self.is_here:
            self.come_back()
        elif move < 0.25:
            self.client.acknowledges = self.dice.random() < 0.7
        elif self.is_here and parties:
            self.do(self.dice.choice(parties))

    def lose(self) -> None:
        if self.is_here:
            self.is_here = False
            self.client.unplug()

    def come_back(self) -> None:
        self.is_here = True
        self.client.plug()
        self.client.connect(protocol=self.client.protocol, contexts=["default"])

    def do(self, party: Party) -> None:
        dice = self.dice
        known = [control for call, control, _ in self.waits if call == party.call.call_id]
        verb = dice.choice(sorted(set(VERBS) - ({"end", "pass"} if dice.random() < 0.9 else set())))
        if verb in STARTING and dice.random() < 0.9:
            self.names += 1
            control = f"{verb}{self.names}"
        else:
            control = dice.choice([*known, "none"])
        answer = self.client.do(party, verb, control, **self.params(verb))
        if answer["code"] == "200" and verb in STARTING:
            for kind in STARTING[verb]:
                self.waits[party.call.call_id, control, kind] += 1

    def params(self, verb: str) -> Params:
        dice = self.dice
        media = [
            dice.choice(
                [{"type": "tts", "text": "a"}, {"type": "silence", "duration": dice.random()}]
            )
        ]
        collect = {"digits": {"max": dice.randint(1, 3), "digit_timeout": 1}, "initial_timeout": 1}
        audio = {
            "beep": dice.random() < 0.4,
            "initial_timeout": dice.choice([0, 0.5]),
            "max_length": dice.choice([0, 1]),
        }
        found: dict[str, Params] = {
            "record": {"record": {"audio": audio}},
            "play": {"play": media, "loop": dice.randint(1, 2)},
            "play_and_collect": {"play": media, "collect": collect},
            "collect": collect,
            "detect": {"detect": {"type": "digit"}, "timeout": 1},
            "send_digits": {"digits": "1w"},
            "play.volume": {"volume": dice.randint(-10, 10)},
            "play_and_collect.volume": {"volume": dice.randint(-10, 10)},
        }
        return found.get(verb, {})


def check(program: Program, parties: dict[str, Party]) -> None:
    """What a client has after it came back at last."""
    by_id: dict[str, Params] = {}
    order: list[Params] = []
    for frame in program.client.frames:
        if frame["id"] in by_id:
            assert by_id[frame["id"]] == frame  # the same again, known by its id
        else:
            by_id[frame["id"]] = frame
            order.append(frame["params"])
    ended: Counter[tuple[str, str, str]] = Counter()
    last_of_call: dict[str, str] = {}
    offered: Counter[str] = Counter()
    for event in order:
        params = event["params"]
        call_id, kind = params["call_id"], event["event_type"].removeprefix("calling.call.")
        assert last_of_call.get(call_id) != "ended", f"{kind} behind the end of its call"
        offered[call_id] += kind == "receive"
        if kind == "state":
            last_of_call[call_id] = params["call_state"]
        elif params.get("state") in LAST and not (kind == "record" and params["state"] == "error"):
            ended[call_id, params["control_id"], kind] += 1
    assert ended == program.waits, "a wait hangs, or has ended twice"
    assert set(offered.values()) <= {1}, "a call was offered twice"
    assert {one for one, state in last_of_call.items() if state != "ended"} == set()
    assert {*last_of_call} <= {*parties}


@pytest.mark.parametrize("seed", mostly_slow(range(120), *range(6)))
def test_any_order_of_verbs_and_disconnects(make_call: Callable[..., Call], seed: int) -> None:
    dice = random.Random(seed)
    world = World(make_call)
    programs = [Program(world, dice) for _ in range(2)]
    parties: dict[str, Party] = {}

    def of(program: Program) -> list[Party]:
        """The calls that a program has been offered, whether they are there still or not."""
        calls = [p["call_id"] for kind, p in program.client.events if kind.endswith("receive")]
        return [parties[one] for one in dict.fromkeys(calls)]

    for _ in range(150):
        if dice.random() < 0.05 and len(parties) < 6:
            party = world.party()
            if party.relayed is not None:
                parties[party.call.call_id] = party
        if dice.random() < 0.02 and parties:
            dice.choice([*parties.values()]).hang_up()
        if dice.random() < 0.2 and world.made:
            _, take = world.made.pop(dice.randrange(len(world.made)))
            pcm = np.full(dice.randrange(8000), 500, np.int16).tobytes()
            take(pcm if dice.random() < 0.5 else "failed")
        if dice.random() < 0.2 and parties:
            party = dice.choice([*parties.values()])
            if not party.has_hung_up:
                party.call.digit(dice.choice("12#"))
        for program in programs:
            program.act(of(program))
        if dice.random() < 0.5:
            world.wait(0.1 * dice.randint(1, 3))
    for party in parties.values():
        party.hang_up()
    world.settle()
    for program in programs:
        program.lose()
        program.client.acknowledges = True
        program.come_back()
        check(program, parties)
        assert program.client.link.session is not None
        assert program.client.link.session.kept == 0
    assert world.hub.calls == 0
