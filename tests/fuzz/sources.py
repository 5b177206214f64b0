# SPDX-License-Identifier: MIT
"""The sources of calls under damaged conversations.

    python -m tests.fuzz.sources --seconds 60 --seed 1
    python -m tests.fuzz.sources --seed 1 --source rtp --case 17

tests/fuzz/guided.py has libFuzzer choose instead of a seed.

Each case takes a conversation as it is on the wire, does some things wrong, or none, and feeds it
to a source with a real `Call`. Each has a seed of its own, so that any can be repeated. What has to
hold:

- Only errors that are documented come out, in messages of bounded length.
- After any of them `end` works, and the recording ends by itself with a file that is whole.
- What a source keeps is bounded by what may wait, not by what came.
- The call's position is explained by the time that passed and the audio that came.
- The same bytes cut otherwise, and the same packets each twice, make the same recording.
- What is damaged in one frame of a capture takes nothing from the others, and what comes behind
  the cut of one that is cut changes nothing before it.
"""

import argparse
import itertools
import logging
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from recorder import AudioOptions, CallEndedError, FileError, WireError
from recorder.placement.timeline import Leg
from recorder.sources.asterisk_websocket import AsteriskWebSocket
from recorder.sources.audiosocket import AudioSocket
from recorder.sources.capture import capture_legs
from recorder.sources.codecs import codecs
from recorder.sources.dialects import DIALECTS
from recorder.sources.media_stream import MediaStream
from recorder.sources.pcap import Datagram, datagrams
from recorder.sources.rtp import Press, RtpLeg, RtpReceiver, parse
from recorder.sources.sip import Dialogs
from tests.captures import pcap as pcap_file
from tests.captures import pcapng as pcapng_file
from tests.fuzz import conversations
from tests.fuzz.conversations import Frame, Rtp
from tests.fuzz.mutations import bytes_of, json_of, order_of, text_of
from tests.fuzz.wires import (
    TICK,
    Act,
    Fault,
    Formatted,
    Message,
    Outcome,
    Step,
    Wire,
    drive,
    expect,
)
from tests.recordings import STEREO

_MOST_PIECES: Final = 2000  # about
_LONGEST_CASE: Final = 60  # seconds: what takes longer does not end, or nearly
_ENDED_BY_KEYS: Final[AudioOptions] = {
    "direction": "both",
    "stereo": True,
    "terminators": "#5",
    "initial_timeout": 2,
    "end_silence_timeout": 1,
}
_MOST_AUDIOSOCKET: Final = 3 + 0xFFFF  # bytes of a message
_MOST_EARLY: Final = 1 << 20  # bytes of audio before MEDIA_START
_MOST_WAITING: Final = 2 * 5  # messages of a media stream, on both tracks
_MOST_PACKETS: Final = 16 * (5 + 2)  # in order, a first one and a stray one of each SSRC
_REMEMBERED: Final = 32  # presses
_FAR_APART: Final = 300  # seconds: what is further apart in a capture is another call


@dataclass(slots=True)
class Tally:
    """What all of it was, to show that there was something to take."""

    cases: int = 0
    refused: int = 0
    recorded: float = 0.0
    longest: float = 0.0

    def note(self, outcome: Outcome) -> None:
        self.refused += bool(outcome.error)
        self.recorded += len(outcome.audio) / 32000

    def __str__(self) -> str:
        return (
            f"{self.cases} cases, {self.refused} with errors, {self.recorded:.0f} s recorded,"
            f" {self.longest:.2f} s for the longest case"
        )


