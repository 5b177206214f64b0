# SPDX-License-Identifier: MIT
"""The state machine: every transition, every timer, and what wins in one frame."""

import itertools
from typing import Literal

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from recorder.recording import Ending, PauseBehavior, Reason, Recording, Segment


def machine(
    *,
    start: int = 0,
    initial_timeout: int | None = None,
    end_silence_timeout: int | None = None,
    max_length: int | None = None,
    terminators: str = "#",
) -> Recording:
    return Recording(
        start=start,
        initial_timeout=initial_timeout,
        end_silence_timeout=end_silence_timeout,
        max_length=max_length,
        terminators=terminators,
    )


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
    assert recording.next_change is None


# -- what wins in one frame -----------------------------------------------------------------------


def test_nothing_is_decided_before_it_is_known() -> None:
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
    recording.pause(pause_at, "skip")
    recording.judge(5000)
    assert (None if recording.ending is None else ended(recording)) == expected


@pytest.mark.parametrize(("pause_at", "ends"), [(700, False), (701, True)])
def test_pause_and_terminator(pause_at: int, ends: bool) -> None:
    recording = machine()
    recording.press("#", 700)
    recording.pause(pause_at, "skip")
    recording.judge(5000)
    assert (recording.ending is not None) == ends


@pytest.mark.parametrize(("resume_at", "ends"), [(700, True), (701, False)])
def test_resume_and_terminator(resume_at: int, ends: bool) -> None:
    recording = machine()
    recording.pause(100, "skip")
    recording.resume(resume_at)
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


def test_stop_does_not_guess_what_is_not_known_yet() -> None:
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


# -- pause: the timers stand still ----------------------------------------------------------------


def test_initial_timeout_stands_still_while_paused() -> None:
    recording = machine(initial_timeout=1000)
    recording.pause(400, "skip")
    recording.judge(4000)
    recording.resume(5400)
    recording.judge(5999)
    assert recording.ending is None
    recording.judge(7000)
    assert ended(recording) == (6000, "no_input", "initial_timeout")


def test_silence_timer_stands_still_while_paused() -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 0)
    recording.voice_end("speak", 1000)
    recording.pause(1100, "silence")
    recording.resume(9100)
    recording.judge(20000)
    assert ended(recording) == (9300, "finished", "end_silence")


def test_voice_that_ends_while_paused_is_silence_from_the_resume_on() -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 0)
    recording.pause(500, "skip")
    recording.voice_end("speak", 800)
    recording.resume(2000)
    recording.judge(9000)
    assert ended(recording) == (2300, "finished", "end_silence")


def test_voice_within_a_pause_is_not_voice() -> None:
    recording = machine(initial_timeout=1000, end_silence_timeout=300)
    recording.pause(100, "skip")
    recording.voice_start("speak", 200)
    recording.voice_end("speak", 900)
    recording.resume(2100)
    recording.judge(9000)
    assert ended(recording) == (3000, "no_input", "initial_timeout")


def test_voice_that_outlasts_a_pause_counts_from_the_resume_on() -> None:
    recording = machine(initial_timeout=1000, end_silence_timeout=300)
    recording.pause(100, "skip")
    recording.voice_start("speak", 200)
    recording.resume(2100)
    recording.voice_end("speak", 2500)
    recording.judge(9000)
    assert ended(recording) == (2800, "finished", "end_silence")


@pytest.mark.parametrize(("behavior", "end"), [("skip", 3000), ("silence", 1000)])
def test_max_length_counts_what_is_in_the_file(behavior: PauseBehavior, end: int) -> None:
    recording = machine(max_length=1000)
    recording.pause(500, behavior)
    recording.resume(2500)
    recording.judge(9000)
    assert ended(recording) == (end, "finished", "max_length")
    assert recording.length(end) == 1000


def test_pausing_twice_and_resuming_what_runs_change_nothing() -> None:
    recording = machine()
    recording.resume(10)
    recording.pause(100, "skip")
    recording.pause(200, "silence")
    assert recording.paused
    recording.resume(300)
    recording.resume(400)
    assert not recording.paused
    assert list(recording.segments(0, 1000)) == [
        Segment(start=0, end=100, joins_at=100),
        Segment(start=300, end=1000, joined_at=300),
    ]


def test_a_pause_while_the_beep_plays_holds_from_the_start_on() -> None:
    recording = machine(start=1000, initial_timeout=500)
    recording.pause(200, "skip")
    recording.judge(4000)
    recording.resume(5000)
    recording.judge(9000)
    assert ended(recording) == (5500, "no_input", "initial_timeout")
    assert recording.length(5500) == 500


# -- the file's layout ----------------------------------------------------------------------------


def test_layout_of_both_kinds_of_pause() -> None:
    recording = machine(start=100)
    recording.pause(300, "skip")
    recording.resume(400)
    recording.pause(600, "silence")
    recording.resume(700)
    assert list(recording.segments(100, 1000)) == [
        Segment(start=100, end=300, joins_at=300),
        Segment(start=400, end=600, joined_at=400, joins_at=600),
        Segment(start=600, end=700, silent=True),
        Segment(start=700, end=1000, joined_at=700),
    ]
    assert recording.length(1000) == 800
    assert list(recording.keeps(0, 650)) == [(100, 300), (400, 600)]


def test_layout_does_not_depend_on_where_it_is_cut() -> None:
    recording = machine()
    recording.pause(300, "silence")
    recording.resume(400)
    whole = list(recording.segments(0, 600))
    parts = [*recording.segments(0, 350), *recording.segments(350, 600)]
    assert [(s.start, s.end, s.silent, s.joined_at, s.joins_at) for s in parts] == [
        (0, 300, False, None, 300),
        (300, 350, True, None, None),
        (350, 400, True, None, None),
        (400, 600, False, 400, None),
    ]
    assert sum(s.end - s.start for s in whole) == sum(s.end - s.start for s in parts)


def test_a_pause_of_no_length_is_no_join() -> None:
    recording = machine()
    recording.pause(300, "skip")
    recording.resume(300)
    assert list(recording.segments(0, 600)) == [Segment(start=0, end=600)]


def test_next_change_tells_the_deadline_and_what_is_queued() -> None:
    recording = machine(initial_timeout=1000, max_length=5000)
    assert recording.next_change == 1000
    recording.voice_start("speak", 600)
    assert recording.next_change == 600
    recording.judge(700)
    assert recording.next_change == 5000


@seed(5)
@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["skip", "silence"])), max_size=30
    ),
    cuts=st.lists(st.integers(0, 1200), max_size=10),
)
def test_the_file_of_many_pauses(steps: list[tuple[int, PauseBehavior]], cuts: list[int]) -> None:
    """Sample by sample: what is kept, silent or left out, wherever it is asked for."""
    recording = machine(start=7)
    layout: list[str] = []  # of the call from position 7 on
    kept = "kept"
    for length, behavior in steps:
        layout += [kept] * length
        if kept == "kept":
            recording.pause(7 + len(layout), behavior)
            kept = behavior
        else:
            recording.resume(7 + len(layout))
            kept = "kept"
    layout += [kept] * 50
    bounds = sorted({7, 7 + len(layout), *(cut for cut in cuts if 7 < cut < 7 + len(layout))})
    found: list[str] = []
    for start, end in itertools.pairwise(bounds):
        for segment in recording.segments(start, end):
            assert start <= segment.start < segment.end <= end
            found += ["silence" if segment.silent else "kept"] * (segment.end - segment.start)
        assert recording.length(end) == len(found)
    assert found == [what for what in layout if what != "skip"]
