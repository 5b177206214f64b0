# SPDX-License-Identifier: MIT
"""Programs that something happens to, run by way of tests/faults/running.py.

    python -m tests.faults.programs NAME FOLDER [ARGUMENT]

Each prints the params of its recordings' terminal events, as JSON.
"""

import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import Call, CallEndedError, FileError, RecordAction, RecordEvent, recover
from tests.recordings import AUDIO, NO_LIMITS, feed_frames

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def params_of(action: RecordAction) -> dict[str, Any]:
    return dict(action.join(20).params)


def show(value: Any) -> None:
    print(json.dumps(value), flush=True)


# -- the disk ------------------------------------------------------------------------------------


def two_disks(folder: Path, format_: Any) -> None:
    """One recording on the disk that fails, one beside it."""
    call = Call()
    actions = {}
    for name in ("bad", "good"):
        (folder / name).mkdir()
        path = folder / name / f"a.{format_}"
        actions[name] = call.record({**NO_LIMITS, "format": format_}, path=path)
    feed_frames(call, AUDIO)
    call.hangup()
    show({name: params_of(action) for name, action in actions.items()})


def no_permission(folder: Path, moment: str) -> None:
    """Nothing can be named in the folder any more: root may do everything, nobody may not."""
    os.setuid(65534)
    call = Call(directory=folder)
    if moment == "before":
        folder.chmod(0o500)
        try:
            call.record(NO_LIMITS)
        except FileError as error:
            show(str(error))
        folder.chmod(0o700)
    action = call.record(NO_LIMITS)
    feed_frames(call, AUDIO[:8000])
    if moment == "while":
        folder.chmod(0o500)
    feed_frames(call, AUDIO[8000:])
    if moment == "publish":
        folder.chmod(0o500)
    action.stop()
    show(params_of(action))
    folder.chmod(0o700)
    show([(str(found.path), found.duration) for found in recover(folder)])


def open_files(folder: Path, _: str) -> None:
    """As many recordings as descriptors can be had, and all of those end well."""
    import resource

    call = Call(directory=folder)
    actions = [call.record(NO_LIMITS)]
    feed_frames(call, AUDIO[:8000])
    used = len(list(Path("/proc/self/fd").iterdir()))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The listing had one of those itself.
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, hard))
    errors = []
    for _attempt in range(6):
        try:
            actions.append(call.record(NO_LIMITS))
        except FileError as error:
            errors.append(str(error))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    staged = len(list(folder.iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, hard))
    actions[0].call.feed(speak=AUDIO[8000:])
    call.hangup()
    show({"errors": errors, "staged": staged, "ended": [params_of(action) for action in actions]})


# -- how it ends ---------------------------------------------------------------------------------


def leave(folder: Path, how: str) -> None:
    """Exit without a hangup, and without a name for the call."""
    for format_ in ("wav", "mp3"):
        call = Call(directory=folder, call_id=format_)
        call.record({**NO_LIMITS, "format": format_})
        feed_frames(call, AUDIO)
    if how == "collected":
        del call
        gc.collect()
    if how in {"_exit", "SIGTERM"}:  # what is not written yet would be lost
        from tests.conftest import settle

        settle()
    if how == "sys.exit":
        sys.exit(3)
    if how == "exception":
        raise ValueError("on purpose")
    if how == "_exit":
        os._exit(4)
    if how == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def handler_for_ever(folder: Path, kind: str) -> None:
    """A handler does not return, or the disk does not; the process exits all the same."""
    from recorder.runtime import lifecycle

    setattr(lifecycle, "_EXIT_PATIENCE_SECONDS", 0.2)  # noqa: B010  # it is Final
    never = threading.Event()
    call = Call(directory=folder)
    other = call.record(NO_LIMITS)
    if kind == "handler":
        call.record(NO_LIMITS, on_completed=lambda _: never.wait() and None)
    elif kind == "coroutine":

        async def wait(_: RecordEvent) -> None:
            never.wait()

        call.record(NO_LIMITS, on_completed=wait)
    else:
        call.record(NO_LIMITS, path=folder / "stuck.wav")
        file = call._recordings._running[-1].writer.file
        setattr(file, "write", lambda _: never.wait())  # noqa: B010  # a method
    feed_frames(call, AUDIO)
    call.hangup()
    show(params_of(other))


# -- fork ----------------------------------------------------------------------------------------


