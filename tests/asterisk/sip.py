# SPDX-License-Identifier: MIT
"""Calls over SIP: SIPp makes them; their RTP is sent here, at its pace, and received."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np

from recorder.detection.core import g711_decode
from recorder.sources.rtp_packets import is_rtcp, parse
from tests.asterisk.calling import RATE, SPOKEN, Recorded
from tests.asterisk.running import DEADLINE_SECONDS, Asterisk, Server
from tests.rtp_packets import event_payload, packet
from tests.signals import Pcm, cut, g711, through_g711

_SCENARIO: Final = Path(__file__).with_name("caller.xml")
_PAYLOAD_TYPES: Final = {"pcmu": 0, "pcma": 8}
_EVENTS: Final = 101  # as in caller.xml
_POUND: Final = 11
_SSRC: Final = 0x5EED
_EVENT_TICK: Final = RATE // 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SipDial:
    """A call of a phone, which says some words and presses `#`, as RFC 4733 has it."""

    encoding: Literal["pcmu", "pcma"]
    frame_ms: int
    server: str = "keys"
    says: str = "words"


class SipCall(Recorded):
    """A call that was started. What is to come is waited for."""

    def __init__(self, dial: SipDial, call_id: str, server: Server, asterisk: Asterisk) -> None:
        size = RATE * dial.frame_ms // 1000
        words = SPOKEN[dial.says]
        words = words[: len(words) // size * size]
        super().__init__(through_g711(words, dial.encoding), server)
        self.call_id = call_id
        self._asterisk = asterisk
        self.encoding = dial.encoding
        self._received: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        keys = {
            "caller": call_id,
            "audio_port": str(self._socket.getsockname()[1]),
            "payload_type": str(_PAYLOAD_TYPES[dial.encoding]),
            "ptime": str(dial.frame_ms),
        }
        number = server.address("audiosocket").rpartition(":")[2]
        self._sipp = subprocess.Popen(
            [
                *("sipp", "-sf", str(_SCENARIO), "-m", "1", "-nostdin", "-i", "127.0.0.1"),
                *("-timeout", f"{DEADLINE_SECONDS:.0f}s", "-timeout_error", "-s", number),
                *(word for name, value in keys.items() for word in ("-key", name, value)),
                f"127.0.0.1:{asterisk.sip_port}",
            ],
            cwd=asterisk.folder,
            stdout=subprocess.DEVNULL,
        )
        sent = _packets(words, dial.encoding, size)
        self._thread = threading.Thread(target=self._talk, args=(sent,), daemon=True)
        self._thread.start()

    def has_gone_on(self) -> bool:
        """Whether Asterisk's dialplan has continued after the call was ended by the server."""
        return bool(self._asterisk.told("WentOn", self.call_id))

    @cached_property
    def status(self) -> int:
        """SIPp's exit status, once the call is over: 0 if all went as in its scenario."""
        status = self._sipp.wait(DEADLINE_SECONDS)
        self._thread.join(DEADLINE_SECONDS)
        return status

    def close(self) -> None:
        """Leave nothing behind."""
        self._sipp.kill()
        assert self.status is not None

    @property
    def heard(self) -> Pcm:
        """What came for the caller, once the call is over."""
        assert self.status == 0
        payload = b"".join(parse(one).payload for one in self._received if not is_rtcp(one))
        return np.frombuffer(g711_decode(payload, self.encoding), np.int16)

    def _talk(self, packets: Iterator[tuple[float, bytes]]) -> None:
        """Send the packets, from when Asterisk's first one has come, to where it came from."""
        with self._socket:
            peer = None
            while peer is None and self._sipp.poll() is None:
                peer = self._receive(0.1)
            began = time.monotonic()
            for due, data in packets:
                while (wait := began + due - time.monotonic()) > 0:
                    self._receive(wait)
                if peer is not None:
                    self._socket.sendto(data, peer)
            while self._sipp.poll() is None:
                self._receive(0.1)

    def _receive(self, seconds: float) -> tuple[str, int] | None:
        """Take the next packet, if one comes in time; where it came from."""
        self._socket.settimeout(seconds)
        try:
            data, peer = self._socket.recvfrom(4096)
        except TimeoutError:
            return None
        self._received.append(data)
        return str(peer[0]), int(peer[1])


def _packets(
    words: Pcm, encoding: Literal["pcmu", "pcma"], size: int
) -> Iterator[tuple[float, bytes]]:
    """RTP, and when each packet is due: the words, then a press of `#` of 0.1 s."""
    sequence = timestamp = 0
    for frame in cut(words, [size] * (len(words) // size))[:-1]:
        payload = g711(frame, encoding)
        yield (
            timestamp / RATE,
            packet(
                _PAYLOAD_TYPES[encoding], sequence, timestamp, _SSRC, payload, marker=sequence == 0
            ),
        )
        sequence += 1
        timestamp += size
    for k in range(1, 9):  # the last one three times
        duration = min(k, 6) * _EVENT_TICK
        payload = event_payload(_POUND, duration, end=k >= 6)
        yield (
            (timestamp + k * _EVENT_TICK) / RATE,
            packet(_EVENTS, sequence, timestamp, _SSRC, payload, marker=k == 1),
        )
        sequence += 1
