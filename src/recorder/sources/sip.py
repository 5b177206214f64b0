# SPDX-License-Identifier: MIT
"""SIP calls and the SDP in them: whose media goes where (RFC 3261, RFC 8866)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from recorder.sources.pcap import Address, Datagram

Leg = Literal["speak", "listen"]

_START: Final = re.compile(rb"(?:SIP/2\.0 \d{3} |[A-Z]+ sips?:\S+ SIP/2\.0\r?\n)")
_HEADER: Final = re.compile(r"^([\w-]+)[ \t]*:[ \t]*(.*?)\r?$", re.MULTILINE)
_COMPACT: Final = {"i": "call-id", "f": "from"}
_TAG: Final = re.compile(r";[ \t]*tag=([^;\s]+)", re.IGNORECASE)
_RTPMAP: Final = re.compile(
    r"^a=rtpmap:(\d{1,3}) +([\w.-]+/[1-9]\d{0,6}(?:/[1-9])?)\s*$", re.MULTILINE | re.ASCII
)
_PORT: Final = re.compile(r"(\d{1,5})(?:/\d+)?", re.ASCII)
_CONNECTION: Final = re.compile(r"^c=IN IP[46] ([^\s/]+)", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Dialog:
    """One call: who sent the INVITE, and where each side receives media.

    `start` is in seconds since 1970.
    """

    start: float
    tag: str
    sender: str  # the IP from which the INVITE came
    caller: dict[Address, dict[int, str]] = field(default_factory=dict)
    callee: dict[Address, dict[int, str]] = field(default_factory=dict)

    def leg(self, source: Address, destination: Address) -> Leg | None:
        """Which leg datagrams between these are; None if they are not of this call."""
        if destination in self.callee or (source in self.caller and destination not in self.caller):
            return "speak"
        return "listen" if destination in self.caller or source in self.callee else None

    def rtpmaps(self, destination: Address) -> dict[int, str]:
        """What payload types mean that are sent there."""
        merged: dict[int, str] = {}
        for side in (self.caller, self.callee):
            for types in side.values():
                merged |= types
        return merged | self.caller.get(destination, {}) | self.callee.get(destination, {})


class Dialogs:
    """All calls of a capture, in the order in which they began."""

    def __init__(self) -> None:
        self._found: dict[str, Dialog] = {}

    def __iter__(self) -> Iterator[Dialog]:
        return iter(self._found.values())

    def take(self, datagram: Datagram) -> bool:
        """Take a datagram; whether it is SIP."""
        if not _START.match(datagram.payload):
            return False
        text = datagram.payload.decode("utf-8", "replace")
        head, _, body = text.partition("\r\n\r\n" if "\r\n\r\n" in text else "\n\n")
        headers: dict[str, str] = {}
        for name, value in _HEADER.findall(head):
            headers.setdefault(_COMPACT.get(name.lower(), name.lower()), value)
        method = headers.get("cseq", "").split()[-1:]
        if method not in (["INVITE"], ["ACK"], ["UPDATE"], ["PRACK"]):
            return True
        tag = _TAG.search(headers.get("from", ""))
        if tag is None or "call-id" not in headers:
            return True
        if method == ["INVITE"]:
            dialog = Dialog(start=datagram.seconds, tag=tag[1], sender=datagram.source[0])
            self._found.setdefault(headers["call-id"], dialog)
        if headers["call-id"] in self._found:
            dialog = self._found[headers["call-id"]]
            # A response has the From of its request.
            is_request = not text.startswith("SIP/")
            is_callers = (tag[1] == dialog.tag) == is_request
            side = dialog.caller if is_callers else dialog.callee
            for address, types in _media(body, datagram.source[0]):
                side.setdefault(address, {}).update(types)
        return True


def _media(sdp: str, sender: str) -> Iterator[tuple[Address, dict[int, str]]]:
    """Where its audio is to be sent, and the rtpmaps; behind a NAT that may be the sender's IP."""
    session, *sections = re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)
    for section in sections:
        line: Sequence[str] = section.split()
        found = _PORT.fullmatch(line[1]) if line[0] == "m=audio" and len(line) > 1 else None
        if found is None:
            continue
        port = int(found[1])
        types = {int(n): rtpmap for n, rtpmap in _RTPMAP.findall(section) if int(n) < 128}
        connection = _CONNECTION.search(section) or _CONNECTION.search(session)
        for ip in {sender, connection[1] if connection else sender}:
            if port and ip not in {"0.0.0.0", "::"}:
                yield (ip, port), types