def _as_child(call: Call, action: RecordAction, folder: Path) -> dict[str, Any]:
    """What a forked process sees of its parent's call, and what it can do itself."""
    refused = []
    uses: list[Callable[[], object]] = [
        lambda: call.feed(speak=bytes(320)),
        call.record,
        lambda: call.digit("1"),
        lambda: call.advance(to=5),
        lambda: action.join(10),
    ]
    for use in uses:
        try:
            use()
        except CallEndedError as error:
            refused.append(str(error))
    answer = action.stop()["code"]
    call.hangup()
    own = Call(directory=folder / "child")
    recording = own.record(NO_LIMITS)
    own.feed(speak=AUDIO[:8000])
    recording.stop()
    return {
        "refused": refused,
        "answer": answer,
        "state": action.state,
        "own": params_of(recording),
        "busy": [found.outcome for found in recover(folder)],
    }


def fork(folder: Path, _: str) -> None:
    """Fork in the middle of a recording; both write what they are fed."""
    call = Call(directory=folder)
    action = call.record(NO_LIMITS)
    feed_frames(call, AUDIO[:8000])
    from_child, to_parent = os.pipe()
    wait_for_parent, let_go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(let_go)
        os.write(to_parent, json.dumps(_as_child(call, action, folder)).encode())
        os.close(to_parent)
        os.read(wait_for_parent, 1)  # lives longer
        sys.exit(0)
    os.close(to_parent)
    with os.fdopen(from_child) as answer:
        seen = json.load(answer)
    busy = [found.outcome for found in recover(folder)]
    feed_frames(call, AUDIO[8000:16000])
    os.close(let_go)
    os.waitpid(child, 0)
    feed_frames(call, AUDIO[16000:])
    call.hangup()
    show({"child": seen, "busy": busy, "params": params_of(action)})


def fork_while_fed(folder: Path, _: str) -> None:
    """Fork again and again while another thread feeds a call that records nothing."""
    call = Call(directory=folder)
    done = threading.Event()

    def feed() -> None:
        odd = AUDIO[:159]
        while not done.is_set():
            call.feed(speak=AUDIO[:160], listen=odd[:0])  # the long way, under the lock
            call.feed(speak=odd)

    feeder = threading.Thread(target=feed)
    feeder.start()
    states = []
    for _attempt in range(40):
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that hangs is killed
            call.feed(speak=AUDIO[:160])
            action = call.record(NO_LIMITS)
            call.feed(speak=AUDIO[:160])
            call.hangup()
            os._exit(0 if action.join(10).state == "finished" else 1)
        states.append(os.waitpid(child, 0)[1])
    done.set()
    feeder.join()
    show(states)


def parent_dies(folder: Path, _: str) -> None:
    """A forked child outlives its parent, and does not hold the parent's files."""
    call = Call(directory=folder)
    call.record(NO_LIMITS)
    feed_frames(call, AUDIO)
    from tests.conftest import settle

    settle()
    if os.fork() == 0:
        sys.stdin.read()  # until the test has looked
        os._exit(0)
    os._exit(0)


def _child_of_multiprocessing(folder: Path) -> None:
    call = Call(directory=folder, call_id="child")
    call.record(NO_LIMITS)
    call.feed(speak=AUDIO[:8000])
    call.hangup()
    from tests.conftest import settle

    settle()


def multiprocess(folder: Path, _: str) -> None:
    call = Call(directory=folder, call_id="parent")
    action = call.record(NO_LIMITS)
    feed_frames(call, AUDIO[:8000])
    process = multiprocessing.get_context("fork").Process(
        target=_child_of_multiprocessing, args=(folder,)
    )
    process.start()
    process.join(20)
    feed_frames(call, AUDIO[8000:])
    action.stop()
    show({"status": process.exitcode, "params": params_of(action)})


# -- several processes ---------------------------------------------------------------------------


def together(folder: Path, path: str) -> None:
    """Record on command, under the same ids as another process, or the same path."""
    show("ready")
    sys.stdin.readline()
    call = Call(directory=folder, call_id="same", node_id="same")
    try:
        action = call.record(NO_LIMITS, control_id="same", path=path or None)
    except FileError as error:
        show(str(error))
        return
    show("recording")
    sys.stdin.readline()
    feed_frames(call, AUDIO)
    action.stop()
    show(params_of(action))


def interrupted(folder: Path, _: str) -> None:
    """Ctrl-C, for real, again and again while the main thread feeds."""
    call = Call(directory=folder)
    action = call.record({**NO_LIMITS, "direction": "both", "stereo": True})
    interrupts = 0

    def interrupt(_: int, frame: "FrameType | None") -> None:
        while frame is not None and frame.f_code is not Call.feed.__code__:
            frame = frame.f_back
        if frame is not None:
            raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    frames = 0
    while interrupts < 100:
        try:
            call.feed(speak=AUDIO[:160], listen=AUDIO[:160])
            frames += 1
        except KeyboardInterrupt:
            interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    call.hangup()
    show({"frames": frames, "params": params_of(action), "position": call.position})


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
