# SPDX-License-Identifier: MIT
"""How a process ends, and what its forks see."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from recorder import (
    recover,
)
from tests.faults.running import event_of, linux, output_of, program
from tests.marks import mostly_slow
from tests.recordings import (
    AUDIO,
    check_finished,
    names,
)


@linux
@pytest.mark.parametrize(
    ("how", "status"),
    mostly_slow(
        [
            ("end", 0),
            ("collected", 0),
            ("sys.exit", 3),
            ("exception", 1),
            ("_exit", 4),
            ("SIGTERM", -15),
        ],
        *(("end", 0), ("SIGTERM", -15)),
    ),
)
def test_a_process_that_ends_without_a_hangup(tmp_path: Path, how: str, status: int) -> None:
    output_of("leave", tmp_path, how, status=status)
    killed = how in {"_exit", "SIGTERM"}
    assert all(name.startswith(".") == killed for name in names(tmp_path))
    found = recover(tmp_path)
    assert [item.outcome for item in found] == ["recovered"] * (2 * killed)
    mp3, wav = sorted(tmp_path.iterdir(), key=lambda path: path.suffix)
    kept, _ = soundfile.read(wav, dtype="int16")
    assert np.array_equal(kept, AUDIO[: len(kept)])
    lengths = [len(kept), soundfile.info(mp3).frames]
    if killed:
        assert all(len(AUDIO) - 8000 <= length <= len(AUDIO) for length in lengths)
    else:
        assert lengths == [len(AUDIO)] * 2


@linux
@pytest.mark.parametrize("kind", mostly_slow(["handler", "coroutine", "disk"], "handler"))
def test_what_never_returns_does_not_keep_the_process(tmp_path: Path, kind: str) -> None:
    (params,) = output_of("handler_for_ever", tmp_path, kind)
    check_finished(event_of(params), AUDIO)
    hidden = [name for name in names(tmp_path) if name.startswith(".")]
    assert hidden == ([".stuck.part.wav"] if kind == "disk" else [])


@linux
def test_fork_while_recording(tmp_path: Path) -> None:
    (printed,) = output_of("fork", tmp_path)
    child = printed["child"]
    assert len(child["refused"]) == 5
    for refusal in child["refused"]:
        assert "belongs to the process that this one was forked from" in refusal
    assert (child["answer"], child["state"]) == ("404", "error")
    check_finished(event_of(child["own"]), AUDIO[:8000])
    assert child["busy"] == printed["busy"] == ["busy"]
    check_finished(event_of(printed["params"]), AUDIO)
    assert [name[0] == "." for name in names(tmp_path)] == [False, False]


@linux
def test_fork_while_another_thread_feeds_a_call_that_records_nothing(tmp_path: Path) -> None:
    """The child may use the call: nobody holds its lock there."""
    (statuses,) = output_of("fork_while_fed", tmp_path)
    assert statuses == [0] * 40


@linux
def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    with program("parent_dies", tmp_path) as process:
        process.wait(60)
        (found,) = recover(tmp_path)
        assert found.outcome == "recovered"
        assert found.duration > 2


@linux
def test_multiprocessing_by_fork(tmp_path: Path) -> None:
    (printed,) = output_of("multiprocess", tmp_path)
    assert printed["status"] == 0
    check_finished(event_of(printed["params"]), AUDIO)
    child, parent = names(tmp_path)
    assert (child[:6], parent[:6]) == ("child_", "parent")
    assert np.array_equal(soundfile.read(tmp_path / child, dtype="int16")[0], AUDIO[:8000])
