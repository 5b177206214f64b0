# SPDX-License-Identifier: MIT
"""`recorder serve --relay`, SignalWire's own SDK in a process of its own, and AudioSocket calls.

All calls of a server run at once; each test looks at what became of its own.
"""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from recorder import detect
from tests import signals
from tests.command import read, recorder, write
from tests.publishing import KEY, Receiver, receiving
from tests.relay_program import PROGRAMS
from tests.test_audiosocket import message
from tests.test_serve import COMMAND

pytest.importorskip("signalwire", reason="the test extra installs signalwire-sdk")
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform == "win32", reason="signals end a process there"),
]

ROOT: Final = Path(__file__).parent.parent
SECRETS: Final = {"PROJECT": "project", "TOKEN": "token"}
FRAME: Final = 160
PATIENCE: Final = 40.0
Found = dict[str, Any]
Script = Callable[["Caller"], Iterator[bytes]]


def programs(name: str) -> int:
    return [one.__name__ for one in PROGRAMS].index(name)


# -- the caller ------------------------------------------------------------------------------------


def audio(frame: "np.typing.NDArray[np.int16]") -> bytes:
    return message(0x10, np.pad(frame, (0, FRAME - len(frame))).astype("<i2").tobytes())


SILENCE: Final = audio(np.zeros(0, np.int16))
HANGUP: Final = message(0x00, b"")


def frames(pcm: "np.typing.NDArray[np.int16]") -> Iterator[bytes]:
    for at in range(0, len(pcm), FRAME):
        yield audio(pcm[at : at + FRAME])


class Caller:
    """An AudioSocket call: a message for each that comes, as its script says; then silence."""

    def __init__(self, number: int, script: Script) -> None:
        self.id = uuid.UUID(bytes=bytes([number]) + uuid.uuid4().bytes[1:])
        self.is_recorded = False
        self.heard = bytearray()
        self.closed = False
        self._script = script(self)

    async def run(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message(0x01, self.id.bytes))
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                kind, *length = await reader.readexactly(3)
                payload = await reader.readexactly(int.from_bytes(length, "big"))
                if kind != 0x10:
                    break
                self.heard += payload
                for part in self._script:
                    writer.write(part)
                    if part[0] == 0x10:
                        break
                else:
                    writer.write(SILENCE)
                await writer.drain()
        self.closed = True
        writer.close()

    @property
    def sounds(self) -> "np.typing.NDArray[np.int16]":
        return np.frombuffer(bytes(self.heard), "<i2")


def says(*parts: "np.typing.NDArray[np.int16] | bytes", at_once: bool = False) -> Script:
    """Once it is recorded, or at once: audio, and messages."""

    def script(caller: Caller) -> Iterator[bytes]:
        while not caller.is_recorded and not at_once:
            yield SILENCE
        for part in parts:
            if isinstance(part, bytes):
                yield part
            else:
                yield from frames(part)

    return script


def dtmf(digits: str) -> bytes:
    return b"".join(message(0x03, digit.encode()) for digit in digits)


# -- the server, the client, and all their calls ---------------------------------------------------


