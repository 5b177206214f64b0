# SPDX-License-Identifier: MIT
"""What a DTMF receiver should do, line by line, for any receiver: ours and its rivals.

After the procedure of Mitel's CM7291 test tape and ITU-T Q.24, with what a packet network adds.
Everything is seeded. Digits come at every offset to a frame and with every phase; 0 dBm0 is
3.14 dB below full scale; a level is each tone's. Normal twist is the low tone's lead.
"""

import io
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder import Detector, detect
from recorder.detection.core import Edge, Law
from tests import signals
from tests.signals import HIGH_HZ, KEYPAD, LOW_HZ, RATES, Pcm, to_int16

Audio = NDArray[np.float64]  # in units of int16

MUSIC: Final = Path("/usr/share/asterisk/moh")
SPEEDS: Final = tuple(
    Fraction(*ratio) for ratio in ((2, 3), (3, 4), (5, 6), (9, 10), (10, 9), (6, 5), (4, 3), (3, 2))
)
_WHOLE_AT_ALL_SPEEDS: Final = 180  # samples


_FRAME_SECONDS: Final = 0.02
_MANY: Final = 1008  # 63 times all digits
_SOME: Final = 320

# Of the pause before it. Speech there can make a digit seem to begin earlier than it did; a rival
# reports it up to 70 ms after its onset, which must not fall to the next one.
_EARLY_SHARE: Final = 0.25


# -- receivers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A digit and its place in samples, `end` exclusive; of a rival, when it was reported."""

    digit: str
    start: int
    end: int


class Receiver(Protocol):
    """Decodes a whole leg. `places`: it says where a digit's tone was."""

    @property
    def name(self) -> str: ...

    @property
    def rates(self) -> tuple[int, ...]: ...

    @property
    def places(self) -> bool: ...

    def decode(self, pcm: Pcm, rate: int) -> list[Found]: ...


class Recorder:
    """Ours, with its defaults: a whole leg at once, which line 16 holds equal to any frames."""

    name = "recorder"
    rates = RATES
    places = True

    def decode(self, pcm: Pcm, rate: int) -> list[Found]:
        return [
            Found(digit=digit.digit, start=digit.start, end=digit.end)
            for digit in detect(pcm, rate).digits
        ]


def decode_live(pcm: Pcm, rate: int, size: int) -> list[Found]:
    """What ours finds in frames of so many samples."""
    detector = Detector(rate)
    edges: list[Edge] = []
    for at in range(0, len(pcm), size):
        edges += detector.process(pcm[at : at + size])
    edges += detector.finish()
    open_at: dict[str, int] = {}
    found = []
    for edge in edges:
        if edge.kind == "digit_start":
            open_at[edge.digit] = edge.position
        elif edge.kind == "digit_end":
            start = open_at.pop(edge.digit)
            found.append(Found(digit=edge.digit, start=start, end=edge.position))
    return sorted(found, key=lambda digit: digit.start)


# -- presses --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """How digits are sent: `group` of them with exact pauses, then one up to 20 ms longer.

    A group is `repeated`, one digit again and again, or different ones.
    """

    seconds: float = 0.05
    pause: float = 0.06
    group: int = 1
    repeated: bool = False
    low_dbm0: float = -10.0
    high_dbm0: float = -10.0
    low_factor: float = 1.0
    high_factor: float = 1.0

    @property
    def power(self) -> float:
        """Of both tones."""
        return (_amplitude(self.low_dbm0) ** 2 + _amplitude(self.high_dbm0) ** 2) / 2


def at_level(dbm0: float) -> Press:
    return Press(low_dbm0=dbm0, high_dbm0=dbm0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One digit that was sent, in samples, `end` exclusive."""

    digit: str
    start: int
    end: int


Change = Callable[[Audio, list[Sent], np.random.Generator], Audio]


def _amplitude(dbm0: float) -> float:
    return float(32768 * 10 ** ((dbm0 - 3.14) / 20))


