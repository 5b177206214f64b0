# SPDX-License-Identifier: MIT
"""The file's two channels are the two legs, laid on the call's clock."""

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from recorder import Call, FrameError, LegStats, OptionError, RecordAction
from tests import signals
from tests.recordings import NO_LIMITS, STEREO, audio_of, feed_leg
from tests.signals import Pcm
from tests.timeline_model import Model, Name

MAX_SKEW, HOLD = 2000, 1600  # samples: 0.25 and 0.2 s

_lengths = st.integers(1, 3000)
_positions = st.none() | st.integers(-3000, 3000)  # from the call's
_operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["speak", "listen"]), _lengths, _positions),
        st.tuples(st.just("both"), _lengths, _positions),
        st.tuples(st.just("advance"), st.integers(0, 3000), st.none()),
        st.tuples(st.just("burst"), _lengths, st.none()),
    ),
    min_size=1,
    max_size=25,
)


def frame(rng: np.random.Generator, number: int, n: int) -> tuple[list[Name], Pcm]:
    """Names of n samples for the model, and what they are."""
    audio = rng.integers(1, 30000, n).astype(np.int16)
    return [(number, i) for i in range(n)], audio


@pytest.mark.slow
@seed(1)
@settings(max_examples=150, deadline=None)
@given(operations=_operations)
def test_the_channels_are_the_legs_on_one_clock(
    operations: list[tuple[str, int, int | None]],
) -> None:
    """Whatever comes: gaps, late, doubled and early frames, stalls and bursts, on either leg."""
    rng = np.random.default_rng(7)
    model = Model(MAX_SKEW, HOLD)
    samples: dict[int, Pcm] = {}
    with tempfile.TemporaryDirectory() as folder:
        call = Call(8000, directory=folder, max_skew=0.25)
        action = call.record(STEREO)
        for number, (what, n, offset) in enumerate(operations):
            at = None if offset is None else max(0, call.position + offset)
            names, samples[number] = frame(rng, number, n)
            if what == "advance":
                call.advance(to=call.position + n)
                model.advance(model.now() + n)
            elif what == "both":
                other, samples[-1 - number] = frame(rng, -1 - number, n)
                call.feed(speak=samples[number], listen=samples[-1 - number], at=at)
                model.place_both(names, other, at)
            else:
                leg = "listen" if what == "burst" else what
                for _ in range(3 if what == "burst" else 1):  # the same again is doubled
                    feed_leg(call, leg, samples[number], at)
                    model.place("listen" if leg == "listen" else "speak", names, at)
        call.hangup()
        model.release()
        recorded = audio_of(action.join(10))
        stats = call.stats
    length = model.now()
    expected = np.zeros((length, 2), np.int16)
    for channel, leg in enumerate(("speak", "listen")):
        for position, name in enumerate(model.laid[leg]):  # type: ignore[index]
            if name is not None:
                expected[position, channel] = samples[name[0]][name[1]]
    assert np.array_equal(recorded, expected)
    for leg, counts in (("speak", stats.speak), ("listen", stats.listen)):
        content = model.laid[leg]  # type: ignore[index]
        lost = {"late": counts.late, "duplicate": counts.duplicate, "overlap": counts.overlap}
        assert sum(lost.values()) == len(model.dropped[leg])  # type: ignore[index]
        assert counts == LegStats(
            taken=sum(name is not None for name in content),
            filled=sum(name is None for name in content),
            held=0,
            **lost,
        )


def test_legs_of_different_frame_sizes_stay_aligned(call: Call) -> None:
    speak, listen = signals.noise(30, -20, seed=1), signals.noise(30, -20, seed=2)
    action = call.record(STEREO)
    for tick in range(0, len(speak), 480):  # 20 ms frames and 30 ms frames, each leg alone
        for at in range(tick, tick + 480, 160):
            call.feed(speak=speak[at : at + 160])
        for at in range(tick, tick + 480, 240):
            call.feed(listen=listen[at : at + 240])
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), np.stack([speak, listen], axis=1))


