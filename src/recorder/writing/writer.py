# SPDX-License-Identifier: MIT
"""One recording's way to its file, off the thread that feeds: open, lay out, encode, write."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from recorder.errors import FileError
from recorder.options import RecordOptions
from recorder.placement.frames import SAMPLE_BYTES
from recorder.runtime.lanes import WRITING
from recorder.writing import mixing
from recorder.writing.disk import make_folder
from recorder.writing.staged import StagedFile, readable_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG: Final = logging.getLogger("recorder")
_LONGEST_WRITE_SECONDS: Final = 2
# Audio of one recording that waits for its disk, in bytes: 65 s of both legs at 8 kHz, 11 s at
# 48 kHz.
MOST_PENDING: Final = 2 * 1024 * 1024
# Where there is time to wait for it, this much keeps it busy.
ENOUGH_PENDING: Final = 256 * 1024
# A disk that has taken nothing for so long, in seconds, has stalled.
PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the file: where it is, its bytes, its samples, and what went wrong if so."""

    path: Path
    size: int
    samples: int
    failure: str


class Writer:
    """Takes what a recording keeps, in order; a background thread writes it.

    A failure there is kept in `failure` and reported once, by calling `failed` from that thread;
    what was written until then is kept. Only `open` and `wait` wait for the disk, and only `open`
    raises.
    """

    def __init__(
        self,
        target: Path,
        options: RecordOptions,
        sample_rate: int,
        *,
        mode: int,
        makes_folder: bool,
    ) -> None:
        self.target = target
        self.failure = ""
        self._file: StagedFile | None = None
        self._options = options
        self._rate = sample_rate
        self._mode = mode
        self._makes_folder = makes_folder  # else it has to be there
        self._longest = _LONGEST_WRITE_SECONDS * sample_rate
        self._laid_out = 0  # position of the call
        self.failed: Callable[[], None] = _nothing
        self._abandoned: Outcome | None = None
        self._lane = WRITING.lane()

    # -- opening ---------------------------------------------------------------------------

    @property
    def file(self) -> StagedFile:
        """The file, once it is open."""
        assert self._file is not None
        return self._file

    def open(self) -> None:
        """Create the file; FileError when that fails."""
        if self._makes_folder:
            make_folder(self.target.parent, self._mode)
        options = self._options
        self._file = StagedFile(
            self.target, options.format, self._rate, options.channels, mode=self._mode
        )

    def open_later(self, then: Callable[[FileError | None], None]) -> None:
        """Create the file in the background, and call `then` from there with what went wrong."""
        self._lane.put(lambda: self._open_now(then))

    def _open_now(self, then: Callable[[FileError | None], None]) -> None:
        try:
            self.open()
        except FileError as error:
            self._fail(error)
            then(error)
        else:
            then(None)

    def discard(self) -> None:
        """Remove a file that nobody wants after all. Waits for the disk."""
        if self._file is not None:
            self._file.discard()

    # -- what is written -------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether more waits for the disk than may."""
        return self._lane.pending > MOST_PENDING

    @property
    def is_busy(self) -> bool:
        """Whether so much waits that more is better kept back, if it can be."""
        return self._lane.pending > ENOUGH_PENDING

    def wait(self) -> bool:
        """Wait until it is less busy; False when the disk has stalled."""
        return self._lane.wait(ENOUGH_PENDING // 2, PATIENCE)

    def put(self, position: int, n: int, speak: bytes | None, listen: bytes | None) -> None:
        """Append `n` samples of the legs recorded, as PCM; without any, silence.

        `position` is theirs on the call: what was put before an interrupt may be put again.
        """
        size = len(speak or b"") + len(listen or b"")
        self._lane.put(lambda: self._write(position, n, speak, listen), size)

    def complete(self, before: Callable[[], None], then: Callable[[Outcome], None]) -> None:
        """Nothing more comes: publish the file.

        From the background thread `before` is called when all is written, and `then` when it has
        its name.
        """
        if self._abandoned is not None:
            then(self._abandoned)
            return

        def publish() -> None:
            if not self.failure:
                before()
            then(self._publish())

        self._lane.put(publish)

    def abandon(self, failure: str) -> None:
        """Give up on a disk that has stalled: the file stays under its staged name."""
        self._fail(OSError(failure))
        self._lane.put(self._close)
        self._abandoned = self._staged()

    # -- in the background -----------------------------------------------------------------

    def _write(self, position: int, n: int, speak: bytes | None, listen: bytes | None) -> None:
        # In parts: a pause as silence may be hours.
        for start in range(max(0, self._laid_out - position), n, self._longest):
            if self.failure:
                return
            end = min(start + self._longest, n)
            try:
                self.file.write(self._lay_out(speak, listen, start, end))
                self._laid_out = position + end
            except Exception as error:  # whatever it is, it reaches the user
                self._fail(error)
                self.failed()

    def _lay_out(
        self, speak: bytes | None, listen: bytes | None, start: int, end: int
    ) -> "NDArray[np.int16]":
        stereo = self._options.stereo
        if speak is None and listen is None:
            return mixing.silence(end - start, stereo=stereo)
        legs = [
            None if pcm is None else np.frombuffer(pcm, np.int16, end - start, start * SAMPLE_BYTES)
            for pcm in (speak, listen)
        ]
        return mixing.mix(legs[0], legs[1], stereo=stereo)

    def _publish(self) -> Outcome:
        if self._file is None:
            return self._staged()
        for _ in range(2):  # what cannot be completed is published as far as it goes
            try:
                path, size = self._file.publish()
            except Exception as error:
                self._fail(error)
                continue
            samples = self._file.samples
            if self.failure:
                readable = readable_samples(path)
                samples = samples if readable is None else readable
            return Outcome(path=path, size=size, samples=samples, failure=self.failure)
        self._close()
        return self._staged()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _staged(self) -> Outcome:
        """What there is as far as the last write that ended got."""
        file = self._file
        if file is None:
            return Outcome(path=self.target, size=0, samples=0, failure=self.failure)
        return Outcome(path=file.staged, size=file.size, samples=file.samples, failure=self.failure)

    def _fail(self, error: Exception) -> None:
        if not self.failure:
            if isinstance(error, FileError):
                self.failure = str(error)
            else:
                self.failure = f"cannot write {self.target}: {str(error) or type(error).__name__}"
            _LOG.error("%s", self.failure)


def _nothing() -> None:
    pass
