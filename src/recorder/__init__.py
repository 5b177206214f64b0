# SPDX-License-Identifier: MIT
"""Record telephone calls in process.

    call = Call(sample_rate=8000)
    action = call.record(audio={"end_silence_timeout": 3, "terminators": "#"})
    call.feed(speak=frame, listen=frame)    # 20 ms of each leg, again and again
    event = action.join()                   # in another thread; in asyncio: await action.wait()
    event.url

See `Call.record` for what it does, RecordOptions for the options, RecordAction for the handle
and RecordEvent for what it reports. `detect` and Detector find digits and voice without recording;
`recover` finishes the files that a crash left.
"""

import logging
from typing import TYPE_CHECKING, Any

from recorder.action import Acknowledgement, RecordAction
from recorder.call import Call
from recorder.detection.core import SAMPLE_RATES, Edge
from recorder.detection.detect import Detection, Detector, Digit, FileDetection, VoiceSpan, detect
from recorder.errors import (
    CallEndedError,
    ControlIdError,
    FileError,
    FrameError,
    OptionError,
    RecorderError,
    WireError,
)
from recorder.events import DigitEvent, PublishingEvent, RecordEvent, VoiceEvent
from recorder.options import AudioOptions, RecordOptions
from recorder.placement.timeline import CallStats, LegStats

if TYPE_CHECKING:
    from recorder.writing.recovery import Recovered, recover

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in {"Recovered", "recover"}:  # later: a process that only records does not need it
        from recorder.writing import recovery

        return getattr(recovery, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Nothing is printed unless the program configures logging.
logging.getLogger("recorder").addHandler(logging.NullHandler())

__all__ = [
    "SAMPLE_RATES",
    "Acknowledgement",
    "AudioOptions",
    "Call",
    "CallEndedError",
    "CallStats",
    "ControlIdError",
    "Detection",
    "Detector",
    "Digit",
    "DigitEvent",
    "Edge",
    "FileDetection",
    "FileError",
    "FrameError",
    "LegStats",
    "OptionError",
    "PublishingEvent",
    "RecordAction",
    "RecordEvent",
    "RecordOptions",
    "RecorderError",
    "Recovered",
    "VoiceEvent",
    "VoiceSpan",
    "WireError",
    "__version__",
    "detect",
    "recover",
]
