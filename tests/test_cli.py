# SPDX-License-Identifier: MIT
"""The `recorder` command."""

import contextlib
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recorder.cli import main
from tests import signals
from tests.command import OFF, read, recorder, write
from tests.signals import VOICEMAIL


def test_the_sample_ends_by_its_terminator(tmp_path: Path) -> None:
    result = recorder("record", VOICEMAIL, folder=tmp_path)
    assert result.status == 0, result.err
    event = result.event
    assert event["event_type"] == "calling.call.record"
    params = event["params"]
    assert (params["state"], params["record"]["reason"]) == ("finished", "terminator")
    assert params["record"]["digit"] == "#"
    (path,) = (tmp_path / "recordings").iterdir()
    assert params["url"] == path.as_uri()
    assert params["size"] == path.stat().st_size
    audio = read(VOICEMAIL)
    assert np.array_equal(read(path), audio[: round(params["duration"] * 8000)])
    assert result.err.count("\n") == 1
    assert "finished (terminator #)" in result.err


def test_no_input_exits_with_3(tmp_path: Path) -> None:
    quiet = write(tmp_path / "quiet.wav", signals.silence(10))
    result = recorder("record", quiet, "-o", "out.wav", folder=tmp_path)
    assert result.status == 3
    assert result.event["params"]["duration"] == 4.0
    assert len(read(tmp_path / "out.wav")) == 32000


@pytest.mark.parametrize("stereo", [False, True])
def test_two_files_are_two_legs_and_one_stereo_file_as_well(tmp_path: Path, stereo: bool) -> None:
    speak, listen = signals.noise(12, -30, seed=1), signals.noise(9, -40, seed=2)
    filled = np.concatenate([listen, signals.silence(3)])
    if stereo:
        inputs = [write(tmp_path / "both.wav", np.stack([speak, filled], axis=1))]
    else:
        inputs = [write(tmp_path / "a.wav", speak), write(tmp_path / "b.flac", listen)]
    result = recorder(
        "record", *inputs, "--direction", "both", "--stereo", *OFF, "-o", "o.wav", folder=tmp_path
    )
    assert result.status == 0, result.err
    assert result.event["params"]["record"]["reason"] == "hangup"
    assert np.array_equal(read(tmp_path / "o.wav"), np.stack([speak, filled], axis=1))


@pytest.mark.parametrize("kind", ["two files", "a stereo file"])
def test_nothing_given_is_left_out(tmp_path: Path, kind: str) -> None:
    """Without --direction both legs are recorded, in mono as their sum."""
    speak, listen = signals.noise(1, -30, seed=1), signals.noise(1, -40, seed=2)
    if kind == "two files":
        inputs = [write(tmp_path / "a.wav", speak), write(tmp_path / "b.wav", listen)]
    else:
        inputs = [write(tmp_path / "both.wav", np.stack([speak, listen], axis=1))]
    both = recorder("record", *inputs, *OFF, "-o", "sum.wav", folder=tmp_path)
    assert both.event["params"]["record"]["audio"]["direction"] == "both"
    assert np.array_equal(read(tmp_path / "sum.wav"), speak + listen)
    one = recorder(
        "record", *inputs, *OFF, "--direction", "listen", "-o", "one.wav", folder=tmp_path
    )
    assert one.event["params"]["record"]["audio"]["direction"] == "listen"
    assert np.array_equal(read(tmp_path / "one.wav"), listen)


@pytest.mark.parametrize("encoding", ["pcm16", "pcmu", "pcma"])
@pytest.mark.parametrize("way", ["stdin", "file"])
def test_raw_pcm(tmp_path: Path, encoding: Any, way: str) -> None:
    audio = signals.noise(11, -30)
    raw = audio.tobytes() if encoding == "pcm16" else signals.g711(audio, encoding)
    (tmp_path / "in.raw").write_bytes(raw)
    result = recorder(
        "record",
        "-" if way == "stdin" else "in.raw",
        *("--rate", "8000", "--encoding", encoding, *OFF, "-o", "o.wav"),
        folder=tmp_path,
        stdin=raw if way == "stdin" else b"",
    )
    assert result.status == 0, result.err
    expected = audio if encoding == "pcm16" else signals.through_g711(audio, encoding)
    assert np.array_equal(read(tmp_path / "o.wav"), expected)


