# SPDX-License-Identifier: MIT
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from tests.asterisk.calling import SERVERS, SPOKEN, Dial, Dialled, Recorded
from tests.asterisk.installing import installed
from tests.asterisk.running import Asterisk, Server, running_asterisk, running_server
from tests.asterisk.sip import SipCall, SipDial


def _missing() -> str | None:
    """What cannot be done without, and how it is had."""
    if installed() is None:
        return "there is no Asterisk: python -m tests.asterisk.installing gets it"
    if shutil.which("sipp") is None:
        return "there is no sipp: apt-get install sip-tester"
    return None


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of this folder. Where something is missing, one of them says what."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        item.add_marker(pytest.mark.asterisk)
    why = _missing()
    if ours and why is not None:
        ours[0].add_marker(pytest.mark.skip(reason=why))
        items[:] = [item for item in items if item not in ours[1:]]
        config.hook.pytest_deselected(items=ours[1:])


class Lab:
    """An Asterisk, and the servers that it can send calls to, by name."""

    def __init__(self, asterisk: Asterisk, servers: dict[str, Server]) -> None:
        self.asterisk = asterisk
        self.servers = servers

    def start(self, dial: Dial | SipDial) -> Recorded:
        """Start a call."""
        server = self.servers[dial.server]
        call_id = str(uuid4())
        if isinstance(dial, SipDial):
            return SipCall(dial, call_id, server, self.asterisk)
        return Dialled(dial, call_id, server, self.asterisk)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    asterisk = installed()
    assert asterisk is not None
    folder = tmp_path_factory.mktemp("asterisk")
    for name, audio in SPOKEN.items():
        audio.astype("<i2").tofile(
            folder / f"{name}.sln"
        )  # of a WAV it leaves out the last 22 samples
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(running_server(tmp_path_factory.mktemp(name), options))
            for name, options in SERVERS.items()
        }
        websockets = {
            name: server.address("asterisk-websocket") for name, server in servers.items()
        }
        yield Lab(stack.enter_context(running_asterisk(asterisk, folder, websockets)), servers)
        for server in servers.values():
            assert server.stop() == (0, "")


@pytest.fixture(scope="session")
def started(request: pytest.FixtureRequest, lab: Lab) -> Iterator[dict[str, Recorded]]:
    """The calls of all tests that have one, by the test's name. They take place at once."""
    started = {}
    for item in request.session.items:
        dials = item.callspec.params.get("calls", []) if hasattr(item, "callspec") else []
        if len(dials) == 1:
            started[item.nodeid] = lab.start(dials[0])
    yield started
    for call in started.values():
        call.close()


@pytest.fixture
def calls(request: pytest.FixtureRequest, lab: Lab, started: dict[str, Recorded]) -> list[Recorded]:
    """The calls that the test's parameter describes."""
    one = started.get(request.node.nodeid)
    return [lab.start(dial) for dial in request.param] if one is None else [one]


@pytest.fixture
def call(calls: list[Recorded]) -> Recorded:
    """The one call of a test."""
    (only,) = calls
    return only
