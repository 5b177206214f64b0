# SPDX-License-Identifier: MIT
"""What others build on stays: names, types, and the imports' direction."""

import ast
import inspect
from pathlib import Path

import pytest

import recorder
from recorder import (
    Call,
    Detection,
    Detector,
    Edge,
    RecordAction,
    RecorderError,
    RecordEvent,
    RecordOptions,
    detect,
    recover,
)

SOURCES = Path(recorder.__file__).parent


def test_the_public_names() -> None:
    assert sorted(recorder.__all__) == sorted(
        [
            *(
                "SAMPLE_RATES",
                "Acknowledgement",
                "Call",
                "CallEndedError",
                "CallStats",
                "ControlIdError",
                "Detection",
            ),
            *("Detector", "Digit", "Edge", "FileError", "FrameError", "LegStats", "OptionError"),
            *("RecordAction", "RecordEvent", "RecordOptions", "RecorderError", "Recovered", "Span"),
            *("detect", "recover"),
        ]
    )
    for name in set(recorder.__all__) - {"SAMPLE_RATES"}:
        assert inspect.getdoc(getattr(recorder, name)), name


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (
            Call,
            [
                "sample_rate",
                "call_id",
                "node_id",
                "directory",
                "base_url",
                "max_skew",
                "speak_rate",
                "listen_rate",
            ],
        ),
        (Call.feed, ["self", "speak", "listen", "encoding", "at"]),
        (Call.record, ["self", "audio", "control_id", "on_completed", "path"]),
        (Call.on, ["self", "event_type", "handler"]),
        (Call.digit, ["self", "digit"]),
        (Call.advance, ["self", "to"]),
        (Call.hangup, ["self"]),
        (RecordAction.pause, ["self", "behavior"]),
        (RecordAction.wait, ["self", "timeout"]),
        (RecordAction.join, ["self", "timeout"]),
        (Detector, ["sample_rate", "input_sensitivity"]),
        (Detector.process, ["self", "frame", "encoding"]),
        (recover, ["directory"]),
        (detect, ["pcm", "sample_rate", "input_sensitivity", "encoding"]),
    ],
)
def test_the_public_parameters(function: object, parameters: list[str]) -> None:
    assert callable(function)
    assert list(inspect.signature(function).parameters) == parameters


def test_the_public_types(call: Call) -> None:
    """Checked by mypy more than by running."""
    options: RecordOptions = RecordOptions(direction="both", stereo=True)
    action: RecordAction = call.record(options, on_completed=lambda event: event.url)
    code: str = action.stop()["code"]
    event: RecordEvent | None = action.join(10)
    edges: tuple[Edge, ...] = Detector(8000).process(b"")
    found: Detection = detect(b"", 8000, 44)
    assert (code, edges, found.digits) == ("200", (), ())
    assert event is not None
    assert issubclass(recorder.FrameError, RecorderError)


# From the caller down to what knows nothing of calls; a module imports from later rows only.
ROOMS = [
    {"__main__"},
    {"cli"},
    {"__init__"},
    {"call"},
    {"action", "capture", "presses", "beep", "timeline", "legs"},
    {"detection", "delivery", "recording", "output", "masking"},
    {"writing", "mixing", "options", "frames", "background", "resampling"},
    {"writing.recovery"},
    {"writing.staged"},
    {"writing.wav", "writing.mp3"},
    {"writing.disk"},
    {"core"},
    {"runtime.lifecycle"},
    {"runtime.handlers"},
    {"runtime.threads"},
    {"runtime.lanes"},
    {"runtime.weakbag", "runtime"},
    {"events", "errors"},
]


def imports(path: Path) -> set[str]:
    """The package's own modules that a module imports when it runs, not for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only or not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.module == "recorder":
            names = {alias.name for alias in node.names}
            modules = {name for name in names if (SOURCES / f"{name}.py").exists()}
            found |= modules | ({"__init__"} if names - modules else set())
        elif node.module.startswith("recorder."):
            found.add(node.module.removeprefix("recorder."))
    return found


def test_imports_run_down_and_never_back_up() -> None:
    level = {name: row for row, names in enumerate(ROOMS) for name in names}
    for path in SOURCES.rglob("*.py"):
        name = ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        name = name.removesuffix(".__init__")
        for imported in imports(path) - {"_core"}:
            assert level[imported] > level[name], f"{name} imports {imported}"


def test_only_the_border_touches_the_c_core() -> None:
    touching = [path.name for path in SOURCES.rglob("*.py") if "_core" in imports(path)]
    assert touching == ["core.py"]
