# SPDX-License-Identifier: MIT
"""A labelled set of 408 voicemails at 8 kHz, and the judge of where a recording of each ends.

324 hold speech, 84 only the line. The set is in two halves that share neither seed nor speech
file: what is tuned on one is judged by the other. It is made when asked for: from espeak-ng and the
prompts and music of Asterisk's Debian packages. `missing` says what of these is not installed; the
set is made of the rest then, and is another set.

An item is good when its recording ends in the right state and, with speech, within 0.5 s of where
it should: the end-silence timeout after the last speech.
"""

import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from recorder import Call, RecordOptions
from tests.signals import PROMPTS, Pcm, through_g711, to_int16

Half = Literal["development", "held-out"]
# What became of an item:
#   good         it ended in the right state, where it should
#   cut          it ended before the last speech did
#   early, late  it ended after the last speech, but too soon; it ended too late, or not at all
#   missed       there was speech, and it ended as `no_input`
#   false_input  there was no speech, and it did not end as `no_input`
Outcome = Literal["good", "cut", "early", "late", "missed", "false_input"]
Signal = NDArray[np.float64]
Frames = NDArray[np.bool_]

HALVES: Final[tuple[Half, ...]] = ("development", "held-out")
RATE: Final = 8000
FRAME: Final = 160
END_SILENCE_TIMEOUTS: Final = (2.0, 0.8)
INITIAL_TIMEOUT: Final = 4.0
TOLERANCE: Final = 0.5  # seconds
MUSIC: Final = Path("/usr/share/asterisk/moh")