class Serve:
    """A server and what it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ports: dict[str, int] = {}
        self.events: dict[str, list[Found]] = {}
        self.callers: dict[str, Caller] = {}
        self.has_changed = asyncio.Event()

    async def listen(self, sockets: int) -> None:
        for _ in range(sockets):
            line = await self.line()
            self.ports[line["listening"]] = line["port"]
        self.reading = asyncio.create_task(self.read())

    async def line(self) -> Found:
        assert self.process.stdout is not None
        found: Found = json.loads(await self.process.stdout.readline())
        return found

    async def read(self) -> None:
        with suppress(json.JSONDecodeError):  # its end
            while True:
                params = (await self.line())["params"]
                self.events.setdefault(params["call_id"], []).append(params)
                caller = self.callers.get(params["call_id"])
                if caller is not None:
                    caller.is_recorded = True
                self.has_changed.set()

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not what():
                self.has_changed.clear()
                await self.has_changed.wait()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    assert recorder("certificate", folder, folder=folder).status == 0
    return folder


def relay_options(certificate: Path) -> list[str]:
    return [
        *("--audiosocket", "127.0.0.1:0", "--relay", "127.0.0.1:0"),
        *("--tls-cert", str(certificate / "relay-cert.pem")),
        *("--tls-key", str(certificate / "relay-key.pem")),
        *("--project", SECRETS["PROJECT"], "--directory", "calls"),
        *("--tts-command", f"{sys.executable} -m tests.voice"),
    ]


@asynccontextmanager
async def serving(folder: Path, certificate: Path, *options: str) -> AsyncIterator[Serve]:
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *relay_options(certificate), *options),
        cwd=folder,
        env={**os.environ, "RECORDER_TOKEN": SECRETS["TOKEN"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        server = Serve(process)
        await server.listen(2)
        yield server
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)
        assert process.stderr is not None
        errors = (await process.stderr.read()).decode()
        assert (process.returncode, "Traceback" in errors) == (0, False), errors
    finally:
        with suppress(ProcessLookupError):
            process.kill()


class Program:
    """A program on the SDK, and the lines that it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self) -> str:
        assert self.process.stdout is not None
        try:
            line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"no line comes behind {self.lines}") from None
        assert line, "the program has ended"
        self.lines.append(line.decode().rstrip())
        return self.lines[-1]


def running(
    name: str, port: int, certificate: Path, **environment: str
) -> AbstractAsyncContextManager[Program]:
    return started([sys.executable, "-m", f"tests.{name}"], port, certificate, **environment)


@asynccontextmanager
async def started(
    command: Sequence[str], port: int, certificate: Path, **environment: str
) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={
            **os.environ,
            **SECRETS,
            "HOST": f"localhost:{port}",
            "SIGNALWIRE_RELAY_CA_FILE": str(certificate / "relay-cert.pem"),
            "NODE_EXTRA_CA_CERTS": str(certificate / "relay-cert.pem"),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def call(server: Serve, callers: Sequence[Caller]) -> list["asyncio.Task[None]"]:
    """Begin calls as soon as a client is there; until then they are refused."""
    tasks = []
    for caller in callers:
        server.callers[str(caller.id)] = caller
        tasks.append(asyncio.create_task(_until_taken(server, caller)))
    return tasks


async def _until_taken(server: Serve, caller: Caller) -> None:
    # What is refused has no events, and ends sooner.
    while str(caller.id) not in server.events and len(caller.heard) < 320 * 15:
        caller.heard.clear()
        await caller.run(server.ports["audiosocket"])


# -- the documented example ------------------------------------------------------------------------

SAID: Final = signals.noise(1.5, -20)
EXAMPLES: Final[Mapping[str, Script]] = {
    "terminator in band": says(SAID, signals.dtmf("#", 0.1)),
    "terminator out of band": says(SAID, dtmf("#")),
    "end_silence": says(SAID),
}


@pytest.fixture(scope="module")
def example(
    certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Caller, str, list[Found]]]:
    """Of each call: the caller, the line that was printed, and the server's events."""
    folder = tmp_path_factory.mktemp("example")

    async def run() -> dict[str, tuple[Caller, str, list[Found]]]:
        callers = {name: Caller(0, script) for name, script in EXAMPLES.items()}
        async with (
            serving(folder, certificate) as server,
            running("relay_example", server.ports["relay"], certificate) as program,
        ):
            calls = await call(server, [*callers.values()])
            for _ in callers:
                await program.line()
            await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
            found = {}
            for name, caller in callers.items():
                (line,) = [line for line in program.lines if str(caller.id) in line]
                found[name] = (caller, line, server.events[str(caller.id)])
            return found

    return asyncio.run(run())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_documented_example(
    example: dict[str, tuple[Caller, str, list[Found]]], name: str
) -> None:
    caller, line, events = example[name]
    assert line.startswith("Recording saved: file://")
    path = Path(urlsplit(line.removeprefix("Recording saved: ")).path)
    assert [params["state"] for params in events] == ["recording", "finished"]
    assert events[-1]["url"] == path.as_uri()
    assert events[-1]["record"]["reason"] == name.split(maxsplit=1)[0]
    pcm = read(path)
    said = pcm[np.flatnonzero(pcm)[0] :]
    sounds = said[said != 0]
    assert len(sounds) == pytest.approx(len(SAID), abs=200)
    assert np.array_equal(sounds[:8000], SAID[SAID != 0][:8000])
    assert len(pcm) == events[-1]["duration"] * 8000
    # The prompt, then the beep, and neither is in the file.
    heard = np.flatnonzero(caller.sounds)
    assert heard[-1] - heard[0] == pytest.approx(8000 + 2000, abs=400)
    assert caller.closed


