# SPDX-License-Identifier: MIT
"""The state machine's pauses: timers that do not run, and what is in the file."""

import itertools

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from recorder.recording.state import PauseBehavior, Recording
from tests.test_recording import at, ended, machine


def kept(recording: Recording, start: int, end: int) -> list[tuple[int, int]]:
    """What is in the file, where it is cut or not."""
    whole: list[tuple[int, int]] = []
    for first, last in recording.kept(start, end):
        joins = bool(whole) and whole[-1][1] == first
        whole.append((whole.pop()[0] if joins else first, last))
    return whole


# -- pause: the timers do not run ----------------------------------------------------------------


def test_initial_timeout_does_not_run_while_paused() -> None:
    recording = machine(initial_timeout=1000)
    recording.pause(at(400), "skip")
    recording.judge(4000)
    recording.resume(at(5400))
    recording.judge(5999)
    assert recording.ending is None
    recording.judge(7000)
    assert ended(recording) == (6000, "no_input", "initial_timeout")


def test_silence_timer_does_not_run_while_paused() -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 0)
    recording.voice_end("speak", 1000)
    recording.pause(at(1100), "silence")
    recording.resume(at(9100))
    recording.judge(20000)
    assert ended(recording) == (9300, "finished", "end_silence")


def test_voice_that_ends_while_paused_is_silence_from_the_resume_on() -> None:
    recording = machine(end_silence_timeout=300)
    recording.voice_start("speak", 0)
    recording.pause(at(500), "skip")
    recording.voice_end("speak", 800)
    recording.resume(at(2000))
    recording.judge(9000)
    assert ended(recording) == (2300, "finished", "end_silence")


def test_voice_within_a_pause_is_not_voice() -> None:
    recording = machine(initial_timeout=1000, end_silence_timeout=300)
    recording.pause(at(100), "skip")
    recording.voice_start("speak", 200)
    recording.voice_end("speak", 900)
    recording.resume(at(2100))
    recording.judge(9000)
    assert ended(recording) == (3000, "no_input", "initial_timeout")


def test_voice_that_outlasts_a_pause_counts_from_the_resume_on() -> None:
    recording = machine(initial_timeout=1000, end_silence_timeout=300)
    recording.pause(at(100), "skip")
    recording.voice_start("speak", 200)
    recording.resume(at(2100))
    recording.voice_end("speak", 2500)
    recording.judge(9000)
    assert ended(recording) == (2800, "finished", "end_silence")


@pytest.mark.parametrize(("behavior", "end"), [("skip", 3000), ("silence", 1000)])
def test_max_length_counts_what_is_in_the_file(behavior: PauseBehavior, end: int) -> None:
    recording = machine(max_length=1000)
    recording.pause(at(500), behavior)
    recording.resume(at(2500))
    recording.judge(9000)
    assert ended(recording) == (end, "finished", "max_length")
    assert recording.length(end) == 1000


def test_pausing_twice_and_resuming_what_runs_change_nothing() -> None:
    recording = machine()
    recording.pause(at(100), "skip")
    recording.pause(at(200), "silence")
    assert recording.paused
    recording.resume(at(300))
    recording.resume(at(400))
    assert not recording.paused
    assert list(recording.kept(0, 1000)) == [(0, 100), (300, 1000)]
    assert list(recording.hidden("speak", 0, 1000)) == [(100, 300)]


def test_a_pause_while_the_beep_plays_holds_from_the_start_on() -> None:
    recording = machine(start=1000, initial_timeout=500)
    recording.pause(at(200), "skip")
    recording.judge(4000)
    recording.resume(at(5000))
    recording.judge(9000)
    assert ended(recording) == (5500, "no_input", "initial_timeout")
    assert recording.length(5500) == 500


# -- the file's layout ----------------------------------------------------------------------------


def test_layout_of_both_kinds_of_pause() -> None:
    recording = machine(start=100)
    recording.pause(at(300), "skip")
    recording.resume(at(400))
    recording.pause(at(600), "silence")
    recording.resume(at(700))
    assert list(recording.kept(100, 1000)) == [(100, 300), (400, 1000)]
    for leg in ("speak", "listen"):
        assert list(recording.hidden(leg, 100, 1000)) == [(300, 400), (600, 700)]
    assert recording.length(1000) == 800
    assert list(recording.kept(100, 650)) == [(100, 300), (400, 650)]


