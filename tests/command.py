# SPDX-License-Identifier: MIT
"""The `recorder` command, run for tests."""

import contextlib
import io
import json
import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recorder.cli import main
from tests.signals import Pcm

OFF = ["--initial-timeout", "0", "--end-silence-timeout", "0", "--terminators", ""]
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Result:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def event(self) -> dict[str, Any]:
        (line,) = self.out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


def recorder(*arguments: str | Path, folder: Path, stdin: bytes | None = None) -> Result:
    """Run the command in a folder: in this process, or with `stdin` in one of its own."""
    if stdin is not None:
        command = [sys.executable, "-W", "error", "-m", "recorder", *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=folder, check=False)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    logger = logging.getLogger("recorder")
    before = (logger.level, logger.handlers[:])
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as end,
        ):
            main([str(argument) for argument in arguments], prog_name="recorder")
    finally:
        logger.setLevel(before[0])
        logger.handlers[:] = before[1]
        for number, handler in handlers.items():
            signal.signal(number, handler)
    status = end.value.code
    assert isinstance(status, int)
    return Result(status, out.getvalue(), err.getvalue())


def write(path: Path, audio: Pcm, rate: int = 8000) -> Path:
    soundfile.write(path, audio, rate, subtype="PCM_16")
    return path


def read(path: Path) -> Pcm:
    audio, _ = soundfile.read(path, dtype="int16")
    return np.asarray(audio)
