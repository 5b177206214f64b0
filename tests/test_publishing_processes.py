# SPDX-License-Identifier: MIT
"""Processes that are killed, end, or fork while something is to be sent, and the command."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from tests import signals
from tests.command import OFF, recorder, write
from tests.faults.running import linux
from tests.publishing import KEY, Receiver, outbox_of, receiving, until
from tests.test_audiosocket import message
from tests.test_serve import Server, opening, paced, server, until_closed

# A process that records a second, and stands still at a place for ever.
CHILD: Final = """
import sys, time
from pathlib import Path
from recorder import Call
from recorder.publishing import lines, publication

place, folder, store, url, seed = sys.argv[1:]

def stand(*_, **__):
    print("here", flush=True)
    time.sleep(600)

real_upload, real_post, real_unlink = publication.upload, lines.post, Path.unlink

def upload_and_stand(*args, **options):
    real_upload(*args, **options)
    stand()

def post_or_stand(url, body, **options):
    if b'"finished"' in body:
        stand()
    real_post(url, body, **options)

def unlink_or_stand(path, missing_ok=False):
    if path.suffix == ".wav" and path.name[0] != ".":
        stand()
    real_unlink(path, missing_ok)

if place == "before the upload":
    publication.upload = stand
elif place == "after the upload":
    publication.upload = upload_and_stand
elif place == "before the file is removed":
    Path.unlink = unlink_or_stand
elif place == "before the event is sent":
    lines.post = post_or_stand
else:
    print("here", flush=True)

call = Call(directory=folder, storage=store, status_url=url, allow_private=True)
action = call.record({"initial_timeout": 0, "end_silence_timeout": 0, "terminators": ""})
import numpy
call.feed(speak=numpy.random.default_rng(int(seed)).integers(-9000, 9000, 8000, numpy.int16))
action.stop()
if place == "in the middle":
    time.sleep(600)
action.join()
time.sleep(600)
"""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("RECORDER_STATUS_KEY", KEY)
    with receiving() as receiver:
        yield receiver


def wav(path: Path, seed: int) -> bool:
    """Whether a file has all that a child recorded."""
    expected = np.random.default_rng(seed).integers(-9000, 9000, 8000, np.int16)
    return path.read_bytes()[-16000:] == expected.tobytes()


def check_sent(tmp_path: Path, receiver: Receiver, seed: int, *, states: set[str]) -> None:
    """The object is whole and alone, and its events have come."""
    (path,) = (tmp_path / "store").iterdir()
    assert wav(path, seed)
    last = receiver.bodies[-1]["params"]
    assert last["url"] == path.as_uri()
    assert last["record"]["upload"] == "done"
    assert last["record"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {body["params"]["state"] for body in receiver.bodies} == states
    assert {body["params"]["recording_id"] for body in receiver.bodies} == {last["recording_id"]}
    assert list((tmp_path / "calls").iterdir()) == []
    ids: dict[str, dict[str, Any]] = {}
    for body in receiver.bodies:  # what has the same id is the same
        assert ids.setdefault(body["event_id"], body) == body


@linux
@pytest.mark.parametrize(
    "place",
    [
        "before the upload",
        "after the upload",
        "before the file is removed",
        "before the event is sent",
    ],
)
def test_a_process_is_killed(tmp_path: Path, receiver: Receiver, place: str) -> None:
    where = [tmp_path / "calls", f"file://{tmp_path}/store", receiver.url, "7"]
    command = [sys.executable, "-c", CHILD, place, *map(str, where)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
    result = recorder("recover", "calls", folder=tmp_path)
    assert result.status == 0, result.err
    (line,) = map(json.loads, result.out.splitlines())
    assert (line["upload"], line["unsent_events"]) == ("done", 0)
    check_sent(tmp_path, receiver, 7, states={"recording", "finished"})
    again = recorder("recover", "calls", folder=tmp_path)
    assert (again.status, again.out) == (0, "")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_process_is_killed_at_any_moment(tmp_path: Path, receiver: Receiver, seed: int) -> None:
    where = [tmp_path / "calls", f"file://{tmp_path}/store", receiver.url, str(seed)]
    command = [sys.executable, "-c", CHILD, "anywhere", *map(str, where)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(np.random.default_rng(seed).uniform(0.0, 0.25))
        process.kill()
    if not (tmp_path / "calls").exists():  # it had not begun
        return
    result = recorder("recover", "calls", folder=tmp_path)
    assert result.status in {0, 1}, result.err
    if not receiver.bodies:  # nothing was in the file yet, or it had not even begun
        assert not (tmp_path / "store").exists()
        return
    states = {body["params"]["state"] for body in receiver.bodies}
    assert states & {"finished", "error"}
    files = list((tmp_path / "store").iterdir()) if (tmp_path / "store").exists() else []
    if "finished" in states:
        check_sent(tmp_path, receiver, seed, states=states)
        assert "error" not in states
    else:
        assert len(files) <= 1
    assert list((tmp_path / "calls").iterdir()) == []


@linux
def test_a_server_is_killed(tmp_path: Path, receiver: Receiver) -> None:
    """Its next one sends what it left, the events in order."""
    receiver.answers += [200] + [503] * 100
    options = ["--storage", f"file://{tmp_path}/store", "--status-url", receiver.url]
    options += ["--allow-private", "--initial-timeout", "0"]
    with server(tmp_path, *options) as serve:
        connection = serve.connect()
        connection.sendall(opening()[1])
        paced(connection, signals.noise(0.2, -25))
        connection.sendall(message(0x00, b""))
        params = serve.event()
        until(lambda: len(receiver.bodies) >= 2)
        connection.close()
        serve.process.kill()
    assert params["record"]["upload"] == "done"
    assert any(name.endswith(".json") for name in outbox_of(tmp_path / "calls"))
    del receiver.answers[:]
    with server(tmp_path, *options) as serve:
        until(lambda: not outbox_of(tmp_path / "calls"))
        assert serve.stop() == (0, "", "")
    states = [body["params"]["state"] for body in receiver.bodies]
    assert states[0] == "recording"
    assert set(states[1:]) == {"finished"}
    (path,) = (tmp_path / "store").iterdir()
    assert receiver.bodies[-1]["params"]["url"] == path.as_uri() == params["url"]


@linux
def test_a_server_whose_store_hangs(tmp_path: Path) -> None:
    """The party is not kept waiting, and the server's end tells how things stand."""
    code = """
import time
from recorder.publishing import publication
publication.upload = lambda *args, **options: time.sleep(600)
from recorder.cli import main
main(["serve", "--audiosocket", "127.0.0.1:0", "--directory", "calls",
      "--storage", "file:///nowhere", "--max-length", "0.2", "--initial-timeout", "0"])
"""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        serve = Server(process)
        with serve.connect() as connection:
            connection.sendall(opening()[1])
            received = paced(connection, signals.noise(0.5, -25)) + until_closed(connection)
            assert received.endswith(message(0x00, b""))
        status, out, err = serve.stop()
        assert status == 0
        lines = [json.loads(line)["params"] for line in out.splitlines()]
        assert lines[-1]["state"] == "finished"
        assert lines[-1]["record"]["upload"] == "pending"
        assert "1 recordings, or events of them, are still to be sent" in err


