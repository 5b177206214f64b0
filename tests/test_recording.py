# SPDX-License-Identifier: MIT
"""The state machine: every timer, what wins in one frame, and when there is something to decide."""

from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from recorder.recording.state import Ending, Reason, Recording

if TYPE_CHECKING:
    from recorder.placement.timeline import Leg


def machine(
    *,
    start: int = 0,
    initial_timeout: int | None = None,
    end_silence_timeout: int | None = None,
    max_length: int | None = None,
    terminators: str = "#",
    legs: "tuple[Leg, ...]" = ("speak", "listen"),
    tone_slack: int = 0,
) -> Recording:
    return Recording(
        legs=legs,
        tone_slack=tone_slack,
        start=start,
        initial_timeout=initial_timeout,
        end_silence_timeout=end_silence_timeout,
        max_length=max_length,
        terminators=terminators,
    )


def at(speak: int, listen: int | None = None) -> "dict[Leg, int]":
    """Where the legs are when a command comes."""
    return {"speak": speak, "listen": speak if listen is None else listen}


def ended(recording: Recording) -> tuple[int, str, str]:
    assert recording.ending is not None
    return recording.ending.position, recording.ending.state, recording.ending.reason


# -- each timer, alone ----------------------------------------------------------------------------


def test_no_voice_within_the_initial_timeout_is_no_input() -> None:
    recording = machine(start=100, initial_timeout=1000)
    recording.judge(1099)
    assert recording.ending is None
    recording.judge(1100)
    assert ended(recording) == (1100, "no_input", "initial_timeout")


@pytest.mark.parametrize(("voice_at", "ends"), [(1099, False), (1100, True)])
def test_voice_counts_only_if_it_begins_before_the_initial_timeout(
    voice_at: int, ends: bool
) -> None:
    recording = machine(start=100, initial_timeout=1000)
    recording.voice_start("speak", voice_at)
    recording.judge(5000)
    assert (recording.ending is not None) == ends


def test_silence_after_voice_ends_it() -> None:
    recording = machine(initial_timeout=500, end_silence_timeout=300)
    recording.voice_start("speak", 100)
    recording.voice_end("speak", 1000)
    recording.judge(1299)
    assert recording.ending is None
    recording.judge(1300)
    assert ended(recording) == (1300, "finished", "end_silence")


def test_silence_before_any_voice_does_not_end_it() -> None:
    recording = machine(end_silence_timeout=300)
    recording.judge(10**9)
    assert recording.ending is None


@pytest.mark.parametrize(("voice_again", "ends_at"), [(1299, 2300), (1300, 1300)])
def test_voice_again_restarts_the_silence_timer(voice_again: int, ends_at: int) -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 100)
    recording.voice_end("speak", 1000)
    recording.voice_start("speak", voice_again)
    recording.voice_end("speak", 2000)
    recording.judge(9000)
    assert ended(recording) == (ends_at, "finished", "end_silence")


def test_silence_means_both_legs_are_silent() -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 0)
    recording.voice_start("listen", 900)
    recording.voice_end("speak", 1000)
    recording.voice_end("listen", 1500)
    recording.judge(9000)
    assert ended(recording) == (1800, "finished", "end_silence")


def test_max_length_bounds_the_file() -> None:
    recording = machine(start=50, max_length=1000)
    recording.judge(5000)
    assert ended(recording) == (1050, "finished", "max_length")
    assert recording.length(1050) == 1000


def test_a_terminator_ends_it_where_the_tone_began() -> None:
    recording = machine(terminators="#5")
    assert recording.press("5", 700)
    recording.judge(800)
    assert recording.ending == Ending(
        position=700, state="finished", reason="terminator", digit="5"
    )


def test_other_digits_and_earlier_ones_do_not_end_it() -> None:
    recording = machine(start=100, terminators="#")
    assert not recording.press("5", 700)
    assert not recording.press("#", 99)
    recording.judge(10**6)
    assert recording.ending is None


