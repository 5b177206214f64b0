# SPDX-License-Identifier: MIT
"""The `measure` fixture, and the table of figures after pytest-benchmark's own."""

from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.figures import Figure, Measure, table

_FIGURES: Final = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


@pytest.fixture
def measure(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Measure:
    return Measure(benchmark, pytestconfig.stash[_FIGURES])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    figures = config.stash[_FIGURES]
    if figures:
        terminalreporter.section("figures: medians")
        for line in table(figures):
            terminalreporter.write_line(line)