@pytest.mark.parametrize("leg", ["speak", "listen"])
def test_a_stall_and_its_burst(call: Call, leg: str) -> None:
    """Three seconds late, all at once: the leg is where it belongs, and nothing counts twice."""
    other = "listen" if leg == "speak" else "speak"
    stalling, steady = signals.noise(10, -20, seed=1), signals.noise(10, -20, seed=2)
    action = call.record(STEREO)
    for at in range(0, 80000, 160):
        feed_leg(call, other, steady[at : at + 160])
        if not 16000 <= at < 40000:
            feed_leg(call, leg, stalling[at : at + 160])
        elif at == 40000 - 160:
            for late in range(16000, 40000, 160):
                feed_leg(call, leg, stalling[late : late + 160])
    call.hangup()
    recorded = audio_of(action.join(10))
    assert len(recorded) == 80000
    channel = 0 if leg == "speak" else 1
    assert np.array_equal(recorded[:, 1 - channel], steady)
    filled = slice(16000, 40000 - 4000)  # up to the allowed skew
    expected = stalling.copy()
    expected[filled] = 0
    assert np.array_equal(recorded[:, channel], expected)
    lost = getattr(call.stats, leg)
    assert (lost.late, lost.duplicate, lost.overlap) == (20000, 0, 0)


def test_a_bot_that_is_quiet_between_its_words(call: Call) -> None:
    """Its leg is fed only while it talks, in real time: each word lies where it was said."""
    caller, bot = signals.noise(20, -20, seed=1), signals.noise(20, -20, seed=2)
    talking = [(0, 16000), (48000, 64000), (120000, 144000)]
    action = call.record(STEREO)
    for at in range(0, 160000, 160):
        call.feed(speak=caller[at : at + 160])
        if any(start <= at < end for start, end in talking):
            call.feed(listen=bot[at : at + 160])
    action.stop()
    recorded = audio_of(action.join(10))
    expected = np.zeros(160000, np.int16)
    for start, end in talking:
        expected[start:end] = bot[start:end]
    assert np.array_equal(recorded, np.stack([caller, expected], axis=1))


def test_positions_from_a_jitter_buffer(call: Call) -> None:
    """Lost, doubled and reordered packets: what came first stays, what never came is silence."""
    rng = np.random.default_rng(3)
    audio = signals.noise(5, -20, seed=3)
    starts = np.arange(0, 40000, 160)
    lost = rng.random(len(starts)) < 0.05
    action = call.record({**NO_LIMITS})
    expected = np.zeros(40000, np.int16)
    reach = 0
    order = np.argsort(np.arange(len(starts)) + rng.uniform(0, 1.4, len(starts)))
    for i in [*order, *order[:20]]:
        if lost[i]:
            continue
        at = int(starts[i])
        call.feed(speak=audio[at : at + 160], at=at)
        if at >= reach:  # else its time has passed
            expected[at : at + 160] = audio[at : at + 160]
            reach = at + 160
    call.advance(to=40000)
    action.stop()
    assert np.array_equal(audio_of(action.join(10)), expected)
    stats = call.stats.speak
    assert (stats.taken, stats.held) == (
        160 * int(np.count_nonzero(expected.reshape(-1, 160).any(1))),
        0,
    )
    assert stats.taken + stats.filled == 40000


@pytest.mark.parametrize(
    "at", [-1, True, 1.5, "0", 8000 * 3600 + 1, 10**30, pytest.param(10**5000, id="huge")]
)
def test_a_position_that_is_not_allowed(call: Call, at: Any) -> None:
    action = call.record({**NO_LIMITS})
    with pytest.raises(
        FrameError, match=r"^at: expected a position in samples from 0 to 28800000 .*, got "
    ):
        call.feed(speak=bytes(320), at=at)
    assert call.position == 0
    action.stop()
    assert len(audio_of(action.join(10))) == 0


# -- legs at rates of their own ------------------------------------------------------------------


def tones(rate: int, seconds: float, hz: float) -> Pcm:
    return signals.tone(seconds, -20, rate, hz)


def snr(audio: Pcm, expected: Pcm) -> float:
    error = audio.astype(float) - expected
    return float(10 * np.log10(np.mean(expected.astype(float) ** 2) / (np.mean(error**2) + 1e-9)))