_FULL_SCALE: Final = 32768.0
_SPEECH_DBFS: Final = (-26.0, -20.0)
# The line's noise is set against this where there is no speech to set it against.
_USUAL_SPEECH_DBFS: Final = -23.0
# What is louder than -26 dBFS is input, whatever the background: a line as loud as that has no end
# of speech. Where it would be louder than this, speech and line are both turned down.
_LOUDEST_LINE_DBFS: Final = -28.0
_LEAD_IN: Final = (0.3, 2.5)
_PAUSE: Final = (0.2, 0.6)
_TAIL: Final = (8.0, 9.0)
_NO_SPEECH_SECONDS: Final = 15.0
# Speech ends where 5 ms of it are last within this of its active level. A talker whose voice goes
# down by less before that for long would leave the end a matter of taste: not taken.
_END_BELOW_DB: Final = 25.0
_CLEAR_BELOW_DB: Final = 18.0
_LONGEST_FADE: Final = 0.2
_ENERGY_WINDOW: Final = 40
_RELEASE: Final = 80
# The longest pause inside a clip: together with what is weak about it still below 0.8 s.
_LONGEST_GAP: Final = 0.5
# Of the prompts only these, so that the set is the same wherever they are.
PROMPT_FOLDERS: Final = ("en_US_f_Allison", "es_MX_f_Allison", "fr_CA_f_June")
_CLIP_SECONDS: Final = (0.6, 7.0)
_TALKERS_IN_BABBLE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voicemail:
    """One item. `end` is the sample after the last speech, None without speech.

    `snr` is the speech's active level over the line's noise, in dB, and None on a quiet line;
    `category` is the kind of line, `talker` who speaks ("" when nobody does).
    """

    name: str
    category: str
    snr: float | None
    talker: str
    audio: Pcm
    end: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one item ended; `error` is in seconds, of an end after speech: above 0 is late."""

    item: Voicemail
    timeout: float
    outcome: Outcome
    error: float | None


# -- speech ------------------------------------------------------------------------------------

_SENTENCES: Final[dict[Half, dict[str, tuple[str, ...]]]] = {
    "development": {
        "en": (
            "Hello, this is Martha from the dentist's office.",
            "I am calling about your appointment next Thursday at half past nine.",
            "Please call me back when you get a chance.",
            "The number is five five five, zero one seven three.",
            "Sorry I missed you, I will try again tomorrow morning.",
            "Could you bring the blue folder with you?",
            "We finished the kitchen, but the paint is still wet.",
            "Thanks, bye.",
        ),
        "de": (
            "Guten Tag, hier ist die Werkstatt.",
            "Ihr Wagen ist fertig und kann abgeholt werden.",
            "Wir haben heute bis achtzehn Uhr geöffnet.",
            "Vielen Dank und auf Wiederhören.",
        ),
        "es": (
            "Hola, soy Carmen de la biblioteca.",
            "El libro que pidió ya está aquí.",
            "Puede recogerlo hasta el viernes por la tarde.",
            "Muchas gracias, adiós.",
        ),
    },
    "held-out": {
        "en": (
            "Hi, it's George, I'm stuck in traffic outside the station.",
            "Your parcel could not be delivered, because nobody was at home.",
            "We would like to move the meeting to a quarter to three.",
            "My extension is four two nine six.",
            "Don't forget to feed the cat and water the plants.",
            "Let me know whether Saturday suits you.",
            "The printer on the second floor is out of paper again.",
            "Talk to you soon.",
        ),
        "fr": (
            "Bonjour, c'est le cabinet du docteur Morel.",
            "Votre rendez-vous est reporté à mardi prochain.",
            "Merci de nous rappeler avant midi.",
            "Bonne journée, au revoir.",
        ),
        "it": (
            "Buongiorno, chiamo per la casa al mare.",
            "Vorrei sapere se è ancora libera in agosto.",
            "Mi richiami quando vuole, anche la sera.",
            "Grazie, a presto.",
        ),
    },
}
# espeak-ng's voice, its language above, and words a minute.
_VOICES: Final[dict[Half, tuple[tuple[str, str, int], ...]]] = {
    "development": (
        ("en-us+m1", "en", 150),
        ("en-gb+f1", "en", 170),
        ("en-us+f3", "en", 190),
        ("en-gb-scotland+m3", "en", 140),
        ("de+m7", "de", 160),
        ("es+f5", "es", 165),
    ),
    "held-out": (
        ("en-gb+m2", "en", 160),
        ("en-us+f2", "en", 145),
        ("en-gb-x-rp+f4", "en", 180),
        ("en-us+m5", "en", 200),
        ("fr+m4", "fr", 155),
        ("it+f2", "it", 175),
    ),
}
# In the prompts' folders, and yet no speech, or speech with something else in it.
_NOT_SPEECH: Final = ("beep", "tone", "silence", "monkey", "weasel", "ring", "confbridge-", "music")


@dataclass(frozen=True, slots=True, eq=False)
class _Clip:
    """Clean speech at an active level of 0 dB, trimmed to it; `clear_*` is where it is loud."""

    samples: Signal
    end: int
    clear_start: int
    clear_end: int


@dataclass(frozen=True, slots=True)
class _Talker:
    """A voice, and the clips it has, each as what `_load` makes it of."""

    name: str
    sources: tuple[tuple[str, ...], ...]

    def clip(self, rng: np.random.Generator) -> _Clip:
        """One of those that are fit."""
        while True:
            clip = _load(self.sources[rng.integers(len(self.sources))])
            if clip is not None:
                return clip


def missing() -> list[str]:
    """What the set is made of and is not installed, each with how to install it."""
    lacking = []
    if shutil.which("espeak-ng") is None:
        lacking.append("espeak-ng is not installed: apt install espeak-ng")
    lacking += [
        f"{folder} is not installed: apt install asterisk-core-sounds-{folder[:2]}-gsm"
        for folder in PROMPT_FOLDERS
        if not (PROMPTS / folder).is_dir()
    ]
    if not _has_music():
        lacking.append("music on hold is not installed: apt install asterisk-moh-opsound-wav")
    return lacking


def _has_music() -> bool:
    """For both halves."""
    return len(list(MUSIC.glob("*.wav"))) >= len(HALVES)


@cache
def _talkers(half: Half) -> tuple[tuple[_Talker, ...], ...]:
    """By where they come from; empty when nothing is installed."""
    synthesised = tuple(
        _Talker(voice, tuple((voice, str(speed), text) for text in _SENTENCES[half][language]))
        for voice, language, speed in _VOICES[half]
        if shutil.which("espeak-ng")
    )
    prompted = []
    for folder in (PROMPTS / name for name in PROMPT_FOLDERS):
        files = [
            (str(file),)
            for file in sorted(folder.rglob("*.gsm"))
            # By the name, so that a prompt is in the same half in all languages.
            if zlib.crc32(file.stem.encode()) % 2 == HALVES.index(half)
            and not any(word in str(file.relative_to(folder)) for word in _NOT_SPEECH)
        ]
        prompted.append(_Talker(folder.name, tuple(files)))
    return tuple(group for group in (synthesised, tuple(prompted)) if group)


@cache
def _load(source: tuple[str, ...]) -> _Clip | None:
    """A clip, or None when it is not fit for a label."""
    if len(source) == 1:
        raw, _ = soundfile.read(
            source[0],
            dtype="float64",
            format="RAW",
            subtype="GSM610",
            samplerate=RATE,
            channels=1,
        )
        speech = np.asarray(raw)
    else:
        speech = _synthesise(*source)
    return _trimmed(speech)


def _synthesise(voice: str, speed: str, text: str) -> Signal:
    """espeak-ng's speech as a telephone carries it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["espeak-ng", "-v", voice, "-s", speed, "-w", str(path), text]
        # It looks for a sound server though it plays nothing, and leaves that one's folders behind.
        places = dict.fromkeys(["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"], folder)
        environment = {**os.environ, **places}
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=environment)
        audio, rate = soundfile.read(path, dtype="float64")
    return _at_telephone_rate(np.asarray(audio), rate)


