# SPDX-License-Identifier: MIT
"""What can be wrong with bytes, JSON, text and the order of messages, made at random."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any, Final, TypeVar

Message = TypeVar("Message")

NUMBERS: Final = (
    *(0, 1, 2, 3, 4, 7, 16, 127, 128, 159, 161, 255, 256, 320, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF),
    *(0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1),
)
_HOLE: Final = "\0"
# Parsers count levels: some of these are more than they take, others than what follows takes.
_DEPTHS: Final = (3, 100, 240, 320, 450, 480, 900, 980)
_TOKENS: Final = (
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "-1", "0", "-0.0", "1.5", "1e18", "20.0"),
    *("9" * 4000, "9" * 5000, f'"{"9" * 5000}"', "9223372036854775808", "1e-400"),
    *(
        "null",
        "true",
        "false",
        '""',
        "[]",
        "{}",
        '"x"',
        '"5"',
        '"-1"',
        '" 5 "',
        '"1_0"',
        '"\u0663"',
    ),
    *(r'"\ud800"', r'"\u0000"', '"\u00df"', '"\ufb00"', '"' + "x" * 3000 + '"', '[{"a":[null]}]'),
)


def bytes_of(rng: random.Random, data: bytes) -> bytes:
    """One thing wrong with bytes."""
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    near = min(len(data), a + rng.choice([1, 1, 2, 4, 16]))
    match rng.randrange(9):
        case 0:
            return data[:a] + bytes(byte ^ 1 << rng.randrange(8) for byte in data[a:near])
        case 1:
            return data[:a] + bytes([rng.choice([0, 255, rng.randrange(256)])]) + data[a + 1 :]
        case 2:
            return data[:a]
        case 3:
            return data[:a] + data[rng.choice([near, b]) :]
        case 4:
            return data[:b] + data[a:]
        case 5:
            return data[:a] + rng.randbytes(rng.choice([1, 2, 3, 100, 5000])) + data[a:]
        case 6:
            return data[a:b] + data[:a] + data[b:]
        case _:  # a length, a count or a time
            size = rng.choice([1, 2, 2, 4, 4, 8])
            number = rng.choice(NUMBERS) & (1 << 8 * size) - 1
            return (
                data[:a] + number.to_bytes(size, rng.choice(["big", "little"])) + data[a + size :]
            )


def text_of(rng: random.Random, text: str) -> str:
    """One thing wrong with lines of words."""
    words = list(re.finditer(r"\d+" if rng.random() < 0.4 else r"[^\s:;=/,]+", text))
    word = rng.choice(words) if words else re.match("", text)
    assert word is not None
    lines = text.splitlines(keepends=True) or [""]
    at = rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            number = rng.choice([*map(str, NUMBERS), "9" * 5000, "-1", "1.5", "\u0663", "\u00b2"])
            return text[: word.start()] + number + text[word.end() :]
        case 1:
            other = rng.choice(words)[0] if words else "x"
            return text[: word.start()] + other + text[word.end() :]
        case 2:
            return text[: word.start()] + text[word.end() :]
        case 3:
            return "".join(lines[:at] + lines[at + 1 :])
        case 4:
            return "".join(lines[:at] + [lines[at]] * rng.choice([2, 50]) + lines[at + 1 :])
        case 5:
            place = rng.randrange(len(text) + 1)
            found = rng.choice(["\0", "\ufffd", "\u2028", "\r", "\n\n", ":", " " * 2000, "\u0663"])
            return text[:place] + found + text[place:]
        case _:
            return text[: rng.randrange(len(text) + 1)]


def json_of(rng: random.Random, text: str) -> str:
    """One thing wrong with a message in JSON: mostly a value, sometimes its form."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return text_of(rng, text)
    places = list(_places(tree))
    if not places or rng.random() < 0.1:
        return text_of(rng, text)
    inside, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[rng.choice([str(key).upper(), f"{key}_", "event", "type", ""])] = inside.pop(key)
        case 2:
            other, at = rng.choice(places)
            inside[key] = other.get(at) if isinstance(other, dict) else list(other)
            if len(_dumped(tree)) > 100_000:
                return text
        case _:
            inside[key] = _HOLE
    return _dumped(tree).replace(json.dumps(_HOLE), _token(rng), 1)


def order_of(rng: random.Random, messages: list[Message]) -> list[Message]:
    """One thing wrong with which messages come, and when."""
    if not messages:
        return messages
    a, b = sorted(rng.randrange(len(messages) + 1) for _ in range(2))
    match rng.randrange(5):
        case 0:
            return messages[:a] + messages[a + 1 :]
        case 1:
            return messages[:a] + messages[a : a + 1] * rng.choice([2, 3, 30]) + messages[a + 1 :]
        case 2:
            return messages[:a] + messages[b:]
        case 3:
            return messages[:b] + messages[a:]
        case _:
            moved = messages[:a] + messages[a + 1 :]
            moved[b:b] = messages[a : a + 1]
            return moved


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Each value: what it is in, and its key there."""
    if not isinstance(tree, (dict, list)):
        return
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        yield from _places(tree[key])


def _token(rng: random.Random) -> str:
    if rng.random() < 0.15:
        depth = rng.choice(_DEPTHS) + rng.randrange(20)
        start, end = rng.choice([("[", "]"), ('{"a":', "}")])
        return start * depth + "1" + end * depth
    return rng.choice(_TOKENS) if rng.random() < 0.8 else str(rng.choice(NUMBERS))


def _dumped(tree: Any) -> str:
    try:
        return json.dumps(tree)
    except (ValueError, RecursionError):  # a value within itself
        return "{}"
