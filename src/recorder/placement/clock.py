# SPDX-License-Identifier: MIT
"""The clock of a live call, as positions."""

import time
from collections.abc import Callable

from recorder.errors import OptionError, shown
from recorder.options import whole_samples


def position_clock(live: object, sample_rate: int) -> Callable[[], int] | None:
    """Return what gives a live call's position, 0 now; None for a call that is not live.

    `live` is True, False, or a function of no arguments that returns seconds; else OptionError.
    """
    if live is False:
        return None
    seconds: Callable[[], float]
    if live is True:
        seconds = time.monotonic
    elif callable(live):
        seconds = live
    else:
        raise OptionError(
            "live: expected True, False or a function of no arguments that returns seconds,"
            f" got {shown(live)}"
        )
    start = seconds()
    return lambda: whole_samples(seconds() - start, sample_rate)
