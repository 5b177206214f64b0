# SPDX-License-Identifier: MIT
"""`play`, `clear` and `playout`: audio that the party is still to hear."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recorder import Call, CallEndedError, FrameError, OptionError
from tests import signals
from tests.recordings import LISTEN, SPEAK, STEREO, audio_of, feed_frames, result_of


def test_it_becomes_the_listen_leg_s_audio_as_time_passes(call: Call) -> None:
    action = call.record(STEREO)
    call.play(LISTEN)
    assert call.position == 0
    returned = [call.feed(speak=SPEAK[at : at + 160]) for at in range(0, 8000, 160)]
    assert np.array_equal(np.concatenate(returned), LISTEN)
    action.stop()
    assert np.array_equal(audio_of(result_of(action)), np.stack([SPEAK, LISTEN], axis=1))
    assert (call.stats.listen.taken, call.stats.listen.filled) == (8000, 0)


def test_it_follows_what_is_queued_or_begins_now(call: Call) -> None:
    action = call.record(STEREO)
    call.play(LISTEN[:1000])
    call.play(LISTEN[1000:2000])
    feed_frames(call, SPEAK)
    call.play(LISTEN[2000:3000])
    feed_frames(call, SPEAK)
    action.stop()
    expected = np.zeros(16000, np.int16)
    expected[:2000] = LISTEN[:2000]
    expected[8000:9000] = LISTEN[2000:3000]
    assert np.array_equal(audio_of(result_of(action))[:, 1], expected)


def test_a_beep_queues_behind_it(call: Call) -> None:
    call.play(LISTEN[:1600])
    action = call.record({**STEREO, "beep": True})
    feed_frames(call, SPEAK[:3520])
    before = action.state
    feed_frames(call, SPEAK[:160])
    assert (before, action.state) == ("created", "recording")
    feed_frames(call, SPEAK[:800])
    action.stop()
    assert result_of(action).duration == (4480 - 1600 - 2000) / 8000


@pytest.mark.parametrize("heard", [0, 3200, 8000])
def test_clear_takes_back_what_was_not_heard(call: Call, heard: int) -> None:
    action = call.record(STEREO)
    call.play(LISTEN)
    if heard:
        feed_frames(call, SPEAK[:heard])
    assert call.clear() == 8000 - heard
    assert call.clear() == 0
    feed_frames(call, SPEAK)
    action.stop()
    recorded = audio_of(result_of(action))[:, 1]
    assert np.array_equal(recorded[:heard], LISTEN[:heard])
    assert not recorded[heard:].any()


def test_clear_counts_at_the_listen_leg_s_rate(make_call: Callable[..., Call]) -> None:
    call = make_call(listen_rate=24000)
    call.play(signals.tone(1, -20, 16000), sample_rate=16000)
    feed_frames(call, SPEAK[:4000])
    assert call.clear() == 12000


def test_playout_gives_it_to_a_sender(call: Call) -> None:
    assert call.playout(160) == bytes(320)
    call.play(LISTEN)
    given = [call.playout(240) for _ in range(10)]
    assert b"".join(given) == LISTEN[:2400].tobytes()
    assert call.clear() == 8000 - 2400
    assert call.playout(160) == bytes(320)
    call.play(LISTEN[:160])  # behind what was given
    assert call.playout(160) == LISTEN[:160].tobytes()
    assert call.playout(0) == b""
    action = call.record(STEREO)
    feed_frames(call, SPEAK)
    action.stop()
    expected = np.zeros(8000, np.int16)
    expected[160:2560] = LISTEN[:2400]
    expected[2720:2880] = LISTEN[:160]
    assert np.array_equal(audio_of(result_of(action))[:, 1], expected)


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_chunks_at_a_rate_of_their_own_are_one_sound(
    make_call: Callable[..., Call], rate: int
) -> None:
    """In whatever chunks it comes: no click, and not a sample more."""
    prompt = signals.tone(1, -20, rate, 440)
    heard = []
    for sizes in ([rate], [rate // 50], [7, 1, 1013, rate // 10]):
        call = make_call()
        at = index = 0
        while at < rate:
            size = sizes[index % len(sizes)]
            call.play(prompt[at : at + size], sample_rate=rate)
            at, index = at + size, index + 1
        heard.append(np.concatenate([call.feed(speak=SPEAK), call.feed(speak=SPEAK)]))
    assert all(np.array_equal(heard[0], other) for other in heard)
    assert not heard[0][8000:].any()
    expected = signals.tone(1, -20, 8000, 440)
    assert np.max(np.abs(heard[0][200:7800].astype(int) - expected[200:7800])) < 30


def test_play_tells_where_it_ends(make_call: Callable[..., Call]) -> None:
    call = make_call()
    assert call.play(LISTEN[:1000]) == 1000
    assert call.play(LISTEN[:600]) == 1600  # behind what is queued
    assert call.play(LISTEN[:0]) == 1600
    feed_frames(call, SPEAK[:800])
    assert call.play(LISTEN[:400]) == 2000
    feed_frames(call, SPEAK[:4000])
    assert call.play(LISTEN[:160]) == 4800 + 160  # it begins now
    call.clear()
    assert call.play(LISTEN[:80]) == 4800 + 80


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_the_end_of_what_has_a_rate_of_its_own(make_call: Callable[..., Call], rate: int) -> None:
    """The last sample is heard before it, in whatever chunks it comes."""
    prompt = signals.noise(1, -20, rate)
    for size in (rate, rate // 50):
        call = make_call()
        call.play(LISTEN[:1000])
        ends = [call.play(prompt[at : at + size], sample_rate=rate) for at in range(0, rate, size)]
        assert ends == sorted(ends)
        heard = np.flatnonzero(np.concatenate([call.feed(speak=SPEAK), call.feed(speak=SPEAK)]))
        assert ends[-1] == pytest.approx(9000, abs=1)
        assert ends[-1] == pytest.approx(heard[-1] + 1, abs=2)


@pytest.mark.parametrize("listen_rate", [4000, 16000, 48000])
def test_the_end_is_told_at_the_call_s_rate(
    make_call: Callable[..., Call], listen_rate: int
) -> None:
    call = make_call(listen_rate=listen_rate)
    assert call.play(signals.noise(0.5, -20, listen_rate)) == pytest.approx(4000, abs=1)
    feed_frames(call, SPEAK[:1600])
    assert call.play(signals.noise(0.1, -20, listen_rate)) == pytest.approx(4800, abs=1)


@pytest.mark.parametrize("encoding", ["pcmu", "pcma"])
def test_it_may_be_g711(call: Call, encoding: Any) -> None:
    call.play(signals.g711(LISTEN, encoding), encoding=encoding)
    assert np.array_equal(call.feed(speak=SPEAK), signals.through_g711(LISTEN, encoding))


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (FrameError, {"pcm": b"abc"}),
        (FrameError, {"pcm": "text"}),
        (FrameError, {"pcm": np.zeros((4, 2), np.int16)}),
        (FrameError, {"pcm": np.array([np.nan])}),
        (OptionError, {"pcm": b"", "sample_rate": 3999}),
        (OptionError, {"pcm": b"", "sample_rate": "8000"}),
        (OptionError, {"pcm": b"", "sample_rate": True}),
        (OptionError, {"pcm": b"", "encoding": "opus"}),
    ],
)
def test_what_cannot_be_played_is_refused(
    call: Call, error: type[Exception], arguments: dict[str, Any]
) -> None:
    with pytest.raises(error, match=r": expected .*, got "):
        call.play(**arguments)
    assert call.clear() == 0


@pytest.mark.parametrize("n", [-1, 1.0, "1", None, True, 3600 * 8000 + 1, 10**30])
def test_what_playout_cannot_give_is_refused(call: Call, n: Any) -> None:
    with pytest.raises(OptionError, match=r"^n: expected .* from 0 to 28800000, got "):
        call.playout(n)


def test_nothing_plays_after_the_end(call: Call) -> None:
    call.play(LISTEN)
    call.hangup()
    for use in (lambda: call.play(LISTEN), lambda: call.playout(160)):
        with pytest.raises(CallEndedError):
            use()