# -- other programs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes(
    certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Caller, Found]]:
    """What each program has printed of its call."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "audio").mkdir()
    write(folder / "audio" / "a.wav", signals.noise(0.3, -20))
    scripts: dict[str, Script] = {
        "pauses": says(signals.noise(5, -20)),
        "two_at_once": says(signals.noise(5, -20)),
        "wrong_option": says(),
        "same_control_id": says(),
        "hangs_up": says(signals.noise(0.5, -20), HANGUP),
        "behind_a_prompt": says(),
        "no_input": says(),
        "pin": says(
            signals.noise(0.3, -20), *(part for d in "1234" for part in _press(d)), dtmf("#")
        ),
        "plays": says(*(part for _ in range(100) for part in _press("5")), at_once=True),
    }

    async def run() -> dict[str, tuple[Caller, Found]]:
        callers = {name: Caller(programs(name), script) for name, script in scripts.items()}
        audio = ("--audio-directory", "audio")
        async with (
            serving(folder, certificate, *audio) as server,
            running(
                "relay_program", server.ports["relay"], certificate, AUDIO="file:a.wav"
            ) as program,
            running("relay_example", server.ports["relay"], certificate, TOKEN="wrong") as stranger,
        ):
            begun = asyncio.get_running_loop().time()
            refused = asyncio.create_task(stranger.process.communicate())
            calls = await call(server, [*callers.values()])
            names = {str(caller.id): name for name, caller in callers.items()}
            found = {}
            for _ in callers:
                printed = json.loads(await program.line())
                name = names[printed["call_id"]]
                found[name] = (callers[name], printed)
            _, errors = await asyncio.wait_for(refused, PATIENCE)
            found["wrong credentials"] = (
                callers["plays"],
                {
                    "status": stranger.process.returncode,
                    "errors": errors.decode(),
                    "took": asyncio.get_running_loop().time() - begun,
                },
            )
            await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
            return found

    return asyncio.run(run())


def _press(digit: str) -> list["np.typing.NDArray[np.int16]"]:
    return [signals.dtmf(digit, 0.1), signals.silence(0.1)]


def duration_of(found: Found) -> float:
    pcm, rate = soundfile.read(urlsplit(found["url"]).path)
    return len(pcm) / float(rate)


Outcomes = dict[str, tuple[Caller, Found]]


def test_pause_twice_resume_stop(outcomes: Outcomes) -> None:
    _, found = outcomes["pauses"]
    assert found["states"] == ["recording", "paused", "recording", "finished"]
    assert (found["state"], found["reason"]) == ("finished", "stopped")
    assert 0.5 < found["duration"] < 1.45  # not the pause
    assert duration_of(found) == found["duration"]


def test_two_recordings_at_once(outcomes: Outcomes) -> None:
    _, found = outcomes["two_at_once"]
    one, other = found["one"], found["other"]
    assert (one["format"], other["format"]) == ("wav", "mp3")
    assert other["audio"]["stereo"] is True
    assert other["duration"] > one["duration"] > 0.8
    assert soundfile.info(urlsplit(other["url"]).path).channels == 2


def test_a_wrong_option_reaches_the_user(outcomes: Outcomes) -> None:
    _, found = outcomes["wrong_option"]
    assert "audio has no option 'beeep'; did you mean 'beep'?" in found["error"]


def test_a_control_id_in_use(outcomes: Outcomes) -> None:
    _, found = outcomes["same_control_id"]
    assert "control_id 'mine' belongs to a running recording" in found["error"]
    assert found["state"] == "finished"


def test_the_caller_hangs_up(outcomes: Outcomes) -> None:
    _, found = outcomes["hangs_up"]
    assert (found["state"], found["reason"], found["ended"]) == ("finished", "hangup", "hangup")
    assert found["is_done"] is True


def test_a_beep_behind_a_prompt_of_twelve_seconds(outcomes: Outcomes) -> None:
    caller, found = outcomes["behind_a_prompt"]
    assert found["answered"] < 2
    assert (found["state"], found["reason"]) == ("no_input", "initial_timeout")
    assert found["took"] > 13
    beep = np.flatnonzero(caller.sounds)
    assert beep[-1] - beep[0] == pytest.approx(2000, abs=200)


def test_no_input(outcomes: Outcomes) -> None:
    _, found = outcomes["no_input"]
    assert (found["state"], found["reason"]) == ("no_input", "initial_timeout")
    assert found["url"].startswith("file://")
    assert found["size"] == Path(urlsplit(found["url"]).path).stat().st_size


def test_a_pin_is_collected_and_not_in_the_file(outcomes: Outcomes) -> None:
    _, found = outcomes["pin"]
    expected = {"digits": "1234", "terminator": ""}
    assert found["collected"] == {"type": "digit", "params": expected}
    pcm = read(Path(urlsplit(found["url"]).path))
    assert not detect(pcm, 8000).digits
    assert np.count_nonzero(pcm) > 1500


def test_files_that_play_and_digits(outcomes: Outcomes) -> None:
    _, found = outcomes["plays"]
    assert found["found"] == "finished"
    assert found["missing"]["state"] == "error"
    assert "there is no file" in found["missing"]["error"]
    assert found["states"][:3] == ["playing", "finished", "error"]
    assert found["states"][3:] == ["playing", "paused", "playing", "finished"]
    assert found["digit"] == "5"


def test_wrong_credentials_end_a_client(outcomes: Outcomes) -> None:
    _, found = outcomes["wrong credentials"]
    assert found["status"] == 1
    assert "expected the project and token of this server" in found["errors"]
    assert 6 < found["took"] < 40


def test_fifty_calls_at_once(certificate: Path, tmp_path: Path) -> None:
    async def run() -> list[Found]:
        callers = [Caller(programs("many"), says(signals.noise(2, -20))) for _ in range(50)]
        async with (
            serving(tmp_path, certificate) as server,
            running("relay_program", server.ports["relay"], certificate) as program,
        ):
            calls = await call(server, callers)
            found = [json.loads(await program.line()) for _ in callers]
            await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
            return found

    found = asyncio.run(run())
    assert len({one["call_id"] for one in found}) == 50
    assert {(one["state"], one["reason"], one["duration"]) for one in found} == {
        ("finished", "max_length", 0.5)
    }
    assert len({one["url"] for one in found}) == 50


# -- connections -----------------------------------------------------------------------------------


class Cable:
    """Passes bytes on between a client and the server, until it is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0

    async def plug(self) -> int:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        await asyncio.gather(_pass(reader, back), _pass(there, writer))

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def close(self) -> None:
        self._server.close()
        self.cut()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def test_a_wait_goes_on_over_a_connection_that_is_cut(certificate: Path, tmp_path: Path) -> None:
    async def run() -> tuple[Found, int]:
        caller = Caller(programs("until_hash"), says(signals.noise(0.5, -20)))
        async with serving(tmp_path, certificate) as server:
            cable = Cable(server.ports["relay"])
            port = await cable.plug()
            async with running("relay_program", port, certificate) as program:
                calls = await call(server, [caller])
                assert await program.line() == "begun"
                cable.cut()
                # While the client is away: a second at least.
                caller._script = iter([dtmf("#"), SILENCE])
                await server.until(lambda: len(server.events.get(str(caller.id), [])) == 2)
                found = json.loads(await program.line())
                await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
            cable.close()
            return found, cable.connections

    found, connections = asyncio.run(run())
    assert (found["state"], found["reason"]) == ("finished", "terminator")
    assert connections == 2