def test_a_wav_on_standard_input_and_float_samples(tmp_path: Path) -> None:
    audio = signals.noise(2, -12)
    soundfile.write(tmp_path / "f.wav", audio / 16384, 8000, subtype="FLOAT")
    result = recorder(
        "record", "-", *OFF, "-o", "o.wav", folder=tmp_path, stdin=(tmp_path / "f.wav").read_bytes()
    )
    assert result.status == 0, result.err
    assert np.array_equal(read(tmp_path / "o.wav"), np.clip(2 * audio.astype(int), -32768, 32767))


def test_every_option_reaches_the_recording(tmp_path: Path) -> None:
    audio = np.concatenate([signals.silence(1), signals.tone(3, -50), signals.silence(3)])
    source = write(tmp_path / "a.wav", audio)
    result = recorder(
        *("record", source, "--direction", "speak", "--beep", "--input-sensitivity", "55"),
        *("--initial-timeout", "2", "--end-silence-timeout", "1.5", "--terminators", "12"),
        *("--max-length", "60", "--control-id", "mine", "--format", "mp3", "--stereo"),
        *("--directory", "there"),
        folder=tmp_path,
    )
    params = result.event["params"]
    assert result.status == 0
    assert params["control_id"] == "mine"
    assert params["record"]["reason"] == "end_silence"
    assert params["record"]["audio"] == {"format": "mp3", "direction": "speak", "stereo": True}
    assert params["duration"] == pytest.approx(4 - 0.25 + 1.5, abs=0.021)
    (path,) = (tmp_path / "there").iterdir()
    assert path.suffix == ".mp3"
    assert (
        recorder(
            "record", source, "--max-length", "0.5", "--initial-timeout", "0", folder=tmp_path
        ).event["params"]["duration"]
        == 0.5
    )


def test_the_format_follows_the_output(tmp_path: Path) -> None:
    result = recorder("record", VOICEMAIL, "-o", "a.mp3", folder=tmp_path)
    assert result.event["params"]["record"]["format"] == "mp3"
    assert (tmp_path / "a.mp3").read_bytes()[:2] == b"\xff\xe3"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["record"], 2, "Missing argument"),
        (["record", "a.wav", "a.wav", "a.wav"], 2, "expected one input, or two, speak and listen"),
        (["record", "a.wav", "--direction", "in"], 2, "'speak', 'listen', 'both'"),
        (["record", "a.wav", "--direction", "listen"], 2, "leaves out all of a.wav"),
        (["record", "a.wav", "--format", "ogg"], 2, "'wav', 'mp3'"),
        (["record", "a.wav", "--format", "wav", "-o", "x.mp3"], 2, "does not fit"),
        (["record", "a.wav", "-o", "x.ogg"], 2, "expected a name in .wav or .mp3, got x.ogg"),
        (
            ["record", "a.wav", "--terminators", "x"],
            2,
            "terminators: expected digits out of 0-9 A-D * #, got 'x'",
        ),
        (
            ["record", "a.wav", "--initial-timeout", "-1"],
            2,
            "initial_timeout: expected a number from 0 to",
        ),
        (["record", "a.wav", "--max-length", "soon"], 2, "not a valid float"),
        (["record", "a.wav", "--input-sensitivity", "101"], 2, "0 to 100"),
        (["record", "a.wav", "--control-id", ""], 2, "control_id"),
        (["record", "a.wav", "-o", "x.wav", "--directory", "d"], 2, "exclude each other"),
        (["record", "a.wav", "-q", "-v"], 2, "exclude each other"),
        (["record", "a.wav", "-o", "a.wav"], 1, "a.wav: File exists"),
        (["record", "a.wav", "-o", ""], 1, ": Is a directory"),
        (["record", "a.wav", "-o", "a.wav/b.wav"], 1, "cannot make the folder"),
        (["record", "a.wav", "--directory", "a.wav"], 2, "is a file"),
        (["detect", "a.wav", "--input-sensitivity", "-3"], 2, "0 to 100"),
        (["recover", "nowhere"], 1, "nowhere"),
        (["recrod"], 2, "recrod"),
    ],
)
def test_wrong_use(tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    source = write(tmp_path / "a.wav", signals.noise(0.1, -20))
    before = source.read_bytes()
    result = recorder(*arguments, folder=tmp_path)
    assert (result.status, result.out) == (status, ""), result.err
    assert says in result.err
    assert ".part" not in result.err  # the name of a file nobody asked for
    assert list(tmp_path.iterdir()) == [source]
    assert source.read_bytes() == before


def test_the_folder_of_an_output_is_made(tmp_path: Path) -> None:
    result = recorder("record", VOICEMAIL, "-o", "no/such/a.wav", folder=tmp_path)
    assert result.status == 0, result.err
    path = tmp_path / "no" / "such" / "a.wav"
    assert result.event["params"]["url"] == path.as_uri()
    if sys.platform != "win32":
        assert [folder.stat().st_mode & 0o777 for folder in path.parents[:2]] == [0o700, 0o700]


def test_a_failing_disk_exits_with_1_and_keeps_what_there_is(tmp_path: Path) -> None:
    source = write(tmp_path / "long.wav", signals.noise(60, -20))
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "from recorder.cli import main\n"
        f"main(['record', {str(source)!r}, '-o', 'out.wav', '--terminators', ''])\n"
    )
    pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 1
    event = json.loads(done.stdout)
    assert event["params"]["state"] == "error"
    assert event["params"]["record"]["error"]
    assert b"error" in done.stderr
    assert event["params"]["size"] > 200_000


