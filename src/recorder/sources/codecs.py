# SPDX-License-Identifier: MIT
"""What RTP payloads are made of, by their type or their SDP rtpmap (RFC 3551)."""

import importlib
import importlib.util
import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import numpy as np

from recorder.detection.core import g711_decode
from recorder.errors import OptionError, shown

ByteOrder = Literal["big", "little"]

EVENT: Final = "TELEPHONE-EVENT"
_LAW: Final[dict[str, Literal["pcmu", "pcma"]]] = {"PCMU": "pcmu", "PCMA": "pcma"}
# RFC 3551, section 6: types that need no rtpmap. Those not decoded are here for their names.
_STATIC: Final = {
    0: "PCMU/8000",
    3: "GSM/8000",
    4: "G723/8000",
    8: "PCMA/8000",
    9: "G722/8000",
    10: "L16/44100/2",
    11: "L16/44100",
    13: "CN/8000",
    15: "G728/8000",
    18: "G729/8000",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One payload type: `clock_rate` is that of its timestamps, `sample_rate` that of its audio.

    Both in Hz. `is_decoded` is False for a codec that is not supported, or not installed.
    """

    name: str
    clock_rate: int
    sample_rate: int
    channels: int
    byte_order: ByteOrder
    is_decoded: bool

    @property
    def is_event(self) -> bool:
        """Whether its payloads are RFC 4733 events."""
        return self.name == EVENT

    @property
    def unit(self) -> int:
        """A payload has a whole number of so many bytes."""
        return 2 * self.channels if self.name == "L16" else 1

    def decoder(self) -> Callable[[bytes], bytes]:
        """Return a function for the payloads of one stream: they become native 16-bit mono PCM."""
        if self.name in _LAW:
            return lambda payload: g711_decode(payload, _LAW[self.name])
        if self.name == "G722":
            decode = cast("Any", importlib.import_module("G722")).G722(16000, 64000).decode
            return lambda payload: array("h", decode(payload)).tobytes()
        return self._linear

    def _linear(self, payload: bytes) -> bytes:
        if self.byte_order != sys.byteorder:
            payload = np.frombuffer(payload, np.int16).byteswap().tobytes()
        if self.channels == 1:
            return payload
        every = np.frombuffer(payload, np.int16).reshape(-1, self.channels)
        mixed: bytes = np.rint(every.mean(axis=1)).astype(np.int16).tobytes()
        return mixed


def codecs(
    rtpmaps: Mapping[int, str] | None = None, byte_order: ByteOrder = "big"
) -> dict[int, Codec]:
    """Return the codec of each payload type: those of RFC 3551, and those of an SDP's rtpmaps.

    A rtpmap is, for instance, "telephone-event/8000" or "L16/16000". `byte_order` is that of L16.
    OptionError for a type, rtpmap or order that cannot be.
    """
    if byte_order not in {"big", "little"}:
        raise OptionError(f"byte_order: expected big or little, got {shown(byte_order)}")
    return {
        payload_type: _codec(payload_type, rtpmap, byte_order)
        for payload_type, rtpmap in {**_STATIC, **(rtpmaps or {})}.items()
    }


def _codec(payload_type: int, rtpmap: str, byte_order: ByteOrder) -> Codec:
    name, *numbers = str(rtpmap).strip().split("/")
    is_whole = 1 <= len(numbers) <= 2 and all(n.isdecimal() and int(n) > 0 for n in numbers)
    if payload_type not in range(128) or not name or not is_whole:
        raise OptionError(
            "payload_types: expected types from 0 to 127 with rtpmaps such as"
            f" telephone-event/8000, got {payload_type!r}: {shown(rtpmap)}"
        )
    name = name.upper()
    clock_rate = int(numbers[0])
    channels = int(numbers[1]) if len(numbers) > 1 else 1
    return Codec(
        name=name,
        clock_rate=clock_rate,
        # RFC 3551, section 4.5.2: the clock of G.722 is half its sample rate, by a mistake.
        sample_rate=2 * clock_rate if name == "G722" else clock_rate,
        channels=channels,
        byte_order=byte_order,
        is_decoded=name in {*_LAW, "L16"} or (name == "G722" and has_g722()),
    )


def has_g722() -> bool:
    """Whether the decoder is installed."""
    return importlib.util.find_spec("G722") is not None
