# SPDX-License-Identifier: MIT
"""`recorder serve` in a process of its own, and the parties at the other end of its wires.

Each party sends what it says at its pace, a little ahead: then a busy machine that delays the party
makes no gap in what it says.
"""

import asyncio
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import numpy as np
import soundfile

from tests import signals
from tests.signals import Pcm

SOURCES: Final = ("audiosocket", "asterisk-websocket", "media-stream")
SERVE: Final = [sys.executable, "-W", "error", "-m", "recorder", "serve"]
ANY_PORT: Final = "127.0.0.1:0"
# A call is recorded until it is hung up.
ALWAYS: Final = ("--initial-timeout", "0", "--end-silence-timeout", "0", "--terminators", "")
TERMINAL: Final = {"finished", "no_input", "error"}

FRAME: Final = 160  # samples, 20 ms
FRAME_SECONDS: Final = 0.02
LEAD_SECONDS: Final = 0.2
PATIENCE: Final = 60.0

Address = tuple[str, int]


# -- the server ------------------------------------------------------------------------------------


class Serve:
    """A process of `recorder serve` with all three sources and HTTP.

    `ended` has the terminal event of each recording by its call's id.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.addresses: dict[str, Address] = {}
        self.ended: dict[str, dict[str, Any]] = {}
        assert process.stdout is not None
        for _ in range(len(SOURCES) + 1):
            line = process.stdout.readline()
            assert line, f"it ended with {process.wait()}"
            found = json.loads(line)
            self.addresses[found["listening"]] = found["host"], found["port"]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(ValueError):  # a line that a SIGKILL has cut
                params = json.loads(line)["params"]
                if params["state"] in TERMINAL:
                    self.ended[params["call_id"]] = params

    def get(self, path: str) -> str:
        """A page of its HTTP."""
        host, port = self.addresses["http"]
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=PATIENCE) as answer:
            body: bytes = answer.read()
        return body.decode()

    def metrics(self) -> dict[str, float]:
        """What /metrics shows, by name with labels."""
        return metrics_of(self.get("/metrics"))

    def refusals(self) -> dict[str, int]:
        """How many connections were refused or broken off, by why."""
        prefix, suffix = 'recorder_refusals_total{why="', '"}'
        return {
            name.removeprefix(prefix).removesuffix(suffix): round(value)
            for name, value in self.metrics().items()
            if name.startswith(prefix)
        }

    @property
    def resident(self) -> int:
        """Its memory in KiB (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    @property
    def descriptors(self) -> int:
        """How many files and sockets it has open (Linux)."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self) -> int:
        """SIGTERM; its exit status, once all its output is read."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status

    async def until_ended(self, call_id: str) -> dict[str, Any]:
        """Wait for the terminal event of a call's recording."""
        async with asyncio.timeout(PATIENCE):
            while call_id not in self.ended:
                await asyncio.sleep(0.02)
        return self.ended[call_id]

    def audio(self, call_id: str) -> Pcm:
        """What the file of a call holds."""
        path = unquote(urlsplit(self.ended[call_id]["url"]).path)
        audio, _ = soundfile.read(path, dtype="int16")
        return np.asarray(audio)


def metrics_of(page: str) -> dict[str, float]:
    """Prometheus's text, by name with labels."""
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


@contextmanager
def serving(folder: Path, *options: str, directory: str = "calls", **ports: str) -> Iterator[Serve]:
    """Run it in a folder, where its standard error is the file `DIRECTORY.log`.

    `ports` are addresses of sources, or of `http`; where there is none it picks one.
    """
    command = [*SERVE, "--directory", directory, *ALWAYS, *options]
    for name in (*SOURCES, "http"):
        command += [f"--{name}", ports.get(name.replace("-", "_"), ANY_PORT)]
    with (
        (folder / f"{directory}.log").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            yield Serve(process)
        finally:
            process.kill()


# -- what parties send -----------------------------------------------------------------------------


def audiosocket(kind: int, payload: bytes) -> bytes:
    """A message of AudioSocket."""
    return struct.pack(">BH", kind, len(payload)) + payload


def websocket(
    opcode: int, payload: bytes = b"", *, first: int = 0x80, masked: bool = True, length: int = 0
) -> bytes:
    """A frame of a WebSocket client, whose mask changes nothing; `length` is a claim."""
    size = length or len(payload)
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([first | opcode, mask | size])
    elif size < 1 << 16:
        head = struct.pack(">BBH", first | opcode, mask | 126, size)
    else:
        head = struct.pack(">BBQ", first | opcode, mask | 127, size)
    return head + bytes(4) * masked + payload


TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9


def text(**fields: object) -> bytes:
    """A JSON message in a frame."""
    return websocket(TEXT, json.dumps(fields).encode())


def handshake(path: str = "/media", **changed: str) -> bytes:
    """The HTTP of a client that wants a WebSocket."""
    headers = {
        "Host": "recorder",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "A" * 22 + "==",
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the party of one kind sends: `shake` first, the rest once that is answered."""

    name: str
    opening: Callable[[str], bytes]
    audio: Callable[[Pcm], bytes]
    goodbye: bytes
    shake: bytes = b""


def _as_wire(pcm: Pcm) -> bytes:
    return pcm.astype("<i2").tobytes()


def asterisk_opening(call_id: str, form: str = "slin", size: int = 320) -> bytes:
    """Chan_websocket's MEDIA_START."""
    start = {"event": "MEDIA_START", "connection_id": "recorder", "channel_id": call_id}
    return text(**start, channel="WebSocket/recorder", format=form, optimal_frame_size=size)


def stream_opening(stream_id: str) -> bytes:
    """Twilio's `start`."""
    form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    return text(event="start", start={"streamSid": stream_id, "mediaFormat": form})


def _media(pcm: Pcm) -> bytes:
    payload = b64encode(signals.g711(pcm, "pcmu")).decode()
    return text(event="media", media={"track": "inbound", "payload": payload})


AUDIOSOCKET: Final = Source(
    name="audiosocket",
    opening=lambda call_id: audiosocket(0x01, uuid.UUID(call_id).bytes),
    audio=lambda pcm: audiosocket(0x10, _as_wire(pcm)),
    goodbye=audiosocket(0x00, b""),
)
ASTERISK: Final = Source(
    name="asterisk-websocket",
    shake=handshake(),
    opening=asterisk_opening,
    audio=lambda pcm: websocket(BINARY, _as_wire(pcm)),
    goodbye=websocket(CLOSE, struct.pack(">H", 1000)),
)
STREAM: Final = Source(
    name="media-stream",
    shake=handshake("/"),
    opening=stream_opening,
    audio=_media,
    goodbye=text(event="stop"),
)
KINDS: Final = (AUDIOSOCKET, ASTERISK, STREAM)


def new_id() -> str:
    return str(uuid.uuid4())


def said(seconds: float, seed: int) -> Pcm:
    """What a party says: noise that mu-law carries as it is, and no sample of it is silence."""
    pcm = signals.through_g711(signals.noise(seconds, -25, seed=seed), "pcmu")
    return np.where(pcm == 0, signals.through_g711(np.full(1, 8, np.int16), "pcmu"), pcm)


# -- parties ---------------------------------------------------------------------------------------


class Party:
    """One end of a wire: reads and drops what comes, and sends what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.received = 0
        self._has_come = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(
        cls, address: Address, shake: bytes = b"", tls: ssl.SSLContext | None = None
    ) -> "Party":
        """Connect, and shake hands where the wire is a WebSocket."""
        reader, writer = await asyncio.open_connection(*address, ssl=tls)
        if shake:
            writer.write(shake)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 101 "), answer
        return cls(reader, writer)

    async def _read(self) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await self.reader.read(1 << 16):
                self.received += len(data)
                self._has_come.set()
        self._has_come.set()

    async def hears(self) -> bool:
        """Wait for the first bytes; False when it is closed instead."""
        await asyncio.wait_for(self._has_come.wait(), PATIENCE)
        return self.received > 0

    async def send(self, data: bytes) -> None:
        """Send; ConnectionError where the server has closed."""
        self.writer.write(data)
        await self.writer.drain()

    async def closed(self) -> None:
        """Wait until the server has closed, and close."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
        self.writer.close()
        with suppress(ConnectionError, ssl.SSLError, TimeoutError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """End it as the system does for a process that was killed: by an RST."""
        linger = struct.pack("ii", 1, 0)
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


async def call(
    source: Source,
    address: Address,
    call_id: str,
    pcm: Pcm,
    *,
    tls: ssl.SSLContext | None = None,
    until: asyncio.Event | None = None,
    sent_of: dict[str, int] | None = None,
) -> int:
    """One whole call that says this, at its pace; how many samples of it were sent.

    With `until` it says it until then, or to its end. `sent_of` has what was sent so far, by call.
    ConnectionError where the wire breaks.
    """
    party = await Party.connect(address, source.shake, tls)
    await party.send(source.opening(call_id))
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    try:
        for at in range(0, len(pcm), FRAME):
            await party.send(source.audio(pcm[at : at + FRAME]))
            sent = min(len(pcm), at + FRAME)
            if sent_of is not None:
                sent_of[call_id] = sent
            if until is not None and until.is_set():
                break
            due = began + sent / signals.RATES[0] - LEAD_SECONDS
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
        # What it has said ahead is in the past by the time it hangs up.
        await asyncio.sleep(max(0.0, began + sent / signals.RATES[0] - loop.time()))
        await party.send(source.goodbye)
    finally:
        await party.closed()
    return sent


def lies_at(audio: Pcm, pcm: Pcm) -> int | None:
    """Where in a file this lies in one piece, with only silence before it; None where not."""
    sounding = np.flatnonzero(audio)
    start = int(sounding[0]) if len(sounding) else 0
    is_there = np.array_equal(audio[start : start + len(pcm)], pcm)
    return start if is_there and not audio[start + len(pcm) :].any() else None
