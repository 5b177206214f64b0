# SPDX-License-Identifier: MIT
"""What can go wrong, by kind.

RecorderError
├── OptionError (ValueError)     an argument of a wrong type, name or value
├── FrameError (ValueError)      audio that cannot be taken as PCM of one leg
├── ControlIdError (ValueError)  a running recording of the call already has this control_id
├── CallEndedError               the call was hung up, or belongs to a parent process
├── CallRefusedError             a server has nobody who would take the call
├── WireError (ValueError)       bytes or messages that are not of the protocol of a wire
└── FileError (OSError)          a recording's file cannot be made, or a folder not be recovered

All are raised before anything has changed. What fails while a recording runs ends that
recording with the state `error`, and its terminal event says what.
"""


def shown(value: object) -> str:
    """A value as a message shows it, whatever it is."""
    try:
        return repr(value)
    except ValueError:  # Python shows no more than some thousand digits
        return f"a {type(value).__name__} of very many digits"


class RecorderError(Exception):
    """Whatever recorder raises on purpose."""


class OptionError(RecorderError, ValueError):
    """An option has an unknown name, a wrong type or a value out of range."""


class FrameError(RecorderError, ValueError):
    """Audio of a wrong type, shape, length or value."""


class ControlIdError(RecorderError, ValueError):
    """The control_id belongs to a recording of this call that is still running."""


class CallEndedError(RecorderError):
    """The call was hung up; it takes no audio, digits or recordings any more."""


class CallRefusedError(RecorderError):
    """A server has nobody who would take the call."""


class WireError(RecorderError, ValueError):
    """Bytes or messages are not of the protocol that was expected."""


class FileError(RecorderError, OSError):
    """The folder or file of a recording cannot be created, or a folder not be read."""
