# SPDX-License-Identifier: MIT
"""Record telephone calls in process.

    call = Call(sample_rate=8000)
    action = call.record(audio={"end_silence_timeout": 3, "terminators": "#"})
    call.feed(speak=frame, listen=frame)    # 20 ms of each leg, again and again
    action.result.url                       # once action.is_done

See `Call.record` for what it does, RecordOptions for the options, RecordAction for the handle
and RecordEvent for what it tells. `recover` finishes the files that a crash left.
"""

from recorder.action import Acknowledgement, RecordAction
from recorder.call import Call
from recorder.core import SAMPLE_RATES, Edge
from recorder.detection import Detection, Detector, Digit, Span, detect
from recorder.errors import (
    CallEndedError,
    ControlIdError,
    FileError,
    FrameError,
    OptionError,
    RecorderError,
)
from recorder.events import RecordEvent
from recorder.options import RecordOptions
from recorder.timeline import CallStats, LegStats
from recorder.writing import Recovered, recover

__all__ = [
    "SAMPLE_RATES",
    "Acknowledgement",
    "Call",
    "CallEndedError",
    "CallStats",
    "ControlIdError",
    "Detection",
    "Detector",
    "Digit",
    "Edge",
    "FileError",
    "FrameError",
    "LegStats",
    "OptionError",
    "RecordAction",
    "RecordEvent",
    "RecordOptions",
    "RecorderError",
    "Recovered",
    "Span",
    "detect",
    "recover",
]