def _at_telephone_rate(audio: Signal, rate: int) -> Signal:
    """Resampled by its spectrum, with the channel's edges at 200 and 3400 Hz."""
    step = rate // np.gcd(rate, RATE)  # a whole number of samples at both rates
    n = -(-len(audio) // step) * step
    wanted = n * RATE // rate
    spectrum = np.fft.rfft(audio, n)[: wanted // 2 + 1]
    hz = np.arange(len(spectrum)) * rate / n
    edges = np.clip((hz - 100) / 100, 0, 1) * np.clip((3800 - hz) / 400, 0, 1)
    resampled: Signal = np.fft.irfft(spectrum * edges, wanted) * wanted / n
    return resampled


def _energy(speech: Signal) -> Signal:
    """Mean power about each sample."""
    box = np.full(_ENERGY_WINDOW, 1 / _ENERGY_WINDOW)
    return np.convolve(speech**2, box, mode="same")


def _active_power(speech: Signal) -> float:
    """Mean power while there is speech: of the frames within 16 dB of it, as in ITU-T P.56."""
    whole = speech[: len(speech) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.mean(whole**2, axis=1)
    active = power[power > power.max() * 10**-3]
    for _ in range(3):
        active = power[power > active.mean() * 10**-1.6]
    return float(active.mean())


def _trimmed(speech: Signal) -> _Clip | None:
    if not RATE * _CLIP_SECONDS[0] < len(speech) or not speech.any():
        return None
    speech = speech - speech.mean()
    speech = speech / np.sqrt(_active_power(speech))
    energy = _energy(speech)
    sounding = np.flatnonzero(energy > 10 ** (-_END_BELOW_DB / 10))
    clear = np.flatnonzero(energy > 10 ** (-_CLEAR_BELOW_DB / 10))
    start, end = sounding[0], sounding[-1] + 1
    fit = (
        RATE * _CLIP_SECONDS[0] < end - start < RATE * _CLIP_SECONDS[1]
        and max(clear[0] - start, end - clear[-1]) < _LONGEST_FADE * RATE
        and np.diff(clear).max() < _LONGEST_GAP * RATE
    )
    if not fit:
        return None
    start = max(0, start - _RELEASE)
    samples = speech[start : end + _RELEASE].copy()
    # Beyond its ends there is to be nothing, not the quiet of where it was recorded.
    samples[:_RELEASE] *= np.linspace(0, 1, _RELEASE)
    release = samples[end - start :]
    release *= np.linspace(1, 0, len(release))
    return _Clip(samples, int(end - start), int(clear[0] - start), int(clear[-1] + 1 - start))


def _message(talker: _Talker, rng: np.random.Generator) -> tuple[Signal, int]:
    """What somebody says, at an active level of 0 dB, and the sample after its end."""
    wanted = rng.uniform(1.5, 9.0) * RATE
    clip = talker.clip(rng)
    parts = [(0, clip)]
    while parts[-1][0] + clip.end < wanted:
        at = parts[-1][0]
        loud_end, end = at + clip.clear_end, at + clip.end
        clip = talker.clip(rng)
        pause = int(rng.uniform(*_PAUSE) * RATE)
        # The pause is between what is loud of both, so that it never sounds much longer.
        parts.append((max(end, loud_end + pause - clip.clear_start), clip))
    last, clip = parts[-1]
    speech = np.zeros(last + len(clip.samples))
    for at, clip in parts:
        change = 10 ** (rng.uniform(-1, 1) / 20)  # nobody says all as loud
        speech[at : at + len(clip.samples)] += clip.samples * change
    return speech, last + parts[-1][1].end


# -- the line ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scene:
    """What a line's maker gets; `speech` is where it is spoken, in samples."""

    half: Half
    n: int
    level: float  # of the noise, in dBFS
    speech: tuple[int, int] | None
    speech_dbfs: float
    rng: np.random.Generator


_Line = Callable[[_Scene], Signal]


def _amplitude(dbfs: float) -> float:
    return float(_FULL_SCALE * 10 ** (dbfs / 20))


def _at_level(sound: Signal, dbfs: float) -> Signal:
    scaled: Signal = sound * _amplitude(dbfs) / np.sqrt(np.mean(sound**2))
    return scaled


def _coloured(rng: np.random.Generator, n: int, colour: str) -> Signal:
    """Noise of RMS 1, of the telephone's band: what a phone does not carry is no noise on it."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hz = np.fft.rfftfreq(n, 1 / RATE)
    reference = np.maximum(hz, 1.0) / 1000
    match colour:
        case "white":
            shape = np.ones_like(hz)
        case "pink":
            shape = reference**-0.5
        case "brown":
            shape = reference**-1.0
        case "speech-shaped":  # flat to 500 Hz, then 9 dB per octave down
            shape = np.maximum(hz / 500, 1.0) ** -1.5
        case "breath":  # of the mouth, and blown at the microphone
            shape = 1 / (1 + ((hz - 1200) / 900) ** 2)
        case _:
            raise ValueError(f"there is no noise {colour!r}")
    band = np.clip((hz - 100) / 100, 0, 1) * np.clip((3900 - hz) / 300, 0, 1)
    return _at_level(np.fft.irfft(spectrum * shape * band, n), 0.0) / _FULL_SCALE


def _white(scene: _Scene, dbfs: float) -> Signal:
    return scene.rng.normal(0, _amplitude(dbfs), scene.n)


def _comfort(scene: _Scene) -> Signal:
    return _white(scene, -60.0)


def _noise(colour: str) -> _Line:
    return lambda scene: _amplitude(scene.level) * _coloured(scene.rng, scene.n, colour)


def _babble(scene: _Scene) -> Signal:
    """Many who talk at once without a pause, as in a restaurant."""
    groups = _talkers(scene.half)
    made = np.zeros(scene.n)
    for voice in range(_TALKERS_IN_BABBLE):
        talkers = groups[voice % len(groups)]
        talker = talkers[scene.rng.integers(len(talkers))]
        stream: list[Signal] = []
        first = int(scene.rng.integers(RATE))  # so that they do not all begin at once
        while sum(map(len, stream)) < scene.n + first:
            stream.append(talker.clip(scene.rng).samples)
        made += np.concatenate(stream)[first : first + scene.n]
    return _at_level(made, scene.level)


def _music(scene: _Scene) -> Signal:
    files = sorted(MUSIC.glob("*.wav"))[HALVES.index(scene.half) :: len(HALVES)]
    file = files[scene.rng.integers(len(files))]
    audio = np.asarray(soundfile.read(file, dtype="float64")[0])
    at = int(scene.rng.integers(len(audio) - scene.n))
    return _at_level(audio[at : at + scene.n], scene.level)


def _burst(rng: np.random.Generator, duration: float, peak_dbfs: float) -> Signal:
    """Something hit: noise that decays by 26 dB in this time."""
    n = int(duration * RATE)
    made: Signal = rng.standard_normal(n) * np.exp(-3 * np.arange(n) / n)
    made *= _amplitude(peak_dbfs) / np.abs(made).max()
    return made


def _add(line: Signal, sound: Signal, at: float) -> None:
    start = min(max(0, int(at)), len(line) - len(sound))
    line[start : start + len(sound)] += sound


def _clicks(scene: _Scene) -> Signal:
    line = _comfort(scene)
    for _ in range(scene.rng.integers(4, 12)):
        click = _burst(scene.rng, scene.rng.uniform(0.001, 0.006), scene.rng.uniform(-20, -6))
        _add(line, click, scene.rng.uniform(0, scene.n))
    return line


def _knock(scene: _Scene) -> Signal:
    """The receiver is put on a table, or on the hook: after speech, or once anywhere."""
    line = _comfort(scene)
    knock = _burst(scene.rng, scene.rng.uniform(0.08, 0.16), scene.rng.uniform(-20, -10))
    after = scene.rng.uniform(0.3, 1.5) * RATE
    _add(line, knock, after + (scene.speech[1] if scene.speech else 0))
    return line


def _breath(scene: _Scene) -> Signal:
    """Breaths before and after speech, 14 to 26 dB below it."""
    line = _comfort(scene)
    places = [scene.rng.uniform(0, 3.5) * RATE for _ in range(2)]
    if scene.speech:
        start, end = scene.speech
        places = [start - 0.6 * RATE, end + scene.rng.uniform(0.2, 1.2) * RATE]
    for at in places:
        n = int(scene.rng.uniform(0.3, 0.6) * RATE)
        level = scene.speech_dbfs - scene.rng.uniform(14, 26)
        breath = _coloured(scene.rng, n, "breath") * np.sin(np.pi * np.arange(n) / n)
        _add(line, _amplitude(level) * breath, at)
    return line


def _dc(scene: _Scene) -> Signal:
    offset = float(scene.rng.choice([-1, 1])) * scene.rng.uniform(200, 3000)
    return _comfort(scene) + offset


def _hum(scene: _Scene) -> Signal:
    mains = scene.rng.choice([50.0, 60.0])
    turns = 2 * np.pi * mains * np.arange(scene.n) / RATE
    amplitude = _amplitude(scene.rng.uniform(-38, -26)) * np.sqrt(2)
    harmonics = ((1, 1.0), (2, 0.05), (3, 0.05), (5, 0.02))
    phases = scene.rng.uniform(0, 2 * np.pi, len(harmonics))
    line = _comfort(scene)
    for (multiple, share_of_it), phase in zip(harmonics, phases, strict=True):
        line += amplitude * share_of_it * np.sin(multiple * turns + phase)
    return line


def _step(scene: _Scene) -> Signal:
    """Noise that gets 6 to 12 dB less or more, at once, before speech ends; `level` is the most.

    Without speech it gets more: noise that goes away is what input does.
    """
    colour = scene.rng.choice(["white", "pink", "speech-shaped"])
    made = _amplitude(scene.level) * _coloured(scene.rng, scene.n, colour)
    less = 10 ** (-scene.rng.uniform(6, 12) / 20)
    last = scene.speech[1] if scene.speech else 3 * RATE
    at = int(scene.rng.uniform(0.3 * RATE, last))
    if scene.speech and scene.rng.integers(2):
        made[at:] *= less
    else:
        made[:at] *= less
    return made


_QUIET: Final[dict[str, _Line]] = {
    "digital silence": lambda scene: np.zeros(scene.n),
    "comfort noise -70": lambda scene: _white(scene, -70.0),
    "comfort noise -60": _comfort,
    "comfort noise -55": lambda scene: _white(scene, -55.0),
    "quiet mu-law": lambda scene: _white(scene, -62.0),
    "quiet A-law": lambda scene: _white(scene, -62.0),
}
_COLOURS: Final = ("white", "pink", "brown", "speech-shaped")
_LINES: Final[dict[str, _Line]] = {
    **_QUIET,
    **{colour: _noise(colour) for colour in _COLOURS},
    "babble": _babble,
    "music": _music,
    "steps": _step,
    "noise mu-law": _noise("pink"),
    "noise A-law": _noise("pink"),
    "clicks": _clicks,
    "knock": _knock,
    "breath": _breath,
    "DC": _dc,
    "hum": _hum,
}
CATEGORIES: Final = tuple(_LINES)


# -- the set -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    category: str
    snr: float | None
    spoken: bool


def _plans() -> list[_Plan]:
    """One half: 162 with speech, 42 without."""
    spoken: list[tuple[str, float | None]] = []
    spoken += [(name, None) for name in _QUIET for _ in range(6)]
    spoken += [(name, snr) for name in _COLOURS for snr in (30, 20, 15, 10, 5) * 3]
    spoken += [(name, snr) for name in ("babble", "music") for snr in (20, 15, 10, 5) * 3]
    spoken += [(name, snr) for name in ("noise mu-law", "noise A-law") for snr in (25, 15, 8)]
    spoken += [("steps", snr) for snr in (20, 16, 12, 8) * 3]
    spoken += [(name, None) for name in ("clicks", "knock") for _ in range(4)]
    spoken += [("breath", None)] * 6 + [("DC", None)] * 5 + [("hum", None)] * 5
    silent: list[tuple[str, float | None]] = []
    silent += [(name, None) for name in _QUIET]
    silent += [(name, snr) for name in _COLOURS for snr in (30, 20, 12, 5)]
    silent += [(name, snr) for name in ("babble", "music") for snr in (20, 15, 10, 5)]
    silent += [("noise mu-law", 15), ("noise A-law", 15)]
    silent += [("steps", 20), ("steps", 14), ("steps", 8), ("clicks", None), ("knock", None)]
    silent += [("breath", None)] * 2 + [("DC", None)] + [("hum", None)] * 2
    return [_Plan(*plan, True) for plan in spoken] + [_Plan(*plan, False) for plan in silent]


def voicemails(half: Half, items: int | None = None) -> list[Voicemail]:
    """One half of the set, or so many of its items spread over all categories.

    Items with music are left out without music; RuntimeError when there is nothing that speaks.
    """
    if not _talkers(half):
        raise RuntimeError("nothing speaks: " + "; ".join(missing()))
    plans = _plans()
    wanted: Iterable[int] = range(len(plans))
    if items is not None and items < len(plans):
        wanted = sorted({int(i) for i in np.linspace(0, len(plans) - 1, items)})
    return [
        _make(half, number, plans[number])
        for number in wanted
        if plans[number].category != "music" or _has_music()
    ]


def _make(half: Half, number: int, plan: _Plan) -> Voicemail:
    rng = np.random.default_rng((HALVES.index(half), number))
    speech, said, talker, speech_dbfs = np.zeros(0), 0, "", _USUAL_SPEECH_DBFS
    n, start = int(_NO_SPEECH_SECONDS * RATE), 0
    if plan.spoken:
        groups = _talkers(half)
        talkers = groups[rng.integers(len(groups))]
        chosen = talkers[rng.integers(len(talkers))]
        talker, speech_dbfs = chosen.name, rng.uniform(*_SPEECH_DBFS)
        if plan.snr is not None:
            speech_dbfs = min(speech_dbfs, _LOUDEST_LINE_DBFS + plan.snr)
        speech, said = _message(chosen, rng)
        start = int(rng.uniform(*_LEAD_IN) * RATE)
        n = start + said + int(rng.uniform(*_TAIL) * RATE)
    span = (start, start + said) if plan.spoken else None
    level = speech_dbfs - (plan.snr or 0.0)
    audio = _LINES[plan.category](_Scene(half, n, level, span, speech_dbfs, rng))
    audio[start : start + len(speech)] += _amplitude(speech_dbfs) * speech
    pcm = to_int16(audio)
    if plan.category.endswith("law"):
        pcm = through_g711(pcm, "pcmu" if plan.category.endswith("mu-law") else "pcma")
    return Voicemail(
        name=f"{half} {number}",
        category=plan.category,
        snr=plan.snr,
        talker=talker,
        audio=pcm,
        end=start + said if plan.spoken else None,
    )


# -- judging -----------------------------------------------------------------------------------


def judge(
    item: Voicemail,
    timeout: float,
    directory: Path,
    options: Mapping[str, Any] | None = None,
) -> Verdict:
    """Record it, with more `audio` options than the timers' where given."""
    audio = {
        "end_silence_timeout": timeout,
        "initial_timeout": INITIAL_TIMEOUT,
        "terminators": "",
        **(options or {}),
    }
    call = Call(RATE, directory=directory)
    path = directory / "voicemail.wav"
    action = call.record(audio=RecordOptions(**audio), path=path)
    call.feed(speak=item.audio)
    call.hangup()
    event = action.join(timeout=30)
    ended = event.params["record"]["reason"] != "hangup"
    path.unlink()
    return _verdict(item, timeout, event.state if ended else None, event.duration)


def judge_frames(item: Voicemail, timeout: float, active: Frames) -> Verdict:
    """The same timers over another's decision per 20 ms, smoothed as ours are: 3 frames of 5."""
    state, at = _ending(active, timeout)
    return _verdict(item, timeout, state, at)


def frames(pcm: Pcm) -> NDArray[np.int16]:
    """(n, 160): the whole frames, as a decision per frame wants them."""
    return pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME)


def share(verdicts: Sequence[Verdict], outcome: Outcome = "good") -> float:
    """Per cent of them; NaN of none."""
    if not verdicts:
        return float("nan")
    return 100 * sum(v.outcome == outcome for v in verdicts) / len(verdicts)


def _verdict(item: Voicemail, timeout: float, state: str | None, at: float) -> Verdict:
    outcome: Outcome
    error = None
    if item.end is None:
        outcome = "good" if state == "no_input" else "false_input"
    elif state == "no_input":
        outcome = "missed"
    else:
        error = at - item.end / RATE - timeout
        if at * RATE < item.end:
            outcome = "cut"
        elif state is None or error > TOLERANCE:
            outcome = "late"
        else:
            outcome = "early" if error < -TOLERANCE else "good"
    return Verdict(item=item, timeout=timeout, outcome=outcome, error=error)


def _spans(active: Frames) -> list[tuple[float, float]]:
    """Stretches of input, in seconds: three active frames of five, as the C core has them."""
    spans = []
    start = last_end = 0
    open_now = False
    for i in range(len(active)):
        window = active[max(0, i - 4) : i + 1]
        enough = int(window.sum()) >= 3
        if enough and not open_now:
            start = max(last_end, i + 1 - len(window) + int(np.argmax(window)))
        elif open_now and not enough:
            spans.append((start, last_end))
        open_now = enough
        if open_now and active[i]:
            last_end = i + 1
    if open_now:
        spans.append((start, last_end))
    return [(first * FRAME / RATE, last * FRAME / RATE) for first, last in spans]


def _ending(active: Frames, timeout: float) -> tuple[str | None, float]:
    """State and second of the end; the state is None when the audio ends first."""
    length = len(active) * FRAME / RATE
    spans = _spans(active)
    if min(length, spans[0][0] if spans else length) >= INITIAL_TIMEOUT:
        return "no_input", INITIAL_TIMEOUT
    following = [start for start, _ in spans[1:]] + [length]
    for (_, end), start in zip(spans, following, strict=True):
        if start - end >= timeout:
            return "finished", end + timeout
    return None, length
