# SPDX-License-Identifier: MIT
"""The unit of `examples/recorder.service`: systemd takes it, and the server works as it says."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests import wires
from tests.wires import KINDS, Serve, call, lies_at, new_id, said, serving

UNIT: Final = Path(__file__).parent.parent / "examples" / "recorder.service"
COMMAND: Final = "/opt/recorder/bin/recorder"
MOST_EXPOSED: Final = 1.2  # of 10; most services of a distribution have 9

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a command that is there."""
    path = tmp_path / "recorder.service"
    path.write_text(UNIT.read_text().replace(COMMAND, sys.executable))
    return path


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze says."""
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
def test_systemd_takes_the_unit(unit: Path) -> None:
    answer = analyze("verify", "--man=no", unit)  # of the units of this machine, too
    assert [line for line in answer.splitlines() if unit.name in line] == []


@needs_systemd
def test_how_exposed_the_unit_is(unit: Path) -> None:
    found = re.search(
        r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", unit)
    )
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED


def test_the_command_knows_the_options_of_the_unit(tmp_path: Path) -> None:
    joined = UNIT.read_text().replace("\\\n", " ")
    (line,) = re.findall(rf"^ExecStart={COMMAND} (.*)$", joined, re.MULTILINE)
    arguments = shlex.split(line.replace("${STATE_DIRECTORY}", str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-m", "recorder", *arguments, "--max-idle", "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--max-idle" in done.stderr  # and nothing is wrong before it


# Makes no memory executable from here on, as MemoryDenyWriteExecute does; since Linux 6.3.
_DENY = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    sys.exit(77)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
@pytest.mark.parametrize("format_", ["wav", "mp3"])
def test_it_works_without_memory_that_is_written_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    denied = [sys.executable, "-c", _DENY]
    if subprocess.run([*denied, "-c", ""], check=False).returncode == 77:
        pytest.skip("needs Linux 6.3")
    monkeypatch.setattr(wires, "SERVE", [*denied, *wires.SERVE[1:]])
    pcm = said(0.2, 1)

    async def main(serve: Serve) -> None:
        for source in KINDS:
            call_id = new_id()
            await call(source, serve.addresses[source.name], call_id, pcm)
            event = await serve.until_ended(call_id)
            assert event["state"] == "finished"
            assert format_ == "mp3" or lies_at(serve.audio(call_id), pcm) is not None
        assert "recorder_recordings_total" in serve.get("/metrics")

    with serving(tmp_path, "--format", format_) as serve:
        asyncio.run(main(serve))
        assert serve.stop() == 0
