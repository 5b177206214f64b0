# SPDX-License-Identifier: MIT
"""Event loops, for those who may have none: importing asyncio takes as long as all of recorder."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def running_loop() -> "asyncio.AbstractEventLoop | None":
    """Return the event loop that runs in this thread, if there is one."""
    module = sys.modules.get("asyncio")
    # Where nothing has imported it, no loop runs.
    return None if module is None else module._get_running_loop()
