# SPDX-License-Identifier: MIT
"""What the README and the pages of docs/ say is so."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from recorder import RecordOptions
from recorder.placement.beep import SECONDS
from recorder.writing.mp3 import BIT_RATES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in zip(NAMES, PAGES, strict=True)}
WITH_CODE = [name for name in NAMES if "```python\n" in TEXTS[name]]

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def python_of(text: str) -> str:
    """A page's Python, each line at its own number, so that a traceback names the page's."""
    lines = [""] * (text.count("\n") + 1)
    for block in _FENCED.finditer(text):
        if block[1] == "python":
            first = text.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def run(name: str, folder: Path) -> str:
    """Run a page's blocks, one after another, as a reader would; return what they print."""
    (folder / "examples").symlink_to(ROOT / "examples")
    script = folder / f"{Path(name).name}.py"
    script.write_text(python_of(TEXTS[name]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def prose(text: str) -> str:
    """A page without its code, on one line."""
    return " ".join(_FENCED.sub("", text).split())


def anchors(text: str) -> set[str]:
    """What a link to a page's headings may end in, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("name", [name for name in WITH_CODE if name != "README.md"])
def test_the_examples_run_as_they_stand(name: str, tmp_path: Path) -> None:
    run(name, tmp_path)


def test_the_first_example_prints_where_the_file_is(tmp_path: Path) -> None:
    url, duration, size = run("README.md", tmp_path).split()
    (path,) = (tmp_path / "recordings").iterdir()
    assert url == path.as_uri()
    assert int(size) == path.stat().st_size == 80 + 2 * round(float(duration) * 8000)


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _FENCED.sub("", TEXTS[name])):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / file).resolve() if file else ROOT / name
        is_there = target.is_relative_to(ROOT) and target.exists()
        if not is_there or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert not broken


def test_every_page_is_in_the_index() -> None:
    for name in NAMES:
        if name not in {"README.md", "docs/README.md"}:
            assert f"({Path(name).name})" in TEXTS["docs/README.md"]


def test_the_readme_is_short() -> None:
    assert TEXTS["README.md"].count("\n") <= 120


def test_the_readme_has_no_figure_that_was_not_measured() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    table = TEXTS["README.md"].partition("## What it does")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert rows
    for figure in re.findall(r"(?<![\w.,-])\d[\d.,]*(?<![.,])", "\n".join(rows)):
        # A whole one: "7.9" is not in "67.9".
        assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", measured), figure


def test_the_options_table_is_complete_with_its_defaults() -> None:
    text = TEXTS["docs/recording.md"]
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \|", text, re.MULTILINE)
    expected = {}
    for field in fields(RecordOptions):
        value = field.default
        shown = f'"{value}"' if field.name == "terminators" else str(value)
        expected[field.name] = "0" if field.name == "max_length" else shown
    assert dict(rows) == expected


def test_the_figures_about_files_and_the_beep() -> None:
    assert f"{SECONDS} s" in prose(TEXTS["docs/recording.md"])
    rates = " | ".join(f"{rate} kbit/s" for rate in BIT_RATES.values())
    hertz = " | ".join(f"{rate / 1000:g} kHz" for rate in BIT_RATES)
    assert f"| {hertz} |" in TEXTS["docs/files.md"]
    assert f"| {rates} |" in TEXTS["docs/files.md"]
