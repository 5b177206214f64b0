# SPDX-License-Identifier: MIT
"""The cases of tests/fuzz/sources.py, chosen by libFuzzer: it keeps what reaches new code.

    pip install atheris
    python -m tests.fuzz.guided all -max_total_time=3600
    python -m tests.fuzz.guided pcap build/crash-0123

The first argument is a source or `all`, the others are libFuzzer's. An input that breaks something
is left in build/.
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["recorder.sources"]):
    from tests.fuzz.sources import SOURCES, Case, checked_log


class Choices(random.Random):
    """Chooses by the bytes of an input, and when they are used up, as a seed does."""

    def __new__(cls, _: bytes) -> "Choices":
        return super().__new__(cls)

    def __init__(self, data: bytes) -> None:
        self._data, self._at = b"", 0
        super().__init__(0)
        self._data = data

    def getrandbits(self, k: int, /) -> int:
        n = (k + 7) // 8
        piece = self._data[self._at : self._at + n]
        self._at += n
        if len(piece) < n:
            return super().getrandbits(k)
        return int.from_bytes(piece) >> (8 * n - k)

    def random(self) -> float:
        return self.getrandbits(8) / 256 if self._at < len(self._data) else super().random()

    def randbytes(self, n: int) -> bytes:
        return random.Random(self.getrandbits(32)).randbytes(n)


def main() -> None:
    chosen = sys.argv.pop(1)
    names = list(SOURCES) if chosen == "all" else [chosen]
    with tempfile.TemporaryDirectory() as folder, checked_log():

        def case(data: bytes) -> None:
            if data:
                name = names[data[0] % len(names)]
                SOURCES[name](Case(Choices(data[1:]), Path(folder)))

        Path("build").mkdir(exist_ok=True)
        options = ["-artifact_prefix=build/", "-max_len=2000", "-len_control=0", "-timeout=60"]
        atheris.Setup([sys.argv[0], *options, *sys.argv[1:]], case)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
