# SPDX-License-Identifier: MIT
"""What others build on stays: names, parameters and types."""

import inspect
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

import recorder
from recorder import (
    Call,
    Detection,
    Detector,
    DigitEvent,
    Edge,
    FileDetection,
    RecordAction,
    RecorderError,
    RecordEvent,
    RecordOptions,
    VoiceEvent,
    detect,
    recover,
)
from tests.signals import VOICEMAIL

NAMES = """
    SAMPLE_RATES __version__
    Call RecordAction Acknowledgement CallStats LegStats
    RecordOptions AudioOptions
    RecordEvent VoiceEvent DigitEvent PublishingEvent
    detect Detection FileDetection Digit VoiceSpan Detector Edge
    recover Recovered
    RecorderError CallEndedError ControlIdError FileError FrameError OptionError
    WireError
"""

SNIPPET = """
import numpy as np
import numpy.typing as npt
from recorder import AudioOptions, Call, Digit, RecordEvent, VoiceSpan, detect

class Socket:
    async def send(self, data: bytes) -> None: ...

async def use(call: Call, ws: Socket) -> None:
    samples = np.zeros(160, np.int16)
    floats: npt.NDArray[np.float32] = np.zeros(160, np.float32)
    options: AudioOptions = {"direction": "both", "stereo": True, "max_length": 3}
    action = await call.record(options, on_completed=lambda event: print(event))
    await call.record(audio={"terminators": "#"})
    b: bytes = call.feed(speak=b"")
    c: bytes = call.feed(listen=b"")
    d: bytes = call.feed(speak=samples, listen=b"")
    e: bytearray = call.feed(speak=bytearray())
    f: memoryview = call.feed(listen=memoryview(b""), at=160)
    g: npt.NDArray[np.float32] = call.feed(speak=floats)
    h: npt.NDArray[np.int16] = call.feed(speak=b"", listen=samples)
    await ws.send(call.feed(speak=b"", encoding="pcmu"))
    await ws.send(call.playout(160))
    cleared: int = call.clear()
    code: str = (await action.stop())["code"]
    event: RecordEvent = await action.wait(1.0)
    ending: tuple[str | None, str | None, str | None] = (event.reason, event.digit, event.error)
    found = detect(samples, 8000)
    voice: tuple[VoiceSpan, ...] = found.voice
    digits: tuple[Digit, ...] = found.digits
    await call.hangup()
"""
REJECTED = {
    "a misspelt key": 'call.record({"direktion": "both"})',
    "a misspelt key of a variable": 'o: AudioOptions = {"max_lenght": 3}',
    "a value that cannot be": 'call.record(audio=AudioOptions(format="ogg"))',
    "sending what feed without audio returns": "await ws.send(call.feed())",
    "sending an array": "await ws.send(call.feed(speak=samples))",
    "an event type that there is not": 'call.on("calling.call.play", print)',
    "using what feed without audio returns": "i: bytes = call.feed()",
}


def test_the_public_names() -> None:
    assert sorted(recorder.__all__) == sorted(NAMES.split())
    for name in set(recorder.__all__) - {"SAMPLE_RATES", "__version__"}:
        assert inspect.getdoc(getattr(recorder, name)), name


def test_the_version_is_that_of_the_distribution() -> None:
    assert recorder.__version__ == version("recorder-telephony")


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            Call,
            "sample_rate call_id node_id directory base_url max_skew speak_rate listen_rate live"
            " file_mode storage status_url status_key keep_local allow_private",
        ),
        (Call.feed, "self speak listen encoding at"),
        (Call.play, "self pcm sample_rate encoding"),
        (Call.clear, "self"),
        (Call.playout, "self n"),
        (Call.record, "self audio control_id on_completed path storage status_url"),
        (Call.on, "self event_type handler input_sensitivity"),
        (Call.action, "self control_id"),
        (Call.digit, "self digit"),
        (Call.advance, "self to"),
        (Call.hangup, "self reason"),
        (RecordAction.stop, "self"),
        (RecordAction.pause, "self behavior"),
        (RecordAction.resume, "self"),
        (RecordAction.wait, "self timeout"),
        (RecordAction.join, "self timeout"),
        (Detector, "sample_rate input_sensitivity"),
        (Detector.process, "self frame encoding"),
        (Detector.finish, "self"),
        (recover, "directory"),
        (detect, "pcm sample_rate input_sensitivity encoding channels"),
    ],
)
def test_the_public_parameters(function: object, parameters: str) -> None:
    assert callable(function)
    assert list(inspect.signature(function).parameters) == parameters.split()


def test_the_defaults_of_a_call() -> None:
    defaults = {name: p.default for name, p in inspect.signature(Call).parameters.items()}
    assert defaults == {
        "sample_rate": 8000,
        "call_id": None,
        "node_id": None,
        "directory": "recordings",
        "base_url": None,
        "max_skew": 0.5,
        "speak_rate": None,
        "listen_rate": None,
        "live": False,
        "file_mode": 0o600,
        "storage": None,
        "status_url": None,
        "status_key": None,
        "keep_local": False,
        "allow_private": False,
    }


def test_the_public_types(call: Call) -> None:
    """Checked by mypy more than by running."""
    options: RecordOptions = RecordOptions(direction="both", stereo=True)
    action: RecordAction = call.record(options, on_completed=lambda event: event.event_type)
    code: str = action.stop()["code"]
    event: RecordEvent | None = action.join(10)
    edges: tuple[Edge, ...] = Detector(8000).process(b"")
    found: Detection = detect(b"", 8000, 44)
    of_a_file: FileDetection = detect(VOICEMAIL)
    listen: Detection | None = of_a_file.listen
    voice: list[VoiceEvent] = []
    digits: list[DigitEvent] = []
    call.on("voice", voice.append)
    call.on("digit", digits.append)
    assert (code, edges, found.digits, voice, digits) == ("200", (), (), [], [])
    assert listen is None
    assert event is not None
    assert issubclass(recorder.FrameError, RecorderError)


# -- what a type checker says ---------------------------------------------------------------------


def mypy(folder: Path, code: str) -> str:
    """What mypy --strict says about a program that uses the installed package."""
    if find_spec("mypy") is None:
        pytest.skip("needs mypy")
    (folder / "snippet.py").write_text(code)
    cache = Path(__file__).parent.parent / ".mypy_cache" / "snippets"
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
    command += ["--config-file", "", "--follow-imports", "silent", "--cache-dir", str(cache)]
    done = subprocess.run(
        [*command, "snippet.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_a_type_checker_accepts_what_is_right(tmp_path: Path) -> None:
    assert mypy(tmp_path, SNIPPET) == ""


def test_a_type_checker_finds_what_is_wrong(tmp_path: Path) -> None:
    """Each line alone: an error in it, and in no other."""
    lines = [f"    {code}" for code in REJECTED.values()]
    said = mypy(tmp_path, "\n".join([SNIPPET.rstrip(), *lines]) + "\n")
    first = SNIPPET.rstrip().count("\n") + 2
    wrong = {int(line.split(":")[1]) for line in said.splitlines() if ": error:" in line}
    expected = dict(enumerate(REJECTED, first))
    assert wrong == set(expected), [expected[n] for n in set(expected) - wrong] or said