@pytest.mark.parametrize(("speak_rate", "listen_rate"), [(16000, 24000), (48000, 8000)])
@pytest.mark.parametrize("together", [True, False])
def test_legs_at_other_rates_are_resampled(
    make_call: Callable[..., Call], speak_rate: int, listen_rate: int, together: bool
) -> None:
    call = make_call(8000, speak_rate=speak_rate, listen_rate=listen_rate)
    action = call.record(STEREO)
    speak, listen = tones(speak_rate, 3, 440), tones(listen_rate, 3, 660)
    for tick in range(150):
        said = speak[tick * speak_rate // 50 : (tick + 1) * speak_rate // 50]
        answered = listen[tick * listen_rate // 50 : (tick + 1) * listen_rate // 50]
        if together:
            call.feed(speak=said, listen=answered)
        else:
            call.feed(speak=said)
            call.feed(listen=answered)
    action.stop()
    recorded = audio_of(action.join(10))
    assert len(recorded) == 24000
    inner = slice(400, -400)  # a tone that is cut off at once has no end below 4 kHz
    for channel, hz in enumerate((440, 660)):
        assert snr(recorded[inner, channel], tones(8000, 3, hz)[inner]) > 50


@pytest.mark.parametrize("ended_by", ["stop", "hangup"])
def test_nothing_of_a_resampled_leg_is_missing_at_the_end(
    make_call: Callable[..., Call], ended_by: str
) -> None:
    call = make_call(8000, speak_rate=16000)
    action = call.record({**NO_LIMITS})
    audio = tones(16000, 1, 440)
    call.feed(speak=audio)
    action.stop() if ended_by == "stop" else call.hangup()
    recorded = audio_of(action.join(10))
    assert len(recorded) == 8000
    assert snr(recorded[7000:7900], tones(8000, 1, 440)[7000:7900]) > 50


def test_a_gap_in_a_resampled_leg(make_call: Callable[..., Call]) -> None:
    call = make_call(8000, speak_rate=48000)
    action = call.record({**NO_LIMITS})
    audio = tones(48000, 1, 440)
    call.feed(speak=audio)
    call.feed(speak=audio, at=16000)
    action.stop()
    recorded = audio_of(action.join(10))
    assert len(recorded) == 24000
    assert not recorded[8100:15900].any()
    expected = tones(8000, 1, 440)
    assert snr(recorded[400:7600], expected[400:7600]) > 50
    assert snr(recorded[16400:23600], expected[400:7600]) > 50


def test_two_recordings_of_a_resampled_leg_do_not_disturb_each_other(
    make_call: Callable[..., Call],
) -> None:
    call = make_call(8000, speak_rate=24000)
    audio = tones(24000, 3, 440)
    whole, first = call.record({**NO_LIMITS}), call.record({**NO_LIMITS})
    call.feed(speak=audio[:24123])
    first.stop()
    call.feed(speak=audio[24123:])
    call.hangup()
    recorded: dict[RecordAction, Pcm] = {a: audio_of(a.join(10)) for a in (whole, first)}
    expected = tones(8000, 3, 440)
    assert (len(recorded[whole]), len(recorded[first])) == (24000, 8041)
    assert snr(recorded[whole][400:-400], expected[400:-400]) > 50
    assert snr(recorded[first][400:-100], expected[400:7941]) > 50


@pytest.mark.parametrize("rate", [3999, 192001, 0, -8000, 16000.0, "8000", True])
def test_a_rate_of_a_leg_that_is_not_allowed(rate: Any) -> None:
    with pytest.raises(OptionError, match=r"^speak_rate: expected .* 4000 to 192000 .*, got"):
        Call(8000, speak_rate=rate)
    with pytest.raises(OptionError, match=r"^listen_rate: expected"):
        Call(8000, listen_rate=rate)


def test_legs_fed_together_have_the_same_length(make_call: Callable[..., Call]) -> None:
    call = make_call(8000, listen_rate=24000)
    with pytest.raises(
        FrameError, match=r"expected .* same length, got 160 samples and 160 at 8000 and 24000 Hz"
    ):
        call.feed(speak=bytes(320), listen=bytes(320))
    assert call.position == 0


def test_a_beep_at_the_rate_of_the_listen_leg(make_call: Callable[..., Call]) -> None:
    call = make_call(8000, listen_rate=24000)
    action = call.record({**NO_LIMITS, "beep": True})
    beep = np.concatenate([call.feed(listen=np.zeros(480, np.int16)) for _ in range(25)])
    spectrum = np.abs(np.fft.rfft(beep[:6000].astype(float)))
    assert np.argmax(spectrum) * 24000 / 6000 == 1000
    assert not beep[6000:].any()
    assert action.state == "recording"  # of the speak leg, which is silent up to now
    action.stop()
    assert action.join(10).duration == 0.25


@pytest.mark.parametrize("to", [8000 * 24 * 3600 + 1, pytest.param(10**5000, id="huge")])
def test_an_advance_that_is_not_allowed(call: Call, to: int) -> None:
    with pytest.raises(OptionError, match=r"^to: expected .*, a day ahead, got"):
        call.advance(to=to)
    assert call.position == 0
