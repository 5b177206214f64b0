# SPDX-License-Identifier: MIT
"""`recorder serve --relay`, SignalWire's own SDK for JavaScript, and an AudioSocket call."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests import relay_js_installing, signals
from tests.command import read, recorder
from tests.relay_js_installing import NotToBeHadError
from tests.test_relay_sdk import (
    PATIENCE,
    ROOT,
    SILENCE,
    Caller,
    Program,
    call,
    dtmf,
    says,
    serving,
    started,
)

pytestmark = pytest.mark.live

SAID: Final = signals.noise(10, -20)
Found = dict[str, Any]


@pytest.fixture
def modules() -> Path:
    try:
        return relay_js_installing.modules()
    except NotToBeHadError as error:
        pytest.skip(f"{error}; `python -m tests.relay_js_installing` gets the SDK by npm")


async def steps(program: Program, last: str) -> list[Found]:
    """What the program prints, up to a step."""
    found: list[Found] = []
    while not found or found[-1]["step"] not in {last, "failed"}:
        found.append(json.loads(await program.line()))
    return found


def test_a_program_in_javascript(modules: Path, tmp_path: Path) -> None:
    assert recorder("certificate", tmp_path, folder=tmp_path).status == 0
    command = ["node", str(ROOT / "tests" / "relay_program.cjs")]

    async def run() -> tuple[Caller, list[Found]]:
        caller = Caller(0, says(SAID))
        async with (
            serving(tmp_path, tmp_path) as server,
            started(command, server.ports["relay"], tmp_path, NODE_PATH=str(modules)) as program,
        ):
            calls = await call(server, [caller])
            found = await steps(program, "resumed")
            caller._script = iter([dtmf("#"), SILENCE])
            found += await steps(program, "hung up")
            await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
            return caller, found

    caller, found = asyncio.run(run())
    assert [(one["step"], one.get("state")) for one in found] == [
        ("answered", "answered"),
        ("played", "finished"),
        ("started", "recording"),
        ("updated", "paused"),
        ("updated", "recording"),
        ("resumed", None),
        ("ended", "finished"),
        ("hung up", "ended"),
    ]
    assert caller.closed
    record = found[-2]["record"]
    assert record["reason"] == "terminator"
    # The prompt, and the beep once the program knows of its end; neither is in the file.
    heard = np.flatnonzero(caller.sounds)
    assert 8000 + 2000 - 400 < heard[-1] - heard[0] < 8000 + 2000 + 16000
    pcm = read(Path(urlsplit(record["url"]).path))
    assert len(pcm) == record["duration"] * 8000
    # What was said, with silence in place of the pause; its edges are faded over 4 ms.
    said = pcm[np.flatnonzero(pcm)[0] :]
    expected = SAID[np.flatnonzero(SAID)[0] :][: len(said)]
    sounds = np.flatnonzero(said)
    last = np.argmax(np.diff(sounds))
    paused, resumed = sounds[last], sounds[last + 1]
    assert 3200 < resumed - paused < 16000
    for part in (slice(0, paused - 32), slice(resumed + 32, None)):
        assert np.array_equal(said[part], expected[part])
        assert 3200 < len(said[part]) < 16000
