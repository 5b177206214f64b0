# SPDX-License-Identifier: MIT
"""Where recordings and events go: stores, addresses, failures, and what survives a process."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder import Call, OptionError, PublishingEvent, RecordAction, RecordEvent
from recorder.publishing import finish
from recorder.publishing.agent import AGENT
from tests import signals
from tests.publishing import (
    KEY,
    FlakyFileSystem,
    ManualClock,
    Receiver,
    die,
    outbox_of,
    receiving,
    sent,
    stored,
    until,
)
from tests.recordings import NO_LIMITS

AUDIO = signals.noise(0.5, -20)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualClock]:
    clock = ManualClock()
    monkeypatch.setattr(AGENT.means, "clock", clock)
    monkeypatch.setattr(AGENT.means, "chance", random.Random(1))
    FlakyFileSystem.reset()
    yield clock
    FlakyFileSystem.hangs.set()
    sent()
    die()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


Publish = Callable[..., RecordAction]


@pytest.fixture
def told() -> list[Any]:
    """All events of all calls, in the order in which they came."""
    return []


@pytest.fixture
def publish(make_call: Callable[..., Call], told: list[Any]) -> Publish:
    """Record AUDIO, on a call with these options, up to its end."""

    def record(record: dict[str, Any] | None = None, **options: Any) -> RecordAction:
        if options.get("status_url"):
            options = {"status_key": KEY, "allow_private": True, **options}
        call = make_call(**options)
        call.on("calling.call.record", told.append)
        call.on("publishing", told.append)
        action = call.record(NO_LIMITS, **(record or {}))
        call.feed(speak=AUDIO)
        action.stop()
        return action

    return record


def terminal(events: list[Any]) -> list[RecordEvent]:
    return [one for one in events if isinstance(one, RecordEvent) and one.reason]


def news(events: list[Any]) -> list[tuple[str, str]]:
    return [(one.what, one.state) for one in events if isinstance(one, PublishingEvent)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- stores --------------------------------------------------------------------------------------


def test_a_file_is_stored_and_the_event_says_where(
    publish: Publish, tmp_path: Path, folder: Path
) -> None:
    event = publish(storage=f"file://{tmp_path}/store/calls").join(10)
    sent()
    (stored_file,) = (tmp_path / "store" / "calls").iterdir()
    data = stored_file.read_bytes()
    assert event.url == event.record["url"] == stored_file.as_uri()
    assert (event.state, event.path, event.record["upload"]) == ("finished", None, "done")
    assert event.record["sha256"] == hashlib.sha256(data).hexdigest()
    assert event.size == len(data)
    assert stored_file.stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("storage", ["memory://calls/of-today/", "memory://"])
def test_a_store_in_memory(publish: Publish, storage: str) -> None:
    import fsspec

    event = publish(storage=storage).join(10)
    with fsspec.open(event.url) as file:
        data = file.read()
    assert len(data) == event.size
    fsspec.filesystem("memory").store.clear()


def test_the_file_may_stay(publish: Publish, folder: Path) -> None:
    event = publish(storage="flaky://calls", keep_local=True).join(10)
    sent()
    assert event.path is not None
    assert [path.name for path in folder.iterdir()] == [event.path.name]
    assert stored() == {f"/calls/{event.path.name}": event.path.read_bytes()}
    assert event.url == f"flaky://calls/{event.path.name}"


def test_one_recording_may_go_elsewhere(publish: Publish) -> None:
    one = publish({"storage": "flaky://other"}, storage="flaky://calls").join(10)
    two = publish({"storage": ""}, storage="flaky://calls").join(10)
    three = publish({"storage": "flaky://calls"}).join(10)
    assert one.url.startswith("flaky://other/")
    assert two.url.startswith("file://")
    assert "upload" not in two.record
    assert three.url.startswith("flaky://calls/")


def test_a_public_address_of_the_store(publish: Publish) -> None:
    event = publish(storage="flaky://calls", base_url="https://example.org/calls?a=b").join(10)
    (path,) = stored()
    name = path.rpartition("/")[2]
    assert event.url == f"https://example.org/calls/{name}?a=b"


def test_all_events_carry_the_url(publish: Publish, told: list[Any]) -> None:
    publish(storage="flaky://calls").join(10)
    urls = {event.url for event in told if isinstance(event, RecordEvent)}
    assert len(urls) == 1
    assert urls.pop().startswith("flaky://calls/")


def test_no_input_is_stored_too(make_call: Callable[..., Call]) -> None:
    call = make_call(storage="flaky://calls")
    action = call.record({"initial_timeout": 1})
    call.feed(speak=signals.silence(2))
    event = action.join(10)
    assert (event.state, event.record["upload"]) == ("no_input", "done")
    assert len(stored()) == 1


def test_what_arrives_damaged_is_sent_again(
    publish: Publish, clock: ManualClock, told: list[Any]
) -> None:
    FlakyFileSystem.flips = 1
    event = publish(storage="flaky://calls", keep_local=True).join(10)
    assert event.record["upload"] == "pending"
    assert "has arrived damaged" in event.record["upload_error"]
    assert not [path for path in stored() if not path.endswith(".part")]
    clock.advance(2)
    assert event.path is not None
    assert stored() == {f"/calls/{event.path.name}": event.path.read_bytes()}


def test_a_store_that_fails(
    publish: Publish, clock: ManualClock, told: list[Any], folder: Path, receiver: Receiver
) -> None:
    FlakyFileSystem.failures += [OSError("the store is down")] * 3
    event = publish(storage="flaky://calls", status_url=receiver.url).join(10)
    assert (event.state, event.record["upload"]) == ("finished", "pending")
    assert event.record["upload_error"] == "the store is down"
    assert event.url.startswith("flaky://calls/")
    assert event.path is not None
    assert event.path.exists()
    assert stored() == {}
    waits = []
    for _ in range(3):
        sent()
        waits.append(min(due for due, _ in clock.waiting) - clock.seconds)
        clock.advance(waits[-1])
    assert 0.5 <= waits[0] <= 1 <= waits[1] <= 2 <= waits[2] <= 4
    assert list(stored()) == [f"/calls/{event.path.name}"]
    assert set(FlakyFileSystem.puts) == {f"/calls/.{event.path.name}.part"}
    assert not event.path.exists()
    assert len(terminal(told)) == 1
    assert news(told) == [("upload", "started"), ("upload", "done")]
    # Whoever is told by POST learns it too.
    assert receiver.states == ["recording", "finished", "finished"]
    assert [body["params"]["record"].get("upload") for body in receiver.bodies] == [
        None,
        "pending",
        "done",
    ]
    assert outbox_of(folder) == []


def test_a_store_that_hangs_delays_its_event_for_a_bounded_time(
    publish: Publish, clock: ManualClock, told: list[Any]
) -> None:
    FlakyFileSystem.hangs.clear()
    action = publish(storage="flaky://calls")
    other = publish(storage="memory://elsewhere")  # another host is not held up
    assert other.join(10).record["upload"] == "done"
    assert not action.is_done
    until(lambda: clock.waiting)
    for due, job in clock.waiting:
        assert due - clock.seconds == 30
        job()
    event = action.join(10)
    assert event.record["upload"] == "pending"
    assert event.record["upload_error"] == "it takes longer than 30 s"
    FlakyFileSystem.hangs.set()
    sent()
    assert len(stored()) == 1
    assert news(told)[-1] == ("upload", "done")


def test_at_most_four_are_stored_at_once(publish: Publish) -> None:
    FlakyFileSystem.hangs.clear()
    actions = [publish(storage="flaky://calls") for _ in range(6)]
    until(lambda: len(FlakyFileSystem.puts) >= 4)
    assert len(FlakyFileSystem.puts) == 4
    FlakyFileSystem.hangs.set()
    assert {action.join(10).record["upload"] for action in actions} == {"done"}
    assert len(stored()) == 6


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (NotImplementedError("it is read only"), "it is read only"),
        (ValueError("no such thing"), "no such thing"),
    ],
)
def test_what_can_never_work_is_given_up(
    publish: Publish, failure: Exception, why: str, folder: Path, told: list[Any]
) -> None:
    FlakyFileSystem.failures.append(failure)
    event = publish(storage="flaky://calls").join(10)
    assert (event.state, event.record["upload"]) == ("finished", "failed")
    assert event.record["upload_error"] == why
    assert event.path is not None
    assert event.path.exists()
    assert event.url == event.path.as_uri()
    sent()
    assert outbox_of(folder) == []


def test_what_is_there_already_is_not_replaced(publish: Publish, tmp_path: Path) -> None:
    FlakyFileSystem().pipe_file("/calls/mine.wav", b"precious")
    event = publish({"path": tmp_path / "mine.wav"}, storage="flaky://calls").join(10)
    assert event.record["upload"] == "failed"
    assert event.record["upload_error"] == "flaky://calls/mine.wav is there already"
    assert stored() == {"/calls/mine.wav": b"precious"}
    assert (tmp_path / "mine.wav").exists()


def test_a_recording_without_a_file(make_call: Callable[..., Call], folder: Path) -> None:
    import shutil

    call = make_call(storage="flaky://calls")
    action = call.record(NO_LIMITS)
    call.feed(speak=AUDIO)
    shutil.rmtree(folder)
    action.stop()
    event = action.join(10)
    assert (event.state, event.record["upload"]) == ("error", "failed")
    assert stored() == {}


def test_a_program_hears_of_an_outbox_that_cannot_be_kept(
    make_call: Callable[..., Call], folder: Path
) -> None:
    folder.mkdir()
    (folder / ".outbox").write_text("in the way")
    call = make_call(storage="flaky://calls")
    found: list[PublishingEvent] = []
    call.on("publishing", found.append)
    action = call.record(NO_LIMITS)
    action.stop()
    assert action.join(10).record["upload"] == "done"
    sent()
    assert [(one.what, one.state) for one in found] == [("outbox", "failed"), ("upload", "started")]
    assert found[0].error is not None
    assert found[0].payload["params"]["what"] == "outbox"


# -- addresses -----------------------------------------------------------------------------------


def test_events_are_posted_in_order_and_signed(publish: Publish, receiver: Receiver) -> None:
    action = publish(status_url=receiver.url)
    assert receiver.states == ["recording", "finished"]
    assert receiver.genuine == [True, True]
    event = action.join(10)
    body = receiver.bodies[-1]
    assert len({body.pop("event_id") for body in receiver.bodies}) == 2
    assert body == json.loads(json.dumps(event.payload))
    assert event.path is not None
    assert event.path.exists()
    assert outbox_of(event.path.parent) == []


def test_an_address_that_fails(
    publish: Publish, receiver: Receiver, clock: ManualClock, told: list[Any]
) -> None:
    receiver.answers += [500, 404, 302]
    action = publish(status_url=receiver.url)
    action.join(10)  # is not delayed
    assert receiver.states == ["recording"]
    waits = []
    for _ in range(3):
        waits.append(clock.waiting[0][0] - clock.seconds)
        clock.advance(waits[-1])
    assert 0.5 <= waits[0] <= 1 <= waits[1] <= 2 <= waits[2] <= 4
    assert receiver.states == ["recording"] * 4 + ["finished"]
    assert len({body["event_id"] for body in receiver.bodies[:4]}) == 1
    assert receiver.genuine == [True] * 5
    assert len(set(receiver.headers)) >= 3  # signed anew
    assert news(told) == [("status", "pending"), ("status", "done")]


def test_an_address_that_is_gone(publish: Publish, receiver: Receiver, told: list[Any]) -> None:
    receiver.answers += [410]
    action = publish(status_url=receiver.url)
    event = action.join(10)
    assert receiver.states == ["recording", "finished"]
    assert news(told) == [("status", "failed")]
    (failure,) = [one for one in told if isinstance(one, PublishingEvent)]
    assert "410" in str(failure.error)
    assert event.path is not None
    assert outbox_of(event.path.parent) == []


def test_after_three_days_an_event_is_given_up(
    publish: Publish, receiver: Receiver, clock: ManualClock, told: list[Any]
) -> None:
    receiver.answers += [503] * 10_000
    publish(status_url=receiver.url)
    sent()
    tries = len(receiver.bodies)
    clock.advance(4)
    assert len(receiver.bodies) > tries
    clock.seconds += 3 * 24 * 3600
    clock.advance(600)
    assert news(told)[0] == ("status", "pending")
    assert ("status", "failed") in news(told)


def test_an_address_that_hangs_holds_up_nothing_else(publish: Publish, receiver: Receiver) -> None:
    receiver.hangs.clear()
    with receiving() as other:
        for _ in range(5):
            publish(status_url=receiver.url).join(10)
        publish(status_url=other.url).join(10)
        until(lambda: len(other.bodies) >= 2)
    receiver.hangs.set()
    assert sorted(receiver.states) == ["finished"] * 5 + ["recording"] * 5


def test_the_order_of_a_call_is_kept(
    make_call: Callable[..., Call], receiver: Receiver, clock: ManualClock
) -> None:
    receiver.answers += [500]
    call = make_call(status_url=receiver.url, status_key=KEY, allow_private=True)
    events: list[Any] = []
    call.on("calling.call.record", events.append)
    actions = [call.record(NO_LIMITS, control_id=str(n)) for n in range(5)]
    for action in actions:
        call.feed(speak=AUDIO)
        action.pause()
        action.resume()
        action.stop()
        action.join(10)
    clock.advance(60)

    def told(params: dict[str, Any]) -> tuple[str, str]:
        return params["control_id"], params["state"]

    # The first one was sent twice.
    assert [told(body["params"]) for body in receiver.bodies[1:]] == [
        told(event.params) for event in events
    ]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "[::1]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
    ],
)
def test_private_addresses_are_refused(make_call: Callable[..., Call], host: str) -> None:
    with pytest.raises(OptionError, match="expected a public address"):
        make_call(status_url=f"http://{host}/events", status_key=KEY)


def test_a_name_of_a_private_address_is_refused(
    make_call: Callable[..., Call], receiver: Receiver, told: list[Any]
) -> None:
    call = make_call(status_url=f"http://localhost:{receiver.port}/", status_key=KEY)
    call.on("publishing", told.append)
    action = call.record(NO_LIMITS)
    action.stop()
    action.join(10)
    sent()
    assert receiver.bodies == []
    assert [(one.what, one.state) for one in told] == [("status", "failed")] * 2
    assert "localhost is at" in told[0].error


def test_a_name_is_connected_to_by_the_address_that_was_checked(
    publish: Publish, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **others: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "events.example" else host, port, *rest, **others)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    publish(status_url=f"http://events.example:{receiver.port}/").join(10)
    assert receiver.states == ["recording", "finished"]
    assert asked.count("events.example") == 2  # once for each event


# -- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"storage": "calls"}, "storage: expected a URL such as s3://bucket/prefix, got 'calls'"),
        ({"storage": 5}, "storage: expected a URL such as s3://bucket/prefix, got 5"),
        ({"storage": 0}, "storage: expected a URL or None, got 0"),
        ({"storage": "s3://"}, "storage: expected a bucket or folder in it, got 's3://'"),
        ({"storage": "simplecache::s3://b"}, "storage: expected a URL such as"),
        ({"storage": "s3://b/a?x=1"}, "storage: expected a URL such as"),
        ({"storage": "https://a.example/"}, "storage: expected a scheme that can be written to"),
        ({"storage": "s4://bucket"}, "storage: expected a scheme of fsspec, such as s3"),
        ({"storage": "dropbox://a"}, "storage: dropbox:// needs a library: "),
        ({"keep_local": 1}, "keep_local: expected True or False, got 1"),
        ({"allow_private": "no"}, "allow_private: expected True or False, got 'no'"),
        ({"status_url": "example.org"}, "status_url: expected a URL such as https://"),
        ({"status_url": "ftp://example.org"}, "status_url: expected a URL such as https://"),
        ({"status_url": "https://example.org:99999/"}, "status_url: expected a URL such as"),
        ({"status_url": "https://ex ample.org/"}, "status_url: expected a URL such as"),
        ({"status_url": "https://[::1/"}, "status_url: expected a URL such as"),
        ({"status_url": 7}, "status_url: expected a URL such as"),
        ({"status_url": 0}, "status_url: expected a URL or None, got 0"),
        ({"status_url": "https://example.org"}, "status_url: expected a key to sign with"),
        ({"status_key": ""}, "status_key: expected a string, not empty, or None"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    make_call: Callable[..., Call],
    options: dict[str, Any],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RECORDER_STATUS_KEY", raising=False)
    with pytest.raises(OptionError) as refused:
        make_call(**options)
    assert str(refused.value).startswith(why)
    with pytest.raises(OptionError):
        make_call(**{**options, "storage": options.get("storage", "s4://b")})


def test_it_is_refused_by_record_too(call: Call, folder: Path) -> None:
    with pytest.raises(OptionError, match=r"storage: .* got 'nowhere'"):
        call.record(storage="nowhere")
    with pytest.raises(OptionError, match=r"status_url: .* got 'nowhere'"):
        call.record(status_url="nowhere")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("option", "value", "library"),
    [("storage", "memory://", "fsspec"), ("status_url", "https://example.org", "httpx")],
)
def test_a_library_that_is_missing(tmp_path: Path, option: str, value: str, library: str) -> None:
    import subprocess
    import sys

    code = f"""
