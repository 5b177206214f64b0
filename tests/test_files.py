# SPDX-License-Identifier: MIT
"""What other tools read, and names that stay in their folder."""

import json
import os
import shutil
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import Call, FileError
from recorder.writing.staged import StagedFile, name_part
from tests import signals
from tests.conftest import Events, settle
from tests.marks import mostly_slow
from tests.recordings import NO_LIMITS, audio_of, feed_frames, path_of, result_of
from tests.signals import RATES, Pcm


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")


def output_of(*command: str | Path) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def decoded(path: Path, channels: int) -> Pcm:
    raw = output_of("ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-")
    samples = np.frombuffer(raw, "<i2")
    return samples.reshape(-1, 2) if channels == 2 else samples


def probe(path: Path) -> dict[str, Any]:
    fields = "format=duration,format_name:stream=sample_rate,channels,codec_name,bit_rate"
    out = output_of("ffprobe", "-v", "error", "-show_entries", fields, "-of", "json", path)
    found = json.loads(out)
    return {**found["format"], **found["streams"][0]}


def record(call: Call, stereo: bool, format_: Any, duration: float = 1.2345) -> Events:
    events = Events(call)
    rate = call.sample_rate
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": stereo, "format": format_})
    feed_frames(
        call,
        signals.tone(duration, -20, rate, 440),
        signals.tone(duration, -20, rate, 660),
        size=rate // 50,
    )
    action.stop()
    return events


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("rate", mostly_slow(RATES, 8000))
def test_wav_as_ffmpeg_sox_and_python_read_it(
    make_call: Callable[..., Call], rate: int, stereo: bool
) -> None:
    need("ffmpeg", "ffprobe", "sox")
    event = record(make_call(rate), stereo, "wav").received[-1]
    path = path_of(event)
    n = round(event.duration * rate)
    with wave.open(str(path)) as file:
        assert (
            file.getframerate(),
            file.getnchannels(),
            file.getsampwidth(),
            file.getnframes(),
        ) == (
            rate,
            1 + stereo,
            2,
            n,
        )
        content = file.readframes(n)
    found = probe(path)
    assert (found["codec_name"], int(found["sample_rate"]), found["channels"]) == (
        "pcm_s16le",
        rate,
        1 + stereo,
    )
    assert float(found["duration"]) == pytest.approx(event.duration, abs=1e-6)
    assert int(output_of("sox", "--i", "-s", path)) == n
    assert decoded(path, 1).tobytes() == content
    assert path.stat().st_size == event.size == 80 + len(content)


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("rate", mostly_slow(RATES, 8000))
def test_mp3_decodes_to_exactly_the_samples_recorded(
    make_call: Callable[..., Call], rate: int, stereo: bool
) -> None:
    need("ffmpeg", "ffprobe", "sox")
    event = record(make_call(rate), stereo, "mp3").received[-1]
    path = path_of(event)
    n = round(event.duration * rate)
    found = probe(path)
    assert (found["codec_name"], int(found["sample_rate"]), found["channels"]) == (
        "mp3",
        rate,
        1 + stereo,
    )
    audio = decoded(path, 1 + stereo)
    assert len(audio) == n
    # The tones are where they were: each channel against what was fed, edges aside.
    speak = signals.tone(1.2345, -20, rate, 440).astype(float)
    listen = signals.tone(1.2345, -20, rate, 660).astype(float)
    fed = np.stack([speak, listen], axis=1) if stereo else speak + listen
    expected = 0.95 * fed  # LAME's headroom
    inner = slice(rate // 10, -rate // 10)
    error = np.sqrt(np.mean((audio[inner] - expected[inner]) ** 2))
    assert error < 0.01 * np.sqrt(np.mean(expected[inner] ** 2))
    # A tool that reports a length without cutting the silence off reports up to six MP3 frames
    # more: the Info frame, up to three at the start, and LAME's own at the end.
    samples_per_frame = 1152 if rate >= 32000 else 576
    lengths = [float(found["duration"])]
    if b"mp3" in output_of("sox", "--help"):
        lengths.append(float(output_of("sox", "--i", "-D", path)))
    for length in lengths:
        assert 0 <= length - event.duration < 6 * samples_per_frame / rate
    assert path.stat().st_size == event.size
    bits_per_second = event.size * 8 / event.duration
    assert 20_000 < bits_per_second < 180_000


@pytest.mark.parametrize("format_", ["wav", "mp3"])
@pytest.mark.parametrize("rate", mostly_slow(RATES, 8000))
def test_an_empty_recording_is_a_valid_file(
    make_call: Callable[..., Call], rate: int, format_: Any
) -> None:
    need("ffmpeg", "ffprobe")
    call = make_call(rate)
    action = call.record({**NO_LIMITS, "format": format_})
    action.stop()
    event = result_of(action)
    assert event.duration == 0
    assert int(probe(path_of(event))["sample_rate"]) == rate
    assert len(decoded(path_of(event), 1)) == 0


def test_the_two_channels_are_not_confused(make_call: Callable[..., Call]) -> None:
    need("ffmpeg")
    for format_ in ("wav", "mp3"):
        event = record(make_call(), True, format_).received[-1]
        audio = decoded(path_of(event), 2)[1000:9000]
        for channel, hz in ((0, 440), (1, 660)):
            assert np.argmax(np.abs(np.fft.rfft(audio[:, channel]))) == hz


# -- names ---------------------------------------------------------------------------------------

HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    ".hidden",
    "/absolute",
    "C:\\Windows\\x",
    "a\0b",
    "line\nbreak",
    "x" * 10_000,
    "ａ／ｂ",  # full-width look-alikes
    "\u202egnp.exe",
    "con",
    "-rf",
    "%2e%2e%2f",
    "\ud800",
    "",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_id_escapes_the_directory(
    make_call: Callable[..., Call], tmp_path: Path, hostile: str
) -> None:
    call = make_call(call_id=hostile, node_id=hostile)
    action = call.record(NO_LIMITS, control_id=hostile or None)
    feed_frames(call, signals.noise(0.1, -30))
    action.stop()
    path = path_of(result_of(action))
    assert path.parent == tmp_path / "recordings"
    assert [item.name for item in tmp_path.iterdir()] == ["recordings"]
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert len(path.name) < 160
    assert not path.name.startswith((".", "-"))
    assert len(audio_of(action.join(10))) == 800


def test_name_parts_are_plain() -> None:
    assert name_part("call-1.a_B") == "call-1.a_B"
    assert name_part("a/b c") == "a_b_c"
    assert name_part("...") == "_"
    assert len(name_part("x" * 999)) == 80


def test_two_calls_with_the_same_ids_do_not_meet(make_call: Callable[..., Call]) -> None:
    results = []
    for seed in (1, 2):
        call = make_call(call_id="same", node_id="same")
        action = call.record(NO_LIMITS, control_id="same")
        audio = signals.noise(0.2, -30, seed=seed)
        feed_frames(call, audio)
        results.append((action, audio))
    for action, audio in results:
        action.stop()
        assert np.array_equal(audio_of(action.join(10)), audio)


def test_a_path_of_ones_own_is_never_overwritten(events: Events, tmp_path: Path) -> None:
    call = events.call
    target = tmp_path / "mine.wav"
    target.write_bytes(b"precious")
    with pytest.raises(FileError, match=r"mine\.wav"):
        call.record(NO_LIMITS, path=target)
    assert target.read_bytes() == b"precious"
    assert [item.name for item in tmp_path.iterdir()] == ["mine.wav"]

    other = tmp_path / "other.wav"
    action = call.record(NO_LIMITS, path=other)
    with pytest.raises(FileError, match=r"other\.wav"):
        call.record(NO_LIMITS, path=other)  # while it is being written, too
    feed_frames(call, signals.noise(0.1, -30))
    other.write_bytes(b"came between")
    action.stop()
    assert other.read_bytes() == b"came between"
    assert path_of(result_of(action)) == tmp_path / "other-1.wav"
    assert len(audio_of(action.join(10))) == 800


def test_the_final_name_appears_only_when_the_file_is_complete(call: Call, tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    action = call.record(NO_LIMITS, path=target)
    feed_frames(call, signals.noise(3, -30))
    assert not target.exists()
    action.stop()
    action.join(10)
    assert target.exists()
    assert [item.name for item in tmp_path.iterdir()] == ["a.wav"]


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for name in ("a.wav", "a-1.wav"):
        file = StagedFile(tmp_path / "b.wav", "wav", 8000, 1)
        file.write(np.arange(100, dtype=np.int16))
        (tmp_path / "b.wav").unlink(missing_ok=True)
        path, size = file.publish()
        assert (path.name, size) == ("b.wav", 280)
        path.rename(tmp_path / name)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a-1.wav", "a.wav"]


def test_base_url(make_call: Callable[..., Call]) -> None:
    call = make_call(base_url="https://example.org/calls/", call_id="a b")
    action = call.record(NO_LIMITS)
    action.stop()
    action.join(10)
    (name,) = [item.name for item in call.directory.iterdir()]
    assert result_of(action).url == f"https://example.org/calls/{name}"
    assert name.startswith("a_b_")


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_a_full_disk_ends_the_recording_as_error_and_nothing_else(
    events: Events, format_: Any
) -> None:
    """A limit on this process's file sizes makes writing fail as a full disk does."""
    resource = pytest.importorskip("resource")
    import signal

    call = events.call
    other = call.record(NO_LIMITS, control_id="short")
    failing = call.record(
        {**NO_LIMITS, "format": format_, "stereo": True, "direction": "both"}, control_id="long"
    )
    audio = signals.noise(20, -20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = 200_000 if format_ == "wav" else 60_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        call.feed(speak=audio[:8000], listen=audio[:8000])
        other.stop()
        call.feed(speak=audio[8000:], listen=audio[8000:])
        settle()
        assert failing.is_done
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    event = result_of(failing)
    assert (event.state, event.record["reason"]) == ("error", "error")
    assert event.record["error"]
    assert failing.state == "error"
    kept = path_of(event)
    assert kept.exists()
    assert event.size == kept.stat().st_size
    assert event.size >= 0.8 * limit
    assert np.array_equal(audio_of(other.join(10)), audio[:8000])
    more = call.record(NO_LIMITS)
    feed_frames(call, signals.noise(0.5, -30))
    more.stop()
    assert result_of(more).state == "finished"


def test_a_directory_that_cannot_be_made(make_call: Callable[..., Call], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    call = make_call(directory=tmp_path / "file" / "recordings")
    with pytest.raises(FileError, match="cannot make the folder"):
        call.record(NO_LIMITS)
    call.feed(speak=bytes(320))
    assert call.position == 160


def test_a_directory_that_vanishes(events: Events) -> None:
    action = events.call.record(NO_LIMITS)
    feed_frames(events.call, signals.noise(0.5, -30))
    shutil.rmtree(events.call.directory)
    action.stop()
    event = result_of(action)
    assert event.state == "error"
    assert event.size == 0
    assert event.record["error"]
