# SPDX-License-Identifier: MIT
"""`recorder serve` with a real Asterisk.

The calls of the tests that have one take place at once; those that have several come after them.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import soxr

from recorder import AudioOptions, Call
from recorder.placement import beep
from tests.asterisk.calling import RATE, SERVERS, Dial, Dialled
from tests.asterisk.conftest import Lab
from tests.asterisk.sip import SipCall, SipDial
from tests.recordings import audio_of, feed_frames
from tests.signals import Pcm, silence, through_g711

AUDIOSOCKET: Final[dict[str, Any]] = {"recorded": "audiosocket"}
CHANNEL: Final[dict[str, Any]] = {"recorded": "channel"}
WEBSOCKET: Final[dict[str, Any]] = {"recorded": "websocket"}
WEBSOCKET_JSON: Final[dict[str, Any]] = {"recorded": "websocket", "control": "f(json)"}
WIRES: Final = {
    "audiosocket": AUDIOSOCKET,
    "channel": CHANNEL,
    "websocket": WEBSOCKET,
    "websocket-json": WEBSOCKET_JSON,
}
BEEP: Final = np.frombuffer(beep.tone(RATE), np.int16)
# What the way to the party and back may take, in samples.
DELAY: Final = round(0.25 * RATE)


def dialled(**dials: Dial | SipDial | list[Dial]) -> pytest.MarkDecorator:
    """Run a test once for each call, or calls, which have a name."""
    return pytest.mark.parametrize(
        "calls",
        [dial if isinstance(dial, list) else [dial] for dial in dials.values()],
        ids=dials,
        indirect=True,
    )


def over_each_wire(**dial: Any) -> pytest.MarkDecorator:
    return dialled(**{name: Dial(**wire, **dial) for name, wire in WIRES.items()})


def from_a_file(said: Pcm, options: AudioOptions, folder: Path) -> Pcm:
    """The same recorded without any wire, with silence at its end."""
    with Call(RATE, directory=folder) as call:
        action = call.record({**options, "beep": False})
        feed_frames(call, np.concatenate([said, silence(5)]))
    return audio_of(action.result)


def check_begin(call: Dialled | SipCall) -> None:
    """Nothing that was said after the beep is missing, and nothing before it is there."""
    assert abs(call.offset - len(BEEP)) <= DELAY


def likeness(recorded: Pcm, said: Pcm) -> tuple[int, float]:
    """Where in what was said a file begins at best, and how alike they are from there: 0 to 1."""
    heard, wanted = recorded.astype(np.float64), said.astype(np.float64)
    products = np.correlate(wanted, heard, "valid")
    k = int(products.argmax())
    part = wanted[k : k + len(heard)]
    return k, products[k] / np.sqrt((part @ part) * (heard @ heard))


def check_key(call: Dialled, folder: Path) -> None:
    assert call.event["state"] == "finished"
    assert (call.reason, call.event["record"]["digit"]) == ("terminator", "#")
    assert call.states == ["recording", "finished"]
    # From the end of the beep on, up to where the tone begins, nothing is lost or moved.
    check_begin(call)
    expected = from_a_file(call.said[call.offset :], SERVERS["keys"], folder)
    assert np.array_equal(call.recorded, expected)
    assert call.has_gone_on()


@over_each_wire(says="words-and-key")
def test_a_key_in_the_audio_ends_it(call: Dialled, tmp_path: Path) -> None:
    check_key(call, tmp_path)


@dialled(
    audiosocket=Dial(**AUDIOSOCKET, says="voicemail"),
    websocket=Dial(**WEBSOCKET_JSON, says="voicemail"),
)
def test_a_whole_voicemail(call: Dialled, tmp_path: Path) -> None:
    check_key(call, tmp_path)


@over_each_wire(says="words-and-key")
def test_the_party_hears_the_beep_where_the_file_begins(call: Dialled) -> None:
    heard, said = call.line
    beeped, alike = likeness(BEEP, heard)
    assert alike > 0.8
    begin, _ = likeness(call.recorded, said)
    assert abs(begin - (beeped + len(BEEP))) <= DELAY


@over_each_wire(party="listens")
def test_the_party_hears_the_whole_beep_and_nothing_else(call: Dialled) -> None:
    # A channel that waits for a frame puts silence in between.
    assert np.array_equal(call.heard[call.heard != 0], BEEP[BEEP != 0])
    assert (call.event["state"], call.reason) == ("finished", "hangup")
    assert not call.recorded.any()


@over_each_wire(party="speaks-and-presses", says="words")
def test_a_key_that_asterisk_reports_ends_it(call: Dialled) -> None:
    assert (call.reason, call.event["record"]["digit"]) == ("terminator", "#")
    check_begin(call)
    assert len(call.recorded) >= len(call.said) - call.offset  # all that was said before
    assert call.has_gone_on()


@dialled(
    pcmu_20_ms=SipDial(encoding="pcmu", frame_ms=20),
    pcma_20_ms=SipDial(encoding="pcma", frame_ms=20),
    pcmu_30_ms=SipDial(encoding="pcmu", frame_ms=30),
    pcma_30_ms=SipDial(encoding="pcma", frame_ms=30),
)
def test_a_phone_whose_key_is_an_event_of_rfc_4733(call: SipCall) -> None:
    assert (call.reason, call.event["record"]["digit"]) == ("terminator", "#")
    check_begin(call)
    assert len(call.recorded) >= len(call.said) - call.offset
    assert call.has_gone_on()
    assert call.status == 0
    # Loud beside the silence of A-law, which is not zero.
    heard, beeped = call.heard.astype(int), through_g711(BEEP, call.encoding).astype(int)
    loud = np.flatnonzero(abs(heard) > 100)
    start = loud[0] - np.flatnonzero(abs(beeped) > 100)[0]
    assert abs(heard[start : start + len(beeped)] - beeped).max() <= 8
    assert abs(np.delete(heard, np.s_[start : start + len(beeped)])).max() <= 8


@dialled(
    audiosocket=Dial(**AUDIOSOCKET, server="silence", says="words-and-silence"),
    audiosocket_without_frames=Dial(
        **AUDIOSOCKET, server="silence", party="speaks-and-waits", says="words"
    ),
    websocket=Dial(**WEBSOCKET_JSON, server="silence", says="words-and-silence"),
    websocket_without_frames=Dial(
        **WEBSOCKET_JSON, server="silence", party="speaks-and-waits", says="words"
    ),
)
def test_silence_ends_it(call: Dialled, tmp_path: Path) -> None:
    assert (call.event["state"], call.reason) == ("finished", "end_silence")
    # The first words arrive when they have been spoken.
    assert 0 <= -call.offset <= DELAY
    late = np.concatenate([np.zeros(-call.offset, np.int16), call.said])
    assert np.array_equal(call.recorded, from_a_file(late, SERVERS["silence"], tmp_path))
    assert call.has_gone_on()


@over_each_wire(server="silence", party="waits")
def test_a_party_that_sends_nothing_is_silence(call: Dialled) -> None:
    assert (call.event["state"], call.reason) == ("no_input", "initial_timeout")
    assert np.array_equal(call.recorded, silence(2))
    assert call.has_gone_on()


@over_each_wire(says="words")
def test_the_party_hangs_up(call: Dialled) -> None:
    assert (call.event["state"], call.reason) == ("finished", "hangup")
    check_begin(call)
    assert len(call.recorded) >= len(call.said) - call.offset


@dialled(
    ulaw=Dial(**WEBSOCKET, format="ulaw"),
    alaw=Dial(**WEBSOCKET_JSON, format="alaw"),
)
def test_a_websocket_of_g711(call: Dialled) -> None:
    """Asterisk's encoder decides otherwise than ours between two steps, now and then."""
    assert call.reason == "terminator"
    k, alike = likeness(call.recorded, call.said)
    assert abs(k - len(BEEP)) <= DELAY
    said = call.said[k : k + len(call.recorded)].astype(int)
    assert (abs(call.recorded - said) <= 8 + abs(said) // 16).all()
    assert alike > 0.999
    assert call.has_gone_on()


@dialled(
    channel=Dial(**CHANNEL, format="slin16"),
    websocket=Dial(**WEBSOCKET_JSON, format="slin16"),
)
def test_wide_audio(call: Dialled) -> None:
    """Asterisk resamples it."""
    assert (call.reason, call.rate) == ("terminator", 2 * RATE)
    said = soxr.resample(call.said.astype(np.float64), RATE, 2 * RATE, "HQ")
    k, alike = likeness(call.recorded, said)
    assert abs(k - 2 * len(BEEP)) <= 2 * DELAY
    assert alike > 0.99
    assert call.has_gone_on()


@dialled(
    audiosocket=[Dial(**AUDIOSOCKET)] * 20,
    websocket=[Dial(**WEBSOCKET_JSON)] * 20,
)
def test_twenty_calls(calls: list[Dialled], tmp_path: Path) -> None:
    for call in calls:
        check_key(call, tmp_path)
    # All are recorded before the first one ends.
    begun = [call.server.event(call.call_id, "recording")["start_time"] for call in calls]
    assert max(begun) < min(call.event["end_time"] for call in calls)


@dialled(
    all=[
        Dial(**wire, server="leaving", party="speaks-and-waits", says="words")
        for wire in WIRES.values()
    ]
)
def test_the_server_ends(calls: list[Dialled], lab: Lab) -> None:
    server = lab.servers["leaving"]
    assert all(call.has_spoken() for call in calls)
    assert server.stop() == (0, "")
    for call in calls:
        assert (call.event["state"], call.reason) == ("finished", "hangup")
        assert 0 <= -call.offset <= DELAY
        assert len(call.recorded) + call.offset >= len(call.said)
        assert call.has_gone_on()
