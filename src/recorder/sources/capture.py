# SPDX-License-Identifier: MIT
"""The call in a capture, as the legs of a call."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
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
# Of a leg that has no audio.
_DEFAULT_RATE: Final = 8000


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
        with suppress(WireError):
            packet = parse(datagram.payload)
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
    legs = LEGS if "listen" in call else LEGS[:1]
    directions = [call.get(leg, Direction()) for leg in legs]
    rates = [_rate(direction) for direction in directions]
    if not any(rates):
        what = ", ".join(sorted(set().union(*map(_names, directions))))
        raise FileError(f"cannot read {name}: it has no RTP that can be decoded, but {what}")
    files, presses = [], []
    for leg, direction, known in zip(legs, directions, rates, strict=True):
        rate = known or _DEFAULT_RATE
        audio, pressed = _decoded(direction, rate, start)
        files.append(_as_file(name, rate, audio))
        if leg == "speak":
            presses = [(press.position / rate, press.digit) for press in pressed]
    found = legs_of(files)
    digits = tuple((round(seconds * found.rate), digit) for seconds, digit in presses)
    return replace(found, digits=digits)


def _rate(direction: Direction) -> int | None:
    """The sample rate of most of a direction's audio; None if none can be decoded."""
    types = codecs(_with_guesses(direction))
    counts = Counter(one.packet.payload_type for one in direction.packets)
    for payload_type, _ in counts.most_common():
        rate = types[payload_type].sample_rate if payload_type in types else 0
        if LOWEST_RATE <= rate <= HIGHEST_RATE and types[payload_type].is_decoded:
            return rate
    return None


def _names(direction: Direction) -> set[str]:
    types = codecs(direction.rtpmaps)
    used = {one.packet.payload_type for one in direction.packets}
    return {types[one].name if one in types else f"type {one}" for one in used}


def _decoded(
    direction: Direction, rate: int, start: float
) -> "tuple[NDArray[np.int16], list[Press]]":
    """The audio and the presses of a leg."""
    rtpmaps = _with_guesses(direction)
    receiver = RtpReceiver(rate, payload_types=rtpmaps)
    found: list[Audio | Press] = []
    for one in direction.packets:
        with suppress(WireError):
            found += receiver.receive(one.data, one.seconds - start)
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
    return leg, presses


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
