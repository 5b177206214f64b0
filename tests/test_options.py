# SPDX-License-Identifier: MIT
"""What `audio` allows, and what it says when it does not."""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from recorder import AudioOptions, OptionError, RecordOptions
from recorder.options import timer, whole_samples


def test_the_defaults_are_those_of_the_swml_verb() -> None:
    assert RecordOptions() == RecordOptions(
        direction="speak",
        format="wav",
        stereo=False,
        initial_timeout=4.0,
        end_silence_timeout=5.0,
        terminators="#",
        beep=False,
        input_sensitivity=44.0,
        max_length=0,
    )
    assert RecordOptions.from_audio(None) == RecordOptions.from_audio({}) == RecordOptions()


def test_a_dict_and_the_typed_equivalent_mean_the_same() -> None:
    audio: AudioOptions = {
        "direction": "both",
        "stereo": True,
        "max_length": 3,
        "terminators": "12ab*",
    }
    typed = RecordOptions(direction="both", stereo=True, max_length=3, terminators="12AB*")
    assert RecordOptions.from_audio(audio) == typed
    assert RecordOptions.from_audio(typed) is typed


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        ({"direction": "in"}, ["direction", "'in'", "speak, listen, both"]),
        ({"direction": "speek"}, ["did you mean 'speak'"]),
        ({"direction": None}, ["direction", "None"]),
        ({"format": "mp4"}, ["format", "'mp4'", "wav, mp3"]),
        ({"stereo": 1}, ["stereo", "1", "True or False"]),
        ({"beep": "yes"}, ["beep", "'yes'"]),
        ({"initial_timeout": -1}, ["initial_timeout", "-1", "0 to 31622400 seconds"]),
        ({"initial_timeout": 1e308}, ["initial_timeout", "1e+308"]),
        ({"max_length": 10**400}, ["max_length"]),
        ({"initial_timeout": "4"}, ["initial_timeout", "'4'"]),
        ({"initial_timeout": True}, ["initial_timeout", "True"]),
        ({"end_silence_timeout": math.nan}, ["end_silence_timeout", "nan"]),
        ({"end_silence_timeout": math.inf}, ["end_silence_timeout", "inf"]),
        ({"max_length": -0.1}, ["max_length", "-0.1"]),
        ({"max_length": None}, ["max_length", "None"]),
        ({"input_sensitivity": 100.1}, ["input_sensitivity", "100.1", "0 to 100"]),
        ({"input_sensitivity": -1}, ["input_sensitivity", "-1"]),
        ({"terminators": "5E"}, ["terminators", "'5E'", "0-9 A-D * #"]),
        ({"terminators": 5}, ["terminators", "5"]),
        ({"terminators": "１"}, ["terminators"]),  # a full-width digit
        ({"noise_tracking": 0}, ["noise_tracking", "0"]),
        ({"end_silence": 3}, ["'end_silence'", "did you mean 'end_silence_timeout'"]),
        ({"Terminators": "#"}, ["'Terminators'", "did you mean 'terminators'"]),
        ({"volume": 3}, ["'volume'", "there are direction, format"]),
        ({3: 3}, ["no option 3"]),
        ("beep", ["audio", "'beep'", "dict"]),
        ([("beep", True)], ["audio"]),
    ],
)
def test_what_is_refused_is_named_with_what_is_expected(audio: Any, says: list[str]) -> None:
    with pytest.raises(OptionError) as raised:
        RecordOptions.from_audio(audio)
    for part in says:
        assert part in str(raised.value)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    "make",
    [RecordOptions, RecordOptions().replace, RecordOptions.whole_call],
    ids=lambda f: f.__name__,
)
def test_a_misspelt_name_is_named(make: Callable[..., RecordOptions]) -> None:
    with pytest.raises(OptionError, match=r"no option 'end_silence'; did you mean"):
        make(end_silence=2)


def test_options_can_be_copied_and_pickled() -> None:
    options = RecordOptions(end_silence_timeout=2, terminators="ab")
    assert copy.deepcopy(options) == pickle.loads(pickle.dumps(options)) == options


def test_whole_call_is_the_record_call_verb() -> None:
    options = RecordOptions.whole_call(format="mp3")
    assert (options.direction, options.initial_timeout, options.end_silence_timeout) == (
        "both",
        0,
        0,
    )
    assert (options.terminators, options.format) == ("", "mp3")
    with pytest.raises(OptionError, match="did you mean 'format'"):
        RecordOptions.whole_call(formt="mp3")


@pytest.mark.parametrize(
    ("duration", "rate", "samples"),
    [(0.29, 8000, 2320), (0.1, 44100, 4410), (1 / 3, 8000, 2666), (0.00001, 8000, 0)],
)
def test_seconds_become_whole_samples_that_fit(duration: float, rate: int, samples: int) -> None:
    assert whole_samples(duration, rate) == samples


def test_zero_seconds_is_no_limit() -> None:
    assert timer(0, 8000) is None
    assert timer(0.0, 8000) is None
    assert timer(1e-9, 8000) == 0
