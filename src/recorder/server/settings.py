# SPDX-License-Identifier: MIT
"""What a server is to do."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from recorder.options import RecordOptions
from recorder.publishing.destinations import NOWHERE, Destinations

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a server, or of one process of it.

    - `sources`: where each kind of source listens, by its name; port 0 picks one.
    - `options`, `directory`: of every recording; without options, only clients of RELAY record.
    - `max_calls`: more connections at once are refused, in each process.
    - `max_idle`: seconds without a byte after which a connection is closed.
    - `destinations`: where files and events go besides.
    """

    sources: dict[str, Address]
    options: RecordOptions | None
    directory: Path
    max_calls: int
    max_idle: float
    destinations: Destinations = NOWHERE

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can carry, and `from_json` takes."""
        return {**asdict(self), "directory": str(self.directory)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the settings that were carried by JSON."""
        return cls(
            sources={name: (host, port) for name, (host, port) in values["sources"].items()},
            options=RecordOptions(**values["options"]) if values["options"] else None,
            directory=Path(values["directory"]),
            max_calls=values["max_calls"],
            max_idle=values["max_idle"],
            destinations=Destinations(**values["destinations"]),
        )
