# SPDX-License-Identifier: MIT
"""What to record, and when it ends: the `audio` argument of `Call.record`."""

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, TypedDict

from recorder.detection.core import DIGITS
from recorder.errors import OptionError, shown

Direction = Literal["speak", "listen", "both"]
Format = Literal["wav", "mp3"]

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "direction": ("speak", "listen", "both"),
    "format": ("wav", "mp3"),
}
_SWITCHES: Final = ("stereo", "beep", "noise_tracking", "voice_only", "mask_digits")
_ROUNDING: Final = 5e-7  # of products of floats, in samples
MOST_SECONDS: Final = 366 * 24 * 3600
_SECONDS: Final = ("initial_timeout", "end_silence_timeout", "max_length")


class AudioOptions(TypedDict, total=False):
    """The `audio` dict of `record`; RecordOptions says what its keys mean."""

    direction: Direction
    format: Format
    stereo: bool
    initial_timeout: float
    end_silence_timeout: float
    terminators: str
    beep: bool
    input_sensitivity: float
    max_length: float
    noise_tracking: bool
    voice_only: bool
    mask_digits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """Typed equivalent of the `audio` dict. Times are in seconds; 0 switches a limit off.

    OptionError for an unknown name, a wrong type or a value out of range.

    - `direction`: the legs recorded; `speak` is what the party says, `listen` what it hears.
    - `format`: 16-bit PCM `wav`, or `mp3`.
    - `stereo`: two channels, left speak and right listen.
    - `initial_timeout`: no voice for this long from the start ends it as `no_input`.
    - `end_silence_timeout`: this much silence after voice ends it.
    - `terminators`: DTMF digits of the party that end it.
    - `beep`: the party hears a beep first.
    - `input_sensitivity`: S, 0 to 100, puts the gate at -S dBFS; what is below is not input.
    - `max_length`: the file never gets longer.
    - `noise_tracking`: steady noise above the gate is learnt, and is not input either.
    - `voice_only`: breaths, knocks and slams are not input either.
    - `mask_digits`: DTMF tones are silence in the file, from onset to end.
    """

    direction: Direction = "speak"
    format: Format = "wav"
    stereo: bool = False
    initial_timeout: float = 4.0
    end_silence_timeout: float = 5.0
    terminators: str = "#"
    beep: bool = False
    input_sensitivity: float = 44.0
    max_length: float = 0.0
    noise_tracking: bool = True
    voice_only: bool = False
    mask_digits: bool = False

    def __new__(cls, *_: Any, **options: Any) -> Self:
        """Refuse unknown names, as those of `audio`, before Python does with less help."""
        names = [field.name for field in fields(cls)]
        for key in options:
            if key not in names:
                raise OptionError(f"there is no option {key!r}{_nearest(key, names)}")
        return object.__new__(cls)

    def __post_init__(self) -> None:
        for key, choices in CHOICES.items():
            _check_choice(key, getattr(self, key), choices)
        for key in _SWITCHES:
            object.__setattr__(self, key, check_switch(key, getattr(self, key)))
        for key in _SECONDS:
            value = check_number(key, getattr(self, key), MOST_SECONDS, "seconds (a year)")
            object.__setattr__(self, key, value)
        sensitivity = check_number("input_sensitivity", self.input_sensitivity, 100)
        object.__setattr__(self, "input_sensitivity", sensitivity)
        object.__setattr__(self, "terminators", normalise_digits("terminators", self.terminators))

    @classmethod
    def from_audio(cls, audio: "AudioOptions | RecordOptions | None") -> "RecordOptions":
        """Return the options that a call of `record` means by its `audio` argument."""
        if audio is None:
            return cls()
        if isinstance(audio, RecordOptions):
            return audio
        if not isinstance(audio, Mapping):
            raise OptionError(
                f"audio: expected a dict of options or RecordOptions, got {shown(audio)}"
            )
        names = [field.name for field in fields(cls)]
        for key in audio:
            if key not in names:
                raise OptionError(f"audio has no option {key!r}{_nearest(key, names)}")
        return cls(**audio)

    @classmethod
    def whole_call(cls, **changes: Any) -> "RecordOptions":
        """The defaults of SWML's `record_call`: both legs, until stopped or hung up."""
        preset = cls(direction="both", initial_timeout=0, end_silence_timeout=0, terminators="")
        return preset.replace(**changes)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some options changed."""
        return replace(self, **changes)

    @property
    def legs(self) -> tuple[Literal["speak", "listen"], ...]:
        """The legs that are recorded, and on which voice is looked for."""
        return ("speak", "listen") if self.direction == "both" else (self.direction,)

    @property
    def quiet_blocks(self) -> int:
        """Low blocks of 100 ms that make a noisy line quiet: half the end of silence, 1 to 4."""
        if not self.end_silence_timeout:
            return 4
        return min(4, max(1, round(self.end_silence_timeout / 0.2)))

    @property
    def channels(self) -> int:
        """Channels of the file."""
        return 2 if self.stereo else 1


def normalise_digits(key: str, digits: Any) -> str:
    """Return DTMF digits in upper case; OptionError for anything else."""
    if not isinstance(digits, str) or any(digit.upper() not in DIGITS for digit in digits):
        raise OptionError(f"{key}: expected digits out of 0-9 A-D * #, got {shown(digits)}")
    return digits.upper()


def whole_samples(seconds: float, sample_rate: int) -> int:
    """As many whole samples as fit: 0.29 s at 8 kHz is 2320, though 0.29 * 8000 is a bit less."""
    return math.floor(seconds * sample_rate + _ROUNDING)


def timer(seconds: float, sample_rate: int) -> int | None:
    """A limit in samples, None for one that is switched off."""
    return whole_samples(seconds, sample_rate) if seconds else None


def check_number(key: str, value: Any, most: int, unit: str = "") -> float:
    """Return an exact number from 0 to `most`, of any type, as Python's own; else OptionError."""
    is_number = isinstance(value, numbers.Number) and not isinstance(value, bool)
    try:
        fits = is_number and bool(0 <= value <= most)
    except (TypeError, ArithmeticError):  # a complex number, a Decimal that is none
        fits = False
    if not fits:
        expected = f"a number from 0 to {most} {unit}".rstrip()
        raise OptionError(f"{key}: expected {expected}, got {shown(value)}")
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_path(path: Any, options: RecordOptions) -> Path:
    """Return a path of the user's own, absolute; OptionError unless it fits the format."""
    try:
        target = Path(path).absolute()
    except TypeError:
        raise OptionError(f"path: expected a path, got {shown(path)}") from None
    ending = target.suffix.lower().removeprefix(".")
    if ending in CHOICES["format"] and ending != options.format:
        raise OptionError(
            f"path: expected one that ends in .{options.format}, as the format, got {str(path)!r}"
        )
    return target


def check_mode(key: str, mode: Any) -> int:
    """Return a file's permissions as an int; OptionError unless they are 0 to 0o777."""
    is_whole = isinstance(mode, numbers.Integral) and not isinstance(mode, bool)
    if not is_whole or not 0 <= mode <= 0o777:
        raise OptionError(f"{key}: expected one from 0 to 0o777, got {shown(mode)}")
    return int(mode)


def check_switch(key: str, value: Any) -> bool:
    """Return a bool of any type as Python's own; else OptionError."""
    # numpy's own: what a comparison of arrays gives.
    if type(value).__name__ not in {"bool", "bool_"}:
        raise OptionError(f"{key}: expected True or False, got {shown(value)}")
    return bool(value)


def _check_choice(key: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        hint = _did_you_mean(value, choices) if isinstance(value, str) else ""
        raise OptionError(f"{key}: expected one of {', '.join(choices)}, got {shown(value)}{hint}")


def _nearest(word: Any, names: list[str]) -> str:
    return _did_you_mean(word, names) or f"; there are {', '.join(names)}"


def _did_you_mean(word: Any, names: Sequence[str]) -> str:
    import difflib  # here: only who mistypes pays for it

    close = difflib.get_close_matches(str(word).lower(), names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
