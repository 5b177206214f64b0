# SPDX-License-Identifier: MIT
"""Each verb of RELAY on a call, without sockets."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from recorder import Call, detect
from recorder.placement.beep import SECONDS as BEEP_SECONDS
from recorder.relay.tones import tones
from tests import signals
from tests.recordings import NO_LIMITS, audio_of
from tests.relay import Client, Party, World

MakeCall = Callable[..., Call]
SAID: Final = signals.noise(1, -20)


@pytest.fixture
def world(make_call: MakeCall) -> World:
    return World(make_call, makes=1.0)


@pytest.fixture
def client(world: World) -> Client:
    return world.client()


@pytest.fixture
def party(client: Client, world: World) -> Party:
    return world.party()


def record(client: Client, party: Party, control_id: str = "r", **audio: Any) -> dict[str, Any]:
    return client.do(party, "record", control_id, record={"audio": {**NO_LIMITS, **audio}})


def silence(seconds: float) -> list[dict[str, Any]]:
    return [{"type": "silence", "params": {"duration": seconds}}]


TTS: Final = [{"type": "tts", "text": "Hello"}]


# -- the call --------------------------------------------------------------------------------------


def test_answer_and_end(world: World, client: Client, party: Party) -> None:
    answer = client.do(party, "answer")
    assert answer == {"code": "200", "message": "ok", "call_id": party.call.call_id}
    assert client.code(party, "answer") == "200"
    assert client.states("state") == ["answered"]
    assert client.do(party, "end", reason="busy")["code"] == "200"
    assert party.has_hung_up
    assert client.states("state") == ["answered", "ending", "ended"]
    assert client.last("state")["end_reason"] == "busy"
    assert client.do(party, "end") == {"code": "404", "message": "no such call"}
    assert world.hub.calls == 0


def test_the_answer_to_end_comes_before_its_events(client: Client, party: Party) -> None:
    order: list[str] = []
    taken = client._take

    def take(text: str) -> None:
        order.append("event" if '"method"' in text else "answer")
        taken(text)

    client.link.send = take
    client.do(party, "end")
    assert order == ["answer", "event", "event"]


def test_pass_hangs_up(client: Client, party: Party) -> None:
    assert client.code(party, "pass") == "200"
    assert client.last("state")["end_reason"] == "decline"


def test_an_unknown_reason_is_hangup(client: Client, party: Party) -> None:
    client.do(party, "end", reason=["?"])
    assert client.last("state")["end_reason"] == "hangup"


# -- recordings ------------------------------------------------------------------------------------


def test_a_recording_and_its_events(world: World, client: Client, party: Party) -> None:
    answer = record(client, party, terminators="#")
    assert answer == {
        "code": "200",
        "message": "ok",
        "call_id": party.call.call_id,
        "control_id": "r",
    }
    party.say(SAID)
    world.wait(1)
    party.call.digit("#")
    world.settle()
    assert client.states("record") == ["recording", "finished"]
    params = client.last("record")
    assert params == party.events[-1].params
    assert params["record"]["reason"] == "terminator"
    assert np.array_equal(audio_of(party.events[-1]), SAID)


def test_pause_twice_resume_stop(world: World, client: Client, party: Party) -> None:
    record(client, party)
    party.say(np.concatenate([SAID, SAID, SAID]))
    world.wait(1)
    assert client.do(party, "record.pause", "r")["message"] == "pause done"
    assert client.code(party, "record.pause", "r") == "200"
    world.wait(1)
    assert client.code(party, "record.resume", "r") == "200"
    world.wait(1)
    assert client.do(party, "record.stop", "r")["message"] == "stop done"
    assert client.states("record") == ["recording", "paused", "recording", "finished"]
    assert client.last("record")["duration"] == pytest.approx(2, abs=0.02)
    for verb in ("record.stop", "record.pause", "record.resume"):
        answer = client.do(party, verb, "r")
        assert (answer["code"], answer["message"]) == ("404", "the recording has ended")


@pytest.mark.parametrize(("behavior", "seconds"), [("silence", 3), ("skip", 2)])
def test_the_behavior_of_a_pause(
    world: World, client: Client, party: Party, behavior: str, seconds: float
) -> None:
    record(client, party)
    world.wait(1)
    assert client.code(party, "record.pause", "r", behavior=behavior) == "200"
    world.wait(1)
    client.do(party, "record.resume", "r")
    world.wait(1)
    client.do(party, "record.stop", "r")
    assert client.last("record")["duration"] == pytest.approx(seconds, abs=0.02)


def test_two_at_once(world: World, client: Client, party: Party) -> None:
    record(client, party, "a")
    record(client, party, "b", stereo=True, format="mp3", direction="both")
    world.wait(1)
    client.do(party, "record.stop", "a")
    world.wait(1)
    client.do(party, "record.stop", "b")
    assert client.states("record", "a") == client.states("record", "b") == ["recording", "finished"]
    assert client.last("record")["record"]["format"] == "mp3"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"record": {"audio": {"beeep": True}}}, "audio has no option 'beeep'; did you mean"),
        ({"record": {"audio": {"format": "ogg"}}}, "format: expected one of wav, mp3, got 'ogg'"),
        ({"record": {"audio": {"max_length": -1}}}, "max_length: expected a number from 0"),
        ({"record": {"audio": 1}}, "audio: expected a dict of options"),
        ({"record": []}, "record: expected an object"),
        ({"record": {"video": {}}}, "record has no option 'video'"),
        ({"record": {"audio": {}}, "stauts_url": "x"}, "record has no option 'stauts_url'"),
        ({"record": {"audio": {}}, "control_id": ""}, "control_id: expected 1 to 256"),
    ],
)
def test_wrong_options(client: Client, party: Party, params: dict[str, Any], message: str) -> None:
    control = params.pop("control_id", "r")
    answer = client.do(party, "record", control, **params)
    assert answer["code"] == "400"
    assert answer["message"].startswith(message)
    assert client.states("record") == []


def test_a_wrong_behavior(client: Client, party: Party) -> None:
    record(client, party)
    answer = client.do(party, "record.pause", "r", behavior="mute")
    assert answer["code"] == "400"
    assert answer["message"] == "behavior: expected one of skip, silence, got 'mute'"


def test_a_control_id_in_use(client: Client, party: Party) -> None:
    record(client, party)
    answer = record(client, party)
    assert answer["code"] == "409"
    assert answer["message"] == "control_id 'r' belongs to a running recording"
    client.do(party, "record.stop", "r")
    assert record(client, party)["code"] == "200"


def test_a_file_that_cannot_be_made(world: World, client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    party = world.party(directory=tmp_path / "file" / "folder")
    answer = record(client, party)
    assert answer["code"] == "500"
    assert "file" in answer["message"]
    party.hang_up()
    world.settle()
    assert client.states("state") == ["ending", "ended"]


def test_the_caller_hangs_up(world: World, client: Client, party: Party) -> None:
    record(client, party, "a")
    record(client, party, "b")
    world.wait(0.5)
    party.hang_up()
    world.settle()
    kinds = [kind.removeprefix("calling.call.") for kind, _ in client.events]
    assert kinds == ["receive", "record", "record", "record", "record", "state", "state"]
    assert client.states("record", "a") == client.states("record", "b") == ["recording", "finished"]
    assert client.states("state") == ["ending", "ended"]
    assert client.last("state")["end_reason"] == "hangup"


def test_verbs_on_a_call_that_was_hung_up(world: World, client: Client, party: Party) -> None:
    """Its files are still being completed, and the client does not know it yet."""
    record(client, party)
    client.world.hub.tick()
    party.has_hung_up = True
    party.call.hangup()
    assert party.relayed is not None
    party.relayed.hung_up()
    ids = {"call_id": party.call.call_id, "control_id": "x"}
    for verb in ("record", "play", "collect", "end", "record.stop"):
        assert client.ask(f"calling.{verb}", ids)["result"]["code"] == "404"
    world.settle()
    assert client.states("state") == ["ending", "ended"]


def test_no_input(world: World, client: Client, party: Party) -> None:
    record(client, party, initial_timeout=2)
    world.wait(3)
    assert client.states("record") == ["recording", "no_input"]
    assert client.last("record")["record"]["reason"] == "initial_timeout"


def test_a_recording_that_fails(world: World, client: Client, party: Party) -> None:
    """Clients wait for ever on `error` alone."""
    record(client, party)
    party.say(SAID)
    world.wait(1)
    shutil.rmtree(party.call.directory)
    client.do(party, "record.stop", "r")
    assert client.states("record") == ["recording", "error", "no_input"]
    params = client.last("record")
    assert params["record"]["reason"] == "error"
    assert params["record"]["error"]
    assert client.code(party, "record.stop", "r") == "404"
    party.hang_up()
    world.settle()
    assert client.states("state") == ["ending", "ended"]


# -- what plays ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media",
    [
        {"type": "tts", "text": "Hello"},
        {"type": "tts", "params": {"text": "Hello", "language": "en-US", "gender": "female"}},
        {"type": "audio", "url": "https://host/a.wav"},
        {"type": "audio", "params": {"url": "file:a.wav"}},
        {"type": "silence", "duration": 1},
        {"type": "silence", "params": {"duration": 1.0}},
    ],
)
def test_play(world: World, client: Client, party: Party, media: dict[str, Any]) -> None:
    assert client.do(party, "play", play=[media])["code"] == "200"
    assert client.states("play") == ["playing"]
    world.wait(0.9)
    assert client.states("play") == ["playing"]
    world.wait(0.3)
    assert client.states("play") == ["playing", "finished"]
    is_heard = int(np.count_nonzero(party.all_heard))
    assert is_heard == (0 if media["type"] == "silence" else 8000)


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({"play": []}, "400", "play: expected a list of 1 to 100"),
        ({"play": TTS[0]}, "400", "play: expected a list"),
        ({}, "400", "play: expected a list"),
        ({"play": [1]}, "400", "media: expected an object"),
        ({"play": [{"type": "video"}]}, "400", "play of type 'video'"),
        ({"play": [{"type": "ringtone", "name": "us"}]}, "501", "play of type 'ringtone'"),
        ({"play": [{"type": "tts"}]}, "400", "text: expected"),
        ({"play": [{"type": "audio"}]}, "400", "url: expected"),
        ({"play": [{"type": "silence", "duration": "1"}]}, "400", "duration: expected"),
        ({"play": [{"type": "silence", "duration": 601}]}, "400", "duration: expected"),
        ({"play": [{"type": "silence", "seconds": 1}]}, "400", "silence has no option 'seconds'"),
        ({"play": TTS, "volume": "loud"}, "400", "volume: expected dB"),
        ({"play": TTS, "volume": 41}, "400", "volume: expected dB"),
        ({"play": TTS, "loop": 0}, "400", "loop: expected"),
        ({"play": TTS, "loop": True}, "400", "loop: expected"),
        ({"play": TTS, "direction": "speak"}, "400", "direction: expected listen"),
        ({"play": TTS, "lopp": 2}, "400", "play has no option 'lopp'"),
    ],
)
def test_what_cannot_be_played(
    client: Client, party: Party, params: dict[str, Any], code: str, message: str
) -> None:
    answer = client.do(party, "play", **params)
    assert (answer["code"], answer["message"][: len(message)]) == (code, message)
    assert client.states("play") == []


def test_pieces_play_one_after_another(world: World, client: Client, party: Party) -> None:
    client.do(party, "play", "a", play=silence(1))
    client.do(party, "play", "b", play=TTS)
    world.wait(0.8)
    assert client.states("play", "b") == []
    world.wait(0.4)
    assert client.states("play", "a") == ["playing", "finished"]
    assert client.states("play", "b") == ["playing"]
    world.wait(1)
    assert client.states("play", "b") == ["playing", "finished"]
    assert client.code(party, "play.stop", "a") == "404"


def test_an_answer_does_not_wait_for_a_voice(make_call: MakeCall) -> None:
    world = World(make_call)
    client, party = world.client(), world.party()
    assert client.code(party, "play", "a", play=TTS) == "200"
    assert client.code(party, "play", "b", play=silence(0.5)) == "200"
    world.wait(1)
    assert client.states("play") == []
    ((media,), take) = world.made[0]
    assert media.text == "Hello"
    take(bytes(1600))
    world.wait(1)
    assert client.states("play", "a") == client.states("play", "b") == ["playing", "finished"]


def test_a_piece_that_cannot_be_made(make_call: MakeCall) -> None:
    world = World(make_call)
    client, party = world.client(), world.party()
    client.do(party, "play", "a", play=TTS)
    client.do(party, "play", "b", play=silence(0.5))
    world.made[0][1]("there is no voice")
    world.wait(1)
    (error,) = [params for _, params in client.events if params.get("state") == "error"]
    assert (error["control_id"], error["error"]) == ("a", "there is no voice")
    assert client.states("play", "b") == ["playing", "finished"]


def test_a_piece_that_is_too_long(make_call: MakeCall) -> None:
    world = World(make_call, makes=10)
    client, party = world.client(), world.party()
    client.do(party, "play", play=TTS, loop=61)
    world.settle()
    assert client.states("play") == ["error"]
    assert client.last("play")["error"] == "expected at most 600 seconds of audio"


def test_stop_of_what_is_still_made(make_call: MakeCall) -> None:
    world = World(make_call)
    client, party = world.client(), world.party()
    client.do(party, "play", play=TTS)
    assert client.code(party, "play.stop") == "200"
    assert client.states("play") == ["finished"]
    world.made[0][1](bytes(1600))
    world.wait(0.5)
    assert client.states("play") == ["finished"]
    assert client.code(party, "play", play=silence(0.1)) == "200"


def test_stop_takes_back_one_and_leaves_the_others(
    world: World, client: Client, party: Party
) -> None:
    client.do(party, "play", "a", play=TTS)
    client.do(party, "play", "b", play=TTS)
    client.do(party, "play", "c", play=TTS)
    world.wait(0.5)
    assert client.code(party, "play.stop", "b") == "200"
    assert client.states("play", "b") == ["finished"]
    world.wait(2)
    assert client.states("play", "a") == client.states("play", "c") == ["playing", "finished"]
    assert np.count_nonzero(party.all_heard) == 16000
    client.do(party, "play", "d", play=TTS)
    world.wait(0.5)
    client.do(party, "play.stop", "d")
    world.wait(1)
    assert np.count_nonzero(party.all_heard) == pytest.approx(16000 + 4000, abs=1000)


def test_pause_and_resume(world: World, client: Client, party: Party) -> None:
    client.do(party, "play", "a", play=TTS)
    client.do(party, "play", "b", play=TTS)
    world.wait(0.5)
    for _ in range(2):
        assert client.code(party, "play.pause", "a") == "200"
    world.wait(2)
    assert client.states("play", "a") == ["playing", "paused"]
    assert client.states("play", "b") == []
    assert np.count_nonzero(party.all_heard) == pytest.approx(4000, abs=1000)
    for _ in range(2):
        assert client.code(party, "play.resume", "a") == "200"
    world.wait(2)
    assert client.states("play", "a") == ["playing", "paused", "playing", "finished"]
    assert client.states("play", "b") == ["playing", "finished"]
    assert np.count_nonzero(party.all_heard) == 16000


def test_volume_and_loop(world: World, client: Client, party: Party) -> None:
    client.do(party, "play", play=TTS, volume=-20, loop=2)
    world.wait(1)
    assert client.code(party, "play.volume", volume=20) == "200"
    assert client.code(party, "play.volume") == "400"
    world.wait(1.5)
    levels, counts = np.unique(party.all_heard, return_counts=True)
    found = dict(zip(levels.tolist(), counts.tolist(), strict=True))
    assert set(found) == {0, 100, 10000}
    assert found[100] + found[10000] == 16000
    assert found[100] == pytest.approx(8000, abs=1000)
    assert client.code(party, "play.volume", volume=1) == "404"


def test_volume_saturates(world: World, client: Client, party: Party) -> None:
    client.do(party, "play", play=TTS, volume=40)
    world.wait(1)
    assert int(party.all_heard.max()) == 32767


def test_a_control_id_that_plays(client: Client, party: Party) -> None:
    client.do(party, "play", play=TTS)
    answer = client.do(party, "play", play=TTS)
    assert (answer["code"], answer["message"]) == (
        "409",
        "control_id 'c' belongs to what is playing",
    )


def test_a_call_at_a_rate_of_its_own(world: World, client: Client) -> None:
    party = world.party(rate=16000)
    client.do(party, "play", play=TTS)
    world.wait(1.2)
    assert client.states("play") == ["playing", "finished"]
    assert np.count_nonzero(party.all_heard) == 16000


# -- a beep behind what plays ----------------------------------------------------------------------


def test_a_beep_behind_a_long_prompt(world: World, client: Client, party: Party) -> None:
    client.do(party, "play", play=silence(12))
    assert record(client, party, beep=True, initial_timeout=2)["code"] == "200"
    world.wait(12.1)
    assert client.states("record") == []
    assert client.states("play") == ["playing", "finished"]
    world.wait(0.3)
    assert client.states("record") == ["recording"]
    world.wait(3)
    assert client.states("record") == ["recording", "no_input"]
    beep = np.flatnonzero(party.all_heard)
    assert beep[0] == pytest.approx(12 * 8000, abs=900)
    assert beep[-1] - beep[0] == pytest.approx(BEEP_SECONDS * 8000, abs=20)


class Unmade:
    """A recording with a beep, behind a voice that is still being made."""

    def __init__(self, make_call: MakeCall, **party: Any) -> None:
        self.world = World(make_call)
        self.client = self.world.client()
        self.party = self.world.party(**party)
        self.client.do(self.party, "play", "p", play=TTS)
        assert record(self.client, self.party, beep=True)["code"] == "200"
        self.world.wait(0.5)
        assert self.client.states("record") == []

    def make(self) -> None:
        self.world.made[0][1](np.full(8000, 1000, np.int16).tobytes())


def test_a_beep_behind_a_voice_that_is_still_made(make_call: MakeCall) -> None:
    one = Unmade(make_call)
    assert record(one.client, one.party, beep=True)["code"] == "409"
    one.make()
    one.world.wait(1.1)
    assert one.client.states("record") == []
    one.world.wait(0.4)
    assert one.client.states("record") == ["recording"]
    one.client.do(one.party, "record.stop", "r")
    assert one.client.states("record") == ["recording", "finished"]


def test_its_stop_before_it_begins(make_call: MakeCall) -> None:
    one = Unmade(make_call)
    assert one.client.code(one.party, "record.stop", "r") == "200"
    assert one.client.states("record") == ["no_input"]
    params = one.client.last("record")
    assert (params["url"], params["record"]["reason"]) == ("", "stopped")
    one.make()
    one.world.wait(2)
    assert one.client.states("record") == ["no_input"]


def test_its_pause_before_it_begins(make_call: MakeCall) -> None:
    one = Unmade(make_call)
    for verb in ("record.pause", "record.resume", "record.pause"):
        assert one.client.code(one.party, verb, "r") == "200"
    one.make()
    one.world.wait(2)
    one.client.do(one.party, "record.resume", "r")
    one.world.wait(1)
    one.client.do(one.party, "record.stop", "r")
    assert one.client.states("record")[-1] == "finished"
    assert one.client.last("record")["duration"] == pytest.approx(1, abs=0.1)


def test_its_call_ends_before_it_begins(make_call: MakeCall) -> None:
    one = Unmade(make_call)
    one.party.hang_up()
    one.world.settle()
    kinds = [kind.removeprefix("calling.call.") for kind, _ in one.client.events]
    assert kinds == ["receive", "play", "record", "state", "state"]
    assert one.client.last("record")["record"]["reason"] == "hangup"


def test_its_file_cannot_be_made(make_call: MakeCall, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    one = Unmade(make_call, directory=tmp_path / "file" / "folder")
    one.make()
    one.world.wait(0.5)
    assert one.client.states("record") == ["error", "no_input"]
    assert one.client.last("record")["record"]["reason"] == "error"
    assert one.client.last("record")["record"]["error"]


# -- digits ----------------------------------------------------------------------------------------


def test_send_digits(world: World, client: Client, party: Party) -> None:
    assert client.code(party, "send_digits", "d", digits="12w#a") == "200"
    world.wait(2)
    assert client.states("send_digits") == ["finished"]
    found = detect(party.all_heard, 8000).digits
    assert [digit.digit for digit in found] == ["1", "2", "#", "A"]
    for wrong in ("", "x", None, "1" * 201):
        assert client.code(party, "send_digits", "d", digits=wrong) == "400"


def test_tones_are_digits_at_every_rate() -> None:
    for rate in signals.RATES:
        pcm = np.frombuffer(tones("0123456789*#ABCD", rate), np.int16)
        found = detect(pcm, rate).digits
        assert "".join(one.digit for one in found) == "0123456789*#ABCD"


def collected(client: Client) -> dict[str, Any]:
    params = client.last("collect")
    assert params["final"] is True
    assert params["result"]["type"] in {"digit", "no_input", "error"}
    return {"state": params["state"], **params["result"].get("params", {})}


def press(world: World, party: Party, digits: str) -> None:
    for digit in digits:
        party.call.digit(digit)
        world.wait(0.2)


def test_collect_up_to_max(world: World, client: Client, party: Party) -> None:
    assert client.code(party, "collect", digits={"max": 3}) == "200"
    press(world, party, "1234")
    assert client.states("collect") == ["finished"]
    assert collected(client) == {"state": "finished", "digits": "123", "terminator": ""}


def test_collect_of_tones(world: World, client: Client, party: Party) -> None:
    client.do(party, "collect", digits={"max": 4, "terminators": "#"})
    party.say(signals.dtmf("1", 0.1))
    party.say(signals.silence(0.1))
    party.say(signals.dtmf("#", 0.1))
    world.wait(1)
    assert collected(client) == {"state": "finished", "digits": "1", "terminator": "#"}


def test_collect_ends_by_its_timers(world: World, client: Client, party: Party) -> None:
    client.do(party, "collect", "a", digits={"max": 3, "digit_timeout": 1}, initial_timeout=2)
    client.do(party, "collect", "b", digits={"max": 3}, initial_timeout=0)
    world.wait(2.1)
    assert client.states("collect") == []
    world.wait(0.3)
    assert client.states("collect") == ["no_input"]
    client.do(party, "collect", "c", digits={"max": 3, "digit_timeout": 1})
    press(world, party, "12")
    assert client.states("collect", "c") == []
    world.wait(1.3)
    assert collected(client) == {"state": "finished", "digits": "12", "terminator": ""}
    world.wait(10)
    assert client.states("collect", "b") == ["finished"]


def test_collect_whose_timers_start_later(world: World, client: Client, party: Party) -> None:
    client.do(party, "collect", digits={"max": 3}, initial_timeout=1, start_input_timers=False)
    world.wait(3)
    assert client.states("collect") == []
    assert client.code(party, "collect.start_input_timers") == "200"
    world.wait(1.5)
    assert collected(client) == {"state": "no_input"}
    assert client.code(party, "collect.start_input_timers") == "404"


def test_collect_stops(world: World, client: Client, party: Party) -> None:
    client.do(party, "collect", digits={"max": 3})
    assert client.code(party, "collect", digits={"max": 3}) == "409"
    assert client.code(party, "collect.stop") == "200"
    assert client.states("collect") == ["no_input"]
    assert client.code(party, "collect.stop") == "404"


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        ({}, "400", "digits: expected an object"),
        ({"digits": {}}, "400", "max: expected"),
        ({"digits": {"max": 0}}, "400", "max: expected"),
        ({"digits": {"max": 1, "terminators": "x"}}, "400", "terminators: expected digits"),
        ({"digits": {"max": 1, "digit_timeout": -1}}, "400", "digit_timeout: expected"),
        ({"digits": {"max": 1, "min": 1}}, "400", "digits has no option 'min'"),
        ({"digits": {"max": 1}, "initial_timeout": "1"}, "400", "initial_timeout: expected"),
        ({"digits": {"max": 1}, "timeout": 1}, "400", "collect has no option 'timeout'"),
        ({"speech": {}}, "501", "collect of speech"),
        ({"digits": {"max": 1}, "continuous": True}, "501", "continuous is not there"),
    ],
)
def test_what_cannot_be_collected(
    client: Client, party: Party, params: dict[str, Any], code: str, message: str
) -> None:
    answer = client.do(party, "collect", **params)
    assert (answer["code"], answer["message"][: len(message)]) == (code, message)


def test_play_and_collect(world: World, client: Client, party: Party) -> None:
    collect = {"digits": {"max": 4, "terminators": "#"}, "initial_timeout": 1}
    assert client.code(party, "play_and_collect", play=TTS, collect=collect) == "200"
    world.wait(1.8)  # the timer runs from the end of the prompt
    assert client.states("play") == ["playing", "finished"]
    assert client.states("collect") == []
    press(world, party, "42#")
    assert collected(client) == {"state": "finished", "digits": "42", "terminator": "#"}


def test_a_digit_stops_the_prompt(world: World, client: Client, party: Party) -> None:
    client.do(party, "play_and_collect", play=TTS, collect={"digits": {"max": 2}})
    world.wait(0.3)
    press(world, party, "1")
    assert client.states("play") == ["playing", "finished"]
    assert client.states("collect") == []
    press(world, party, "2")
    assert collected(client)["digits"] == "12"
    assert np.count_nonzero(party.all_heard) < 4800


def test_a_prompt_is_paused_and_stopped(world: World, client: Client, party: Party) -> None:
    client.do(party, "play_and_collect", play=TTS, collect={"digits": {"max": 2}})
    for verb in ("pause", "resume"):
        assert client.code(party, f"play_and_collect.{verb}") == "200"
    assert client.code(party, "play_and_collect.volume", volume=3) == "200"
    assert client.code(party, "play_and_collect.stop") == "200"
    assert client.states("play") == ["playing", "paused", "playing", "finished"]
    assert client.states("collect") == ["no_input"]


def test_the_call_ends_in_the_middle_of_all(world: World, client: Client, party: Party) -> None:
    client.do(party, "play_and_collect", "a", play=TTS, collect={"digits": {"max": 2}})
    client.do(party, "collect", "b", digits={"max": 2})
    client.do(party, "detect", "d", detect={"type": "digit"})
    client.do(party, "play", "e", play=TTS)
    client.do(party, "send_digits", "f", digits="1")
    record(client, party)
    party.hang_up()
    world.settle()
    assert client.states("collect", "a") == client.states("collect", "b") == ["error"]
    assert client.states("detect", "d") == ["finished"]
    assert client.states("play", "a") == ["playing", "finished"]
    assert client.states("play", "e") == ["finished"]
    assert client.states("send_digits") == ["finished"]
    assert client.states("record") == ["recording", "finished"]
    kinds = [kind for kind, _ in client.events]
    assert kinds[-2:] == ["calling.call.state"] * 2
    assert "calling.call.state" not in kinds[:-2]


def test_detect(world: World, client: Client, party: Party) -> None:
    detecting = {"type": "digit", "params": {"digits": "12"}}
    assert client.code(party, "detect", detect=detecting, timeout=3) == "200"
    assert client.code(party, "detect", detect=detecting) == "409"
    press(world, party, "123")
    world.wait(3)
    found = [
        params["detect"]["params"]["event"] for kind, params in client.events if "detect" in kind
    ]
    assert found == ["1", "2", "finished"]
    assert client.last("detect")["state"] == "finished"
    assert client.code(party, "detect.stop") == "404"
    client.do(party, "detect", detect={"type": "digit"}, timeout=0)
    assert client.code(party, "detect.stop") == "200"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"detect": {"type": "machine"}}, "501"),
        ({"detect": {"type": "fax"}}, "501"),
        ({"detect": {}}, "501"),
        ({}, "400"),
        ({"detect": {"type": "digit", "params": {"digits": "x"}}}, "400"),
        ({"detect": {"type": "digit"}, "timeout": "1"}, "400"),
    ],
)
def test_what_cannot_be_detected(
    client: Client, party: Party, params: dict[str, Any], code: str
) -> None:
    assert client.code(party, "detect", **params) == code


def test_actions_of_a_call_are_limited(client: Client, party: Party) -> None:
    codes = [client.code(party, "play", f"{n}", play=silence(1)) for n in range(101)]
    assert codes == ["200"] * 100 + ["429"]
    assert record(client, party)["code"] == "429"
