# SPDX-License-Identifier: MIT
"""The call in a capture, as the legs of a call."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from recorder.errors import FileError, WireError
from recorder.placement.resampling import HIGHEST_RATE, LOWEST_RATE
from recorder.reading import AudioFile, FileLegs, legs_of
from recorder.sources.captured_calls import (
    LEGS,
    Captured,
    CapturedCall,
    Direction,
    Flows,
    calls,
)
from recorder.sources.codecs import codecs
from recorder.sources.pcap import datagrams
from recorder.sources.rtp_packets import is_rtcp, parse
from recorder.sources.rtp_receiver import Audio, Press, RtpReceiver
from recorder.sources.sip import Dialogs

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG: Final = logging.getLogger("recorder")
_BLOCK_SECONDS: Final = 5.0


def capture_legs(stream: IO[bytes], name: str) -> FileLegs:
    """Read the longest call of a capture, which is held in memory.

    The speak leg is who sent the INVITE; without SIP, whose RTP came first. Presses of its keys are
    in `digits`. Position 0 is where the first packet was captured. FileError for a capture that
    cannot be read, or has no call that can be decoded.
    """
    dialogs = Dialogs()
    flows: Flows = {}
    for datagram in datagrams(stream, name):
        if dialogs.take(datagram) or is_rtcp(datagram.payload):
            continue
        try:
            packet = parse(datagram.payload)
        except WireError:
            continue
        flow = flows.setdefault((datagram.source, datagram.destination), [])
        flow.append(Captured(datagram.seconds, datagram.payload, packet))
    found = calls(flows, list(dialogs))
    if not found:
        raise FileError(f"cannot read {name}: it has no RTP of a call")
    if len(found) > 1:
        others = f"{len(found) - 1} other call{'' if len(found) == 2 else 's'}"
        _LOG.warning("%s has %s: only the longest one is read", name, others)
    return _as_legs(found[0], name)


def _as_legs(call: CapturedCall, name: str) -> FileLegs:
    start = min(direction.packets[0].seconds for direction in call.values())
    files, presses = [], []
    for leg in LEGS if "listen" in call else LEGS[:1]:
        direction = call.get(leg, Direction())
        rate, audio, pressed = _decoded(direction, start)
        files.append(_as_file(name, rate, audio))
        if leg == "speak":
            presses = [(press.position / rate, press.digit) for press in pressed]
    if not any(file.frames for file in files):
        raise FileError(f"cannot read {name}: it has no RTP that can be decoded")
    legs = legs_of(files)
    digits = tuple((round(seconds * legs.rate), digit) for seconds, digit in presses)
    return replace(legs, digits=digits)


def _decoded(direction: Direction, start: float) -> "tuple[int, NDArray[np.int16], list[Press]]":
    """The rate, the audio and the presses of a leg."""
    rtpmaps = _with_guesses(direction)
    types = codecs(rtpmaps)
    counts = Counter(one.packet.payload_type for one in direction.packets)
    rates = [
        types[payload_type].sample_rate
        for payload_type, _ in counts.most_common()
        if payload_type in types and types[payload_type].is_decoded
    ]
    rate = next((rate for rate in rates if LOWEST_RATE <= rate <= HIGHEST_RATE), 8000)
    receiver = RtpReceiver(rate, payload_types=rtpmaps)
    found: list[Audio | Press] = []
    for one in direction.packets:
        try:
            found += receiver.receive(one.data, one.seconds - start)
        except WireError as error:
            _LOG.info("a packet is left out: %s", error)
    found += receiver.finish()
    audio = [one for one in found if isinstance(one, Audio)]
    presses = [one for one in found if isinstance(one, Press)]
    ends = [placed.position + len(placed.pcm) // 2 for placed in audio]
    ends += [press.position for press in presses]
    length = max(ends) if audio else 0
    leg = np.zeros(length, np.int16)
    for placed in reversed(audio):  # of what overlaps, the first stays
        pcm = np.frombuffer(placed.pcm, np.int16)
        leg[placed.position : placed.position + len(pcm)] = pcm
    return rate, leg, presses


def _with_guesses(direction: Direction) -> Mapping[int, str]:
    """The rtpmaps of a direction; without, dynamic types that look like events are some."""
    payloads: dict[int, list[bytes]] = {}
    for one in direction.packets:
        payloads.setdefault(one.packet.payload_type, []).append(one.packet.payload)
    guessed = {
        payload_type: "telephone-event/8000"
        for payload_type, found in payloads.items()
        if payload_type >= 96 and all(len(one) == 4 and one[0] < 16 for one in found)
    }
    return guessed | direction.rtpmaps


def _as_file(name: str, rate: int, audio: "NDArray[np.int16]") -> AudioFile:
    size = round(rate * _BLOCK_SECONDS)
    blocks: Iterable[NDArray[np.int16]] = (
        audio[at : at + size, np.newaxis] for at in range(0, len(audio), size)
    )
    return AudioFile(
        name=name,
        rate=rate,
        channels=1,
        frames=len(audio),
        block_seconds=_BLOCK_SECONDS,
        blocks=iter(blocks),
    )
