# SPDX-License-Identifier: MIT
"""The command at its edges: a terminal, a full disk, a reader that goes, a shell."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tests import signals
from tests.command import OFF, recorder, write
from tests.signals import VOICEMAIL

COMMAND: Final = [sys.executable, "-W", "error", "-m", "recorder"]


def on_terminal(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command with a terminal as its standard error: status, output, and what it shows."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as process:
        os.close(theirs)
        shown = bytearray()
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        out, _ = process.communicate()
    return process.returncode, out, shown.decode()


@pytest.mark.parametrize("command", ["record", "detect"])
def test_progress_on_a_terminal(tmp_path: Path, command: str) -> None:
    """It counts up, by blocks of 5 s, and nothing of it is on standard output."""
    write(tmp_path / "a.wav", signals.noise(15, -30))
    options = [*OFF, "-o", "o.wav"] if command == "record" else ["--json"]
    status, out, shown = on_terminal(tmp_path, command, "a.wav", *options)
    assert status == 0
    for part in ("recording" if command == "record" else "a.wav", "33%", "66%", "100%"):
        assert part in shown
    (line,) = out.splitlines()
    json.loads(line)


@pytest.mark.parametrize("option", ["-q", "-v"])
def test_no_progress_where_it_would_disturb(tmp_path: Path, option: str) -> None:
    write(tmp_path / "a.wav", signals.noise(6, -30))
    status, _, shown = on_terminal(tmp_path, "detect", option, "a.wav")
    assert status == 0
    assert "%" not in shown
    assert bool(shown) == (option == "-v")


def test_no_progress_without_a_terminal(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", signals.noise(6, -30))
    for command in (["detect", "a.wav"], ["record", "a.wav", *OFF]):
        assert "%" not in recorder(*command, folder=tmp_path).err


def test_quiet_and_verbose(tmp_path: Path) -> None:
    quiet = recorder("record", VOICEMAIL, "-q", "-o", "q.wav", folder=tmp_path)
    assert (quiet.status, quiet.err) == (0, "")
    assert quiet.event["params"]["state"] == "finished"
    verbose = recorder("record", VOICEMAIL, "-v", "-o", "v.wav", folder=tmp_path)
    for part in ("1 channel at 8000 Hz", "starts", "finished", "ends: hangup"):
        assert part in verbose.err
    failed = recorder("detect", "-q", "nothing.wav", folder=tmp_path)
    assert (failed.status, failed.out) == (2, "")
    assert "there is no file nothing.wav" in failed.err


# -- where results go ------------------------------------------------------------------------------


def onto_a_full_disk(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command with a full disk behind its standard output: status, and what it says."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["record", str(VOICEMAIL), "-q", "-o", "o.wav"],
        ["detect", str(VOICEMAIL)],
        ["recover", "left"],
        ["record", "--help"],
        ["--version"],
    ],
)
def test_a_full_disk_behind_standard_output(tmp_path: Path, arguments: list[str]) -> None:
    """One line, and what was recorded is complete all the same."""
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / ".a.part.wav").write_bytes(b"")
    status, said = onto_a_full_disk(tmp_path, *arguments)
    assert status == 1
    assert said == "recorder: cannot write to standard output: No space left on device\n"
    assert (tmp_path / "o.wav").exists() == ("o.wav" in arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_that_goes(tmp_path: Path) -> None:
    presses, _ = signals.presses("1234567890" * 100, 0.06, 0.06)
    write(tmp_path / "a.wav", presses)
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [*COMMAND, "detect", "--all", "a.wav"],
        cwd=tmp_path,
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, b"")


# -- completion ------------------------------------------------------------------------------------


def completed(folder: Path, shell: str, *words: str) -> list[str]:
    """What a shell is given for the last word, which may be begun."""
    environment = os.environ | {
        "_RECORDER_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["recorder", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from recorder.cli import main; main(prog_name='recorder')"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_choices_and_files_are_completed(tmp_path: Path) -> None:
    assert completed(tmp_path, "bash", "rec") == ["plain,record", "plain,recover"]
    assert completed(tmp_path, "bash", "record", "--format", "") == ["plain,wav", "plain,mp3"]
    assert completed(tmp_path, "bash", "record", "--direction", "l") == ["plain,listen"]
    assert completed(tmp_path, "bash", "record", "--encoding", "pcm") == [
        "plain,pcm16",
        "plain,pcmu",
        "plain,pcma",
    ]
    for command in ("record", "detect"):
        assert completed(tmp_path, "bash", command, "a") == ["file,a"]  # the shell completes it
    assert completed(tmp_path, "bash", "record", "--directory", "a") == ["dir,a"]
    assert completed(tmp_path, "bash", "recover", "a") == ["dir,a"]
    assert "plain,--all" in completed(tmp_path, "bash", "detect", "--a")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_completed(tmp_path: Path, shell: str) -> None:
    found = completed(tmp_path, shell, "record", "--format", "m")
    assert any("mp3" in word for word in found)
    assert not any("wav" in word for word in found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(tmp_path: Path, shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from recorder.cli import main; main(prog_name='recorder')"],
        cwd=tmp_path,
        env=os.environ | {"_RECORDER_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_RECORDER_COMPLETE" in done.stdout


def test_long_input_is_read_in_blocks(tmp_path: Path) -> None:
    """A recording that ends early does not read the rest of its input."""
    write(tmp_path / "a.wav", np.concatenate([signals.noise(6, -30), signals.silence(600)]))
    _, _, shown = on_terminal(tmp_path, "record", "a.wav", "--max-length", "4", "-o", "o.wav")
    assert "100%" not in shown
