# SPDX-License-Identifier: MIT
"""The inputs of a command, and the options that say how to read them."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import click

from recorder.reading import RAW_ENCODINGS, AudioFile, FileLegs, RawEncoding, legs_of, open_audio
from recorder.sources.capture import capture_legs, only_capture_error, open_capture
from recorder.sources.pcap import is_capture

if TYPE_CHECKING:
    from io import BufferedReader


class _Channels(click.ParamType):  # type: ignore[type-arg]
    """Numbers of channels, the first one being 1."""

    name = "channels"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        try:
            return tuple(int(number) for number in value.split(","))
        except ValueError:
            self.fail(f"expected numbers of channels, such as 1 or 1,3, got {value!r}", param, ctx)


class Inputs:
    """How all inputs of a command are read."""

    def __init__(
        self,
        names: Sequence[str],
        rate: int | None,
        encoding: str | None,
        channels: tuple[int, ...] | None,
    ) -> None:
        if list(names).count("-") > 1:
            raise click.UsageError("standard input can be read only once")
        self._rate = rate
        self._encoding = cast("RawEncoding | None", encoding)  # click has checked it
        self._channels = channels

    def legs(self, *names: str) -> FileLegs:
        """Open the file, or the two files, of a call's legs."""
        for name in names:
            capture = _capture(name)
            if capture is None:
                continue
            with capture:
                if len(names) > 1 or self._rate or self._encoding or self._channels:
                    raise only_capture_error(name)
                return capture_legs(capture, name)
        return legs_of([self._open(name) for name in names], self._channels)

    def _open(self, name: str) -> AudioFile:
        if name == "-":
            if sys.stdin is None:
                raise click.UsageError("standard input is closed")
            stdin = cast("BufferedReader", sys.stdin.buffer)
            return open_audio(stdin, self._rate, self._encoding, name=name)
        if Path(name).is_dir():
            raise click.UsageError(f"{name} is a folder")
        if not Path(name).exists():
            raise click.UsageError(f"there is no file {name}")
        return open_audio(name, self._rate, self._encoding)


def _capture(name: str) -> "IO[bytes] | None":
    """An input that is a capture; None for one that is not, or cannot be read."""
    if name == "-":
        stdin = cast("BufferedReader", sys.stdin.buffer) if sys.stdin is not None else None
        return stdin if stdin is not None and is_capture(stdin.peek(4)) else None
    return open_capture(name)


def input_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that Inputs takes."""
    for option in (
        click.option(
            "--channels",
            type=_Channels(),
            metavar="N[,M]",
            help="The channel of the speak leg, and that of the listen leg.",
        ),
        click.option(
            "--encoding",
            type=click.Choice(RAW_ENCODINGS),
            help="Encoding of raw audio.  [default: as the name ends, else pcm16]",
        ),
        click.option(
            "--rate", type=int, metavar="HZ", help="Sample rate of raw audio, which has no header."
        ),
    ):
        command = option(command)
    return command