@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_an_interrupt_keeps_an_exact_prefix(tmp_path: Path, format_: str) -> None:
    """Standard input that does not end: the signal comes while the recording runs."""
    audio = signals.noise(20, -30)
    command = [sys.executable, "-m", "recorder", "record", "-", "--rate", "8000", *OFF]
    with subprocess.Popen(
        [*command, "-o", f"o.{format_}"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(audio.tobytes())
        process.stdin.flush()
        staged = tmp_path / f".o.part.{format_}"
        while not staged.exists() or staged.stat().st_size < 10_000:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(BrokenPipeError):  # it may be through already
            process.stdin.write(bytes(2 * 8000 * 5))
        out, err = process.communicate()
    assert process.returncode == 1, err
    event = json.loads(out)
    assert event["params"]["state"] == "finished"
    kept = read(tmp_path / f"o.{format_}")
    assert len(kept) == round(event["params"]["duration"] * 8000)
    if format_ == "wav":
        assert np.array_equal(kept[: len(audio)], audio[: len(kept)])


@pytest.mark.skipif(sys.platform == "win32", reason="signals end a process there")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_while_nothing_comes(tmp_path: Path, name: str) -> None:
    """The recording ends at once, although the pipe stays open."""
    audio = signals.noise(0.5, -30)
    command = [sys.executable, "-m", "recorder", "record", "-", "--rate", "8000", "-o", "o.wav"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(audio.tobytes())
        process.stdin.flush()
        while not (tmp_path / ".o.part.wav").exists():
            assert process.poll() is None
        process.send_signal(getattr(signal, name))
        event = json.loads(process.stdout.read())
        process.stdin.close()
    assert process.returncode == 1
    assert event["params"]["state"] == "finished"
    kept = read(tmp_path / "o.wav")
    assert len(kept) == round(event["params"]["duration"] * 8000)
    assert np.array_equal(kept, audio[: len(kept)])


def test_the_detection_options(tmp_path: Path) -> None:
    noisy = write(tmp_path / "noisy.wav", signals.noise(8, -35))
    assert recorder("record", noisy, folder=tmp_path).status == 3
    assert recorder("record", noisy, "--no-noise-tracking", folder=tmp_path).status == 0
    knock = np.concatenate([signals.silence(1), signals.noise(0.12, -20), signals.silence(6)])
    source = write(tmp_path / "knock.wav", knock)
    assert recorder("record", source, folder=tmp_path).status == 0
    assert recorder("record", source, "--voice-only", folder=tmp_path).status == 3


def test_the_documentation_names_every_option() -> None:
    page = (Path(__file__).parent.parent / "docs" / "command.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", page))
    options = {
        option
        for command in main.commands.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("-")
    }
    assert options - named == {"--quiet", "--verbose"}  # by their short names