def send(press: Press, count: int, rate: int, rng: np.random.Generator) -> tuple[Audio, list[Sent]]:
    """At least `count` digits, all sixteen equally often, in random order."""
    shuffled = [digit for _ in range(-(-count // 16)) for digit in rng.permutation(list(KEYPAD))]
    if press.repeated:
        shuffled = [digit for digit in shuffled for _ in range(press.group)]
    length, pause = round(press.seconds * rate), round(press.pause * rate)
    sent = []
    at = 0
    for index, digit in enumerate(shuffled):
        at += pause
        if index % press.group == 0:
            at += int(rng.integers(round(_FRAME_SECONDS * rate)))
        sent.append(Sent(digit=str(digit), start=at, end=at + length))
        at += length
    audio = np.zeros(at + round(0.15 * rate))
    t = np.arange(length) / rate
    for one in sent:
        row, column = divmod(KEYPAD.index(one.digit), 4)
        phases = rng.uniform(0, 2 * np.pi, 2)
        for hz, dbm0, phase in (
            (LOW_HZ[row] * press.low_factor, press.low_dbm0, phases[0]),
            (HIGH_HZ[column] * press.high_factor, press.high_dbm0, phases[1]),
        ):
            audio[one.start : one.end] += _amplitude(dbm0) * np.sin(2 * np.pi * hz * t + phase)
    return audio, sent


def sort_in(found: list[Found], sent: list[Sent]) -> list[list[Found]]:
    """What was found from each press to the next."""
    bounds = [0.0]
    bounds += [
        one.start - _EARLY_SHARE * (one.start - before.end) for before, one in pairwise(sent)
    ]
    slots: list[list[Found]] = [[] for _ in sent]
    for one in found:
        slots[bisect_right(bounds, one.start) - 1].append(one)
    return slots


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`found`: the percentage found once and as nothing else. `accepted`: found as something."""

    found: float
    accepted: float


def score(
    receiver: Receiver,
    press: Press,
    count: int = _SOME,
    *,
    rate: int = 8000,
    seed: int = 1,
    change: Change | None = None,
) -> Score:
    rng = np.random.default_rng(seed)
    audio, sent = send(press, count, rate, rng)
    if change is not None:
        audio = change(audio, sent, rng)
    slots = sort_in(receiver.decode(to_int16(audio), rate), sent)
    found = [
        [each.digit for each in slot] == [one.digit] for slot, one in zip(slots, sent, strict=True)
    ]
    accepted = [len(slot) > 0 for slot in slots]
    return Score(found=100 * float(np.mean(found)), accepted=100 * float(np.mean(accepted)))


# -- what happens to them on the way --------------------------------------------------------------


def drop(audio: Audio, sent: list[Sent], rng: np.random.Generator) -> Audio:
    """10 ms of each digit, well inside it."""
    for one in sent:
        at = int(rng.integers(one.start + 80, one.end - 160))
        audio[at : at + 80] = 0
    return audio


def lose_a_packet(audio: Audio, sent: list[Sent], rng: np.random.Generator) -> Audio:
    """One 20 ms packet that lies inside each digit."""
    for one in sent:
        first, last = -(-one.start // 160), one.end // 160
        at = 160 * int(rng.integers(first, last))
        audio[at : at + 160] = 0
    return audio


def add_noise(
    audio: Audio, sent: list[Sent], rng: np.random.Generator, *, press: Press, snr_db: float
) -> Audio:
    """White noise, at 8 kHz: all of it is within 0 to 4 kHz."""
    return audio + rng.normal(0, np.sqrt(press.power / 10 ** (snr_db / 10)), len(audio))


def add_dial_tone(
    audio: Audio, sent: list[Sent], rng: np.random.Generator, *, dbm0: float
) -> Audio:
    t = np.arange(len(audio)) / 8000
    for hz in (350, 440):
        audio = audio + _amplitude(dbm0) * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6.28))
    return audio


def add_speech(
    audio: Audio, sent: list[Sent], rng: np.random.Generator, *, press: Press, below_db: float
) -> Audio:
    """Some speech from each press to the next, so far below the digit while that sounds."""
    speech = np.concatenate([prompt.astype(np.float64) for prompt in prompts(languages()[0])])
    audible = 32768 * 10 ** (-45 / 20)
    bounds = [0, *(one.end + 400 for one in sent[:-1]), len(audio)]
    mixed = audio.copy()
    for one, start, end in zip(sent, bounds[:-1], bounds[1:], strict=True):
        while True:
            at = int(rng.integers(len(speech) - (end - start)))
            piece = speech[at : at + end - start]
            rms = float(np.sqrt(np.mean(piece[one.start - start : one.end - start] ** 2)))
            if rms > audible:
                break
        mixed[start:end] += piece * np.sqrt(press.power / 10 ** (below_db / 10)) / rms
    return mixed


def code_g711(
    audio: Audio,
    sent: list[Sent],
    rng: np.random.Generator,
    *,
    encoding: Law,
) -> Audio:
    return signals.through_g711(to_int16(audio), encoding).astype(np.float64)


def code_gsm(audio: Audio, sent: list[Sent], rng: np.random.Generator) -> Audio:
    file = io.BytesIO()
    soundfile.write(file, to_int16(audio), 8000, format="WAV", subtype="GSM610")
    file.seek(0)
    decoded: Pcm = soundfile.read(file, dtype="int16")[0]
    return decoded.astype(np.float64)


# -- speech and music -----------------------------------------------------------------------------


def languages() -> list[str]:
    """Of the prompts on this machine, by their folders' names."""
    if not signals.PROMPTS.is_dir():
        return []
    folders = [p for p in signals.PROMPTS.iterdir() if p.is_dir() and not p.is_symlink()]
    return sorted(folder.name for folder in folders if next(folder.rglob("*.gsm"), None))


@cache
def prompts(language: str) -> tuple[Pcm, ...]:
    files = sorted((signals.PROMPTS / language).rglob("*.gsm"))
    return tuple(
        soundfile.read(
            str(file), dtype="int16", format="RAW", subtype="GSM610", samplerate=8000, channels=1
        )[0]
        for file in files
    )


@cache
def music() -> tuple[Pcm, ...]:
    pieces = []
    for file in sorted(MUSIC.glob("*.wav")):
        audio, rate = soundfile.read(str(file), dtype="int16")
        if rate == 8000 and audio.ndim == 1:
            pieces.append(audio)
    return tuple(pieces)


def at_speed(pcm: Pcm, speed: Fraction) -> Pcm:
    """Played so much faster, as a tape is, through the spectrum: nothing folds back."""
    if speed == 1 or not len(pcm):  # one of the Russian prompts is empty
        return pcm
    padded = np.concatenate([pcm, np.zeros(-len(pcm) % _WHOLE_AT_ALL_SPEEDS, np.int16)])
    n = int(len(padded) / speed)
    return to_int16(np.fft.irfft(np.fft.rfft(padded), n) * (n / len(padded)))


@dataclass(slots=True)
class TalkOff:
    """Digits found where there are none, and in how much sound."""

    digits: str = ""
    hours: float = 0.0

    def __str__(self) -> str:
        return f"{len(self.digits)} in {self.hours:.2f} h"


def talk_off(receiver: Receiver, pieces: Iterator[Pcm]) -> TalkOff:
    """Piece by piece, each with a pause behind it."""
    result = TalkOff()
    for piece in pieces:
        padded = np.concatenate([piece, signals.silence(0.1)])
        result.digits += "".join(found.digit for found in receiver.decode(padded, 8000))
        result.hours += len(piece) / 8000 / 3600
    return result


def played(pieces: tuple[Pcm, ...], speed: Fraction) -> Iterator[Pcm]:
    return (at_speed(piece, speed) for piece in pieces)


def first_minutes(pieces: tuple[Pcm, ...], minutes: float) -> tuple[Pcm, ...]:
    ends = np.cumsum([len(piece) for piece in pieces])
    return pieces[: int(np.searchsorted(ends, minutes * 60 * 8000)) + 1]


# -- the lines of the table -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a receiver did, for a reader, and whether that is the goal."""

    shown: str
    met: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: `goal` says what `measure` asks."""

    name: str
    goal: str
    measure: Callable[[Receiver], Result]
    rate: int = 8000
    needs_places: bool = False
    needs_prompts: bool = False

    def why_not(self, receiver: Receiver) -> str | None:
        """Why this receiver cannot be measured here."""
        if self.rate not in receiver.rates:
            return f"no {self.rate} Hz"
        if self.needs_places and not receiver.places:
            return "reports no places"
        if self.needs_prompts and not languages():
            return "no prompts: Debian's asterisk-core-sounds-en-gsm"
        return None


def _percent(value: float) -> str:
    # Rounded down: 99.96 is not all of them.
    return f"{np.floor(value * 10) / 10:g}"


def _found(
    presses: list[Press],
    *,
    goal: float = 100.0,
    count: int = _SOME,
    rate: int = 8000,
    changes: tuple[Change | None, ...] = (None,),
) -> Callable[[Receiver], Result]:
    """Each press with each change: the percentage found, in that order."""

    def measure(receiver: Receiver) -> Result:
        values = [
            score(receiver, press, count, rate=rate, change=change).found
            for change in changes
            for press in presses
        ]
        return Result(shown=" / ".join(map(_percent, values)), met=min(values) >= goal)

    return measure


def _none_accepted(presses: list[Press]) -> Callable[[Receiver], Result]:
    def measure(receiver: Receiver) -> Result:
        worst = max(score(receiver, press).accepted for press in presses)
        return Result(shown=f"{worst:.2g}", met=worst == 0.0)

    return measure


def _widest_twist(receiver: Receiver, towards_high: bool) -> float:
    """The last one, in steps of half a dB, up to which all digits are found."""
    for step in range(1, 41):
        quiet = -10.0 - step / 2
        press = Press(low_dbm0=quiet) if towards_high else Press(high_dbm0=quiet)
        if score(receiver, press).found < 100.0:
            return (step - 1) / 2
    return 20.0


def _twist(receiver: Receiver) -> Result:
    normal, reverse = _widest_twist(receiver, False), _widest_twist(receiver, True)
    return Result(shown=f"{normal:g} / {reverse:g} dB", met=normal >= 8.0 and reverse >= 4.0)


def _quietest(receiver: Receiver) -> Result:
    quietest = np.nan
    for dbm0 in range(-20, -61, -1):
        if score(receiver, at_level(dbm0)).found < 100.0:
            break
        quietest = dbm0
    return Result(shown=f"{quietest:g} dBm0", met=bool(quietest <= -25))


def _durations(receiver: Receiver) -> Result:
    accepted = {
        ms: score(receiver, Press(seconds=ms / 1000)).accepted
        for ms in (20, 22, 23, 24, 26, 28, 30, 31, 32, 33, 34, 36, 38, 40)
    }
    return Result(
        shown=f"{_percent(accepted[23])} / {_percent(accepted[40])}",
        met=accepted[23] == 0.0 and accepted[40] == 100.0,
        detail=", ".join(f"{ms} ms {_percent(value)}" for ms, value in accepted.items()),
    )


def _least(
    change: Callable[[int], Change], press: Press, steps: range, goal: int, count: int
) -> Callable[[Receiver], Result]:
    """The last of these steps, in dB, up to which all digits are found."""

    def measure(receiver: Receiver) -> Result:
        last = None
        for step in steps:
            if score(receiver, press, count, change=change(step)).found < 100.0:
                break
            last = step
        shown = f"worse than {steps[0]} dB" if last is None else f"{last} dB"
        return Result(shown=shown, met=last is not None and last <= goal)

    return measure


def _noise(snr_db: int, press: Press) -> Change:
    return partial(add_noise, press=press, snr_db=snr_db)


def _dial_tone(lead_db: int, press: Press) -> Change:
    return partial(add_dial_tone, dbm0=press.low_dbm0 - lead_db)


def _places(receiver: Receiver, rate: int) -> Result:
    """In ms, of onset and end."""
    errors = []
    for seed, ms in enumerate((40, 50, 73, 100, 150)):
        rng = np.random.default_rng(seed)
        audio, sent = send(Press(seconds=ms / 1000), _SOME, rate, rng)
        slots = sort_in(receiver.decode(to_int16(audio), rate), sent)
        errors += [
            (slot[0].start - one.start, slot[0].end - one.end)
            for slot, one in zip(slots, sent, strict=True)
            if slot
        ]
    in_ms = np.array(errors) * 1000 / rate
    (onset, end), (onset_sd, end_sd) = in_ms.mean(axis=0), in_ms.std(axis=0)
    return Result(
        shown=f"{onset:+.2f} sd {onset_sd:.2f} / {end:+.2f} sd {end_sd:.2f} ms",
        met=bool(max(abs(onset), abs(end)) <= 0.5),
    )


def _frame_sizes(receiver: Receiver) -> Result:
    """Of ours: no rival reports places, and without them there is nothing to compare."""
    rng = np.random.default_rng(16)
    press = replace(at_level(-16), pause=0.1)
    audio, sent = send(press, 64, 8000, rng)
    pcm = to_int16(_noise(12, press)(audio, sent, rng))
    expected = receiver.decode(pcm, 8000)
    sizes = (1, 37, 80, 160, 240, 333, 4096)
    same = [decode_live(pcm, 8000, size) == expected for size in sizes]
    return Result(shown=f"{sum(same)} of {len(same)} sizes", met=all(same) and len(expected) > 0)


def _off_by(factors: tuple[float, ...], tones: tuple[str, ...]) -> list[Press]:
    both = Press()
    return [
        replace(both, low_factor=factor) if tone == "low" else replace(both, high_factor=factor)
        for factor in factors
        for tone in tones
    ]


_LAWS: Final[tuple[tuple[str, Law], ...]] = (("A-law", "pcma"), ("mu-law", "pcmu"))
_LONG: Final = Press(seconds=0.1)
_IN_NOISE: Final = replace(at_level(-16), pause=0.05, group=16)
_ON_DIAL_TONE: Final = at_level(-22)
# With room for speech about it, which is often louder there than under the digit.
_IN_SPEECH: Final = Press(seconds=0.1, pause=0.2, low_dbm0=-16, high_dbm0=-16)

# Lines 12, 13 and 18 have no standard's number: their goals hold what is reached, a little below
# it, since one language's prompts are harder than another's.
LINES: Final = (
    *(
        Line(
            name=f"1 all digits at {rate} Hz, 50/50 and 40/40 ms: found %",
            goal="100",
            rate=rate,
            measure=_found(
                [Press(seconds=s, pause=s, group=16) for s in (0.05, 0.04)], count=_MANY, rate=rate
            ),
        )
        for rate in (8000, 16000, 48000)
    ),
    Line(
        name="2 both tones 1.5 % low, high: found %",
        goal="100",
        measure=_found([Press(low_factor=f, high_factor=f) for f in (0.985, 1.015)], count=_MANY),
    ),
    Line(
        name="3 one tone 3.5, 4 or 5 % off: accepted %, the worst",
        goal="0",
        measure=_none_accepted(
            _off_by((0.95, 0.96, 0.965, 1.035, 1.04, 1.05), ("low", "high")),
        ),
    ),
    Line(name="4 twist with all found, normal / reverse", goal=">= 8 / 4 dB", measure=_twist),
    Line(name="5 quietest with all found", goal="<= -25 dBm0", measure=_quietest),
    Line(
        name="5 at -45 dBm0: accepted %",
        goal="0",
        measure=_none_accepted([at_level(-45)]),
    ),
    Line(
        name="5 at -46 dBm0 and below: accepted %, the worst",
        goal="0",
        measure=_none_accepted([at_level(level) for level in (-46, -50, -55)]),
    ),
    Line(
        name="6 loud, -9, -6, -3 dBm0: found %",
        goal="100",
        measure=_found([at_level(level) for level in (-9, -6, -3)]),
    ),
    Line(
        name="6 clipped, 0 and +3 dBm0: found %",
        goal="100",
        measure=_found([at_level(level) for level in (0, 3)]),
    ),
    Line(name="7 23 / 40 ms: accepted %", goal="0 / 100", measure=_durations),
    Line(
        name="8 10 ms dropout in 100 ms: one digit %",
        goal="100",
        measure=_found([_LONG], count=_MANY, changes=(drop,)),
    ),
    Line(
        name="9 20 ms packet lost in 100 ms: one digit %",
        goal="100",
        measure=_found([_LONG], count=_MANY, changes=(lose_a_packet,)),
    ),
    Line(
        name="10 the same digit again after 40 ms: found %",
        goal="100",
        measure=_found([Press(pause=0.04, group=2, repeated=True)], count=_SOME),
    ),
    Line(
        name="11 least SNR in white noise with all of 1008 found",
        goal="<= 15 dB",
        measure=_least(
            partial(_noise, press=_IN_NOISE), _IN_NOISE, range(18, -10, -1), 15, count=_MANY
        ),
    ),
    Line(
        name="12 least lead over a dial tone's with all found",
        goal="<= -5 dB",
        measure=_least(
            partial(_dial_tone, press=_ON_DIAL_TONE), _ON_DIAL_TONE, range(16, -17, -1), -5, _SOME
        ),
    ),
    *(
        Line(
            name=f"13 speech {below_db} dB below the digit's level: found %",
            goal=f">= {goal}",
            needs_prompts=True,
            measure=_found(
                [_IN_SPEECH],
                goal=goal,
                count=_MANY,
                changes=(partial(add_speech, press=_IN_SPEECH, below_db=below_db),),
            ),
        )
        for below_db, goal in ((5, 95), (0, 85))
    ),
    *(
        Line(
            name=f"14 G.711 {law}, -10 and -25 dBm0: found %",
            goal="100",
            measure=_found(
                [at_level(-10), at_level(-25)], changes=(partial(code_g711, encoding=encoding),)
            ),
        )
        for law, encoding in _LAWS
    ),
    *(
        Line(
            name=f"15 onset / end error at {rate} Hz",
            goal="mean within 0.5 ms",
            rate=rate,
            needs_places=True,
            measure=partial(_places, rate=rate),
        )
        for rate in (8000, 44100, 48000)
    ),
    Line(
        name="16 the same from any frame size",
        goal="all",
        needs_places=True,
        measure=_frame_sizes,
    ),
    Line(
        name="18 GSM 06.10, 50 ms: found %",
        goal=">= 95",
        measure=_found([Press()], goal=95, count=_MANY, changes=(code_gsm,)),
    ),
)
