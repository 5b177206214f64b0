# SPDX-License-Identifier: MIT
"""What `feed` returns: what the party should hear, in the form that was fed, however it is cut."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from recorder import Call
from recorder.placement.beep import tone
from tests import signals
from tests.recordings import NO_LIMITS
from tests.signals import Pcm

FORMS: dict[str, tuple[Callable[[bytes], Any], str]] = {
    "bytes": (bytes, "pcm16"),
    "bytearray": (bytearray, "pcm16"),
    "memoryview": (memoryview, "pcm16"),
    "memoryview of int16": (lambda pcm: memoryview(pcm).cast("h"), "pcm16"),
    "int16": (lambda pcm: np.frombuffer(pcm, np.int16), "pcm16"),
    "float32": (lambda pcm: np.frombuffer(pcm, np.int16).astype(np.float32) / 32768, "pcm16"),
    "float64": (lambda pcm: np.frombuffer(pcm, np.int16) / 32768, "pcm16"),
    "pcmu": (lambda pcm: signals.g711(np.frombuffer(pcm, np.int16), "pcmu"), "pcmu"),
    "pcma": (lambda pcm: signals.g711(np.frombuffer(pcm, np.int16), "pcma"), "pcma"),
    "uint8 pcmu": (
        lambda pcm: np.frombuffer(signals.g711(np.frombuffer(pcm, np.int16), "pcmu"), np.uint8),
        "pcmu",
    ),
    "uint8 pcma": (
        lambda pcm: np.frombuffer(signals.g711(np.frombuffer(pcm, np.int16), "pcma"), np.uint8),
        "pcma",
    ),
}


def as_pcm(frame: Any, encoding: str) -> Pcm:
    from recorder.placement.frames import to_pcm

    return np.frombuffer(to_pcm(frame, encoding), np.int16)  # type: ignore[arg-type]


@pytest.mark.parametrize("leg", ["speak", "listen"])
@pytest.mark.parametrize("form", FORMS)
def test_a_beep_in_any_form(call: Call, form: str, leg: str) -> None:
    make, encoding = FORMS[form]
    call.record({**NO_LIMITS, "beep": True})
    fed = make(bytes(320))
    frames: dict[str, Any] = {leg: fed, "encoding": encoding}
    returned: list[Any] = [call.feed(**frames) for _ in range(20)]
    for frame in returned:
        assert type(frame) is type(fed)
        assert getattr(frame, "dtype", None) == getattr(fed, "dtype", None)
        assert getattr(frame, "format", None) == getattr(fed, "format", None)
        assert len(frame) == len(fed)
    heard = np.concatenate([as_pcm(frame, encoding) for frame in returned])
    beep = np.frombuffer(tone(8000), np.int16)
    if encoding != "pcm16":
        beep = signals.through_g711(beep, encoding)  # type: ignore[arg-type]
    quiet = as_pcm(fed, encoding)[0]  # A-law has no zero, which may round the sum up
    step = 1 if encoding == "pcm16" else 256
    assert np.max(np.abs(heard[:2000].astype(int) - beep)) < step
    assert np.all(heard[2000:] == quiet)


def test_without_anything_playing(call: Call) -> None:
    """The listen frame is the same object; with speak alone it is silence of its form."""
    for make, encoding in FORMS.values():
        frame = make(signals.noise(0.02, -20).tobytes())
        options: dict[str, Any] = {"encoding": encoding}
        assert call.feed(listen=frame, **options) is frame
        assert call.feed(speak=frame, listen=frame, **options) is frame
        silence: Any = call.feed(speak=frame, **options)
        assert type(silence) is type(frame)
        assert len(silence) == len(frame)
        assert np.max(np.abs(as_pcm(silence, encoding).astype(int))) <= 8
    assert call.feed() is None


@pytest.mark.parametrize("listen_rate", [8000, 11025, 12345, 16000, 24000, 44100, 48000])
def test_the_beep_is_the_same_however_it_is_cut(
    make_call: Callable[..., Call], listen_rate: int
) -> None:
    """Also where a frame is no whole number of the call's samples."""
    beeps = []
    for seed in range(6):
        rng = Random(seed)
        call = make_call(listen_rate=listen_rate)
        call.feed(listen=bytes(2 * (listen_rate // 10)))
        call.record({**NO_LIMITS, "beep": True})
        heard = b""
        while len(heard) < 2 * listen_rate // 2:
            usual = listen_rate // 50
            n = rng.choice([1, 7, usual, rng.randrange(1, 1500)]) if seed else usual
            heard += call.feed(listen=bytes(2 * n))
        beeps.append(np.frombuffer(heard, np.int16)[: listen_rate // 2])
    assert beeps[0].any()
    start = np.flatnonzero(beeps[0])[0]
    expected = np.frombuffer(tone(listen_rate), np.int16)
    first = np.flatnonzero(expected)[0]
    assert np.array_equal(beeps[0][start : start + len(expected) - first], expected[first:])
    for beep in beeps[1:]:
        assert np.array_equal(beep, beeps[0])


@pytest.mark.parametrize("speak_rate", [11025, 16000, 44100])
def test_what_plays_at_the_rate_of_the_speak_leg(
    make_call: Callable[..., Call], speak_rate: int
) -> None:
    """Only the party's frames are fed, at a rate of their own: so is what comes back."""
    heards = []
    for seed in range(4):
        rng = Random(seed)
        call = make_call(speak_rate=speak_rate)
        call.play(signals.tone(1, -20, 8000, 440))
        heard = b""
        while len(heard) < 2 * speak_rate:
            n = rng.randrange(1, 900) if seed else speak_rate // 50
            heard += call.feed(speak=bytes(2 * n))
        heards.append(np.frombuffer(heard, np.int16)[:speak_rate].astype(float))
    expected = signals.tone(1, -20, speak_rate, 440).astype(float)
    middle = slice(speak_rate // 20, -speak_rate // 20)
    error = heards[0][middle] - expected[middle]
    assert 10 * np.log10(np.mean(expected[middle] ** 2) / np.mean(error**2)) > 45
    for heard_so in heards[1:]:
        assert np.max(np.abs(heard_so - heards[0])) <= 1


def test_the_listen_frame_with_what_plays_saturates(call: Call) -> None:
    call.play(np.full(160, 30000, np.int16))
    mixed = call.feed(speak=bytes(320), listen=np.full(160, 30000, np.int16))
    assert np.all(mixed == 32767)
