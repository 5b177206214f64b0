# SPDX-License-Identifier: MIT
"""Calls: what is to be dialled, and what has become of it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlparse

import numpy as np
import soundfile

from recorder import AudioOptions
from tests.asterisk.running import Asterisk, Report, Server
from tests.command import read
from tests.signals import VOICEMAIL, Pcm, silence, through_g711

RATE: Final = 8000
_VOICEMAIL: Final = read(VOICEMAIL)
_WORDS: Final = _VOICEMAIL[:17600]  # "Hello, this is Anna.", and a pause
# What a party may say.
SPOKEN: Final = {
    "voicemail": _VOICEMAIL,
    "words": _WORDS,
    "words-and-key": np.concatenate([_WORDS, _VOICEMAIL[62400:]]),
    "words-and-silence": np.concatenate([_WORDS, silence(4)]),
}
# The servers' options, by their names.
NO_TIMEOUTS: Final[AudioOptions] = {"initial_timeout": 0, "end_silence_timeout": 0}
SERVERS: Final[dict[str, AudioOptions]] = {
    "keys": {**NO_TIMEOUTS, "beep": True},
    "silence": {"initial_timeout": 2, "end_silence_timeout": 1},
    "leaving": NO_TIMEOUTS,
}
_LAWS: Final[dict[str, Literal["pcmu", "pcma"]]] = {"ulaw": "pcmu", "alaw": "pcma"}
_ENDS: Final = ("finished", "no_input", "error")


class Recorded:
    """A call that is recorded. What is still to come is waited for."""

    call_id: str  # of the server's events

    def __init__(self, said: Pcm, server: Server) -> None:
        self.said = said
        self.server = server

    def close(self) -> None:
        """Leave nothing behind."""

    @property
    def states(self) -> list[str]:
        """Of all its events."""
        _ = self.event
        return [event["state"] for event in self.server.events(self.call_id)]

    @cached_property
    def event(self) -> Report:
        """The params of its recording's terminal event."""
        return self.server.event(self.call_id, *_ENDS)

    @property
    def reason(self) -> str:
        """Why its recording ended."""
        reason: str = self.event["record"]["reason"]
        return reason

    @cached_property
    def recorded(self) -> Pcm:
        """What is in its file."""
        return read(self._path)

    @property
    def _path(self) -> Path:
        return Path(unquote(urlparse(self.event["url"]).path))

    @property
    def rate(self) -> int:
        """The file's, in Hz."""
        rate: int = soundfile.info(self._path).samplerate
        return rate

    @cached_property
    def offset(self) -> int:
        """Where in what was said its file begins; before and after what was said there is silence.
        All of it has to be the same, sample by sample.
        """
        line = np.concatenate([silence(1), self.said, silence(60)])
        return place_of(self.recorded, line) - RATE


def place_of(sound: Pcm, audio: Pcm) -> int:
    """Where a sound is in audio, as a whole, sample by sample."""
    wanted, data = sound.tobytes(), audio.tobytes()
    at = data.find(wanted)
    while at >= 0 and at % 2:  # not between two samples
        at = data.find(wanted, at + 1)
    assert at >= 0, "the sound is not there, or not in one piece"
    return at // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """A call whose two sides are extensions of etc/extensions.conf.

    `says` is what the party says, a name of `SPOKEN`; `server` who records it, one of `SERVERS`;
    `format` what Asterisk is to send, where its dialplan can say so; `control` the further options
    of a WebSocket.
    """

    recorded: Literal["audiosocket", "channel", "websocket"] = "audiosocket"
    party: Literal["speaks", "listens", "waits", "speaks-and-waits", "speaks-and-presses"] = (
        "speaks"
    )
    says: str = "words-and-key"
    server: str = "keys"
    format: Literal["slin", "slin16", "ulaw", "alaw"] = "slin"
    control: str = ""


class Dialled(Recorded):
    """A call between Asterisk's own channels, that was started."""

    def __init__(self, dial: Dial, channel_id: str, server: Server, asterisk: Asterisk) -> None:
        said = SPOKEN[dial.says]
        if dial.format in _LAWS:
            said = through_g711(said, _LAWS[dial.format])
        super().__init__(said, server)
        self._is_websocket = dial.recorded == "websocket"
        self._channel_id = channel_id
        self._asterisk = asterisk
        self._line = asterisk.folder / channel_id
        asterisk.start_call(
            channel_id,
            dial.recorded,
            dial.party,
            ID=channel_id,
            SERVER=dial.server if self._is_websocket else server.address("audiosocket"),
            SAYS=str(asterisk.folder / dial.says),
            LINE=str(self._line),
            FORMAT=dial.format,
            CONTROL=dial.control,
        )

    @cached_property
    def call_id(self) -> str:  # type: ignore[override]
        """That of AudioSocket is ours to choose, that of a WebSocket its channel's."""
        return self._asterisk.dialled(self._channel_id) if self._is_websocket else self._channel_id

    @property
    def line(self) -> tuple[Pcm, Pcm]:
        """What the party heard and what it said, side by side, once it has hung up.

        Where Asterisk gets no processor, some of it is missing.
        """
        self._asterisk.told("HungUp", self._channel_id)
        sides = _samples(self._line.with_suffix(".raw")).reshape(-1, 2)
        return sides[:, 0], sides[:, 1]

    @property
    def heard(self) -> Pcm:
        """What a party that listens has heard, once it has hung up."""
        self._asterisk.told("HungUp", self._channel_id)
        return _samples(self._line.with_suffix(".sln"))

    def has_spoken(self) -> bool:
        """Whether the party has said all that it says, and waits."""
        return bool(self._asterisk.told("Spoken", self._channel_id))

    def has_gone_on(self) -> bool:
        """Whether Asterisk's dialplan has continued after the call was ended by the server."""
        return bool(self._asterisk.told("WentOn", self._channel_id))


def _samples(path: Path) -> Pcm:
    return np.fromfile(path, "<i2").astype(np.int16)
