# SPDX-License-Identifier: MIT
"""Results of random calls, kept from the centre before the present one (commit 0daff05).

    python -m tests.kept_results 17               # run scenario 17, compare it with its kept result
    python -m tests.kept_results 17 --files DIR   # leave its files in DIR, to look at or compare

A number makes a scenario: the audio of both legs, how it is cut and fed, and what is commanded
where. Digests of the files, the events and the returned audio are kept, not the audio itself. To
see where a file differs, run the same scenario with `--files` in a checkout of the older version.

Only the public API is used. Legs are level at every command, and no frame is late, early or
missing. Scenarios with any of the following were not kept, since the two differ there on purpose:

- voice or a DTMF tone that begins within 40 ms of a pause or a resume, or a tone that begins so
  near a recording's start;
- an out-of-band digit while any recording is paused, or while a tone of the same digit is only
  suspected;
- `mask_digits` with a tone at the recording's start or within 200 ms of its end, or whose end
  rounds to another sample: the leg's decoder no longer begins with the recording;
- a mono recording of both legs with a pause where that shows: each leg fades before they are
  added, which rounds by 1;
- beeps that overlap.

MP3 files are compared by their number of samples, since their bytes depend on the version of LAME.
"""

import argparse
import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

import numpy as np

from recorder import Call, RecordAction, RecordEvent
from tests import signals
from tests.conftest import settle
from tests.recordings import path_of
from tests.signals import Pcm

KEPT: Final = Path(__file__).parent / "data" / "kept_results.json"
SCENARIOS: Final = 188  # kept

BEEP_SECONDS: Final = 0.25
# Margins around what is not settled, in seconds.
_ONSET_MARGIN: Final = 0.04
_MASK_MARGIN: Final = 0.2
_SUSPECTED: Final = 0.1  # a tone is confirmed by then
_BEFORE_TONE: Final = 0.02

# How the legs are fed: in one call, so with positions, each in turn, or speak alone.
Mode = Literal["together", "at", "in turn", "speak alone"]
MODES: Final[tuple[Mode, ...]] = ("together", "at", "in turn", "speak alone")
Name = Literal["record", "pause", "resume", "stop", "digit", "hangup"]

