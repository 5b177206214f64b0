# SPDX-License-Identifier: MIT
"""RTP that ffmpeg sends, what a network makes of it, and what is recorded of that."""

import random
import shutil
import socket
import struct
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from recorder import Call
from recorder.detection.core import g711_decode
from recorder.sources.rtp import RtpLeg, is_rtcp, parse
from tests.recordings import NO_LIMITS, audio_of
from tests.signals import VOICEMAIL, Pcm

HAS_FFMPEG: Final = shutil.which("ffmpeg") is not None
_HEADER: Final = 12
_TICK: Final = 0.02
# The first packets of a stream say where it lies: they are not lost, nor held up.
_INTACT: Final = 6
_MOST_PLACES: Final = 5  # by which a packet is held up: as many as the window holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """What ffmpeg calls it, and what RTP does."""

    encoder: str
    rate: int
    payload_type: int
    rtpmap: str

    @property
    def sample_bytes(self) -> int:
        return 2 if "L16" in self.rtpmap else 1

    def decoded(self, payload: bytes) -> Pcm:
        if self.sample_bytes == 2:
            return np.frombuffer(payload, ">i2").astype(np.int16)
        law = "pcmu" if "PCMU" in self.rtpmap else "pcma"
        return np.frombuffer(g711_decode(payload, law), np.int16)  # type: ignore[arg-type]


