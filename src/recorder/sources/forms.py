# SPDX-License-Identifier: MIT
"""How each dialect of media streams gives the form of its audio, in its start message.

WireError for a form that is not known, or not said.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from recorder.errors import WireError
from recorder.placement.frames import Encoding
from recorder.placement.resampling import HIGHEST_RATE, LOWEST_RATE
from recorder.sources.messages import excerpt, field, whole
from recorder.sources.pcm import ByteOrder

Leg = Literal["speak", "listen"]
LEGS: Final[tuple[Leg, Leg]] = ("speak", "listen")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioForm:
    """The form of a stream's audio.

    - `legs`: of which leg each channel is. Of JSON messages each has one, which it names.
    - `order`: of 16-bit samples; None where that has to be found out.
    - `chosen`: what to answer to an offer.
    """

    encoding: Encoding
    rate: int
    legs: tuple[Leg, ...] = ("speak",)
    order: ByteOrder | None = None
    chosen: Mapping[str, Any] | None = None


# What is said of audio besides the start message: for wires that do not tell their audio's form.
Unsaid = tuple[int, int]  # rate in Hz, channels

_ENCODINGS: Final[dict[str, Encoding]] = {
    "mulaw": "pcmu",
    "ulaw": "pcmu",
    "pcmu": "pcmu",
    "alaw": "pcma",
    "pcma": "pcma",
    "l16": "pcm16",
    "linear16": "pcm16",
}
_CONTENT_TYPE: Final = re.compile(r"audio/l16; *rate=(\d+)", re.IGNORECASE)
_HOOK_LEGS: Final[dict[str, Leg]] = {"external": "speak", "internal": "listen"}


def _rate(value: object) -> int:
    return whole("the sample rate", value, LOWEST_RATE, HIGHEST_RATE)


def _encoding(value: object) -> Encoding:
    name = str(value).lower().partition(";")[0].removeprefix("audio/").removeprefix("x-")
    if name not in _ENCODINGS:
        raise WireError(f"encoding: expected mu-law, A-law or L16, got {excerpt(value)}")
    return _ENCODINGS[name]


def of_media_format(message: dict[str, Any], unsaid: Unsaid) -> AudioForm:
    """Of `start.mediaFormat`."""
    del unsaid
    found = field(message, "start", "mediaformat")
    return AudioForm(
        encoding=_encoding(field(found, "encoding")), rate=_rate(field(found, "samplerate"))
    )


def of_content_type(message: dict[str, Any], unsaid: Unsaid) -> AudioForm:
    """Of a content type."""
    del unsaid
    found = _CONTENT_TYPE.match(str(field(message, "contenttype")))
    if found is None:
        raise WireError(
            "content-type: expected audio/l16;rate=...,"
            f" got {excerpt(field(message, 'contenttype'))}"
        )
    return AudioForm(encoding="pcm16", rate=_rate(found[1]), order="little")


def of_metadata(message: dict[str, Any], unsaid: Unsaid) -> AudioForm:
    """Of metadata, as far as they say anything."""
    rate, channels = unsaid
    is_stereo = message.get("mixtype", "stereo" if channels == 2 else "mono") == "stereo"
    return AudioForm(
        encoding="pcm16",
        rate=_rate(message.get("samplerate", rate)),
        legs=("speak", "listen") if is_stereo else ("speak",),
        order="little",
    )


def of_offers(message: dict[str, Any], unsaid: Unsaid) -> AudioForm:
    """Of what AudioHook offers: both legs before one, and else what stands first."""
    del unsaid
    offers = field(message, "parameters", "media")
    forms = []
    for offer in offers if isinstance(offers, list) else []:
        channels = field(offer, "channels")
        names = [str(one) for one in channels] if isinstance(channels, list) else []
        legs = tuple(_HOOK_LEGS[name] for name in names if name in _HOOK_LEGS)
        if 0 < len(legs) == len(names) == len(set(legs)):
            encoding, rate = _encoding(field(offer, "format")), _rate(field(offer, "rate"))
            forms.append(AudioForm(encoding=encoding, rate=rate, legs=legs, chosen=offer))
    if not forms:
        raise WireError(f"media: expected offers of external or internal audio, got {offers!r:.80}")
    return max(forms, key=lambda form: len(form.legs))