_PARAMS: Final = ("call_id", "node_id", "control_id", "state", "url", "duration", "size")
_RECORD: Final = ("url", "duration", "size", "format", "audio", "reason", "digit", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A command at a position, in samples; `recording` counts from 0 and is -1 for the call's."""

    position: int
    name: Name
    recording: int = -1
    argument: Any = None  # options, a pause's behavior, or a digit


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A call: `sizes` are those of its frames, over and over; a frame also ends at each step."""

    number: int
    rate: int
    mode: Mode
    speak: Pcm
    listen: Pcm
    sizes: tuple[int, ...]
    steps: tuple[Step, ...]


class RecordingResult(TypedDict):
    """What became of one recording; `events` is to be read, `digest` covers all of them."""

    events: list[str]
    digest: str
    file: str


class Result(TypedDict):
    """What became of a call.

    `audio` is a digest of what was fed; `returned` of what `feed` returned for frames with a listen
    leg, and `returned_alone` for speak frames alone.
    """

    audio: str
    returned: str
    returned_alone: str
    recordings: list[RecordingResult]


# -- making a scenario ----------------------------------------------------------------------------


def scenario(number: int) -> Scenario:
    """The scenario of a number, always the same."""
    rng = random.Random(f"recorder kept results {number}")
    rate = rng.choices([8000, 16000, 24000, 44100, 48000], [12, 3, 2, 2, 2])[0]
    mode = rng.choices(MODES, [4, 2, 3, 2])[0]
    frame = rate // 50
    n = signals.seconds(rng.uniform(3, 15), rate)
    if mode == "in turn":
        n -= n % frame
    speak = _leg(rng, n, rate, digits=True)
    listen = _leg(rng, n, rate, digits=False)
    return Scenario(
        number=number,
        rate=rate,
        mode=mode,
        speak=speak,
        listen=listen,
        sizes=(frame,) if mode == "in turn" else _sizes(rng, frame),
        steps=_steps(rng, n, rate, mode),
    )


def _sizes(rng: random.Random, frame: int) -> tuple[int, ...]:
    match rng.randrange(4):
        case 0:
            return (frame,)
        case 1:
            return tuple(rng.randint(1, frame) for _ in range(20))
        case 2:
            return tuple(rng.randint(1, 16 * frame) for _ in range(20))
        case _:
            return tuple(rng.choice([7, frame, 3 * frame, 77 * frame]) for _ in range(20))


@cache
def _speech() -> Pcm:
    return signals.speech()


def _speech_piece(rng: random.Random, rate: int) -> Pcm:
    """Up to 3 s of speech, each sample held: crude, but the same on every machine."""
    speech = _speech()
    start = rng.randrange(0, len(speech) - 8000)
    piece = speech[start : start + rng.randint(4000, 24000)]
    return piece[np.arange(len(piece) * rate // 8000) * 8000 // rate]


def _presses(rng: random.Random, rate: int, most: int) -> Pcm:
    digits = [rng.choice("#*0123456789A") for _ in range(rng.randint(1, most))]
    on, off = rng.uniform(0.045, 0.2), rng.uniform(0.05, 0.25)
    level = rng.uniform(-22, -6)
    return signals.presses(digits, on, off, rate, level_dbm0=level)[0]


def _added(a: Pcm, b: Pcm) -> Pcm:
    return signals.to_int16(a.astype(np.float64) + b)


def _piece(rng: random.Random, rate: int, digits: bool) -> Pcm:
    duration = rng.uniform(0.1, 2.5)
    kinds = ["silence", "speech", "noise", "tone", "hum", "clicks", "presses", "noisy presses"]
    match rng.choices(kinds, [5, 5, 5, 2, 2, 2, 5, 2] if digits else [5, 5, 5, 2, 2, 2, 1, 1])[0]:
        case "speech":
            return _speech_piece(rng, rate)
        case "noise":
            level, seed = rng.uniform(-60, -15), rng.randrange(10**6)
            return signals.noise(duration, level, rate, seed=seed)
        case "tone":
            return signals.tone(duration, rng.uniform(-45, -12), rate, rng.uniform(250, 3000))
        case "hum":
            hum = signals.tone(duration, rng.uniform(-45, -20), rate, rng.choice([50, 60]))
            return _added(hum, np.full(len(hum), rng.randint(-3000, 3000), np.int16))
        case "clicks":
            clicks = signals.silence(duration, rate)
            for _ in range(rng.randint(1, 4)):
                at = rng.randrange(len(clicks) - 8)
                clicks[at : at + rng.randint(1, 8)] = rng.randint(-32768, 32767)
            return clicks
        case "presses":
            return _presses(rng, rate, 4)
        case "noisy presses":
            presses, seed = _presses(rng, rate, 2), rng.randrange(10**6)
            noise = signals.noise(len(presses) / rate, rng.uniform(-55, -32), rate, seed=seed)
            return _added(presses, noise[: len(presses)])
        case _:
            return signals.silence(duration, rate)


def _leg(rng: random.Random, n: int, rate: int, *, digits: bool) -> Pcm:
    """n samples of a leg; some legs end in silence."""
    quiet = signals.seconds(rng.uniform(1, 5), rate) if rng.random() < 0.5 else 0
    pieces = [signals.silence(rng.choice([0, 0.02, 0.7]), rate)]
    while sum(map(len, pieces)) < max(0, n - quiet):
        pieces.append(_piece(rng, rate, digits))
    pieces.append(np.zeros(n, np.int16))
    return np.concatenate(pieces)[:n]


def _options(rng: random.Random, mode: Mode) -> dict[str, Any]:
    def some(share: float, low: float, high: float) -> float:
        return round(rng.uniform(low, high), 3) if rng.random() < share else 0

    options: dict[str, Any] = {
        "initial_timeout": some(0.6, 0.2, 3),
        "end_silence_timeout": some(0.6, 0.2, 3),
        "max_length": some(0.3, 0.3, 6),
        "terminators": rng.choice(["", "", "#", "*#", "159a", "0123456789"]),
        "input_sensitivity": rng.choice([44, 44, 44, 30, 50, 60, round(rng.uniform(20, 70), 1)]),
        "noise_tracking": rng.random() < 0.75,
        "voice_only": rng.random() < 0.2,
        "mask_digits": rng.random() < 0.2,
        "beep": rng.random() < 0.2,
        "stereo": rng.random() < 0.35,
        "format": "mp3" if rng.random() < 0.07 else "wav",
        "direction": rng.choice(["speak", "speak", "listen", "both", "both"]),
    }
    if mode == "speak alone":
        options["direction"] = "speak"
    # What is left out has the default, which belongs to the results as well.
    return {key: value for key, value in options.items() if rng.random() < 0.93} | {
        "direction": options["direction"]
    }


class _Plan:
    """The steps of a scenario while they are drawn; no two commands are less than 20 ms apart."""

    def __init__(self, rng: random.Random, n: int, rate: int, mode: Mode) -> None:
        self.rng = rng
        self.n = n
        self.rate = rate
        self.frame = rate // 50
        self.mode = mode
        self.steps: list[Step] = []
        self._pauses: list[tuple[int, int]] = []
        self._beeps: list[int] = []

    def somewhere(self, low: int, high: int) -> int:
        """A position, often on a border of 20 ms; always where the legs are level only there."""
        position = self.rng.randint(low, max(low, high))
        if self.mode == "in turn" or self.rng.random() < 0.5:
            position -= position % self.frame
        return position

    def is_free(self, position: int) -> bool:
        """Whether a step fits here."""
        return position < self.n and all(
            abs(position - step.position) >= self.frame for step in self.steps
        )

    def add_recording(self, recording: int) -> bool:
        """Start a recording, if it fits; return whether it does."""
        rng = self.rng
        start = 0 if rng.random() < 0.4 else self.somewhere(0, self.n * 2 // 3)
        if start and not self.is_free(start):
            return False
        options = _options(rng, self.mode)
        if options.get("beep"):
            options["beep"] = all(
                abs(start - beep) > BEEP_SECONDS * self.rate for beep in self._beeps
            )
            if options["beep"]:
                self._beeps.append(start)
        self.steps.append(
            Step(position=start, name="record", recording=recording, argument=options)
        )
        return True

    def add_commands(self, recording: int, start: int) -> None:
        """Pauses of a recording, and its stop, as far as they fit."""
        rng, at = self.rng, start
        for _ in range(rng.choice([0, 0, 0, 1, 2, 3])):
            begin = self.somewhere(at + self.frame, at + (self.n - at) // 3)
            end = self.somewhere(begin + self.frame, begin + (self.n - begin) // 3)
            if not self.is_free(begin):
                break
            behavior = rng.choice(["skip", "silence", "skip", "silence", None])
            self.steps.append(
                Step(position=begin, name="pause", recording=recording, argument=behavior)
            )
            if rng.random() < 0.1 or not self.is_free(end):
                self._pauses.append((begin, self.n))
                break
            self._pauses.append((begin, end))
            self.steps.append(Step(position=end, name="resume", recording=recording))
            at = end
        if rng.random() < 0.3:
            stop = self.somewhere(start + 2, self.n)
            if self.is_free(stop):
                self.steps.append(Step(position=stop, name="stop", recording=recording))

    def add_digit(self) -> None:
        """An out-of-band digit, if it fits and nothing is paused there."""
        position = self.somewhere(1, self.n)
        is_paused = any(begin <= position <= end for begin, end in self._pauses)
        if self.is_free(position) and not is_paused:
            digit = self.rng.choice("#*159a")
            self.steps.append(Step(position=position, name="digit", argument=digit))

    def add_hangup(self) -> None:
        """An early end of the call, if it fits, once all recordings have started."""
        last = max(step.position for step in self.steps if step.name == "record")
        position = self.somewhere(last + self.frame, self.n)
        if self.is_free(position):
            self.steps.append(Step(position=position, name="hangup"))


def _steps(rng: random.Random, n: int, rate: int, mode: Mode) -> tuple[Step, ...]:
    plan = _Plan(rng, n, rate, mode)
    recordings = 0
    for _ in range(rng.choices([1, 2, 3, 4], [3, 4, 2, 1])[0]):
        recordings += plan.add_recording(recordings)
    for start in plan.steps[:recordings]:
        plan.add_commands(start.recording, start.position)
    for _ in range(rng.choice([0, 0, 1, 2])):
        plan.add_digit()
    if rng.random() < 0.2:
        plan.add_hangup()
    return tuple(sorted(plan.steps, key=lambda step: step.position))


# -- running it -----------------------------------------------------------------------------------


class _Run:
    """A scenario that is under way."""

    def __init__(self, what: Scenario, directory: Path) -> None:
        self.what = what
        self.directory = directory
        self.events: dict[str, list[RecordEvent]] = {}
        self.actions: dict[int, RecordAction] = {}
        self.returned: list[bytes] = []
        self.returned_alone: list[bytes] = []
        self._call = Call(what.rate, call_id="c", node_id="n", directory=directory)
        self._call.on("calling.call.record", self._note)

    def _note(self, event: RecordEvent) -> None:
        self.events.setdefault(str(event.params["control_id"]), []).append(event)

    def to_the_end(self) -> None:
        what = self.what
        pending = list(what.steps)
        at = index = 0
        while True:
            while pending and pending[0].position == at:
                assert self._call.position == at
                step = pending.pop(0)
                if step.name == "hangup":
                    pending.clear()
                    at = len(what.speak)
                else:
                    self._command(step)
            if at == len(what.speak):
                break
            end = min(at + what.sizes[index % len(what.sizes)], len(what.speak))
            index += 1
            if pending:
                end = min(end, pending[0].position)
            self._feed(at, end)
            at = end
        self._call.hangup()
        for action in self.actions.values():
            action.join(30)
        settle()

    def _command(self, step: Step) -> None:
        match step.name:
            case "record":
                self.actions[step.recording] = self._call.record(
                    step.argument, control_id=f"k{step.recording}"
                )
            case "pause":
                self.actions[step.recording].pause(step.argument)
            case "resume":
                self.actions[step.recording].resume()
            case "stop":
                self.actions[step.recording].stop()
            case _:
                self._call.digit(step.argument)

    def _feed(self, start: int, end: int) -> None:
        speak, listen = self.what.speak[start:end], self.what.listen[start:end]
        match self.what.mode:
            case "together":
                _keep(self.returned, self._call.feed(speak=speak, listen=listen), speak)
            case "at":
                _keep(self.returned, self._call.feed(speak=speak, listen=listen, at=start), speak)
            case "in turn":
                _keep(self.returned_alone, self._call.feed(speak=speak), speak)
                _keep(self.returned, self._call.feed(listen=listen), listen)
            case "speak alone":
                _keep(self.returned_alone, self._call.feed(speak=speak), speak)


def _keep(where: list[bytes], returned: Any, frame: Pcm) -> None:
    """Nothing is as good as silence."""
    where.append(bytes(frame.nbytes) if returned is None else np.asarray(returned).tobytes())


def _run(what: Scenario, directory: Path) -> _Run:
    run = _Run(what, directory)
    try:
        run.to_the_end()
    except BaseException as error:
        error.add_note(f"scenario {what.number}")
        raise
    return run


def outcome(what: Scenario, directory: Path | None = None) -> Result:
    """Run a scenario; with a directory, its files stay there."""
    if directory is not None:
        return _result(_run(what, directory))
    with tempfile.TemporaryDirectory() as folder:
        return _result(_run(what, Path(folder)))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _result(run: _Run) -> Result:
    return {
        "audio": _digest(run.what.speak.tobytes() + run.what.listen.tobytes()),
        "returned": _digest(b"".join(run.returned)),
        "returned_alone": _digest(b"".join(run.returned_alone)),
        "recordings": [
            _recording_result(run.events[f"k{number}"], run.what.rate)
            for number in sorted(run.actions)
        ],
    }


def _recording_result(events: Sequence[RecordEvent], rate: int) -> RecordingResult:
    last = events[-1]
    is_mp3 = last.record["format"] == "mp3"
    normal = json.dumps([_normalised(event, is_mp3) for event in events], sort_keys=True)
    return {
        "events": [_summary(event, rate) for event in events],
        "digest": _digest(normal.encode()),
        "file": "mp3" if is_mp3 else _digest(path_of(last).read_bytes()),
    }


def _normalised(event: RecordEvent, is_mp3: bool) -> dict[str, Any]:
    """All of an event but what differs from run to run, or is new since the results were kept."""
    params = {key: event.params[key] for key in _PARAMS}
    record = event.params["record"]
    params["record"] = {key: record[key] for key in _RECORD if key in record}
    for place in (params, params["record"]):
        place["url"] = Path(place["url"]).suffix
        if is_mp3:
            del place["size"]
    return params


def _summary(event: RecordEvent, rate: int) -> str:
    record = event.record
    words = [event.state, round(event.duration * rate), record.get("reason"), record.get("digit")]
    return " ".join(str(word) for word in words if word is not None)


def reason(result: RecordingResult) -> str:
    """Why a recording ended."""
    return result["events"][-1].split()[2]


# -- comparing it ---------------------------------------------------------------------------------


@cache
def kept() -> dict[int, Result]:
    """The kept results by the scenario's number."""
    return {int(number): result for number, result in json.loads(KEPT.read_text()).items()}


def differences(number: int, result: Result, expected: Result) -> list[str]:
    """What differs from the kept result, a line each."""
    if result["audio"] != expected["audio"]:
        return [f"scenario {number}: the audio that is fed differs, not what is recorded of it"]
    lines = [
        f"{key} differs"
        for key, a, b in (
            ("returned", result["returned"], expected["returned"]),
            ("returned_alone", result["returned_alone"], expected["returned_alone"]),
        )
        if a != b
    ]
    for k, (got, want) in enumerate(zip(result["recordings"], expected["recordings"], strict=True)):
        if got["events"] != want["events"]:
            lines.append(f"k{k}: expected {want['events']}, got {got['events']}")
        elif got["digest"] != want["digest"]:
            lines.append(f"k{k}: events differ in more than {got['events']}")
        elif got["file"] != want["file"]:
            lines.append(f"k{k}: the file differs, {got['events'][-1]}")
    return [f"scenario {number}: {line}" for line in lines]


def difference(number: int, directory: Path | None = None) -> list[str]:
    """Run the scenario of a number and compare it with its kept result."""
    return differences(number, outcome(scenario(number), directory), kept()[number])


def show(number: int, directory: Path | None = None) -> bool:
    """Print a scenario, its result, and what differs from the kept one; True if nothing does."""
    what = scenario(number)
    print(f"scenario {number}: {what.rate} Hz, {len(what.speak)} samples, fed {what.mode}")
    print(f"frames of {what.sizes}")
    for step in what.steps:
        print(
            f"  {step.position:7} {step.name} {f'k{step.recording}' if step.recording >= 0 else ''}"
            f" {step.argument if step.argument is not None else ''}"
        )
    result = outcome(what, directory)
    for k, recording in enumerate(result["recordings"]):
        print(f"  k{k}: {', '.join(recording['events'])}; file {recording['file']}")
    expected = kept().get(number)
    if expected is None:
        print("not kept")
        return True
    different = differences(number, result, expected)
    print("\n".join(different) or "as kept")
    return not different


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Kept results of random calls.")
    parser.add_argument("numbers", nargs="*", type=int, help="scenarios to run and compare")
    parser.add_argument("--files", type=Path, help="leave the files of the scenarios here")
    arguments = parser.parse_args()
    folder = arguments.files
    same = [
        show(number, None if folder is None else folder / str(number))
        for number in arguments.numbers
    ]
    sys.exit(not all(same))


if __name__ == "__main__":
    main()
