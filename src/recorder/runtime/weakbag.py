# SPDX-License-Identifier: MIT
"""Objects held weakly, safe to change while another thread or a signal handler reads them.

`weakref.WeakSet` is neither: iterating it while another thread adds raises RuntimeError. Here each
change is one operation of a set on plain references, and readers work on a copy made in one step.
"""

from typing import Generic, TypeVar
from weakref import ReferenceType, ref

T = TypeVar("T")


class WeakBag(Generic[T]):
    """A set of objects that it does not keep alive."""

    __slots__ = ("_refs",)

    def __init__(self) -> None:
        self._refs: set[ReferenceType[T]] = set()

    def add(self, item: T) -> None:
        """Add an object, hashable by identity."""
        self._refs.add(ref(item, self._refs.discard))

    def discard(self, item: T) -> None:
        """Remove an object, if it is here."""
        self._refs.discard(ref(item))

    def clear(self) -> None:
        """Remove all."""
        self._refs.clear()

    def __bool__(self) -> bool:
        return bool(self._refs)

    def snapshot(self) -> list[T]:
        """Those that are alive, kept so by the list."""
        return [item for alive in self._refs.copy() if (item := alive()) is not None]
