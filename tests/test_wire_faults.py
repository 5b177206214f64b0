# SPDX-License-Identifier: MIT
"""What goes wrong on the wires of `recorder serve`, and costs no other call a sample."""

import asyncio
import logging
import signal
import socket
import struct
import sys
import threading
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recorder import Call, RecordOptions, WireError
from recorder.server import connection
from recorder.server.calls import Calls
from recorder.server.http import HttpServer
from recorder.server.meters import Readings
from recorder.server.ticker import Ticker
from recorder.server.websocket import OverWebSocket, media_stream
from recorder.writing.staged import StagedFile
from tests import wire_faults
from tests.bad_peers import hear_nothing
from tests.wires import (
    CONTINUATION,
    KINDS,
    STREAM,
    TEXT,
    Party,
    Serve,
    call,
    handshake,
    lies_at,
    new_id,
    said,
    serving,
    stream_opening,
    websocket,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.mark.live
def test_no_fault_of_a_peer_costs_another_call_a_sample(tmp_path: Path) -> None:
    """Each fault at once, and short calls; `python -m tests.wire_faults` does so for long."""
    report = wire_faults.run(tmp_path, seconds=2, connections=60, max_calls=140, max_idle=5.5)
    assert report.broken == []
    assert report.counted == dict(report.expected)
    assert set(report.expected) == {
        *("protocol", "message-size", "first-message", "idle", "slow-reader", "max-calls"),
    }
    assert len(report.good) == 6
    assert None not in [start for _, _, start in report.good]
    assert (report.whole, report.lost_seconds) == (report.short, 0)
    assert report.descriptors[0] == report.descriptors[1]
    assert report.status == 0
    assert "Traceback" not in report.log


def test_a_process_that_stood_still_loses_nothing_of_its_calls(tmp_path: Path) -> None:
    """A stall, of a machine that is moved for one, is no silence of the parties."""

    async def main(serve: Serve) -> None:
        calls = [(source, new_id(), said(2.0, seed)) for seed, source in enumerate(KINDS)]

        async def stall() -> None:
            while serve.metrics()["recorder_calls"] < len(calls):
                await asyncio.sleep(0.05)
            serve.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(1.0)
            serve.process.send_signal(signal.SIGCONT)

        parties = [
            call(source, serve.addresses[source.name], call_id, pcm)
            for source, call_id, pcm in calls
        ]
        await asyncio.gather(stall(), *parties)
        for source, call_id, pcm in calls:
            await serve.until_ended(call_id)
            assert lies_at(serve.audio(call_id), pcm) is not None, source.name
        metrics = serve.metrics()
        for what in ("filled", "late", "duplicate", "overlap"):
            assert metrics[f'recorder_audio_seconds_total{{leg="speak",what="{what}"}}'] == 0

    with serving(tmp_path) as serve:
        asyncio.run(main(serve))


@pytest.mark.slow
def test_a_peer_that_vanishes_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is sent nothing, which would show it: a media stream."""
    monkeypatch.setattr(connection, "_VANISHED_SECONDS", 3)

    async def main() -> None:
        options = RecordOptions.whole_call()
        events: list[dict[str, Any]] = []
        calls = Calls(options, tmp_path, events.append, most=1, most_idle_seconds=60)
        make = partial(connection.Connection, media_stream, calls, Ticker(lambda _: None), set())
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        async with server, asyncio.timeout(30):
            party = await Party.connect(server.sockets[0].getsockname(), STREAM.shake)
            await party.send(STREAM.opening("MZ1"))
            while not calls.readings().values["calls",]:
                await asyncio.sleep(0.01)
            hear_nothing(party.writer.get_extra_info("socket"))
            while not calls.counted.values["refusals", "vanished"]:
                await asyncio.sleep(0.1)
            party.writer.transport.abort()
        await calls.finish(10)

    asyncio.run(main())


# -- parts -----------------------------------------------------------------------------------------


def no_call(call_id: str, rate: int) -> Call:
    raise AssertionError(call_id)


def test_the_clock_of_calls_waits_for_what_was_said_in_a_stall(tmp_path: Path) -> None:
    async def main() -> None:
        events: list[dict[str, Any]] = []
        options = RecordOptions.whole_call()
        calls = Calls(options, tmp_path, events.append, most=1, most_idle_seconds=60)
        seconds = 0.0
        calls.now = lambda: seconds
        calls.tick()
        one = calls.open(new_id(), 8000, lambda: None)
        frame = b"\1\0" * 160
        for _ in range(10):
            seconds += 0.02
            calls.tick()
            one.feed(speak=frame)
        seconds += 1.0
        for _ in range(50):  # what was held back is read before the next tick
            one.feed(speak=frame)
        assert one.position == 60 * 160
        for _ in range(50):
            calls.tick()
            one.advance()
        assert one.position == 60 * 160
        seconds += 0.02
        assert one.position == 61 * 160
        speak = one.stats.speak
        assert (speak.taken, speak.filled, speak.late) == (60 * 160, 0, 0)
        one.hangup()
        calls.leave(one)
        await calls.finish(10)

    asyncio.run(main())


def test_calls_are_refused_while_the_disk_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short calls that end faster than their files are complete are not to fill the memory."""
    may_end = threading.Event()
    publish = StagedFile.publish

    def publish_late(file: StagedFile) -> tuple[Path, int]:
        assert may_end.wait(10)
        return publish(file)

    monkeypatch.setattr(StagedFile, "publish", publish_late)

    async def main() -> None:
        events: list[dict[str, Any]] = []
        options = RecordOptions.whole_call()
        calls = Calls(options, tmp_path, events.append, most=1, most_idle_seconds=60)
        for _ in range(2):
            assert calls.accept()
            one = calls.open(new_id(), 8000, lambda: None)
            one.feed(speak=bytes(320))
            one.hangup()
            calls.leave(one)
        assert calls.readings().values["unfinished_recordings",] == 2
        assert not calls.accept()
        assert calls.counted.values["refusals", "unfinished"] == 1
        may_end.set()
        await calls.finish(10)
        assert calls.accept()

    asyncio.run(main())


@pytest.fixture
def wire() -> OverWebSocket:
    return media_stream(no_call)


def test_frames_behind_a_handshake_that_is_refused(wire: OverWebSocket) -> None:
    refused = handshake("/", Sec_WebSocket_Version="12")
    with pytest.raises(WireError, match=r"expected a WebSocket: .*Sec-WebSocket-Version"):
        wire.receive(refused + stream_opening("MZ1"))
    assert wire.hang_up().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/\x1b[2J", "/\x1b[2J?rate=\x1b[2J", "/?\x1b[2J=1"])
def test_a_path_that_is_none_does_not_reach_a_terminal(wire: OverWebSocket, path: str) -> None:
    with pytest.raises(WireError) as raised:
        wire.receive(handshake(path))
    assert "\x1b" not in str(raised.value)


def test_a_message_of_empty_pieces_takes_no_memory(wire: OverWebSocket) -> None:
    wire.receive(handshake("/"))
    wire.receive(websocket(TEXT, b"{", first=0))
    empty = websocket(CONTINUATION, first=0) * 10_000
    tracemalloc.start()
    try:
        for _ in range(5):
            wire.receive(empty)
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()
    with pytest.raises(WireError, match=r"expected a JSON object, got '{'"):
        wire.receive(websocket(CONTINUATION))


def test_a_peer_of_http_that_is_gone_before_its_answer(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As HAProxy is once it knows the status."""
    asked, gone = threading.Event(), threading.Event()

    def readings() -> Readings:
        asked.set()
        assert gone.wait(10)
        return Readings()

    server = HttpServer("127.0.0.1", 0, is_well=lambda: True, readings=readings)
    server.daemon_threads = False  # so that it waits for them
    server.start()
    with socket.create_connection(("127.0.0.1", server.server_port)) as peer:
        peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: recorder\r\n\r\n")
        assert asked.wait(10)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.set()
    server.shutdown()
    server.server_close()
    assert (capsys.readouterr().err, caplog.text) == ("", "")


def test_a_request_of_http_that_fails_is_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bool:
        raise ValueError("on purpose")

    server = HttpServer("127.0.0.1", 0, is_well=fail, readings=Readings)
    server.daemon_threads = False
    server.start()
    with socket.create_connection(("127.0.0.1", server.server_port)) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: recorder\r\n\r\n")
        assert peer.recv(1) == b""
    server.shutdown()
    server.server_close()
    assert caplog.record_tuples[0][:2] == ("recorder", logging.ERROR)
    assert "ValueError: on purpose" in caplog.text
    assert capsys.readouterr().err == ""