import sys; sys.modules[{library!r}] = None
from recorder import Call
Call({option}={value!r}, status_key="k")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f"OptionError: {option}: needs the extra `publish`" in done.stderr


def test_passwords_are_in_no_message(make_call: Callable[..., Call]) -> None:
    with pytest.raises(OptionError) as refused:
        make_call(storage="s4://me:secret@host/a")
    assert "secret" not in str(refused.value)
    assert "secret" not in repr(make_call(status_key="secret")._destinations)


# -- another process -----------------------------------------------------------------------------


def test_an_upload_survives_the_process(
    publish: Publish, folder: Path, receiver: Receiver, clock: ManualClock
) -> None:
    FlakyFileSystem.failures += [OSError("the store is down")] * 2
    receiver.answers += [503] * 100
    event = publish(storage="flaky://calls", status_url=receiver.url).join(10)
    sent()
    assert len(outbox_of(folder)) == 2
    assert stored() == {}
    die()
    del receiver.answers[:]
    (found,) = finish(folder, status_key=KEY)
    assert found.upload == "pending"  # it fails once more
    clock.advance(10)
    assert event.path is not None
    assert list(stored()) == [f"/calls/{event.path.name}"]
    assert names(folder) == []
    # The first one was sent before as well, with the same id.
    ids = [body["event_id"] for body in receiver.bodies]
    assert ids[0] == ids[1]
    assert receiver.states[1:] == ["recording", "finished", "finished"]
    assert receiver.bodies[-1]["params"]["record"]["upload"] == "done"


