# SPDX-License-Identifier: MIT
"""Which parameters of a test run each time, and which only with the slow suites."""

from collections.abc import Iterable

import pytest


def mostly_slow(values: Iterable[object], *quick: object) -> list[object]:
    """All the values of a parametrisation; those that are not `quick` are marked slow."""
    values = list(values)
    unknown = [value for value in quick if value not in values]
    assert not unknown, f"not among the values: {unknown}"
    return [value if value in quick else slow(value) for value in values]


def slow(value: object) -> object:
    several = value if isinstance(value, tuple) else (value,)
    return pytest.param(*several, marks=pytest.mark.slow)
