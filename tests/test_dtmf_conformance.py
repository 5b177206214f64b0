# SPDX-License-Identifier: MIT
"""The decoder meets every line of the conformance table, and finds no digit in speech."""

from fractions import Fraction

import pytest

from tests import dtmf_conformance as suite
from tests.dtmf_conformance import LINES, Line, Recorder
from tests.marks import mostly_slow
from tests.signals import Pcm

# Not those that search for a limit or need a codec, nor the other rates.
LONG = ("4 ", "5 quietest", "11 ", "12 ", "13 ", "18 ")
QUICK = [line for line in LINES if line.rate == 8000 and not line.name.startswith(LONG)]


@pytest.mark.parametrize("line", mostly_slow(LINES, *QUICK), ids=lambda line: line.name)
def test_line(line: Line) -> None:
    receiver = Recorder()
    why_not = line.why_not(receiver)
    if why_not is not None:
        pytest.skip(why_not)
    result = line.measure(receiver)
    assert result.met, f"{result.shown}, goal {line.goal}"


def spoken() -> tuple[Pcm, ...]:
    languages = suite.languages()
    if not languages:
        pytest.skip("no prompts: Debian's asterisk-core-sounds-en-gsm")
    return suite.prompts(languages[0])


# The whole of it, in every language and at eight speeds: benchmarks/digit_quality.py --talk-off.


@pytest.mark.slow
def test_prompts_hold_no_digit() -> None:
    assert suite.talk_off(Recorder(), suite.played(spoken(), Fraction(1))).digits == ""


@pytest.mark.slow
@pytest.mark.parametrize("speed", [suite.SPEEDS[1], suite.SPEEDS[-2]], ids=str)
def test_prompts_at_another_speed_hold_no_digit(speed: Fraction) -> None:
    part = suite.first_minutes(spoken(), 20)
    assert suite.talk_off(Recorder(), suite.played(part, speed)).digits == ""


def test_music_holds_no_digit() -> None:
    music = suite.music()
    if not music:
        pytest.skip("no music on hold: Debian's asterisk-moh-opsound-wav")
    assert suite.talk_off(Recorder(), suite.played(music, Fraction(1))).digits == ""