def test_the_next_process_that_records_there_continues(
    publish: Publish, folder: Path, receiver: Receiver
) -> None:
    receiver.answers += [503]
    publish(status_url=receiver.url).join(10)
    sent()
    die()
    publish(storage="flaky://calls", status_url=receiver.url).join(10)
    assert sorted(receiver.states) == ["finished"] * 2 + ["recording"] * 3
    assert outbox_of(folder) == []


@pytest.mark.parametrize("knows", [True, False])
def test_a_process_that_died_before_the_terminal_event(
    make_call: Callable[..., Call],
    folder: Path,
    receiver: Receiver,
    knows: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """How it ends is in the outbox before the file has its name."""
    call = make_call(
        storage="flaky://calls", status_url=receiver.url, status_key=KEY, allow_private=True
    )
    action = call.record(NO_LIMITS, control_id="mine")
    call.feed(speak=signals.noise(2, -20))
    sent()
    # The file gets its name, but nobody learns how it ended.
    session = call._actions[action.recording_id]._session
    monkeypatch.setattr(session, "_publish", lambda event, last: None)
    if not knows:
        monkeypatch.setattr(session, "_note", None)
    action.stop()
    sent()
    (name,) = [name for name in names(folder) if name != ".outbox"]
    die()
    assert finish(folder, status_key=KEY)[0].upload == "done"
    assert list(stored()) == [f"/calls/{name}"]
    params = receiver.bodies[-1]["params"]
    assert (params["control_id"], params["state"]) == ("mine", "finished" if knows else "error")
    assert params["record"]["reason"] == ("stopped" if knows else "error")
    assert params["size"] == len(stored()[f"/calls/{name}"])
    assert params["duration"] == params["record"]["duration"] == 2.0
    assert params["url"] == f"flaky://calls/{name}"
    assert params["record"]["upload"] == "done"
    assert ("ended before it reported" in params["record"].get("error", "")) is not knows


def test_what_a_process_works_on_is_left_alone(publish: Publish, folder: Path) -> None:
    FlakyFileSystem.failures += [OSError("the store is down")]
    publish(storage="flaky://calls").join(10)
    sent()
    assert finish(folder) == []


def test_an_entry_that_cannot_be_read_stays(
    publish: Publish, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    FlakyFileSystem.failures += [OSError("the store is down")]
    publish(storage="flaky://calls").join(10)
    sent()
    die()
    (path,) = (folder / ".outbox").glob("*.json")
    for content in ("no JSON", "[]", '{"version": 99}', '{"version": 1}'):
        path.write_text(content)
        assert finish(folder) == []
        assert path.read_text() == content
    assert "cannot read" in caplog.text


def test_without_a_key_events_wait(
    publish: Publish, folder: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECORDER_STATUS_KEY", raising=False)
    receiver.answers += [503]
    publish(status_url=receiver.url).join(10)
    sent()
    die()
    (found,) = finish(folder)
    assert (found.upload, found.unsent_events) == ("none", 2)
    assert "RECORDER_STATUS_KEY is not set" in found.error
    die()
    monkeypatch.setenv("RECORDER_STATUS_KEY", KEY)
    (found,) = finish(folder)
    assert (found.unsent_events, found.error) == (0, "")
    assert receiver.states == ["recording", "recording", "finished"]
    assert receiver.genuine == [True] * 3


def test_nothing_is_left_over_in_a_folder_without_an_outbox(tmp_path: Path) -> None:
    assert finish(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
