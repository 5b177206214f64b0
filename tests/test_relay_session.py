# SPDX-License-Identifier: MIT
"""RELAY's sessions and connections, without sockets."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from recorder import Call
from recorder.relay import session as sessions
from recorder.relay.calls import VERBS
from recorder.relay.hub import AWAY_SECONDS
from recorder.relay.schema import AUTHENTICATION_FAILED, INVALID_REQUEST, METHOD_NOT_FOUND
from tests import signals
from tests.conftest import settle
from tests.recordings import NO_LIMITS
from tests.relay import Client, World


@pytest.fixture
def world(make_call: Callable[..., Call]) -> World:
    return World(make_call)


# -- connecting ------------------------------------------------------------------------------------


def test_the_answer_to_connect(world: World) -> None:
    client = Client(world)
    found = client.connect(contexts=["default"])["result"]
    assert set(found) == {"protocol", "identity", "authorization"}
    kind, signature, name = found["protocol"].split("_")
    assert kind == "signalwire"
    assert found["authorization"] == {"project": "project", "signature": signature}
    assert name
    assert client.ask("signalwire.ping")["result"]["timestamp"] > 0


@pytest.mark.parametrize(
    "given",
    [
        {"token": "tokem"},
        {"token": ""},
        {"project": "another"},
        {"project": "pröject", "token": "\ud800"},
        {"authentication": {"jwt_token": "x"}},
        {"authentication": None},
        {"authentication": {"project": 1, "token": ["token"]}},
    ],
)
def test_wrong_credentials_are_refused_later(world: World, given: dict[str, Any]) -> None:
    client = Client(world)
    assert client.connect(**given) == {}
    assert client.ask("signalwire.ping") == {}
    assert not world.hub.has_client()
    world.wait(2.8)
    assert client.closed is None
    world.wait(0.4)
    assert client.closed == "credentials"
    (answer,) = client.answers.values()
    assert answer["error"]["code"] == AUTHENTICATION_FAILED
    assert "expected" in answer["error"]["message"]


def test_a_connection_that_says_nothing_is_closed(world: World) -> None:
    client = Client(world)
    world.wait(9.8)
    assert client.closed is None
    world.wait(0.4)
    assert client.closed == "no signalwire.connect"


def test_connect_comes_first(world: World) -> None:
    client = Client(world)
    assert client.ask("calling.answer")["error"]["code"] == AUTHENTICATION_FAILED
    assert client.closed == "expected signalwire.connect first"
    assert client.ask("signalwire.ping") == {}


def test_blade_is_told_which_client_to_use(world: World) -> None:
    client = Client(world)
    error = client.ask("blade.connect", {"version": {"major": 2}})["error"]
    assert error["code"] == INVALID_REQUEST
    assert "signalwire-sdk" in error["message"]
    assert "@signalwire/realtime-api" in error["message"]
    assert client.closed == "Blade"


@pytest.mark.parametrize("text", ["", "x", "[]", "1", "null", '{"id": 1', "[" * 100_000, b"\xff"])
def test_what_is_no_object_is_ignored(world: World, text: str | bytes) -> None:
    client = world.client()
    client.link.receive(text)
    assert client.ask("signalwire.ping")["result"]
    assert client.closed is None


@pytest.mark.parametrize("method", ["signalwire.what", "what", "", "calling_answer", "x" * 1000])
def test_unknown_methods(world: World, method: str) -> None:
    error = world.client().ask(method)["error"]
    assert error["code"] == METHOD_NOT_FOUND
    assert len(error["message"]) < 200


def test_a_method_that_is_none(world: World) -> None:
    client = world.client()
    client.send({"jsonrpc": "2.0", "id": "a", "method": 7})
    assert client.answers["a"]["error"]["code"] == INVALID_REQUEST


@pytest.mark.parametrize(
    "verb",
    [
        *("connect", "disconnect", "dial", "refer", "transfer", "tap", "stream", "send_fax", "pay"),
        *("ai", "transcribe", "denoise", "join_conference", "join_room", "queue.enter", "echo"),
        *("tap.stop", "hold", "what"),
    ],
)
def test_verbs_that_are_not_there_are_refused_at_once(world: World, verb: str) -> None:
    client, party = world.client(), world.party()
    answer = client.do(party, verb)
    assert answer["code"] == "501"
    assert answer["message"].startswith(f"{verb} is not there")
    for there in ("answer", "record", "play", "collect"):
        assert there in answer["message"]
    assert verb not in VERBS


def test_messaging_is_not_there(world: World) -> None:
    assert world.client().ask("messaging.send")["result"]["code"] == "501"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_no_such_call(world: World, verb: str) -> None:
    client = world.client()
    for ids in ({"call_id": "none"}, {"call_id": "\ud800"}):
        found = client.ask(f"calling.{verb}", {"control_id": "c", **ids})["result"]
        assert found == {"code": "404", "message": "no such call"}
    assert client.ask(f"calling.{verb}")["result"]["code"] == "400"


# -- contexts, and whose turn it is ----------------------------------------------------------------


def test_calls_go_round(world: World) -> None:
    clients = [world.client() for _ in range(3)]
    for _ in range(7):
        assert world.party().relayed is not None
    assert [len(client.states("receive")) for client in clients] == [3, 2, 2]


def test_contexts_by_connect_and_by_receive(world: World) -> None:
    client = world.client(contexts=["other"])
    assert world.party().relayed is None
    assert client.ask("signalwire.receive", {"contexts": ["default"]})["result"]["code"] == "200"
    assert world.party().relayed is not None
    assert client.ask("signalwire.unreceive", {"contexts": ["default"]})["result"]["code"] == "200"
    assert world.party().relayed is None
    for wrong in ({}, {"contexts": "default"}, {"contexts": [1]}, {"contexts": [""]}):
        assert client.ask("signalwire.receive", wrong)["result"]["code"] == "400"


def test_without_a_client_nobody_takes_a_call(world: World) -> None:
    assert world.party().relayed is None
    client = world.client()
    client.unplug()
    assert world.party().relayed is None
    assert world.hub.calls == 0


def test_a_call_id_is_given_once(world: World) -> None:
    world.client()
    assert world.party(call_id="same").relayed is not None
    assert world.party(call_id="same").relayed is None


def test_calls_of_a_client_are_limited(make_call: Callable[..., Call]) -> None:
    world = World(make_call, most_calls=2)
    client = world.client()
    parties = [world.party() for _ in range(3)]
    assert [party.relayed is not None for party in parties] == [True, True, False]
    client.do(parties[0], "end")
    assert world.party().relayed is not None


def test_the_offer(world: World) -> None:
    client, party = world.client(), world.party()
    (frame,) = client.frames
    params = frame["params"]
    assert params["event_type"] == "calling.call.receive"
    assert params["event_channel"] == client.protocol
    assert (params["context"], params["project_id"]) == ("default", "project")
    about = params["params"]
    assert (about["call_id"], about["node_id"]) == (party.call.call_id, "node")
    assert (about["call_state"], about["direction"]) == ("created", "inbound")
    assert about["timestamp"] == params["timestamp"] > 0


# -- connections that break ------------------------------------------------------------------------


def test_what_was_not_acknowledged_is_sent_again(world: World) -> None:
    client, party = world.client(), world.party()
    client.do(party, "answer")
    client.do(party, "record", record={"audio": {**NO_LIMITS}})
    before = len(client.frames)
    client.unplug()
    party.hang_up()
    world.settle()
    assert len(client.frames) == before
    client.plug()
    client.acknowledges = False
    assert client.connect(protocol=client.protocol)["result"]["protocol"] == client.protocol
    again = client.frames[before:]
    assert [one["params"]["event_type"] for one in again] == [
        "calling.call.record",
        "calling.call.state",
        "calling.call.state",
    ]
    client.unplug()
    client.plug()
    client.acknowledges = True
    client.connect(protocol=client.protocol)
    assert client.frames[before + 3 :] == again  # the same ids, so that it is known for the same
    client.unplug()
    client.plug()
    client.connect(protocol=client.protocol)
    assert client.frames[before + 6 :] == []


def test_another_connection_of_a_session_replaces_the_first(world: World) -> None:
    client = world.client()
    old = client.link
    client.plug()
    client.connect(protocol=client.protocol)
    assert old.is_closed
    world.hub.gone(old)
    world.party()
    assert client.states("receive") == ["created"]


def test_a_session_that_nobody_knows_is_a_new_one(world: World) -> None:
    client = Client(world)
    found = client.connect(protocol="signalwire_x_y", contexts=["default"])["result"]
    assert found["protocol"] != "signalwire_x_y"


def test_a_session_is_nobody_s_without_credentials(world: World) -> None:
    client = world.client()
    other = Client(world)
    other.connect(token="wrong", protocol=client.protocol)
    world.wait(4)
    assert not client.link.is_closed
    assert other.closed == "credentials"


def test_a_call_that_its_client_may_not_know_of_goes_to_another(world: World) -> None:
    one, other = world.client(), world.client()
    one.acknowledges = False
    party = world.party()
    assert one.states("receive") == ["created"]
    one.unplug()
    assert other.states("receive") == ["created"]
    assert other.code(party, "answer") == "200"
    one.plug()
    one.connect(protocol=one.protocol)
    assert one.states("receive") == ["created"]
    assert one.states("state") == ["ending", "ended"]
    assert one.last("state")["end_reason"] == "cancel"
    assert one.code(party, "answer") == "404"


def test_a_call_that_its_client_has_answered_is_its_own(world: World) -> None:
    one, other = world.client(), world.client()
    one.acknowledges = False
    party = world.party()
    assert one.code(party, "answer") == "200"
    one.unplug()
    assert other.states("receive") == []


def test_a_call_that_its_client_knows_of_waits_for_it(world: World) -> None:
    one, other = world.client(), world.client()
    party = world.party()
    one.unplug()
    assert other.states("receive") == []
    one.plug()
    one.connect(protocol=one.protocol)
    assert one.code(party, "answer") == "200"


def test_a_client_that_does_not_come_back_is_given_up(world: World) -> None:
    client, party = world.client(), world.party()
    client.do(party, "record", record={"audio": {**NO_LIMITS}})
    client.unplug()
    world.wait(AWAY_SECONDS - 1)
    assert not party.has_hung_up
    world.wait(2)
    assert party.has_hung_up
    assert [event.state for event in party.events] == ["recording", "finished"]
    assert world.hub.calls == 0


def test_what_is_kept_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_MOST_KEPT", 20)
    monkeypatch.setattr(sessions, "_MOST_KEPT_AT_ALL", 40)
    client, party = world.client(), world.party()
    client.do(party, "record", record={"audio": {**NO_LIMITS}})
    client.acknowledges = False
    session = client.link.session
    assert session is not None
    for _ in range(20):
        client.do(party, "record.pause")
        client.do(party, "record.resume")
    assert session.kept == 20
    for number in range(19):
        client.do(party, "record", f"r{number}", record={"audio": {**NO_LIMITS}})
        client.do(party, "record.stop", f"r{number}")
    assert session.kept == 20
    for number in range(30):
        client.do(party, "record", f"q{number}", record={"audio": {**NO_LIMITS}})
        client.do(party, "record.stop", f"q{number}")
    world.wait()
    assert client.closed == "acknowledges nothing"
    assert party.has_hung_up


def test_the_hub_says_when_it_is_idle(make_call: Callable[..., Call]) -> None:
    idle: list[str] = []
    world = World(make_call, idle=lambda: idle.append("now"))
    client = world.client()
    parties = [world.party() for _ in range(2)]
    for party in parties:
        party.hang_up()
    world.settle()
    assert idle == ["now"]
    assert world.hub.calls == 0
    assert client.states("state") == ["ending", "ended"] * 2
    world.hub.close("the server ends")
    assert client.closed == "the server ends"


def test_an_error_in_the_middle_of_what_others_do_is_theirs(world: World) -> None:
    """A message with any content harms neither the connection nor its calls."""
    client, party = world.client(), world.party()
    weird: list[Any] = [None, True, 0, -1, 1e308, "x" * 5000, [], [[]], {}, {"a": {}}, "\ud800"]
    keys = ("control_id", "record", "play", "digits", "detect", "collect", "volume", "behavior")
    for verb in sorted(set(VERBS) - {"end", "pass"}):
        for key in keys:
            for value in weird:
                params = {"call_id": party.call.call_id, "control_id": "c", key: value}
                found = client.ask(f"calling.{verb}", params)
                assert int(found["result"]["code"]) in {200, 400, 404, 409, 429, 501}
                assert len(json.dumps(found)) < 2000
    settle()
    party.say(signals.noise(0.1, -20))
    world.wait(0.2)
    assert client.code(party, "end") == "200"
    world.settle()
    assert client.states("state")[-1] == "ended"
