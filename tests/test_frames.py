# SPDX-License-Identifier: MIT
"""What may be fed, and what is refused."""

from typing import Any

import numpy as np
import pytest

from recorder import FrameError, OptionError
from recorder.placement.frames import from_pcm, to_pcm

SAMPLES = np.array([0, 1, -1, 32767, -32768, 1234], np.int16)
PCM = SAMPLES.tobytes()


@pytest.mark.parametrize(
    "frame",
    [
        PCM,
        bytearray(PCM),
        memoryview(PCM),
        memoryview(PCM).cast("h"),
        SAMPLES,
        np.repeat(SAMPLES, 2)[::2],  # strided
        SAMPLES / np.float64(32768),
        (SAMPLES / 32768).astype(np.float32),
    ],
)
def test_every_form_is_the_same_audio_and_comes_back_in_its_form(frame: Any) -> None:
    assert to_pcm(frame) == PCM
    back = from_pcm(PCM, frame)
    assert type(back) is type(frame)
    assert to_pcm(back) == PCM
    if isinstance(frame, np.ndarray):
        assert isinstance(back, np.ndarray)
        assert back.dtype == frame.dtype
    if isinstance(frame, memoryview):
        assert isinstance(back, memoryview)
        assert back.format == frame.format


def test_mutable_frames_are_copied() -> None:
    for frame in (bytearray(PCM), SAMPLES.copy()):
        kept = to_pcm(frame)
        frame[0] = 9
        assert kept == PCM


@pytest.mark.parametrize("encoding", ["pcmu", "pcma"])
def test_g711_in_every_form(encoding: Any) -> None:
    codes = bytes(range(256))
    pcm = to_pcm(codes, encoding)
    assert len(pcm) == 512
    assert to_pcm(np.arange(256, dtype=np.uint8), encoding) == pcm
    assert to_pcm(memoryview(codes), encoding) == pcm
    # 0x7f and 0xff are mu-law's two zeros; the second is the one that is sent.
    expected = codes.replace(b"\x7f", b"\xff") if encoding == "pcmu" else codes
    assert from_pcm(pcm, codes, encoding) == expected


def test_floats_saturate_just_past_full_scale() -> None:
    loud = np.array([1.0, 1.2, -1.0, -1.3])
    assert np.frombuffer(to_pcm(loud), np.int16).tolist() == [32767, 32767, -32768, -32768]


@pytest.mark.parametrize(
    ("frame", "encoding", "says"),
    [
        (b"abc", "pcm16", "expected an even number of bytes of 16-bit PCM, got 3"),
        (bytearray(b"abc"), "pcm16", "expected an even number of bytes of 16-bit PCM, got 3"),
        (memoryview(b"abc"), "pcm16", "expected an even number of bytes of 16-bit PCM, got 3"),
        (memoryview(bytes(16)).cast("i"), "pcm16", "got 1 of 'i'"),
        (memoryview(bytes(8)).cast("h", (2, 2)), "pcm16", "expected one dimension"),
        (
            np.ma.masked_array([1, 2, 3], [False, True, False], np.int16),
            "pcm16",
            "got a masked array",
        ),
        (np.zeros(4, np.int32), "pcm16", "int32"),
        (np.zeros(4, ">i2"), "pcm16", ">i2"),
        (np.zeros(4, np.uint8), "pcm16", "uint8"),
        (np.zeros(4, np.float16), "pcm16", "float16"),
        (np.zeros(4, complex), "pcm16", "complex128"),
        (np.zeros((4, 2), np.int16), "pcm16", "shape (4, 2)"),
        (np.zeros((), np.int16), "pcm16", "shape ()"),
        (np.array([0.0, np.nan]), "pcm16", "nan"),
        (np.array([0.0, np.inf], np.float32), "pcm16", "inf"),
        (np.array([0.0, -20000.0]), "pcm16", "-20000.0"),
        (np.zeros(4, np.int16), "pcmu", "int16"),
        ([1, 2], "pcm16", "list"),
        ("ab", "pcm16", "str"),
        (7, "pcm16", "int"),
    ],
)
def test_bad_audio_is_refused_with_what_it_is(frame: Any, encoding: Any, says: str) -> None:
    with pytest.raises(FrameError) as raised:
        to_pcm(frame, encoding)
    assert says in str(raised.value)


@pytest.mark.parametrize("frame", [b"ab", np.zeros(2, np.int16), bytearray(2)])
def test_an_unknown_encoding_is_refused(frame: Any) -> None:
    with pytest.raises(
        OptionError, match=r"^encoding: expected one of pcm16, pcmu, pcma, got 'alaw'"
    ):
        to_pcm(frame, "alaw")  # type: ignore[arg-type]


def test_no_samples_are_a_frame() -> None:
    for frame in (b"", np.zeros(0, np.int16), np.zeros(0)):
        assert to_pcm(frame) == b""


def test_a_view_that_was_released() -> None:
    view = memoryview(bytes(320))
    view.release()
    with pytest.raises(FrameError, match="released"):
        to_pcm(view)
