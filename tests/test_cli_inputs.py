# SPDX-License-Identifier: MIT
"""Every kind of input of the command, and what it gives."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import soundfile

from tests import signals
from tests.command import OFF, Result, read, recorder, write
from tests.signals import Pcm

SECONDS: Final = 1.5


def leg(number: int, rate: int = 8000) -> Pcm:
    """A tone of its own for each channel: a leg is known by it, at any rate."""
    return signals.tone(SECONDS, -12 - number, rate, 300 + 150 * number)


def sound(
    name: str, channels: int = 1, rate: int = 8000, *, first: int = 0, **how: Any
) -> Callable[[Path], None]:
    """Make a file whose channels are legs 0, 1, ... or `first` and up."""

    def make(folder: Path) -> None:
        audio = np.stack([leg(first + channel, rate) for channel in range(channels)], axis=1)
        soundfile.write(folder / name, audio / 32768, rate, **how)

    return make


def raw(name: str, encoding: str = "pcm16") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        if encoding == "gsm":
            soundfile.write(folder / name, leg(0), 8000, format="RAW", subtype="GSM610")
        elif encoding == "pcm16":
            (folder / name).write_bytes(leg(0).tobytes())
        else:
            (folder / name).write_bytes(signals.g711(leg(0), encoding))  # type: ignore[arg-type]

    return make


def content(name: str, data: bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return make


def cut(name: str, whole: Callable[[Path], None]) -> Callable[[Path], None]:
    """The first half of a file."""

    def make(folder: Path) -> None:
        whole(folder)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return make


def streamed(folder: Path) -> None:
    """As ffmpeg and others write a WAV to a pipe: its sizes are not known yet."""
    memory = io.BytesIO()
    soundfile.write(memory, leg(0), 8000, format="WAV", subtype="PCM_16")
    data = bytearray(memory.getvalue())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (folder / "streamed.wav").write_bytes(data)


def lengthless_flac(folder: Path) -> None:
    """As it is written to a pipe: its header gives no length, and no checksum."""
    soundfile.write(folder / "a.flac", leg(0) / 32768, 8000, subtype="PCM_16")
    data = bytearray((folder / "a.flac").read_bytes())
    assert data[:4] == b"fLaC"
    assert data[4] & 0x7F == 0  # STREAMINFO: its 36 bits of length end 16 bytes before its end
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    data[26:42] = bytes(16)
    (folder / "a.flac").write_bytes(data)


def no_samples(folder: Path) -> None:
    write(folder / "z.wav", signals.silence(0))


def folder_named(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).mkdir()


CUT_HALF = "is cut short: its header promises"
Made = list[Callable[[Path], None]]
# What is made; what `record` gets; the legs and the rate of the file.
GIVES: Final[dict[str, tuple[Made, list[str], list[int | None], int]]] = {
    "mono": ([sound("a.wav")], ["a.wav"], [0], 8000),
    "stereo": ([sound("s.wav", 2)], ["s.wav"], [0, 1], 8000),
    "two files": (
        [sound("a.wav"), sound("b.wav", first=1)],
        ["a.wav", "b.wav"],
        [0, 1],
        8000,
    ),
    "stereo, one leg wanted": (
        [sound("s.wav", 2)],
        ["s.wav", "--direction", "speak"],
        [0, None],
        8000,
    ),
    "stereo, the other leg wanted": (
        [sound("s.wav", 2)],
        ["s.wav", "--direction", "listen"],
        [None, 1],
        8000,
    ),
    "5.1, two channels chosen": (
        [sound("six.wav", 6)],
        ["six.wav", "--channels", "1,3"],
        [0, 2],
        8000,
    ),
    "5.1, one channel chosen": ([sound("six.wav", 6)], ["six.wav", "--channels", "4"], [3], 8000),
    "stereo, turned round": ([sound("s.wav", 2)], ["s.wav", "--channels", "2,1"], [1, 0], 8000),
    **{
        f"{rate} Hz": ([sound("a.wav", rate=rate)], ["a.wav"], [0], at)
        for rate, at in (
            (8000, 8000),
            (11025, 16000),
            (12000, 16000),
            (16000, 16000),
            (22050, 24000),
            (24000, 24000),
            (32000, 32000),
            (44100, 44100),
            (48000, 48000),
            (96000, 48000),
        )
    },
    "legs of two rates": (
        [sound("a.wav"), sound("b.wav", rate=16000, first=1)],
        ["a.wav", "b.wav"],
        [0, 1],
        16000,
    ),
    "stereo at 22.05 kHz": ([sound("s.wav", 2, 22050)], ["s.wav"], [0, 1], 24000),
    "24 bits": ([sound("a.wav", subtype="PCM_24")], ["a.wav"], [0], 8000),
    "floats": ([sound("a.wav", subtype="FLOAT")], ["a.wav"], [0], 8000),
    "G.711 in a WAV": ([sound("a.wav", subtype="ULAW")], ["a.wav"], [0], 8000),
    "FLAC": ([sound("a.flac")], ["a.flac"], [0], 8000),
    "FLAC without a length": ([lengthless_flac], ["a.flac"], [0], 8000),
    "Ogg Vorbis": ([sound("a.ogg", rate=16000)], ["a.ogg"], [0], 16000),
    "MP3": ([sound("a.mp3", rate=16000)], ["a.mp3"], [0], 16000),
    "AIFF": ([sound("a.aiff")], ["a.aiff"], [0], 8000),
    "W64": ([sound("a.w64")], ["a.w64"], [0], 8000),
    "a WAV that is named as raw": ([sound("a.raw", format="WAV")], ["a.raw"], [0], 8000),
    "a WAV as it is streamed": ([streamed], ["streamed.wav"], [0], 8000),
    "raw PCM": ([raw("x.raw")], ["x.raw", "--rate", "8000"], [0], 8000),
    "raw PCM without an ending": ([raw("x")], ["x", "--rate", "8000"], [0], 8000),
    "raw mu-law": ([raw("x.ul", "pcmu")], ["x.ul", "--rate", "8000"], [0], 8000),
    "raw A-law": ([raw("x.alaw", "pcma")], ["x.alaw", "--rate", "8000"], [0], 8000),
    "raw mu-law by option": (
        [raw("x.raw", "pcmu")],
        ["x.raw", "--rate", "8000", "--encoding", "pcmu"],
        [0],
        8000,
    ),
    "GSM": ([raw("x.gsm", "gsm")], ["x.gsm", "--rate", "8000"], [0], 8000),
    "GSM by option": (
        [raw("x", "gsm")],
        ["x", "--rate", "8000", "--encoding", "gsm"],
        [0],
        8000,
    ),
}
# What is made; what `record` gets; the exit status; what it says.
FAILS: Final[dict[str, tuple[Made, list[str], int, str]]] = {
    "nothing": ([], ["a.wav"], 2, "there is no file a.wav"),
    "a folder": ([folder_named("d")], ["d"], 2, "d is a folder"),
    "an empty file": ([content("e.wav", b"")], ["e.wav"], 1, "cannot read e.wav: it is empty"),
    "text": ([content("t.txt", b"hello")], ["t.txt"], 1, "ffmpeg -i t.txt t.wav"),
    "m4a": (
        [content("x.m4a", b"\0\0\0\x18ftypM4A " + bytes(99))],
        ["x.m4a"],
        1,
        "it is no audio that libsndfile reads; convert it first",
    ),
    "webm": ([content("x.webm", b"\x1aE\xdf\xa3" + bytes(99))], ["x.webm"], 1, "convert it first"),
    "a WAV of nothing": (
        [content("n.wav", b"RIFF\x04\0\0\0WAVE")],
        ["n.wav"],
        1,
        "cannot read n.wav: it is no audio that libsndfile reads\n",
    ),
    "half a header": ([content("h.wav", b"RIFF....WAVEfmt ")], ["h.wav"], 1, "cannot read h.wav"),
    "raw PCM without a rate": ([raw("x.raw")], ["x.raw"], 2, "add the rate, --rate 8000"),
    "GSM without a rate": ([raw("x.gsm", "gsm")], ["x.gsm"], 2, "add the rate, --rate 8000"),
    "an encoding without a rate": (
        [raw("x.raw")],
        ["x.raw", "--encoding", "pcmu"],
        2,
        "add the rate, --rate 8000",
    ),
    "an encoding that is none": (
        [raw("x.raw")],
        ["x.raw", "--rate", "8000", "--encoding", "opus"],
        2,
        "'pcm16', 'pcmu', 'pcma', 'gsm'",
    ),
    "a rate and a header": (
        [sound("a.wav")],
        ["a.wav", "--rate", "8000"],
        2,
        "a.wav has a header, which says its rate: leave out --rate",
    ),
    "a rate that nothing has": (
        [raw("x.raw")],
        ["x.raw", "--rate", "7"],
        2,
        "expected a whole number from 4000 to 192000 Hz, got 7",
    ),
    "a file at such a rate": ([sound("a.wav", rate=3000)], ["a.wav"], 2, "192000 Hz, got 3000"),
    "raw PCM that ends in mid-sample": (
        [content("odd.raw", bytes(16001))],
        ["odd.raw", "--rate", "8000"],
        1,
        "odd.raw: raw PCM ends in mid-sample",
    ),
    "a sample that is no number": (
        [lambda folder: soundfile.write(folder / "n.wav", [np.nan], 8000, subtype="FLOAT")],
        ["n.wav"],
        1,
        "n.wav: expected samples in [-1, 1], got nan",
    ),
    "5.1": ([sound("six.wav", 6)], ["six.wav"], 2, "six.wav has 6 channels: choose"),
    "a channel it has not": (
        [sound("s.wav", 2)],
        ["s.wav", "--channels", "1,3"],
        2,
        "out of 1 to 2, which s.wav has, got 1, 3",
    ),
    "one channel twice": ([sound("s.wav", 2)], ["s.wav", "--channels", "2,2"], 2, "different"),
    "three legs": ([sound("six.wav", 6)], ["six.wav", "--channels", "1,2,3"], 2, "one or two"),
    "channels by name": (
        [sound("s.wav", 2)],
        ["s.wav", "--channels", "left"],
        2,
        "such as 1 or 1,3, got 'left'",
    ),
    "two files, one of them stereo": (
        [sound("a.wav"), sound("s.wav", 2)],
        ["a.wav", "s.wav"],
        2,
        "s.wav is not mono",
    ),
    "channels of two files": (
        [sound("a.wav"), sound("b.wav")],
        ["a.wav", "b.wav", "--channels", "1"],
        2,
        "expected none with two inputs",
    ),
    "standard input twice": ([], ["-", "-"], 2, "standard input can be read only once"),
}
# What is made; what is recorded; the seconds of it, and the warning.
WARNS: Final[dict[str, tuple[Made, str, float, str]]] = {
    "a cut WAV": ([cut("a.wav", sound("a.wav"))], "a.wav", 0.75, f"a.wav {CUT_HALF} 1.50 s"),
    "a cut AIFF": ([cut("a.aiff", sound("a.aiff"))], "a.aiff", 0.75, f"a.aiff {CUT_HALF} 1.50 s"),
    "a cut FLAC": ([cut("a.flac", sound("a.flac"))], "a.flac", 0.51, f"a.flac {CUT_HALF} 1.50 s"),
    "a cut MP3": (
        [cut("a.mp3", sound("a.mp3", rate=16000))],
        "a.mp3",
        0.47,
        f"a.mp3 {CUT_HALF} 1.50 s",
    ),
    "a WAV of no samples": (
        [no_samples],
        "z.wav",
        0,
        "z.wav holds no samples that can be read",
    ),
}


def record(folder: Path, made: Made, *arguments: str) -> Result:
    for make in made:
        make(folder)
    return recorder("record", *arguments, *OFF, "-o", "out.wav", folder=folder)


@pytest.mark.parametrize("kind", GIVES)
def test_what_an_input_gives(tmp_path: Path, kind: str) -> None:
    made, arguments, legs, rate = GIVES[kind]
    result = record(tmp_path, made, *arguments, *(["--stereo"] if len(legs) == 2 else []))
    assert result.status == 0, result.err
    assert result.err.count("\n") == 1  # no warning
    audio, file_rate = soundfile.read(tmp_path / "out.wav", always_2d=True)
    assert file_rate == rate
    assert audio.shape[1] == len(legs)
    # An MP3 of libsndfile's has whole frames.
    assert SECONDS - 0.001 <= len(audio) / rate <= SECONDS + (0.2 if "a.mp3" in arguments else 0)
    for channel, number in zip(audio.T, legs, strict=True):
        if number is None:
            assert not channel.any()
            continue
        expected = leg(number, rate) / 32768
        middle = slice(rate // 4, rate)  # a codec's and a resampler's edges aside
        noise = channel[middle] - expected[middle]
        lossy = any(codec in kind for codec in ("MP3", "Ogg", "GSM", "G.711", "law"))
        assert np.sqrt(np.mean(noise**2)) < (0.05 if lossy else 0.0005)


@pytest.mark.parametrize("kind", FAILS)
def test_what_an_input_that_cannot_be_read_says(tmp_path: Path, kind: str) -> None:
    made, arguments, status, says = FAILS[kind]
    result = record(tmp_path, made, *arguments)
    assert (result.status, result.out) == (status, "")
    assert says in result.err
    assert "Traceback" not in result.err
    if len(made) == 1:  # `detect` takes one file for all legs
        detected = recorder("detect", *arguments, folder=tmp_path)
        assert (detected.status, detected.out) == (status, "")
        assert says in detected.err


@pytest.mark.parametrize("kind", WARNS)
def test_what_is_wrong_with_an_input_is_reported(tmp_path: Path, kind: str) -> None:
    made, name, seconds, warning = WARNS[kind]
    result = record(tmp_path, made, name)
    assert result.status == 0
    assert f"recorder: warning: {warning}" in result.err
    assert len(read(tmp_path / "out.wav")) / soundfile.info(
        tmp_path / "out.wav"
    ).samplerate == pytest.approx(seconds, abs=0.01)
    assert warning in recorder("detect", name, folder=tmp_path).err
    quiet = recorder("detect", "-q", name, folder=tmp_path)
    assert (quiet.status, quiet.err) == (0, "")


@pytest.mark.parametrize("kind", ["wav", "pcm16", "pcmu", "pcma", "gsm"])
def test_standard_input(tmp_path: Path, kind: str) -> None:
    make = sound("in", format="WAV") if kind == "wav" else raw("in", kind)
    make(tmp_path)
    options = [] if kind == "wav" else ["--rate", "8000", "--encoding", kind]
    data = (tmp_path / "in").read_bytes()
    piped = recorder("record", "-", *options, *OFF, "-o", "p.wav", folder=tmp_path, stdin=data)
    assert piped.status == 0, piped.err
    named = recorder("record", "in", *options, *OFF, "-o", "n.wav", folder=tmp_path)
    assert named.status == 0, named.err
    assert np.array_equal(read(tmp_path / "p.wav"), read(tmp_path / "n.wav"))
    assert len(read(tmp_path / "p.wav")) == SECONDS * 8000


@pytest.mark.parametrize("channels", [1, 2])
def test_a_wav_in_a_pipe_is_read_while_it_is_written(tmp_path: Path, channels: int) -> None:
    """The recording ends by its terminator, though the writer has not closed the pipe."""
    audio = np.concatenate([signals.noise(1, -30), signals.dtmf("#", 0.1), signals.silence(1)])
    memory = io.BytesIO()
    both = np.stack([audio] * channels, axis=1)
    soundfile.write(memory, both, 8000, format="WAV", subtype="PCM_16")
    command = [sys.executable, "-W", "error", "-m", "recorder", "record", "-", "-o", "o.wav"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        data = bytearray(memory.getvalue())
        data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
        process.stdin.write(data)
        process.stdin.flush()
        event = json.loads(process.stdout.read())
        process.stdin.close()
    assert event["params"]["record"]["reason"] == "terminator"
    assert event["params"]["duration"] == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("damage", [lambda wav: wav[:40], lambda wav: wav[:36] + b"LIST\xff\0\0\0"])
def test_a_damaged_wav_in_a_pipe(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    memory = io.BytesIO()
    soundfile.write(memory, leg(0), 8000, format="WAV", subtype="PCM_16")
    wav = damage(memory.getvalue())
    result = recorder("record", "-", "-o", "o.wav", folder=tmp_path, stdin=wav)
    assert (result.status, result.out) == (1, "")
    assert "cannot read -: its WAV header is damaged" in result.err


def test_a_wav_in_a_pipe_that_ends_in_mid_sample(tmp_path: Path) -> None:
    memory = io.BytesIO()
    soundfile.write(memory, np.stack([leg(0), leg(1)], 1), 8000, format="WAV", subtype="PCM_16")
    wav = memory.getvalue()[:-7]
    result = recorder("record", "-", *OFF, "--stereo", "-o", "o.wav", folder=tmp_path, stdin=wav)
    assert result.status == 0, result.err
    assert len(read(tmp_path / "o.wav")) == SECONDS * 8000 - 2


def test_text_on_standard_input(tmp_path: Path) -> None:
    result = recorder("record", "-", folder=tmp_path, stdin=b"hello, world")
    assert result.status == 1
    assert "raw audio needs its rate, --rate 8000" in result.err


def test_nothing_on_standard_input(tmp_path: Path) -> None:
    result = recorder("record", "-", folder=tmp_path, stdin=b"")
    assert (result.status, result.out) == (1, "")
    assert "cannot read -: it is empty" in result.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe(tmp_path: Path) -> None:
    sound("a.wav", 2)(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with subprocess.Popen(["cp", "a.wav", "pipe.wav"], cwd=tmp_path) as _:
        result = recorder("record", "pipe.wav", *OFF, "--stereo", "-o", "out.wav", folder=tmp_path)
    assert result.status == 0, result.err
    assert np.array_equal(read(tmp_path / "out.wav"), read(tmp_path / "a.wav"))


def test_the_leg_that_ends_first_continues_as_silence(tmp_path: Path) -> None:
    """Also where the legs are of two rates, and blocks of several seconds."""
    write(tmp_path / "a.wav", signals.noise(12, -20))
    write(tmp_path / "b.wav", signals.noise(6.5, -20, 16000), 16000)
    result = recorder(
        "record", "a.wav", "b.wav", *OFF, "--stereo", "-o", "out.wav", folder=tmp_path
    )
    assert result.status == 0, result.err
    out = read(tmp_path / "out.wav")
    assert out.shape == (12 * 16000, 2)
    assert np.array_equal(out[: int(6.5 * 16000), 1], read(tmp_path / "b.wav"))
    assert not out[int(6.5 * 16000) :, 1].any()
    assert np.abs(out[-800:, 0]).max() > 1000
