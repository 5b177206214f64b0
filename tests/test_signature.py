# SPDX-License-Identifier: MIT
"""Whoever has the key can tell what is genuine and new."""

import pytest

from recorder.publishing import HEADER, verify
from recorder.publishing.signature import sign

KEY = "a key"
BODY = b'{"event_id": "1"}'
NOW = 1_700_000_000
# As OpenSSL computes it:
# printf '1700000000.{"event_id": "1"}' | openssl dgst -sha256 -hmac 'a key'
DIGEST = "57507c079a5f7c1cdb4cfef9b08cfffd3e2304d3b204a9b660f910eed9a6539e"


def test_the_header_is_as_documented() -> None:
    assert HEADER == "Recorder-Signature"
    assert sign(KEY, BODY, NOW) == f"t={NOW},v1={DIGEST}"


@pytest.mark.parametrize(
    ("seconds", "genuine"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)]
)
def test_a_request_is_genuine_for_a_while(seconds: int, genuine: bool) -> None:
    assert verify(KEY, BODY, sign(KEY, BODY, NOW), now=NOW + seconds) is genuine


def test_the_tolerance_is_the_receiver_s() -> None:
    header = sign(KEY, BODY, NOW)
    assert verify(KEY, BODY, header, now=NOW + 5, tolerance=5)
    assert not verify(KEY, BODY, header, now=NOW + 6, tolerance=5)


def test_now_is_now() -> None:
    assert not verify(KEY, BODY, sign(KEY, BODY, NOW))


def test_what_was_changed_is_not_genuine() -> None:
    header = sign(KEY, BODY, NOW)
    assert not verify("another key", BODY, header, now=NOW)
    assert not verify(KEY, BODY + b" ", header, now=NOW)
    assert not verify(KEY, BODY, header.replace(str(NOW), str(NOW + 1)), now=NOW)
    for at in range(len(DIGEST)):
        other = "0" if DIGEST[at] != "0" else "1"
        changed = DIGEST[:at] + other + DIGEST[at + 1 :]
        assert not verify(KEY, BODY, f"t={NOW},v1={changed}", now=NOW)


def test_one_of_several_keys() -> None:
    """While a key is replaced, a request may be signed with both."""
    header = f"t={NOW},v1={'0' * 64},v1={DIGEST}"
    assert verify(KEY, BODY, header, now=NOW)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=",
        f"t={NOW}",
        f"v1={DIGEST}",
        f"t=x,v1={DIGEST}",
        f"t=-1,v1={DIGEST}",
        f"t={NOW},t={NOW},v1={DIGEST}",
        f"t={NOW},v2={DIGEST}",
        f"t={NOW},v1=",
        f"t={NOW},v1=\u00e9",
        f"t=\u0661,v1={DIGEST}",
        "t=" + "1" * 5000,
        "=,=,=",
    ],
)
def test_what_is_no_signature(header: str | None) -> None:
    assert not verify(KEY, BODY, header, now=NOW)