CODECS: Final = {
    "PCMU": Codec(encoder="pcm_mulaw", rate=8000, payload_type=0, rtpmap="PCMU/8000"),
    "PCMA": Codec(encoder="pcm_alaw", rate=8000, payload_type=8, rtpmap="PCMA/8000"),
    "L16": Codec(encoder="pcm_s16be", rate=16000, payload_type=97, rtpmap="L16/16000"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What happens on the way: shares of the packets, 0 to 1."""

    loss: float = 0.0
    reorder: float = 0.0
    twice: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Of the packets that were sent, those that arrived, and twice; of the recording, samples.

    `equal` are those of packets that arrived, as they were sent, of `due` ones; `silent` those of
    packets that did not, of `lost` ones. `late` is what the call dropped.
    """

    sent: int
    arrived: int
    twice: int
    due: int
    equal: int
    lost: int
    silent: int
    late: int


def ffmpeg(encoder: str, rate: int, seconds: float, *output: str) -> bytes:
    """Let it encode the sample message."""
    command = ["ffmpeg", "-loglevel", "error", "-i", str(VOICEMAIL), "-t", str(seconds)]
    command += ["-ar", str(rate), "-ac", "1", "-c:a", encoder, *output]
    return subprocess.run(command, check=True, capture_output=True).stdout


def sent_by_ffmpeg(
    encoder: str, rate: int, seconds: float = 1, *, packet_size: int = 0
) -> list[bytes]:
    """What it sends to a socket, as fast as it can: RTP, and its RTCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        wire.bind(("127.0.0.1", 0))
        port = wire.getsockname()[1]
        size = f"&pkt_size={packet_size}" if packet_size else ""
        ffmpeg(encoder, rate, seconds, "-f", "rtp", f"rtp://127.0.0.1:{port}?rtcpport={port}{size}")
        wire.setblocking(False)
        received = []
        with suppress(BlockingIOError):
            while True:
                received.append(wire.recv(2048))
    return received


@cache
def packets_of(name: str, seconds: float = 1) -> tuple[bytes, ...]:
    """Its packets of 20 ms or less, in order."""
    codec = CODECS[name]
    size = _HEADER + codec.rate // 50 * codec.sample_bytes
    found = sent_by_ffmpeg(codec.encoder, codec.rate, seconds, packet_size=size)
    return tuple(data for data in found if not is_rtcp(data))


def renumbered(packets: list[bytes], *, wraps_at: int, ssrc: int) -> list[bytes]:
    """The same from another source, whose two counters wrap at that packet."""
    first, last = parse(packets[0]), parse(packets[wraps_at])
    sequence = -(last.sequence - first.sequence)
    timestamp = -(last.timestamp - first.timestamp)
    found = []
    for data in packets:
        one = parse(data)
        counters = (
            (one.sequence - first.sequence + sequence) & 0xFFFF,
            (one.timestamp - first.timestamp + timestamp) & 0xFFFFFFFF,
            ssrc,
        )
        found.append(data[:2] + struct.pack(">HII", *counters) + data[_HEADER:])
    return found


def through(
    packets: list[bytes], times: list[float], network: Network, seed: int, *, changes_at: int = 0
) -> tuple[list[tuple[float, bytes]], set[int]]:
    """What arrives and when, and the numbers of the packets that do; an SSRC changes at one."""
    rng = random.Random(seed)
    tick = times[1] - times[0]
    arriving: list[tuple[float, int, bytes]] = []
    for number, (seconds, data) in enumerate(zip(times, packets, strict=True)):
        since = number - changes_at if number >= changes_at else number
        before = changes_at - number if number < changes_at else len(packets)
        is_intact = since < _INTACT or before <= _INTACT
        if not is_intact and rng.random() < network.loss:
            continue
        is_late = not is_intact and rng.random() < network.reorder
        delay = _MOST_PLACES * tick * rng.uniform(0.2, 0.999) if is_late else 0
        arriving.append((seconds + delay, number, data))
        if rng.random() < network.twice:
            again = 0 if is_intact else rng.choice([0, 2 * tick])
            arriving.append((seconds + delay + again, number, data))
    arriving.sort(key=lambda one: one[:2])
    return [(seconds, data) for seconds, _, data in arriving], {one[1] for one in arriving}


def recorded(
    folder: Path,
    name: str,
    network: Network,
    *,
    seed: int = 1,
    seconds: float = 1,
    wraps: bool = False,
    changes: bool = False,
) -> Result:
    """Record what arrives, by the packets' own times; with `changes` the SSRC does in the middle.

    Time is a clock of the test's: it does not matter how fast all of it runs.
    """
    codec = CODECS[name]
    packets = list(packets_of(name, seconds))
    start = parse(packets[0]).timestamp
    places = [(parse(data).timestamp - start) & 0xFFFFFFFF for data in packets]
    times = [place / codec.rate for place in places]
    middle = len(packets) // 2 if changes else 0
    if wraps or changes:
        parts = [packets[:middle], packets[middle:]] if changes else [packets]
        packets = [
            data
            for ssrc, part in enumerate(parts)
            for data in renumbered(part, wraps_at=len(part) // 2 if wraps else 0, ssrc=ssrc)
        ]
    arriving, came = through(packets, times, network, seed, changes_at=middle)
    now = 0.0
    with Call(codec.rate, directory=folder, live=lambda: now) as call:
        action = call.record(NO_LIMITS)
        leg = RtpLeg(call, "speak", payload_types={codec.payload_type: codec.rtpmap})
        ticks = 0
        for arrival, data in arriving:
            while (ticks + 1) * _TICK <= arrival:  # a live server's timer
                ticks += 1
                now = ticks * _TICK
                leg.advance(now)
            now = arrival
            leg.receive(data, now)
        leg.finish()
        late = call.stats.speak.late
    audio = audio_of(action.join(10))
    length = places[-1] + len(parse(packets[-1]).payload) // codec.sample_bytes
    audio = np.concatenate([audio, np.zeros(max(0, length - len(audio)), np.int16)])
    due = equal = lost = silent = 0
    for number, (place, data) in enumerate(zip(places, packets, strict=True)):
        sent = codec.decoded(parse(data).payload)
        found = audio[place : place + len(sent)]
        if number in came:
            due += len(sent)
            equal += int(np.sum(found == sent))
        else:
            lost += len(sent)
            silent += int(np.sum(found == 0))
    return Result(
        sent=len(packets),
        arrived=len(came),
        twice=len(arriving) - len(came),
        due=due,
        equal=equal,
        lost=lost,
        silent=silent,
        late=late,
    )
