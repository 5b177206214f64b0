# SPDX-License-Identifier: MIT
"""How often a voicemail ends where it should, on labelled lines of all kinds."""

from pathlib import Path
from typing import Any

import pytest

from tests import voicemails


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "least", "noisy", "no_speech"),
    [({}, 91.0, 93.0, 83.0), ({"voice_only": True}, 94.5, 93.0, 90.0)],
)
def test_voicemails_end_where_they_should(
    tmp_path: Path, options: dict[str, Any], least: float, noisy: float, no_speech: float
) -> None:
    missing = voicemails.missing()
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
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
