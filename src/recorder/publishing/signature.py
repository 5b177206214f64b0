# SPDX-License-Identifier: MIT
"""The signature of an event that is POSTed: who has the key can tell that it is genuine and new.

    Recorder-Signature: t=1700000000,v1=5257a869...

`t` is when it was sent, in Unix seconds, and `v1` the HMAC-SHA256 of `t`, a dot and the body, in
hexadecimal. Each attempt is signed anew.
"""

import hashlib
import hmac
import time
from typing import Final

HEADER: Final = "Recorder-Signature"
# How old a request may be, and how far ahead the sender's clock, in seconds.
_TOLERANCE: Final = 300.0
_MOST_HEADER: Final = 1024


def sign(key: str, body: bytes, timestamp: int) -> str:
    """Return the header's value for a body that is sent at a time."""
    return f"t={timestamp},v1={_digest(key, str(timestamp), body)}"


def verify(
    key: str,
    body: bytes,
    header: str | None,
    *,
    tolerance: float = _TOLERANCE,
    now: float | None = None,
) -> bool:
    """Whether a body came from who has the key, at most `tolerance` seconds ago.

    `body` is the request's as it came, before it is parsed, and `header` the value of
    `Recorder-Signature`. Takes the same time whatever is wrong with the digest. A request that is
    repeated within the tolerance is genuine: its `event_id` is one that has come before.
    """
    timestamp, digests = _parse(header or "")
    if not timestamp or abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        return False
    expected = _digest(key, timestamp, body).encode()
    found = [hmac.compare_digest(digest.encode(), expected) for digest in digests]
    return any(found)


def _digest(key: str, timestamp: str, body: bytes) -> str:
    return hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _parse(header: str) -> tuple[str, list[str]]:
    """The timestamp, "" where there is none that can be, and the digests."""
    fields = [field.partition("=") for field in header[:_MOST_HEADER].split(",")]
    timestamps = [value.strip() for name, _, value in fields if name.strip() == "t"]
    digests = [value.strip() for name, _, value in fields if name.strip() == "v1"]
    timestamp = timestamps[0] if len(timestamps) == 1 else ""
    is_number = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12
    return (timestamp if is_number else ""), digests
