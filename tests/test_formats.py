# SPDX-License-Identifier: MIT
"""WAV and MP3 play after every block, in every reader, and at every length."""

import os
import shutil
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from recorder.writing.mp3 import info_frame, parse_info_frame, playable
from recorder.writing.wav import HEADER_BYTES, header, parse_header
from tests import signals
from tests.marks import mostly_slow
from tests.signals import RATES
from tests.staging import GIB, Format, blocks, check_long, read, shaped, start, stereo_noise
from tests.test_files import decoded, need, output_of, probe

# -- the header ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_a_header(rate: int, channels: int) -> None:
    frames = 12345
    found = header(rate, channels, frames)
    data = frames * 2 * channels
    assert len(found) == HEADER_BYTES == 80
    assert found[:12] == b"RIFF" + struct.pack("<I", 72 + data) + b"WAVE"
    assert found[12:48] == b"JUNK" + struct.pack("<I", 28) + bytes(28)
    assert found[48:56] == b"fmt " + struct.pack("<I", 16)
    assert struct.unpack("<HHIIHH", found[56:72]) == (
        *(1, channels, rate),
        *(rate * 2 * channels, 2 * channels, 16),
    )
    assert found[72:] == b"data" + struct.pack("<I", data)
    assert parse_header(found) == (rate, channels)


def test_a_header_past_4_gib_is_of_the_same_size() -> None:
    last = (0xFFFFFFFF - 72) // 2  # the most samples that fit
    assert header(8000, 1, last)[:8] == b"RIFF" + struct.pack("<I", 72 + 2 * last)
    frames = last + 1
    found = header(8000, 1, frames)
    assert found[:20] == b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28)
    assert struct.unpack("<QQQI", found[20:48]) == (72 + 2 * frames, 2 * frames, frames, 0)
    assert found[48:76] == header(8000, 1, 0)[48:76]
    assert found[76:] == b"\xff\xff\xff\xff"
    assert parse_header(found) == (8000, 1)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_an_info_frame_is_parsed_to_what_it_was_made_of(rate: int, channels: int) -> None:
    for frames, less in ((0, 0), (1, 0), (100, 0), (100, 77), (1_000_000, 1)):
        samples = max(0, playable(rate, frames) - less)
        found = info_frame(rate, channels, frames, 1234, samples)
        assert parse_info_frame(found + b"more") == (rate, channels, frames, samples)
        with pytest.raises(ValueError, match="Info"):  # a bit that fell over
            parse_info_frame(found[:60] + bytes([found[60] ^ 1]) + found[61:])


# -- while it is written -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_a_wav_plays_after_every_block(tmp_path: Path, rate: int, channels: int) -> None:
    audio = shaped(stereo_noise(5, rate), channels)
    file = start(tmp_path / "a.wav", "wav", rate, channels)
    assert len(read(file.staged, channels)) == 0
    written = 0
    for block in blocks(audio, rate):
        file.write(block)
        written += len(block)
        assert file.samples == written
        assert np.array_equal(read(file.staged, channels), audio[:written])
        with wave.open(str(file.staged)) as found:
            assert found.getnframes() == written
            assert found.readframes(written) == audio[:written].tobytes()
        assert file.size == file.staged.stat().st_size == 80 + written * 2 * channels
    path, size = file.publish()
    assert (path, size) == (tmp_path / "a.wav", 80 + written * 2 * channels)
    assert np.array_equal(read(path, channels), audio[:written])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", mostly_slow(RATES, 8000, 44100))
def test_an_mp3_plays_after_every_block(tmp_path: Path, rate: int, channels: int) -> None:
    """What it plays is what the complete file plays there, and a third of a second is missing."""
    audio = shaped(stereo_noise(8, rate), channels)
    file = start(tmp_path / "a.mp3", "mp3", rate, channels)
    given, copies = 0, []
    for number, block in enumerate(blocks(audio, rate)):
        file.write(block)
        given += len(block)
        assert 0 <= given - file.samples < rate / 3 or given < rate / 2
        assert file.size == file.staged.stat().st_size
        copy = tmp_path / f"{number}.mp3"
        shutil.copy(file.staged, copy)
        copies.append((copy, file.samples))
    path, _ = file.publish()
    assert file.samples == given
    whole = read(path, channels)
    assert len(whole) == given
    for copy, samples in copies:
        assert np.array_equal(read(copy, channels), whole[:samples])


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_what_is_written_plays_in_ffmpeg_and_sox(tmp_path: Path, format_: Format) -> None:
    need("ffmpeg", "ffprobe", "sox")
    audio = stereo_noise(5, 8000)
    file = start(tmp_path / "a.wav", format_, 8000, 2)
    copies = []
    for number, block in enumerate(blocks(audio, 8000)):
        file.write(block)
        copy = tmp_path / f"{number}.{format_}"
        shutil.copy(file.staged, copy)
        copies.append((copy, file.samples))
    whole = decoded(file.publish()[0], 2)
    for copy, samples in copies:
        assert np.array_equal(decoded(copy, 2), whole[:samples])
        if format_ == "wav":
            assert int(output_of("sox", "--i", "-s", copy)) == samples
            assert output_of("sox", copy, "-t", "raw", "-") == audio[:samples].tobytes()
        else:  # ffprobe adds frames up: the two delays, the rest of the last, and the Info frame
            duration = float(probe(copy)["duration"])
            assert samples / 8000 <= duration < samples / 8000 + 5 * 576 / 8000


