# SPDX-License-Identifier: MIT
"""Another rate, the same sound at the same time, however it is cut."""

from itertools import pairwise, product
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from recorder.errors import OptionError
from recorder.placement.resampling import Resampler, part
from tests.marks import mostly_slow

IN_RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000)
OUT_RATES = (8000, 16000, 44100, 48000)
PAIRS = [
    *product(IN_RATES, OUT_RATES),
    (4000, 48000),
    (192000, 8000),
    (12345, 24000),
    (47999, 32000),
]

all_pairs = pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)


def noise(n: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(-20000, 20000, n).astype(np.int16).tobytes()


def ints(pcm: bytes) -> NDArray[np.int64]:
    return np.frombuffer(pcm, np.int16).astype(np.int64)


def feed(resampler: Resampler, pcm: bytes) -> bytes:
    n, worth = resampler.take(pcm)
    return resampler.process(worth, n)


def whole(in_rate: int, out_rate: int, pcm: bytes) -> bytes:
    resampler = Resampler(in_rate, out_rate)
    return feed(resampler, pcm) + resampler.flush()


def cut(random: Random, pcm: bytes, longest: int) -> list[bytes]:
    """PCM in frames of random lengths, some of one sample."""
    edges = [0]
    while edges[-1] < len(pcm):
        edges.append(edges[-1] + 2 * random.choice((1, random.randint(1, longest))))
    return [pcm[a:b] for a, b in pairwise(edges)]


@all_pairs
def test_cut_anywhere_it_is_the_same(in_rate: int, out_rate: int) -> None:
    for n in (in_rate, in_rate + 1, in_rate + 5, 7):  # its end need not be worth a sample
        pcm = noise(n)
        resampler = Resampler(in_rate, out_rate)
        frames = cut(Random(in_rate + out_rate), pcm, in_rate // 10)
        given = [feed(resampler, frame) for frame in frames]
        assert b"".join(given) + resampler.flush() == whole(in_rate, out_rate, pcm)


@all_pairs
def test_a_tone_stays_that_tone_at_that_time(in_rate: int, out_rate: int) -> None:
    """Sample by sample, so that there is no click at a frame's border either."""
    frequency = 0.35 * min(in_rate, out_rate)
    sine = 12000 * np.sin(2 * np.pi * frequency / in_rate * np.arange(in_rate))
    pcm = np.rint(sine).astype(np.int16).tobytes()
    resampler = Resampler(in_rate, out_rate)
    step = 2 * (in_rate // 50)
    frames = [pcm[at : at + step] for at in range(0, len(pcm), step)]
    out = ints(b"".join(feed(resampler, frame) for frame in frames) + resampler.flush())
    ideal = 12000 * np.sin(2 * np.pi * frequency / out_rate * np.arange(out_rate))
    middle = slice(out_rate // 8, -out_rate // 8)  # it begins and ends with a click of its own
    error = (out - ideal)[middle]
    assert np.max(np.abs(error)) < 3
    assert 10 * np.log10(np.mean(ideal[middle] ** 2) / np.mean(error**2)) > 75  # dB


@pytest.mark.parametrize(("in_rate", "out_rate"), mostly_slow(PAIRS, *PAIRS[:12]))
def test_lengths_add_up(in_rate: int, out_rate: int) -> None:
    random = Random(1)
    resampler = Resampler(in_rate, out_rate)
    fed = worth = length = 0
    for samples in [*(random.randint(0, 3) for _ in range(200)), in_rate, 7, in_rate // 3]:
        n, pcm = resampler.take(bytes(2 * samples))
        fed += samples
        worth += n
        length += len(resampler.process(pcm, n)) // 2
        assert worth == fed * out_rate // in_rate
        assert length + len(resampler.peek()) // 2 == worth
    assert length + len(resampler.flush()) // 2 == worth


@all_pairs
def test_peek_is_what_flush_would_give(in_rate: int, out_rate: int) -> None:
    random = Random(in_rate)
    pcm = noise(2 * in_rate)
    resampler, given, fed = Resampler(in_rate, out_rate), b"", b""
    for frame in cut(random, pcm, in_rate // 2):
        n, worth = resampler.take(frame)
        given += resampler.process(worth, n)
        fed += frame
        if random.randrange(3) == 0:
            expected = whole(in_rate, out_rate, fed)[len(given) :]
            peeked = resampler.peek()
            assert len(peeked) == len(expected)
            assert np.all(np.abs(ints(peeked) - ints(expected)) <= 1)
    # And it changes nothing.
    assert given + resampler.flush() == whole(in_rate, out_rate, pcm)


@all_pairs
def test_after_flush_another_stream_begins(in_rate: int, out_rate: int) -> None:
    first, second = noise(in_rate // 4, 2), noise(in_rate // 3, 3)
    resampler = Resampler(in_rate, out_rate)
    assert resampler.flush() == resampler.peek() == b""
    for pcm in (first, second):
        # As much as the timeline says, whatever the running count of all input says.
        n = len(pcm) // 2 * out_rate // in_rate
        out = resampler.process(pcm, n)
        assert out + resampler.flush() == whole(in_rate, out_rate, pcm)
        assert resampler.flush() == resampler.peek() == b""


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_timeline_has_the_last_word_on_the_length(more: int) -> None:
    resampler = Resampler(22050, 16000)
    out = resampler.process(noise(2205), 1600 + more)
    assert len(out + resampler.peek()) == len(out + resampler.flush()) == 2 * (1600 + more)


def test_input_that_is_not_worth_a_sample_yet_is_not_lost() -> None:
    resampler = Resampler(48000, 8000)
    frames = [resampler.take(noise(1, seed)) for seed in range(12)]
    assert [n for n, _ in frames] == [0, 0, 0, 0, 0, 1] * 2
    assert b"".join(pcm for _, pcm in frames) == b"".join(noise(1, seed) for seed in range(12))


def test_silence_stays_digital_silence() -> None:
    assert not any(whole(48000, 8000, bytes(48000)))


def test_loud_audio_saturates() -> None:
    square = np.tile(np.repeat(np.array([32767, -32768], np.int16), 40), 100)
    out = ints(whole(8000, 48000, square.tobytes()))
    # Overshoot that wrapped around would have the other sign.
    assert np.all(np.abs(np.diff(out)) < 45000)
    assert (out.max(), out.min()) == (32767, -32768)


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    sine = 20000 * np.sin(2 * np.pi * 5000 / 48000 * np.arange(48000))
    out = ints(whole(48000, 8000, sine.astype(np.int16).tobytes()))
    assert np.max(np.abs(out[1000:-1000])) <= 1


def test_parts_are_the_whole() -> None:
    random = Random(1)
    for _ in range(200):
        pcm, n = noise(random.randint(0, 500)), random.randint(1, 600)
        edges = [0, *sorted(random.randint(0, n) for _ in range(4)), n]
        parts = [part(pcm, n, a, b - a) for a, b in pairwise(edges)]
        assert b"".join(parts) == pcm
    assert part(bytes(range(8)), 4, 1, 2) == bytes(range(2, 6))


@pytest.mark.parametrize("rate", [0, 3999, 192001, -8000, 8000.0, "8000", True, None])
def test_a_rate_that_is_refused(rate: object) -> None:
    with pytest.raises(OptionError, match=r"^in_rate: expected .* 4000 to 192000 .*, got"):
        Resampler(rate, 8000)  # type: ignore[arg-type]


def test_a_call_has_one_of_its_own_rates() -> None:
    with pytest.raises(OptionError, match="44100"):
        Resampler(8000, 22050)