def test_without_limits_it_runs_on() -> None:
    recording = machine(terminators="")
    assert not recording.press("#", 5)
    recording.judge(10**12)
    assert recording.ending is None
    assert recording.next_deadline is None


# -- what wins in one frame -----------------------------------------------------------------------


def test_nothing_is_decided_before_it_is_settled() -> None:
    recording = machine(max_length=1000)
    recording.press("#", 990)
    recording.judge(989)
    assert recording.ending is None
    recording.judge(2000)
    assert ended(recording) == (990, "finished", "terminator")


@pytest.mark.parametrize(
    ("press_at", "expected"),
    [
        (999, (999, "finished", "terminator")),
        (1000, (1000, "finished", "max_length")),
        (1001, (1000, "finished", "max_length")),
    ],
)
def test_terminator_and_max_length(press_at: int, expected: tuple[int, str, str]) -> None:
    recording = machine(max_length=1000)
    recording.press("#", press_at)
    recording.judge(5000)
    assert ended(recording) == expected


@pytest.mark.parametrize(
    ("press_at", "reason"), [(1299, "terminator"), (1300, "end_silence"), (1301, "end_silence")]
)
def test_terminator_and_end_of_silence(press_at: int, reason: str) -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 0)
    recording.voice_end("speak", 1000)
    recording.press("#", press_at)
    recording.judge(5000)
    assert ended(recording)[2] == reason


def test_terminator_and_initial_timeout() -> None:
    recording = machine(initial_timeout=500)
    recording.press("#", 499)
    recording.judge(5000)
    assert ended(recording) == (499, "finished", "terminator")


def test_initial_timeout_before_max_length_at_one_position() -> None:
    recording = machine(initial_timeout=500, max_length=500)
    recording.judge(5000)
    assert ended(recording) == (500, "no_input", "initial_timeout")


def test_end_of_silence_before_max_length_at_one_position() -> None:
    recording = machine(end_silence_timeout=300, max_length=1300)
    recording.voice_start("speak", 0)
    recording.voice_end("speak", 1000)
    recording.judge(5000)
    assert ended(recording) == (1300, "finished", "end_silence")


@pytest.mark.parametrize(
    ("pause_at", "expected"),
    [(1299, None), (1300, (1300, "finished", "end_silence"))],
)
def test_pause_and_end_of_silence(pause_at: int, expected: tuple[int, str, str] | None) -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 0)
    recording.voice_end("speak", 1000)
    recording.pause(at(pause_at), "skip")
    recording.judge(5000)
    assert (None if recording.ending is None else ended(recording)) == expected


@pytest.mark.parametrize("first", ["press", "pause"])
def test_pause_and_terminator_at_one_position(first: str) -> None:
    """What came first, came first."""
    recording = machine()
    if first == "press":
        assert recording.press("#", 700)
    recording.pause(at(700), "skip")
    if first == "pause":
        assert not recording.press("#", 700)
    recording.judge(5000)
    assert (recording.ending is not None) == (first == "press")


@pytest.mark.parametrize(("press_at", "ends"), [(697, True), (698, False), (700, False)])
def test_a_tone_that_begins_up_to_its_slack_before_a_pause(press_at: int, ends: bool) -> None:
    """Its estimated onset may be so much early."""
    recording = machine(tone_slack=2)
    recording.pause(at(700), "skip")
    assert recording.press("#", press_at) == ends


@pytest.mark.parametrize(("resume_at", "ends"), [(700, True), (701, False)])
def test_resume_and_terminator(resume_at: int, ends: bool) -> None:
    recording = machine()
    recording.pause(at(100), "skip")
    recording.resume(at(resume_at))
    recording.press("#", 700)
    recording.judge(5000)
    assert (recording.ending is not None) == ends


