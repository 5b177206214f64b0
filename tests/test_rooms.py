# SPDX-License-Identifier: MIT
"""The package's modules and how they use each other: downwards, and by public names."""

import ast
from functools import cache
from pathlib import Path

import pytest

import recorder

SOURCES = Path(recorder.__file__).parent

# From the face down: a module imports from the right of itself, or from a lower room.
ROOMS = [
    "__main__ cli cli.record cli.detect cli.recover cli.serve cli.certificate cli.worker cli.inputs"
    " cli.publishing cli.audio cli.console",
    "server.workers server.serving server.relay server.media server.websocket server.connection"
    " server.calls server.http server.lines server.settings server.stopping server.ticker"
    " server.meters server",
    "relay.hub relay.session relay.calls relay.playing relay.collecting relay.tones relay.schema"
    " relay",
    "sources.audiosocket sources.asterisk_websocket sources.asterisk_control"
    " sources.media_stream sources.dialects sources.stream_events sources.tracks"
    " sources.forms sources.messages sources.playback sources.arrival sources.pcm sources.rtp",
    "__init__",
    "call reports action",
    "publishing publishing.agent publishing.publication publishing.lines publishing.outbox"
    " publishing.targets publishing.destinations publishing.webhook publishing.storage"
    " publishing.attempts publishing.signature",
    "recording.recordings recording.session recording.state recording",
    "writing.writer writing writing.recovery writing.staged writing.mp3 writing.wav writing.mixing"
    " writing.disk",
    "detection.detect",
    "sources.capture sources.captured_calls sources.sip sources.pcap sources.rtp_receiver"
    " sources.rtp_streams sources.reordering sources.rtp_packets sources.telephone_event"
    " sources.codecs sources",
    "reading detection.masking detection.watch detection.digits detection",
    "placement.legs placement.inputs placement.playout placement.beep placement.timeline"
    " placement.clock placement.resampling placement.frames placement",
    "runtime.lifecycle runtime.handlers runtime.threads runtime.lanes runtime.turns"
    " runtime.weakbag runtime.loops runtime",
    "events options",
    "detection.core",
    "errors",
]

# Whose private names a module may use besides its own.
SHARED = {
    # Users hold a Call and a RecordAction: what only these need of each other is hidden from users.
    "call": {"action"},
    "action": {"call"},
    "reports": {"action"},
}

MODULES = {
    ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCES.rglob("*.py")
}


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def for_types_only(tree: ast.Module) -> set[int]:
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }


def imports(name: str) -> set[str]:
    """The package's own modules that a module imports when it runs, not for types only."""
    tree = tree_of(name)
    types = for_types_only(tree)
    found = set()
    for node in ast.walk(tree):
        if id(node) in types:
            continue
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "recorder" for alias in node.names), name
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        assert not node.level, f"{name} has a relative import"
        package, _, inside = node.module.partition(".")
        if package == "recorder":
            for alias in node.names:
                full = f"{inside}.{alias.name}".lstrip(".")
                is_module = full in MODULES or full == "_core"
                found.add(full if is_module else inside or "__init__")
    return found


def test_every_module_has_its_room() -> None:
    assert sorted(" ".join(ROOMS).split()) == sorted(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_down_and_never_back_up(name: str) -> None:
    order = " ".join(ROOMS).split()
    above = [
        imported
        for imported in imports(name) - {"_core", "_core.lib", "_core.ffi"}
        if order.index(imported) <= order.index(name)
    ]
    assert not above, f"{name} imports {', '.join(above)}"


def test_only_the_border_touches_the_c_core() -> None:
    assert [name for name in MODULES if "_core" in imports(name)] == ["detection.core"]


# -- private names --------------------------------------------------------------------------------


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@cache
def private_names(name: str) -> frozenset[str]:
    """What a module defines that is its own: functions, classes, variables and attributes."""
    found = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) in {"self", "cls"}
        ):
            found.add(node.attr)
    return frozenset(filter(is_private, found))


def private_names_used(name: str) -> set[str]:
    """Private names of anything but a module's own instances and classes."""
    used = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if ast.unparse(node.value) not in {"self", "cls", "super()"}:
                used.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recorder"):
            used |= {alias.name for alias in node.names if is_private(alias.name)} - {"_core"}
    return used


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_uses_private_names_of_another(name: str) -> None:
    """So that calls follow the imports: nobody reaches into what a callback or a value is for."""
    allowed = {name} | SHARED.get(name, set())
    own = frozenset[str]().union(*(private_names(one) for one in allowed))
    others = {
        f"{used}, of {other}"
        for used in private_names_used(name) - own
        for other in set(MODULES) - allowed
        if used in private_names(other)
    }
    assert not others, f"{name} uses {'; '.join(sorted(others))}"


def test_private_names_that_are_shared_are_few() -> None:
    """An allowed pair is there because it is needed."""
    for name, others in SHARED.items():
        for other in others:
            assert private_names_used(name) & private_names(other), f"{name} needs none of {other}"
