# SPDX-License-Identifier: MIT
"""What docs/command.md says of the server's metrics is all there is."""

import re
from pathlib import Path

from recorder.server.meters import METERS

ROOT = Path(__file__).parent.parent
SERVE = (ROOT / "docs" / "command.md").read_text(encoding="utf-8").partition("\n## serve\n")[2]


def test_the_table_of_metrics_is_complete() -> None:
    found = {}
    for row in re.findall(r"^\| (`recorder_\w+`.*)$", SERVE, re.MULTILINE):
        names, kind, _ = row.split(" | ", 2)
        for name in re.findall(r"`recorder_(\w+?)(?:_total)?`", names):
            assert (f"`recorder_{name}_total`" in names) == (kind == "counter"), name
            found[name] = kind
    assert found == {name: meter.kind for name, meter in METERS.items()}


def test_the_table_of_refusals_is_complete() -> None:
    table = SERVE.partition("| `why` |")[2].partition("\n\n")[0]
    sources = [path.read_text() for path in (ROOT / "src/recorder/server").glob("*.py")]
    counted = {why for one in sources for why in re.findall(r'refuse[(,]\s*"([a-z-]+)"', one)}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == counted
