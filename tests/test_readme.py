# SPDX-License-Identifier: MIT
"""What the README says is so."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from recorder import RecordOptions
from recorder.placement.beep import SECONDS
from recorder.writing.mp3 import BIT_RATES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    url, duration, size = done.stdout.split()
    (path,) = (tmp_path / "recordings").iterdir()
    assert url == path.as_uri()
    assert int(size) == path.stat().st_size == 80 + 2 * round(float(duration) * 8000)


def test_the_options_table_is_complete_with_its_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \|", README, re.MULTILINE)
    expected = {}
    for field in fields(RecordOptions):
        value = field.default
        shown = f'"{value}"' if field.name == "terminators" else str(value)
        expected[field.name] = "0" if field.name == "max_length" else shown
    assert dict(rows) == expected


def test_the_figures_about_files_and_the_beep() -> None:
    assert f"{SECONDS} s" in README
    assert list(BIT_RATES.values()) == [24, 32, 40, 48, 64, 64]
    assert "24 kbit/s at 8 kHz, 32 at 16, 40 at 24, 48\n  at 32, 64 at 44.1 and 48 kHz" in README
