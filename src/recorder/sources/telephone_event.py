# SPDX-License-Identifier: MIT
"""Keys that are pressed, as RTP events (RFC 4733)."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from recorder.errors import WireError

_DIGITS: Final = "0123456789*#ABCD"  # by event code; the others are no keys
_SIZE: Final = 4
# RFC 4733, section 2.5.1.3: what lasts longer continues in a segment with a timestamp of its own.
_LONGEST: Final = 0xFFFF
_REMEMBERED: Final = 32


@dataclass(slots=True)
class _Event:
    code: int
    has_ended: bool


class TelephoneEvents:
    """Tells the first packet of each press from all that repeat it.

    A press is known by its SSRC and its timestamp: its packets may be lost, repeated and reordered,
    those of its end too. One that is longer than a duration can say, 65535 units, is one press.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[int, int], _Event] = OrderedDict()

    def press(self, ssrc: int, timestamp: int, payload: bytes) -> str | None:
        """Take a packet's payload; return the digit if it is the first of a press.

        WireError for a payload that is no event.
        """
        check(payload)
        code, has_ended = payload[0], bool(payload[1] & 0x80)
        event = self._seen.get((ssrc, timestamp))
        if event is not None:
            event.has_ended |= has_ended
            return None
        before = self._seen.get((ssrc, (timestamp - _LONGEST) & 0xFFFFFFFF))
        self._seen[ssrc, timestamp] = _Event(code, has_ended)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if before is not None and before.code == code and not before.has_ended:
            return None
        return _DIGITS[code] if code < len(_DIGITS) else None


def check(payload: bytes) -> None:
    """Refuse, by WireError, a payload that is no event."""
    if len(payload) < _SIZE:
        raise WireError(
            f"telephone-event: expected a payload of {_SIZE} bytes or more, got {len(payload)}"
        )