@pytest.mark.parametrize("reason", ["stopped", "hangup", "error"])
def test_stop_ends_it_at_once(reason: Reason) -> None:
    recording = machine(initial_timeout=1000)
    state: Literal["finished", "error"] = "error" if reason == "error" else "finished"
    assert recording.stop(400, reason, 400) == Ending(position=400, state=state, reason=reason)


def test_stop_after_a_deadline_that_passed_keeps_the_earlier_end() -> None:
    recording = machine(initial_timeout=300)
    assert recording.stop(400, "stopped", 400).reason == "initial_timeout"


def test_stop_does_not_guess_what_is_not_settled_yet() -> None:
    recording = machine(initial_timeout=300, max_length=390)
    assert recording.stop(380, "stopped", 250).reason == "stopped"
    recording = machine(initial_timeout=300, max_length=390)
    recording.press("#", 370)
    assert recording.stop(380, "stopped", 250).reason == "terminator"
    recording = machine(initial_timeout=300, max_length=390)
    ending = recording.stop(400, "stopped", 250)
    assert (ending.position, ending.reason) == (390, "max_length")


def test_stop_while_the_beep_plays_is_an_empty_recording() -> None:
    recording = machine(start=2000, initial_timeout=300, max_length=100)
    assert recording.stop(500, "stopped", 500) == Ending(
        position=2000, state="finished", reason="stopped"
    )
    assert recording.length(2000) == 0


def test_an_end_is_final() -> None:
    recording = machine(max_length=100)
    recording.judge(100)
    recording.press("#", 50)
    recording.judge(1000)
    assert recording.stop(2000, "hangup", 2000).reason == "max_length"


# -- when there is something to decide ------------------------------------------------------------


def test_the_next_deadline_is_a_timer_s_or_a_digit_s() -> None:
    recording = machine(initial_timeout=1000, max_length=5000)
    assert recording.next_deadline == 1000
    recording.voice_start("speak", 600)
    recording.judge(1000)
    assert recording.next_deadline == 5000
    recording.press("#", 1234)
    assert recording.next_deadline == 1234


_happenings = st.lists(
    st.tuples(
        st.integers(1, 60),
        st.sampled_from(["voice", "voice", "voice", "press", "pause", "revised"]),
        st.sampled_from(["speak", "listen"]),
    ),
    max_size=25,
)
_limits = st.none() | st.integers(20, 200)


def happen(
    recording: Recording, what: str, leg: "Leg", position: int, lasts: bool, paused: bool
) -> None:
    match what:
        case "press":
            recording.press("#", position)
        case "pause" if paused:
            recording.resume(at(position))
        case "pause":
            recording.pause(at(position), "skip" if leg == "speak" else "silence")
        case "revised":
            recording.voice_revised(leg, max(0, position - 50), [], position)
        case "voice" if lasts:
            recording.voice_end(leg, position)
        case "voice":
            recording.voice_start(leg, position)


@pytest.mark.slow
@seed(6)
@settings(max_examples=300, deadline=None)
@given(happenings=_happenings, initial=_limits, silence=_limits, longest=_limits)
def test_judging_only_when_due_decides_the_same_at_the_same_time(
    happenings: "list[tuple[int, str, Leg]]",
    initial: int | None,
    silence: int | None,
    longest: int | None,
) -> None:
    both = [
        machine(initial_timeout=initial, end_silence_timeout=silence, max_length=longest)
        for _ in range(2)
    ]
    always, due = both
    position = 0
    lasts: dict[str, bool] = {"speak": False, "listen": False}
    paused = False
    for step, what, leg in [*happenings, (400, "press", "listen")]:
        for now in range(position + 1, position + step + 1):
            always.judge(now)
            deadline = due.next_deadline
            if deadline is not None and now >= deadline:
                due.judge(now)
            assert due.ending == always.ending, now
        if always.ending:
            return
        position += step
        for recording in both:
            happen(recording, what, leg, position, lasts[leg], paused)
        paused ^= what == "pause"
        if what == "revised":
            lasts[leg] = False
        elif what == "voice":
            lasts[leg] = not lasts[leg]
