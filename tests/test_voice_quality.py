# SPDX-License-Identifier: MIT
"""How often a voicemail ends where it should, on labelled lines of all kinds."""

from pathlib import Path
from typing import Any

import pytest

from tests import voicemails


def needs_all() -> None:
    missing = voicemails.missing()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def test_a_few_voicemails_end_where_they_should(tmp_path: Path) -> None:
    """Ten, spread over the lines."""
    needs_all()
    items = voicemails.voicemails("held-out", 10)
    verdicts = [voicemails.judge(item, 2.0, tmp_path) for item in items]
    assert len(verdicts) == 10
    assert voicemails.share(verdicts) >= 80


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "least", "noisy", "no_speech"),
    [({}, 91.0, 93.0, 83.0), ({"voice_only": True}, 94.5, 93.0, 90.0)],
)
def test_voicemails_end_where_they_should(
    tmp_path: Path, options: dict[str, Any], least: float, noisy: float, no_speech: float
) -> None:
    needs_all()
    verdicts = [
        voicemails.judge(item, timeout, tmp_path, options)
        for half in voicemails.HALVES
        for item in voicemails.voicemails(half)
        for timeout in voicemails.END_SILENCE_TIMEOUTS
    ]
    assert voicemails.share(verdicts) >= least
    silent = [verdict for verdict in verdicts if verdict.item.end is None]
    assert voicemails.share(silent) >= no_speech
    lines = [verdict for verdict in verdicts if verdict.item.snr is not None and verdict.item.end]
    assert voicemails.share(lines) >= noisy