@linux
def test_the_command_records_stores_and_posts(tmp_path: Path, receiver: Receiver) -> None:
    source = write(tmp_path / "in.wav", signals.noise(1, -20))
    options = ["--storage", f"file://{tmp_path}/store", "--status-url", receiver.url]
    arguments = ["record", str(source), *OFF, *options, "--allow-private", "-o", "calls/one.wav"]
    command = [sys.executable, "-W", "error", "-m", "recorder", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    params = json.loads(done.stdout)["params"]
    assert params["url"] == (tmp_path / "store" / "one.wav").as_uri()
    # It has waited for the address before it ended.
    assert [body["params"]["state"] for body in receiver.bodies] == ["recording", "finished"]
    assert list((tmp_path / "calls").iterdir()) == []


@linux
def test_the_command_s_end_leaves_what_fails_to_the_next(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers += [503]
    source = write(tmp_path / "in.wav", signals.noise(1, -20))
    options = ["--storage", f"file://{tmp_path}/in.wav/no", "--status-url", receiver.url]
    arguments = ["record", str(source), *OFF, *options, "--allow-private"]
    command = [sys.executable, "-W", "error", "-m", "recorder", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    params = json.loads(done.stdout)["params"]
    assert (params["state"], params["record"]["upload"]) == ("finished", "pending")
    assert "cannot store" in done.stderr
    assert "are still to be sent" in done.stderr
    (path,) = (tmp_path / "recordings").glob("*.wav")
    result = recorder("recover", "recordings", folder=tmp_path)
    assert result.status == 1
    (line,) = map(json.loads, result.out.splitlines())
    assert (line["path"], line["upload"], line["unsent_events"]) == (str(path), "pending", 0)
    assert "cannot make the folder" in line["error"]
    assert [body["params"]["state"] for body in receiver.bodies][-2:] == ["recording", "finished"]


@pytest.mark.parametrize(
    "command", [["record", "in.wav"], ["serve", "--audiosocket", "127.0.0.1:0"]]
)
def test_what_cannot_be_is_refused(tmp_path: Path, command: list[str]) -> None:
    write(tmp_path / "in.wav", signals.noise(1, -20))
    result = recorder(*command, "--storage", "nowhere", folder=tmp_path)
    assert result.status == 2
    assert "storage: expected a URL such as s3://bucket/prefix, got 'nowhere'" in result.err
    result = recorder(*command, "--status-url", "http://127.0.0.1/", folder=tmp_path)
    assert result.status == 2
    assert "status_url: expected a public address" in result.err


@linux
def test_a_fork_leaves_all_to_its_parent(tmp_path: Path, receiver: Receiver) -> None:
    code = """
import os, sys
from recorder import Call
from recorder.publishing import finish
folder, store, url = sys.argv[1:]
options = dict(directory=folder, storage=store, status_url=url, allow_private=True)
with Call(**options) as call:
    action = call.record()
    call.feed(speak=bytes(1600))
    pid = os.fork()
    if not pid:
        assert finish(folder) == []
        with Call(**options, call_id="child") as own:
            other = own.record()
        assert other.join().record["upload"] == "done"
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
assert action.join().record["upload"] == "done"
"""
    where = [str(tmp_path / "calls"), f"file://{tmp_path}/store", receiver.url]
    done = subprocess.run(
        [sys.executable, "-c", code, *where], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "store").iterdir())) == 2
    assert len(receiver.bodies) == 4
    assert list((tmp_path / "calls").iterdir()) == []
