# SPDX-License-Identifier: MIT
"""Names: of calls and recordings, and of their files."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recorder import (
    Call,
    ControlIdError,
    FileError,
    OptionError,
)
from tests.conftest import Events
from tests.faults.running import event_of, program, unix
from tests.marks import mostly_slow
from tests.recordings import (
    AUDIO,
    NO_LIMITS,
    SPEAK,
    audio_of,
    check_finished,
    feed_frames,
    names,
    path_of,
    result_of,
)


def test_a_control_id_may_be_used_again_only_after_its_recording(call: Call) -> None:
    action = call.record(NO_LIMITS, control_id="mine")
    with pytest.raises(ControlIdError, match="'mine'"):
        call.record(NO_LIMITS, control_id="mine")
    feed_frames(call, SPEAK)
    action.stop()
    again = call.record(NO_LIMITS, control_id="mine")
    assert again.recording_id != action.recording_id
    assert np.array_equal(audio_of(action.join(10)), SPEAK)


def test_made_up_identities_differ(call: Call) -> None:
    one, two = call.record(NO_LIMITS), call.record(NO_LIMITS)
    assert one.control_id != two.control_id
    assert one.call is call


@pytest.mark.parametrize("control_id", ["", 5, b"x"])
def test_other_control_ids_are_refused(call: Call, control_id: Any) -> None:
    with pytest.raises(OptionError, match="control_id"):
        call.record(control_id=control_id)


def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call = Call()
    action = call.record(NO_LIMITS, path="mine.wav")
    other = call.record(NO_LIMITS)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    call.feed(speak=SPEAK)
    call.hangup()
    assert path_of(action.join(10)) == tmp_path / "mine.wav"
    assert path_of(other.join(10)).parent == tmp_path / "recordings"


@pytest.mark.parametrize(
    ("name", "in_url"),
    [("\udcff.wav", "%FF.wav"), ("a b.wav", "a%20b.wav"), ("a?b#c%d.wav", "a%3Fb%23c%25d.wav")],
)
def test_any_file_name_has_a_url(
    make_call: Callable[..., Call], tmp_path: Path, name: str, in_url: str
) -> None:
    call = make_call(base_url="http://example.org")
    action = call.record(NO_LIMITS, path=tmp_path / name)
    action.stop()
    event = result_of(action)
    assert event.state == "finished"
    assert event.url == f"http://example.org/{in_url}"
    assert event.path == tmp_path / name


def test_two_calls_with_the_same_ids_in_the_same_second(
    make_call: Callable[..., Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.0)
    calls = [make_call(call_id="same", node_id="same") for _ in range(2)]
    actions = [call.record(NO_LIMITS, control_id="same") for call in calls]
    for call, audio in zip(calls, (AUDIO, AUDIO[::-1]), strict=True):
        feed_frames(call, audio)
        call.hangup()
    check_finished(actions[0].join(10), AUDIO)
    check_finished(actions[1].join(10), AUDIO[::-1])
    assert len({action.recording_id for action in actions}) == 2


@pytest.mark.parametrize("path", mostly_slow(["", "mine.wav"], ""))
def test_two_processes_with_the_same_ids(tmp_path: Path, path: str) -> None:
    target = str(tmp_path / path) if path else ""
    processes = [program("together", tmp_path, target) for _ in range(2)]

    def lines(text: str = "") -> list[Any]:
        for process in processes:
            assert process.stdin is not None
            with_newline = text + "\n"
            if process.poll() is None:
                process.stdin.write(with_newline)
                process.stdin.flush()
        return [process.stdout and process.stdout.readline() for process in processes]

    try:
        ready = [process.stdout and process.stdout.readline() for process in processes]
        assert ready == ['"ready"\n'] * 2
        second = sorted(map(json.loads, lines()))
        outputs = [process.communicate("\n", timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    ended = [json.loads(output) for output in outputs if output]
    if path:
        assert second[1] == "recording"
        assert "mine.wav" in second[0]
        assert "it is being recorded already" in second[0]
        assert len(ended) == 1
    else:
        assert second == ["recording"] * 2
        assert len({params["url"] for params in ended}) == 2
    for params in ended:
        check_finished(event_of(params), AUDIO)
    assert len(names(tmp_path)) == len(ended)


HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    "a\0b",
    "\n\r\t",
    "x" * 10_000,
    "é" * 10_000,
    "ａ／．．／ｂ",
    "\u202egnp.exe",
    "\ud800",
    "CON",
    "a:b|c?*",
    "%2e%2e%2f",
    "'; DROP TABLE recordings; --",
]


@pytest.mark.parametrize("base_url", [None, "https://example.org/r"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_ids(
    make_call: Callable[..., Call], tmp_path: Path, hostile: str, base_url: str | None
) -> None:
    call = make_call(call_id=hostile, node_id=hostile, base_url=base_url)
    events = Events(call)
    action = call.record(NO_LIMITS, control_id=hostile)
    feed_frames(call, AUDIO)
    action.stop()
    event = result_of(action)
    ids = [(e.params["call_id"], e.params["node_id"], e.control_id) for e in events.received]
    assert ids == [(hostile, hostile, hostile)] * 2
    assert names(tmp_path) == ["recordings"]
    (name,) = names(call.directory)
    assert len(os.fsencode(name)) < 200
    assert name.isascii()
    assert name.isprintable()
    assert event.url.endswith(f"/{name}")
    assert np.array_equal(soundfile.read(call.directory / name, dtype="int16")[0], AUDIO)


@unix
@pytest.mark.parametrize(
    "path",
    [
        "a\0b.wav",
        "\ud800.wav",
        "x" * 300 + ".wav",
        "x/" * 5000,
        "",
        ".",
        "..",
        "/",
        "/dev/null",
        "/proc/a.wav",
        "no/such/a.wav",
        "a.mp3",
        b"a.wav",
        5,
        [],
    ],
)
def test_a_hostile_path(
    events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    running = events.call.record(NO_LIMITS, path="good.wav")
    with pytest.raises((FileError, OptionError)):
        events.call.record(NO_LIMITS, path=path)
    assert names(tmp_path) == [".good.part.wav"]
    feed_frames(events.call, AUDIO)
    running.stop()
    check_finished(running.join(10), AUDIO)
    assert events.states == ["recording", "finished"]


@unix
@pytest.mark.parametrize("directory", ["a\0b", "\ud800", "x" * 300])
def test_a_hostile_directory(
    make_call: Callable[..., Call], tmp_path: Path, directory: str
) -> None:
    call = make_call(directory=tmp_path / directory)
    with pytest.raises(FileError, match="cannot make the folder"):
        call.record(NO_LIMITS)
    call.feed(speak=AUDIO)
    assert names(tmp_path) == []
