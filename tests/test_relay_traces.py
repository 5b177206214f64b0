# SPDX-License-Identifier: MIT
"""What real clients sent, and what they were answered, replayed.

`tests/data/relay-trace-*` were recorded between official clients and a server that did less: of
what it refused for that, this one does send_digits and collect.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from recorder import Call
from tests import signals
from tests.relay import TICK, Client, Party, World

DATA: Final = Path(__file__).parent / "data"
Params = dict[str, Any]
# What is answered otherwise: the code then, and now.
CHANGED: Final = {
    "calling.send_digits": ("501", "200"),
    "calling.collect": ("501", "200"),
    "calling.play": ("400", "501"),  # a ringtone
}
IDS: Final = ("call_id", "node_id", "control_id", "recording_id", "segment_id", "project_id")


def trace(name: str) -> list[Params]:
    """The messages of a trace, session after session."""
    text = gzip.decompress((DATA / f"relay-trace-{name}.jsonl.gz").read_bytes()).decode()
    lines = [json.loads(line) for line in text.splitlines()]
    sessions = list(dict.fromkeys(line["session"] for line in lines))
    return sorted(lines, key=lambda line: sessions.index(line["session"]))


class Replay:
    """The client's messages of a trace, sent to a hub; calls do what the trace's calls did."""

    def __init__(self, world: World, lines: list[Params]) -> None:
        self.world = world
        self.lines = lines
        self.client = Client(world)
        self.parties: dict[str, Party] = {}  # by the trace's call_id
        self.seen = 0  # of our events
        self.requests: dict[str, str] = {}  # methods, by their ids
        self.answers = self.events = 0

    def run(self) -> None:
        session = ""
        for number, line in enumerate(self.lines):
            if line["session"] != session:
                session, self.seen = line["session"], 0
                self.client = Client(self.world)
            message = line["message"]
            if line["way"] == "client->server":
                if "method" in message:
                    self.requests[message["id"]] = message["method"]
                    self.client.send(self.ours(message))
                    self.world.settle()
            elif "method" not in message:
                self.check_answer(message)
            else:
                self.check_event(message["params"], number)

    def ours(self, message: Params) -> Params:
        params = dict(message["params"])
        if "authentication" in params:
            params["authentication"] = {"project": "project", "token": "token"}
        if "call_id" in params:
            params |= {"call_id": self.parties[params["call_id"]].call.call_id, "node_id": "node"}
        return {**message, "params": params}

    def check_answer(self, message: Params) -> None:
        self.answers += 1
        ours, theirs = self.client.answers[message["id"]], message
        assert set(ours) == set(theirs)
        found, expected = ours["result"], theirs["result"]
        if "code" not in expected:
            assert set(found) == set(expected)
            return
        method = self.requests[message["id"]]
        if expected["code"] in {"200", "404"}:
            for answer in (found, expected):
                for name in IDS:
                    answer.pop(name, None)
            assert found == expected
        elif expected["code"] == CHANGED.get(method, ("", ""))[0]:
            assert found["code"] == CHANGED[method][1]
        else:
            assert found["code"] == expected["code"]
            if expected["code"] in {"400", "409"}:
                assert found["message"] == expected["message"]

    def check_event(self, theirs: Params, number: int) -> None:
        self.events += 1
        params = theirs["params"]
        if theirs["event_type"] == "calling.call.receive":
            self.parties[params["call_id"]] = self.world.party()
        party = self.parties[params["call_id"]]
        state = params.get("state")
        reason = params.get("record", {}).get("reason")
        if reason == "terminator":
            party.call.digit("#")
        is_over = reason == "hangup" or params.get("call_state") == "ending"
        if is_over and not self.has_asked_to_end(number):
            party.hang_up()
        self.world.settle()
        mine = self.next_event(party)
        found = mine["params"]
        assert mine["event_type"] == theirs["event_type"]
        assert (found.get("state"), found.get("call_state")) == (state, params.get("call_state"))
        assert found.get("record", {}).get("reason") == reason
        assert found.get("end_reason") == params.get("end_reason")
        assert set(mine) == set(theirs)
        assert set(found) - {"timestamp"} == set(params) - {"timestamp"}
        if state == "recording":
            party.say(signals.noise(0.5, -20) if self.is_spoken(number) else signals.silence(0.1))

    def has_asked_to_end(self, number: int) -> bool:
        """Whether the client's message before is `end`."""
        asked = [line["message"].get("method") for line in self.lines[number - 3 : number]]
        return "calling.end" in asked

    def is_spoken(self, number: int) -> bool:
        """Whether the recording that starts there does not end for want of input."""
        control = self.lines[number]["message"]["params"]["params"]["control_id"]
        for line in self.lines[number:]:
            params = line["message"].get("params", {}).get("params", {})
            if params.get("control_id") == control and params.get("state") == "no_input":
                return False
        return True

    def next_event(self, party: Party) -> Params:
        """The next event of ours of that call; as time passes."""
        for _ in range(round(20 / TICK)):
            for at in range(self.seen, len(self.client.frames)):
                event: Params = self.client.frames[at]["params"]
                is_new = event["event_type"].endswith(("collect", "send_digits"))
                if event["params"]["call_id"] == party.call.call_id and not is_new:
                    self.client.frames.insert(self.seen, self.client.frames.pop(at))
                    self.seen += 1
                    return event
            self.world.wait()
        raise AssertionError(f"nothing comes after {self.client.frames[self.seen - 1]}")


@pytest.mark.parametrize(
    ("name", "answers", "events"),
    [("example", 14, 19), ("cases", 47, 62), ("js", 8, 10)],
)
def test_a_trace(make_call: Callable[..., Call], name: str, answers: int, events: int) -> None:
    replay = Replay(World(make_call, makes=1.5), trace(name))
    replay.run()
    assert (replay.answers, replay.events) == (answers, events)