@dataclass(frozen=True, slots=True)
class Case:
    """Its choices, where its recordings go, and what is counted of it."""

    rng: random.Random
    folder: Path
    tally: Tally = field(default_factory=Tally)

    def times(self) -> range:
        """How many things are wrong."""
        return range(self.rng.choice([0, 1, 1, 2, 4, 10]))

    def options(self) -> AudioOptions:
        return _ENDED_BY_KEYS if self.rng.random() < 0.3 else STEREO

    def cut(self, steps: Iterable[Step]) -> list[Step]:
        """The same with bytes in pieces."""
        steps = list(steps)
        length = sum(len(step.message or "") for step in steps)
        sizes = self.rng.choice([(1, 2, 3, 7), (1, 100, 320, 323), (2000, 70000)])
        if length > _MOST_PIECES * sizes[-1] / 2:
            sizes = (length // _MOST_PIECES, 2 * length // _MOST_PIECES + 1)
        found: list[Step] = []
        for step in steps:
            message = step.message
            if isinstance(message, bytes):
                at = 0
                while len(message) - at > (n := self.rng.choice(sizes)):
                    found.append(Step(step.seconds * (not at), message[at : at + n]))
                    at += n
                step = Step(step.seconds * (not at), message[at:], step.act)  # noqa: PLW2901
            found.append(step)
        return found

    def timed(self, messages: Iterable[Message]) -> list[Step]:
        """The messages as they come in time, and what an application does meanwhile."""
        acts: list[Act] = ["play", "clear", "mark"]
        steps = []
        for message in messages:
            seconds = self.rng.choice([0, 0, 0.01, TICK, TICK, TICK, 0.5])
            act: Act = "tick" if self.rng.random() < 0.7 else ""
            if self.rng.random() < 0.05:
                act = self.rng.choice(acts) if self.rng.random() < 0.9 else "hang up"
            steps.append(Step(seconds, message, act))
        return steps


def _same(one: Outcome, other: Outcome, why: str) -> None:
    a, b = (np.frombuffer(outcome.audio, np.int16).astype(int) for outcome in (one, other))
    # What a resampler still holds where a recording ends is known to within rounding.
    is_same = len(a) == len(b) and np.abs(a - b).max(initial=0) <= 1
    expect(
        is_same and replace(one, audio=b"") == replace(other, audio=b""),
        f"{why}: {other!r} instead of {one!r}",
    )


# -- connections -----------------------------------------------------------------------------------


class _AudioSocket(AudioSocket):
    raises_of_the_call: ClassVar = True


class _AsteriskWebSocket(AsteriskWebSocket):
    raises_of_the_call: ClassVar = False


class _MediaStream(MediaStream):
    raises_of_the_call: ClassVar = False


def audiosocket(case: Case) -> None:
    rng = case.rng
    said = conversations.audiosocket(rng)
    for _ in case.times():
        at = rng.randrange(len(said) or 1)
        if said and rng.random() < 0.5:
            said[at] = bytes_of(rng, said[at])
        else:
            said = order_of(rng, said)
    data = b"".join(said)
    for _ in range(rng.choice([0, 0, 1])):
        data = bytes_of(rng, data)
    options = case.options()

    is_live = rng.random() < 0.6

    def outcome(steps: list[Step]) -> Outcome:
        wire = Wire(case.folder, options, is_live=is_live, least_rate=16000)
        return drive(
            wire,
            _AudioSocket(wire.open),
            steps,
            lambda _, since: _MOST_AUDIOSOCKET + 2 * since,  # what waits for the tick
        )

    if not is_live:  # time is what is fed: then all that counts are the bytes
        found = outcome([Step(0, data)])
        _same(found, outcome(case.cut([Step(0, data)])), "cut otherwise")
    else:
        pieces = [step.message for step in case.cut([Step(0, data)]) if step.message is not None]
        found = outcome(case.timed(pieces))
    case.tally.note(found)


def asterisk_websocket(case: Case) -> None:
    said = _damaged(case, conversations.asterisk_websocket(case.rng))
    _converse(case, said, _AsteriskWebSocket, lambda largest, since: _MOST_EARLY + 2 * largest)


def media_stream(case: Case) -> None:
    rng = case.rng
    options, said = conversations.media_stream(rng)
    if rng.random() < 0.1:
        options["dialect"] = rng.choice(list(DIALECTS))
    _converse(
        case,
        _damaged(case, said),
        lambda open_call: _MediaStream(open_call, **options),
        # Besides, its start, a greeting, and the digits since the last tick.
        lambda largest, since: (_MOST_WAITING + 3) * largest + since,
    )


def _converse(
    case: Case,
    said: list[Message],
    make: Callable[[Any], Any],
    most_kept: Callable[[int, int], int],
) -> None:
    rng = case.rng
    options, goes_on, is_live = case.options(), rng.random() < 0.3, rng.random() < 0.7

    def outcome(steps: list[Step]) -> Outcome:
        # Without a clock a timestamp is believed, up to ten seconds further on.
        ahead = 0.3 if is_live else 10.0 * len(said)
        wire = Wire(case.folder, options, is_live=is_live, ahead=ahead)
        return drive(wire, make(wire.open), steps, most_kept, goes_on=goes_on)

    if not is_live:
        still = [Step(0, message) for message in said]
        found = outcome(still)
        _same(found, outcome(case.cut(still)), "cut otherwise")
    else:
        found = outcome(case.timed(said))
    case.tally.note(found)


def _damaged(case: Case, said: list[Message]) -> list[Message]:
    rng = case.rng
    for _ in case.times():
        texts = [k for k, one in enumerate(said) if isinstance(one, str)]
        if not said or rng.random() < 0.3:
            said = order_of(rng, said)
            continue
        # Text says what the audio is: it is rarer, and there is more to it.
        at = rng.choice(texts) if texts and rng.random() < 0.7 else rng.randrange(len(said))
        one = said[at]
        if isinstance(one, bytes):
            said[at] = bytes_of(rng, one)
        elif rng.random() < 0.05:
            said[at] = one.encode()
        else:
            said[at] = (json_of if one.startswith("{") else text_of)(rng, one)
    return said


# -- packets ---------------------------------------------------------------------------------------


class _Packets:
    """A leg of RTP with the face of a connection."""

    raises_of_the_call: ClassVar = True
    ended = False

    def __init__(self, wire: Wire, leg: Leg, made: Rtp) -> None:
        call = wire.open("rtp", made.rate)
        self._call = call
        self._wire = wire
        self._leg = RtpLeg(call, leg, sample_rate=made.rate, payload_types=made.payload_types)

    def receive(self, packet: bytes) -> None:
        self._leg.receive(packet, self._wire.seconds)

    def tick(self) -> None:
        self._leg.advance(self._wire.seconds)

    def end(self) -> None:
        with suppress(CallEndedError):
            self._leg.finish()
        self._call.hangup()


def rtp(case: Case) -> None:
    rng = case.rng
    made = _damaged_rtp(case, conversations.rtp(rng))
    leg: Leg = rng.choice(["speak", "listen"])
    is_live, options = rng.random() < 0.5, case.options()
    acts: list[Act] = ["", "tick"]
    if rng.random() < 0.05:
        acts.append("hang up")
    steps, now = [], 0.0
    for one in made.packets:
        steps.append(Step(max(0.0, one.seconds - now), one.data, rng.choice(acts)))
        now = max(now, one.seconds)

    def outcome(steps: list[Step]) -> Outcome:
        # Its clock may be ahead by a second, and so may a press be.
        wire = Wire(case.folder, options, is_live=is_live, ahead=2.5)
        source = _Packets(wire, leg, made)
        return drive(wire, source, steps, lambda largest, _: _MOST_PACKETS * largest, goes_on=True)

    found = outcome(steps)
    case.tally.note(found)
    if rng.random() < 0.5:
        twice = [
            one for step in steps for one in (replace(step, act=""), replace(step, seconds=0.0))
        ]
        _same(found, outcome(twice), "each packet twice")


def telephone_event(case: Case) -> None:
    """Each press counts once, if it is remembered: by when it began."""
    made = _damaged_rtp(case, conversations.rtp(case.rng, keys=0.6))
    found = [_presses(made, times) for times in (1, 2)]
    expect(found[0] == found[1], f"each packet twice: {found[1]} instead of {found[0]}")
    begun = set()
    for one in made.packets:
        with suppress(WireError):
            packet = parse(one.data)
            begun.add((packet.ssrc, packet.timestamp))
    if len(begun) <= _REMEMBERED:
        expect(len(found[0]) <= len(begun), f"{len(found[0])} presses of {len(begun)} times")


def _presses(made: Rtp, times: int) -> list[Press]:
    receiver = RtpReceiver(made.rate, payload_types=made.payload_types)
    found, now = [], 0.0
    for one in made.packets:
        now = max(now, one.seconds)
        for _ in range(times):
            with suppress(WireError):
                found += receiver.receive(one.data, now)
    found += receiver.finish()
    return [one for one in found if isinstance(one, Press)]


def _damaged_rtp(case: Case, made: Rtp) -> Rtp:
    rng, packets = case.rng, made.packets
    for _ in case.times():
        if not packets or rng.random() < 0.4:
            packets = order_of(rng, packets)
            continue
        at = rng.randrange(len(packets))
        one = packets[at]
        if rng.random() < 0.1:
            one = replace(one, seconds=one.seconds + rng.choice([-1, 0.3, 3, 300]))
        elif rng.random() < 0.5:  # its head says what is done with it
            one = replace(one, data=bytes_of(rng, one.data[:12]) + one.data[12:])
        else:
            one = replace(one, data=bytes_of(rng, one.data))
        packets = [*packets[:at], one, *packets[at + 1 :]]
    return replace(made, packets=packets)


# -- captures --------------------------------------------------------------------------------------


def sip(case: Case) -> None:
    """SIP that is none raises nothing at all."""
    rng = case.rng
    hosts = (("10.0.0.1", 5060), ("10.0.0.2", 5060))
    messages = conversations.sip_messages(rng, ("10.0.0.1", 4000), ("10.0.0.2", 5000))
    for _ in case.times():
        if not messages or rng.random() < 0.3:
            messages = order_of(rng, messages)
            continue
        at = rng.randrange(len(messages))
        by_caller, data = messages[at]
        if rng.random() < 0.3:
            data = bytes_of(rng, data)
        else:
            data = text_of(rng, data.decode("utf-8", "replace")).encode()
        messages[at] = (by_caller, data)
    dialogs = Dialogs()
    for by_caller, data in messages:
        source, destination = hosts if by_caller else hosts[::-1]
        dialogs.take(Datagram(seconds=1.0, source=source, destination=destination, payload=data))
    for one in dialogs:
        for destination in [*one.caller, *one.callee]:
            one.leg(hosts[0], destination)
            codecs(one.rtpmaps(destination))


def pcap(case: Case) -> None:
    rng = case.rng
    frames, link = conversations.capture(rng)
    for _ in case.times():
        if not frames or rng.random() < 0.3:
            frames = order_of(rng, frames)
            continue
        at = rng.randrange(len(frames))
        broken = bytes_of(rng, frames[at].data[:60]) + frames[at].data[60:]
        frames[at] = replace(frames[at], data=broken, is_sound=False)
    data = _captured(rng, frames, link)
    whole = _datagrams(data)
    payloads = iter([one.payload for one in whole])
    missing = [one for one in frames if one.is_sound and one.payload not in payloads]
    expect(not missing, f"{len(missing)} sound frames of {len(frames)} are not read")
    cut = _datagrams(data[: rng.randrange(len(data) + 1)])
    expect(cut == whole[: len(cut)], "cut short, it has other datagrams")
    for _ in range(rng.choice([0, 1, 1, 4])):
        data = data[:24] + bytes_of(rng, data[24:]) if rng.random() < 0.7 else bytes_of(rng, data)
    _datagrams(data)
    try:
        legs = capture_legs(BytesIO(data), "x.pcap")
    except FileError:
        case.tally.refused += 1
        return
    n = 0
    for block in legs.blocks:
        expect(len(block) == len(legs.names), f"{len(block)} legs instead of {legs.names}")
        expect(len({len(leg) for leg in block}) == 1, "legs of several lengths")
        n += len(block[0]) // 2
    times = sorted(one.seconds for one in _datagrams(data))
    lasted = sum(b - a for a, b in pairwise(times) if b - a <= _FAR_APART)
    most = lasted + len(data) / 4000 + 2.5
    expect(n / legs.rate <= most, f"it lasts {n / legs.rate:.1f} s instead of {most:.1f} s")
    case.tally.recorded += n / legs.rate


def _captured(rng: random.Random, frames: list[Frame], link: int) -> bytes:
    order = rng.choice("<>")
    if link:
        pairs = [(one.seconds, one.data) for one in frames]
        return pcap_file(pairs, link, order=order, nano=rng.random() < 0.5)
    return pcapng_file([(one.seconds, one.link, one.data) for one in frames], order=order)


def _datagrams(data: bytes) -> list[Datagram]:
    found = []
    with suppress(FileError):
        for one in datagrams(BytesIO(data), "x.pcap"):
            found.append(one)  # noqa: PERF402 - those before an error count
    return found


# -- the run ---------------------------------------------------------------------------------------

SOURCES: Final[dict[str, Callable[[Case], None]]] = {
    "audiosocket": audiosocket,
    "asterisk_websocket": asterisk_websocket,
    "media_stream": media_stream,
    "rtp": rtp,
    "telephone_event": telephone_event,
    "sip": sip,
    "pcap": pcap,
}


def run_case(name: str, seed: int, number: int, folder: Path, tally: Tally) -> None:
    """One case; Fault, or whatever else comes out, where something does not hold."""
    started = time.process_time()
    SOURCES[name](Case(random.Random(f"{name} {seed} {number}"), folder, tally))
    tally.cases += 1
    tally.longest = max(tally.longest, time.process_time() - started)


@contextmanager
def checked_log() -> Iterator[None]:
    """All that is logged meanwhile is checked, and shown nowhere."""
    log, handler = logging.getLogger("recorder"), Formatted()
    before = log.propagate
    log.propagate = False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


@contextmanager
def _limited() -> Iterator[None]:
    """A case that does not end is a fault, where signals can say so."""

    def late(*_: object) -> None:
        raise Fault(f"it takes longer than {_LONGEST_CASE} s")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, late)
        signal.alarm(_LONGEST_CASE)
    yield
    if hasattr(signal, "SIGALRM"):
        signal.alarm(0)


def run(seed: int, names: Sequence[str], numbers: Iterable[int], seconds: float) -> int:
    """The exit code."""
    tallies = {name: Tally() for name in names}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, checked_log():
        for number, name in ((number, name) for number in numbers for name in names):
            try:
                with _limited():
                    run_case(name, seed, number, Path(folder), tallies[name])
            except Exception:  # whatever it is: that is the question
                traceback.print_exc()
                print(f"FAULT: --source {name} --seed {seed} --case {number}")
                return 1
            if time.monotonic() - started > seconds:
                break
    for name, tally in tallies.items():
        print(f"{name}: {tally}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="The sources under damaged conversations.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", choices=SOURCES, help="this one only")
    parser.add_argument("--case", type=int, help="this one only")
    options = parser.parse_args()
    names = [options.source] if options.source else list(SOURCES)
    numbers = itertools.count() if options.case is None else [options.case]
    return run(options.seed, names, numbers, options.seconds)


if __name__ == "__main__":
    sys.exit(main())