def test_without_a_client(certificate: Path, tmp_path: Path) -> None:
    """A call is refused at once, or recorded where the server's own options say how."""

    async def run(*options: str) -> tuple[Caller, list[Found], float]:
        caller = Caller(0, says(signals.noise(0.2, -20), HANGUP))
        async with serving(tmp_path, certificate, *options) as server:
            server.callers[str(caller.id)] = caller
            begun = asyncio.get_running_loop().time()
            await asyncio.wait_for(caller.run(server.ports["audiosocket"]), PATIENCE)
            took = asyncio.get_running_loop().time() - begun
            if options:
                await server.until(lambda: len(server.events.get(str(caller.id), [])) == 2)
            return caller, server.events.get(str(caller.id), []), took

    caller, events, took = asyncio.run(run())
    assert (caller.closed, events) == (True, [])
    assert took < 1
    _, events, _ = asyncio.run(run("--stereo"))
    assert [params["state"] for params in events] == ["recording", "finished"]


def test_events_are_posted_too(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDER_STATUS_KEY", KEY)

    async def run(receiver: Receiver) -> Found:
        options = ("--status-url", receiver.url, "--allow-private")
        async with (
            serving(tmp_path, certificate, *options) as server,
            running("relay_program", server.ports["relay"], certificate) as program,
        ):
            printed = asyncio.create_task(program.line())
            # Calls that come before the client are recorded by the server's own options.
            while not printed.done():
                caller = Caller(programs("many"), says(signals.noise(1, -20), HANGUP))
                server.callers[str(caller.id)] = caller
                await asyncio.wait_for(caller.run(server.ports["audiosocket"]), PATIENCE)
                await asyncio.wait([printed], timeout=0.2)
            found: Found = json.loads(await printed)
        return found

    with receiving() as receiver:
        found = asyncio.run(run(receiver))
    # Once the server has ended, all are sent.
    assert all(receiver.genuine)
    events = [body["params"] for body in receiver.bodies]
    begun, ended = [params for params in events if params["call_id"] == found["call_id"]]
    assert (begun["state"], ended["state"]) == ("recording", "finished")
    assert ended["url"] == found["url"]
    assert ended["record"]["reason"] == found["reason"] == "max_length"


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount")
def test_a_full_disk(certificate: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("cannot mount a small disk")

    async def run() -> Found:
        caller = Caller(programs("full_disk"), says(signals.noise(10, -20)))
        async with (
            serving(tmp_path, certificate, "--directory", str(disk)) as server,
            running("relay_program", server.ports["relay"], certificate) as program,
        ):
            calls = await call(server, [caller])
            found: Found = json.loads(await program.line())
            await asyncio.wait_for(asyncio.gather(*calls), PATIENCE)
            return found

    try:
        found = asyncio.run(run())
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert found["states"] == ["recording", "error", "no_input"]
    assert (found["state"], found["reason"]) == ("no_input", "error")
    assert "No space left on device" in found["error"]


def test_it_is_tls_and_nothing_else(certificate: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, certificate) as server:
            port = server.ports["relay"]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n")
            with suppress(ConnectionError):
                assert b"HTTP" not in await reader.read()
            writer.close()
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.open_connection("localhost", port, ssl=ssl.create_default_context())

    asyncio.run(run())
