# SPDX-License-Identifier: MIT
"""`recorder detect`: for people and for programs, one file and many."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recorder import detect
from tests import signals
from tests.command import read, recorder, write
from tests.signals import VOICEMAIL, Pcm


def words(n: int, pause: float, *, length: float = 0.2) -> Pcm:
    """So many sounds with pauses between them."""
    return np.concatenate([signals.tone(length, -20, hz=500), signals.silence(pause)] * n)


def lines_of(out: str) -> list[tuple[str, ...]]:
    """Start, end, leg and what of each line of the list."""
    return re.findall(r"^ +([\d.]+) s to +([\d.]+) s  (\w+) +(.+)$", out, re.MULTILINE)


def value_of(out: str, what: str) -> list[str]:
    return re.findall(rf"^  {re.escape(what)}  +(.+)$", out, re.MULTILINE)


# -- for programs ----------------------------------------------------------------------------------


def test_json_has_everything(tmp_path: Path) -> None:
    audio = read(VOICEMAIL)
    both = write(tmp_path / "both.wav", np.stack([audio, signals.silence(len(audio) / 8000)], 1))
    found = json.loads(recorder("detect", "--json", both, folder=tmp_path).out)
    assert (found["path"], found["sample_rate"]) == (str(both), 8000)
    assert (found["duration"], found["input_sensitivity"]) == (len(audio) / 8000, 44)
    expected = detect(audio, 8000)
    speak, listen = found["legs"]["speak"], found["legs"]["listen"]
    assert [(d["digit"], d["start"]) for d in speak["digits"]] == [
        (d.digit, d.start / 8000) for d in expected.digits
    ]
    assert [v["end"] for v in speak["voice"]] == [v.end / 8000 for v in expected.voice]
    assert speak["suggested_input_sensitivity"] == expected.suggested_input_sensitivity
    assert listen == {
        "digits": [],
        "voice": [],
        "speech_level": None,
        "noise_floor": None,
        "suggested_input_sensitivity": None,
    }


def test_json_of_voice_is_not_merged_and_has_no_end(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", words(60, 0.26))
    found = json.loads(recorder("detect", "--json", "a.wav", folder=tmp_path).out)
    assert len(found["legs"]["speak"]["voice"]) == 60


def several(folder: Path) -> list[str]:
    write(folder / "a.wav", signals.dtmf("1", 0.2))
    (folder / "junk.wav").write_bytes(b"not a sound")
    write(folder / "b.wav", signals.dtmf("2", 0.2))
    (folder / "x.raw").write_bytes(bytes(100))
    return ["a.wav", "junk.wav", "nothing.wav", "x.raw", "b.wav"]


def test_json_of_several_is_a_line_each(tmp_path: Path) -> None:
    names = several(tmp_path)
    result = recorder("detect", "--json", *names, folder=tmp_path)
    assert result.status == 1
    found: list[dict[str, Any]] = [json.loads(line) for line in result.out.splitlines()]
    assert [one["path"] for one in found] == names
    assert [one["legs"]["speak"]["digits"][0]["digit"] for one in (found[0], found[4])] == [
        "1",
        "2",
    ]
    for one, says in zip(
        found[1:4], ("cannot read junk.wav", "there is no file", "--rate"), strict=True
    ):
        assert sorted(one) == ["error", "path"]
        assert says in one["error"]
        assert one["error"] in result.err
    assert result.err.count("\n") == 3


def test_json_of_one_that_fails(tmp_path: Path) -> None:
    several(tmp_path)
    for name, status in (("junk.wav", 1), ("nothing.wav", 2), ("x.raw", 2)):
        result = recorder("detect", "--json", name, folder=tmp_path)
        assert result.status == status
        assert sorted(json.loads(result.out)) == ["error", "path"]


# -- for people --------------------------------------------------------------------------------


def test_several_for_people(tmp_path: Path) -> None:
    result = recorder("detect", *several(tmp_path), folder=tmp_path)
    assert result.status == 1
    assert re.findall(r"^(\S+): 0\.20 s", result.out, re.MULTILINE) == ["a.wav", "b.wav"]
    assert value_of(result.out, "digits") == ["1: 1", "1: 2"]
    assert [line.split(":")[0] for line in result.err.splitlines()] == ["recorder"] * 3


def test_the_summary_comes_first(tmp_path: Path) -> None:
    result = recorder("detect", VOICEMAIL, folder=tmp_path)
    assert result.status == 0
    assert "listen leg" not in result.out
    found = detect(str(VOICEMAIL))
    assert value_of(result.out, "digits") == ["1: #"]
    assert value_of(result.out, "speech level") == [f"{found.speech_level:.1f} dBFS"]
    assert value_of(result.out, "noise floor") == [f"{found.noise_floor:.1f} dBFS"]
    (suggestion,) = value_of(result.out, "suggested --input-sensitivity")
    assert suggestion.startswith(f"{found.suggested_input_sensitivity}: halfway")
    summary, _, lines = result.out.rpartition("\n\n")
    assert "digits" in summary
    assert [line[2:] for line in lines_of(lines)][-2:] == [("speak", "voice"), ("speak", "digit #")]
    sensitive = recorder("detect", VOICEMAIL, "--input-sensitivity", "20", folder=tmp_path)
    assert "gate at -20 dBFS" in sensitive.out
    assert lines_of(sensitive.out)[0] != lines_of(result.out)[0]


def test_voice_and_silence_add_up(tmp_path: Path) -> None:
    audio = np.concatenate([signals.silence(1), signals.tone(2, -20), signals.silence(1)])
    write(tmp_path / "a.wav", np.stack([audio, signals.silence(4)], axis=1))
    out = recorder("detect", "a.wav", folder=tmp_path).out
    assert value_of(out, "voice") == ["2.00 s, 50 %, in 1 stretch", "0.00 s, 0 %, in 0 stretches"]
    assert value_of(out, "silence") == ["2.00 s", "4.00 s"]
    assert value_of(out, "digits") == ["none", "none"]
    assert lines_of(out) == [("1.000", "3.000", "speak", "voice")]


@pytest.mark.parametrize(("pause", "stretches"), [(0.24, 1), (0.36, 5)])
def test_short_pauses_are_merged(tmp_path: Path, pause: float, stretches: int) -> None:
    write(tmp_path / "a.wav", words(5, pause))
    out = recorder("detect", "a.wav", folder=tmp_path).out
    assert len(lines_of(out)) == stretches
    assert len(lines_of(recorder("detect", "--all", "a.wav", folder=tmp_path).out)) == 5


def test_a_long_list_ends(tmp_path: Path) -> None:
    presses, _ = signals.presses("1234567890" * 5, 0.06, 0.06)
    write(tmp_path / "a.wav", presses)
    out = recorder("detect", "a.wav", folder=tmp_path).out
    assert len(lines_of(out)) == 20
    whole = recorder("detect", "--all", "a.wav", folder=tmp_path).out
    everything = lines_of(whole)
    voice = sum(what == "voice" for *_, what in everything)
    assert len(everything) == 50 + voice
    assert re.search(r"^and 31 more: --all", out, re.MULTILINE)
    assert "more: --all" not in whole
    assert value_of(out, "digits") == [f"50: {' '.join('1234567890' * 4)} ..."]


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (signals.silence(1), "-: there is no sound"),
        (signals.silence(0), "-: there is no sound"),
        (signals.noise(3, -30), "-: nothing stands out of the noise"),
        (
            np.concatenate([signals.noise(2, -75), signals.tone(2, -15), signals.noise(2, -75)]),
            "dB below the speech level; the noise floor is lower",
        ),
    ],
    ids=["silence", "nothing", "noise", "a quiet line"],
)
def test_why_it_suggests_so(tmp_path: Path, audio: Pcm, says: str) -> None:
    write(tmp_path / "a.wav", audio)
    (suggestion,) = value_of(
        recorder("detect", "a.wav", folder=tmp_path).out, "suggested --input-sensitivity"
    )
    assert says in suggestion


def test_verbose_says_how_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", signals.tone(1, -20, 11025), 11025)
    result = recorder("detect", "-v", "a.wav", folder=tmp_path)
    assert result.err == "recorder: a.wav: 1 channel at 11025 Hz, resampled to 16000 Hz\n"
