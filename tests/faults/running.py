# SPDX-License-Identifier: MIT
"""Runs the programs of tests/faults/programs.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recorder import RecordEvent

ROOT = Path(__file__).parent.parent.parent

unix = pytest.mark.skipif(sys.platform == "win32", reason="there it is a fine name")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs root on a Unix"
)


def program(name: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning"]
    command += ["-m", "tests.faults.programs", name, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options
    )


def output_of(name: str, *arguments: object, status: int = 0, **options: Any) -> list[Any]:
    """What a program prints, once it has ended as it should and complained of nothing."""
    with program(name, *arguments, **options) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert status or "Exception ignored" not in err, err
    return [json.loads(line) for line in out.splitlines()]


def event_of(params: dict[str, Any]) -> RecordEvent:
    return RecordEvent(
        event_type="calling.call.record", timestamp=0.0, call_id=params["call_id"], params=params
    )