def test_layout_does_not_depend_on_where_it_is_cut() -> None:
    recording = machine()
    recording.pause(at(300), "skip")
    recording.resume(at(400))
    assert [*recording.kept(0, 350), *recording.kept(350, 600)] == [(0, 300), (400, 600)]
    # What is hidden is said as a whole, wherever it is asked for.
    for start, end in ((0, 350), (310, 320), (350, 600)):
        assert list(recording.hidden("listen", start, end)) == [(300, 400)]
    assert not recording.hidden("listen", 0, 300)
    assert not recording.hidden("listen", 400, 600)


def test_a_pause_that_lasts_is_hidden_without_end() -> None:
    recording = machine()
    recording.pause(at(300), "silence")
    assert list(recording.hidden("speak", 0, 9000)) == [(300, None)]
    assert list(recording.kept(0, 9000)) == [(0, 9000)]


def test_a_pause_of_no_length_hides_nothing() -> None:
    recording = machine()
    recording.pause(at(300), "skip")
    recording.resume(at(300))
    assert kept(recording, 0, 600) == [(0, 600)]
    assert not recording.hidden("speak", 0, 600)


# -- legs apart: a pause acts on each where it is -------------------------------------------------


def test_what_lies_between_pause_and_resume_on_both_legs_is_left_out() -> None:
    recording = machine()
    assert recording.pause(at(speak=300, listen=500), "skip") == 500
    assert recording.resume(at(speak=900, listen=800)) == 800
    assert list(recording.kept(0, 1000)) == [(0, 500), (800, 1000)]
    assert list(recording.hidden("speak", 0, 1000)) == [(300, 900)]
    assert list(recording.hidden("listen", 0, 1000)) == [(500, 800)]
    assert recording.length(1000) == 700


def test_a_pause_shorter_than_a_leg_s_lead_leaves_nothing_out() -> None:
    """But what was fed meanwhile is hidden."""
    recording = machine(max_length=1000)
    recording.pause(at(speak=300, listen=500), "skip")
    recording.resume(at(speak=450, listen=500))
    assert kept(recording, 0, 1000) == [(0, 1000)]
    assert list(recording.hidden("speak", 0, 1000)) == [(300, 450)]
    assert not recording.hidden("listen", 0, 1000)
    recording.judge(5000)
    assert ended(recording) == (1000, "finished", "max_length")


def test_a_leg_that_is_not_recorded_moves_no_pause() -> None:
    recording = machine(legs=("speak",))
    assert recording.pause(at(speak=300, listen=900), "skip") == 300
    assert recording.resume(at(speak=500, listen=900)) == 500
    assert list(recording.kept(0, 1000)) == [(0, 300), (500, 1000)]


@pytest.mark.parametrize(
    ("press_at", "ends"), [(299, True), (300, False), (599, False), (600, True)]
)
@pytest.mark.parametrize("listen", [100, 900])
def test_digits_count_by_where_the_speak_leg_was(press_at: int, ends: bool, listen: int) -> None:
    recording = machine()
    recording.pause(at(speak=300, listen=listen), "silence")
    recording.resume(at(speak=600, listen=listen))
    assert recording.press("#", press_at) == ends
    recording.judge(5000)
    assert (recording.ending is not None) == ends


def test_voice_on_a_leg_that_was_fed_while_paused_is_not_voice() -> None:
    """The speak leg was behind, and is so after the pause, too."""
    recording = machine(initial_timeout=1000)
    recording.pause(at(speak=300, listen=500), "skip")
    recording.resume(at(speak=450, listen=500))
    recording.voice_start("speak", 320)
    recording.voice_end("speak", 440)
    recording.judge(5000)
    assert ended(recording) == (1000, "no_input", "initial_timeout")


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
            recording.pause(at(7 + len(layout)), behavior)
            kept = behavior
        else:
            recording.resume(at(7 + len(layout)))
            kept = "kept"
    layout += [kept] * 50
    bounds = sorted({7, 7 + len(layout), *(cut for cut in cuts if 7 < cut < 7 + len(layout))})
    found: list[str] = []
    for start, end in itertools.pairwise(bounds):
        for first, last in recording.kept(start, end):
            assert start <= first < last <= end
            hidden = recording.hidden("speak", first, last)
            for position in range(first, last):
                silent = any(a <= position and (b is None or position < b) for a, b in hidden)
                found.append("silence" if silent else "kept")
        assert recording.length(end) == len(found)
    assert found == [what for what in layout if what != "skip"]
