# SPDX-License-Identifier: MIT
"""Random calls have the results that they had before: tests/kept_results.py says which."""

from collections import Counter
from dataclasses import replace

import pytest

from tests import kept_results
from tests.kept_results import BEEP_SECONDS, SCENARIOS, Scenario, kept, outcome, scenario
from tests.marks import mostly_slow

BLOCK = 20
NUMBERS = sorted(kept())
BLOCKS = [NUMBERS[at : at + BLOCK] for at in range(0, len(NUMBERS), BLOCK)]


@pytest.mark.parametrize(
    "numbers", mostly_slow(BLOCKS, BLOCKS[0]), ids=lambda numbers: f"{numbers[0]}-{numbers[-1]}"
)
def test_results_are_as_kept(numbers: list[int]) -> None:
    different = [line for number in numbers for line in kept_results.difference(number)]
    assert not different, "\n".join(different)


def test_every_way_to_end_is_among_them() -> None:
    assert len(NUMBERS) == SCENARIOS
    recordings = [recording for result in kept().values() for recording in result["recordings"]]
    reasons = Counter(map(kept_results.reason, recordings))
    assert set(reasons) == {
        "terminator",
        "end_silence",
        "initial_timeout",
        "max_length",
        "stopped",
        "hangup",
    }
    assert min(reasons.values()) > 0.05 * reasons.total()


def first_recorded(what: Scenario) -> int | None:
    """The position of the first sample in the file of a recording of speak."""
    for step in what.steps:
        options = step.argument
        if step.name == "record" and options["direction"] == "speak":
            is_wav = options.get("format", "wav") == "wav"
            beep = round(BEEP_SECONDS * what.rate) if options.get("beep") else 0
            recording = kept()[what.number]["recordings"][step.recording]
            if is_wav and int(recording["events"][-1].split()[1]):
                return step.position + beep
    return None


RECORD_SPEAK = [number for number in NUMBERS[:25] if first_recorded(scenario(number)) is not None]


@pytest.mark.parametrize("number", RECORD_SPEAK)
def test_one_other_sample_makes_another_result(number: int) -> None:
    what = scenario(number)
    position = first_recorded(what)
    assert position is not None
    speak = what.speak.copy()
    speak[position] ^= 1
    changed = outcome(replace(what, speak=speak))
    files = [recording["file"] for recording in changed["recordings"]]
    assert files != [recording["file"] for recording in kept()[number]["recordings"]]
