# SPDX-License-Identifier: MIT
"""The call in a capture, as the legs of a call."""

import logging
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from recorder.errors import FileError, OptionError, WireError
from recorder.placement.frames import SAMPLE_BYTES
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
from recorder.sources.pcap import datagrams, is_capture
from recorder.sources.rtp_packets import is_rtcp, parse
from recorder.sources.rtp_receiver import Audio, Press, RtpReceiver
from recorder.sources.sip import Dialogs

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

_LOG: Final = logging.getLogger("recorder")
_BLOCK_SECONDS: Final = 5.0
# Of a leg that has no audio.
_DEFAULT_RATE: Final = 8000


def open_capture(path: "str | os.PathLike[str]") -> IO[bytes] | None:
    """Open a file that is a capture; None for one that is not, or cannot be read."""
    if Path(path).is_file():  # of a pipe, what is read here would be missing later
        with suppress(OSError):
            stream = Path(path).open("rb")  # noqa: SIM115
            if is_capture(stream.peek(4)):
                return stream
            stream.close()
    return None


def only_capture_error(name: str) -> OptionError:
    """What is wrong with options for audio files, or with another file, beside a capture."""
    return OptionError(
        f"{name} is a capture, which has both legs and says how they are encoded: give it alone,"
        " without --rate, --encoding and --channels (in Python sample_rate, encoding, channels)"
    )


def capture_legs(stream: IO[bytes], name: str) -> FileLegs:
    """Read the longest call of a capture, whose packets are held in memory.

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
            # The payload is in the datagram: a second one would take as much memory again.
            head = packet._replace(payload=b"")
            flow.append(Captured(datagram.seconds, datagram.payload, head))
    found = calls(flows, list(dialogs))
    flows.clear()
    if not found:
        raise FileError(f"cannot read {name}: it has no RTP of a call")
    if len(found) > 1:
        others = f"{len(found) - 1} other call{'' if len(found) == 2 else 's'}"
        _LOG.warning("%s has %s: only the longest one is read", name, others)
        del found[1:]
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
        ends = [_end(one) for one in audio] + [one.position for one in pressed if audio]
        files.append(_as_file(name, rate, audio, max(ends, default=0)))
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


def _decoded(direction: Direction, rate: int, start: float) -> tuple[list[Audio], list[Press]]:
    """The audio and the presses of a leg."""
    rtpmaps = _with_guesses(direction)
    receiver = RtpReceiver(rate, payload_types=rtpmaps)
    found: list[Audio | Press] = []
    for one in direction.packets:
        with suppress(WireError):
            found += receiver.receive(one.data, one.seconds - start)
    found += receiver.finish()
    direction.packets.clear()  # what they were is in `found`
    audio = [one for one in found if isinstance(one, Audio)]
    return audio, [one for one in found if isinstance(one, Press)]


def _end(audio: Audio) -> int:
    return audio.position + len(audio.pcm) // SAMPLE_BYTES


def _with_guesses(direction: Direction) -> Mapping[int, str]:
    """The rtpmaps of a direction; without, dynamic types that look like events are some."""
    payloads: dict[int, list[bytes]] = {}
    for one in direction.packets:
        if one.packet.payload_type >= 96:
            payloads.setdefault(one.packet.payload_type, []).append(parse(one.data).payload)
    guessed = {
        payload_type: "telephone-event/8000"
        for payload_type, found in payloads.items()
        if all(len(one) == 4 and one[0] < 16 for one in found)
    }
    return guessed | direction.rtpmaps


def _as_file(name: str, rate: int, audio: list[Audio], length: int) -> AudioFile:
    return AudioFile(
        name=name,
        rate=rate,
        channels=1,
        frames=length,
        block_seconds=_BLOCK_SECONDS,
        blocks=_blocks(audio, length, round(rate * _BLOCK_SECONDS)),
    )


def _blocks(audio: list[Audio], length: int, size: int) -> "Iterator[NDArray[np.int16]]":
    """Audio where it belongs: block by block, since a capture of few packets may last for days."""
    coming = deque(sorted(enumerate(audio), key=lambda one: one[1].position))
    audio.clear()
    present: list[tuple[int, Audio]] = []
    for start in range(0, length, size):
        block = np.zeros(min(size, length - start), np.int16)
        while coming and coming[0][1].position < start + size:
            present.append(coming.popleft())
        for _, one in sorted(present, reverse=True, key=itemgetter(0)):  # the first one stays
            pcm = np.frombuffer(one.pcm, np.int16)[max(0, start - one.position) :]
            at = max(0, one.position - start)
            block[at : at + len(pcm)] = pcm[: len(block) - at]
        present = [one for one in present if _end(one[1]) > start + size]
        yield block[:, np.newaxis]
