# SPDX-License-Identifier: MIT
"""Where recordings and their events go: an object store, and a web address.

`verify` is for who receives the events; `finish` for who sends what a process left unsent.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recorder.publishing.agent import Unsent, finish
    from recorder.publishing.signature import HEADER, verify


def __getattr__(name: str) -> Any:
    # Later: a receiver needs no agent, and who only records needs neither.
    if name in {"HEADER", "verify"}:
        from recorder.publishing import signature

        return getattr(signature, name)
    if name in {"Unsent", "finish"}:
        from recorder.publishing import agent

        return getattr(agent, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["HEADER", "Unsent", "finish", "verify"]