@pytest.mark.parametrize("channels", mostly_slow([1, 2], 1))
@pytest.mark.parametrize("rate", mostly_slow(RATES, 8000))
def test_the_shortest_mp3s_play_exactly_what_was_recorded(
    tmp_path: Path, rate: int, channels: int
) -> None:
    """Noise too, in which a short file contains the marks of other formats."""
    need("ffmpeg")
    lengths = (*range(101), 576, 577, 1105, 1106, 1152, 1153, 2000)
    audio = shaped(np.concatenate([stereo_noise(1, rate, seed) for seed in (1, 3)]), channels)
    command = ["ffmpeg", "-v", "error", "-y"]
    outputs = []
    for index, n in enumerate(lengths):
        file = start(tmp_path / f"{n}.mp3", "mp3", rate, channels)
        file.write(audio[index : index + n])
        path, _ = file.publish()
        assert len(read(path, channels)) == file.samples == n
        command += ["-i", str(path)]
        outputs += ["-map", f"{index}:a", "-f", "s16le", str(tmp_path / f"{n}.raw")]
    assert output_of(*command, *outputs) == b""
    for n in lengths:
        assert (tmp_path / f"{n}.raw").stat().st_size == 2 * channels * n, n


@pytest.mark.parametrize("rate", mostly_slow(RATES, 8000))
def test_ffmpeg_seeks_in_an_mp3(tmp_path: Path, rate: int) -> None:
    """In the complete one and in one that was cut off: what it lands on is what is there."""
    need("ffmpeg")
    audio = signals.noise(30, -20, rate)
    samples_per_frame = 1152 if rate >= 32000 else 576
    file = start(tmp_path / "a.mp3", "mp3", rate)
    for block in signals.cut(audio, [rate // 2] * 59):
        file.write(block)
    cut = tmp_path / "cut.mp3"
    shutil.copy(file.staged, cut)
    path, _ = file.publish()
    whole = decoded(path, 1)
    for copy in (path, cut):
        for second in (1, 7.5, 20, 28):
            command = ["ffmpeg", "-v", "error", "-ss", str(second), "-i", str(copy)]
            raw = output_of(*command, "-t", "0.5", "-f", "s16le", "-")
            found = np.frombuffer(raw, "<i2").astype(float)
            # The decoder starts without what is before: skip its first frames.
            probe_ = found[rate // 5 : rate // 5 + rate // 10]
            expected = round(second * rate) + rate // 5
            around = whole[expected - rate // 5 : expected + 2 * rate // 5].astype(float)
            lag = int(np.argmax(np.correlate(around, probe_, "valid"))) - rate // 5
            assert abs(lag) <= samples_per_frame, (rate, second, lag)


def test_a_wav_that_passes_4_gib_becomes_an_rf64(tmp_path: Path) -> None:
    """By its real size: the file is sparse up to there."""
    rate = 48000
    audio = stereo_noise(4, rate)
    file = start(tmp_path / "long.wav", "wav", rate, 2)
    file.write(audio[:rate])
    before = GIB - rate  # at 4 bytes each
    os.truncate(file.staged, HEADER_BYTES + 4 * before)
    file._encoder.samples = before
    file.write(audio[:100])
    check_long(file.staged, rate, audio[:rate], audio[:100], before)
    file.write(audio)
    check_long(file.staged, rate, audio[:rate], audio, before + 100)
    path, size = file.publish()
    assert size == path.stat().st_size == HEADER_BYTES + 4 * (before + 100 + len(audio)) > 4 * GIB
    check_long(path, rate, audio[:rate], audio, before + 100)
