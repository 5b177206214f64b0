# SPDX-License-Identifier: MIT
"""The events of one call on their way to one address: in order, each until it is answered."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from recorder.publishing.attempts import Hopeless, backoff
from recorder.publishing.destinations import KEY_VARIABLE, environment_key
from recorder.publishing.storage import host_of
from recorder.publishing.targets import Means
from recorder.publishing.webhook import post

_LONGEST_PAUSE_SECONDS: Final = 300.0
_GIVEN_UP_SECONDS: Final = 3 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """An event to be POSTed.

    - `event`: as JSON can carry it, with its `event_id`.
    - `number`: when it came, in Unix nanoseconds.
    - `key`: what it is signed with; that in the environment if None.
    - `failed`: called when an attempt has failed, with why.
    - `ended`: called once it needs no more attempts, with why it was given up, or "".
    """

    event: dict[str, Any]
    number: int
    key: str | None
    allow_private: bool
    failed: Callable[[str], None]
    ended: Callable[[str], None]


class Line:
    """Letters to one address, one at a time. For background threads."""

    def __init__(self, means: Means, url: str) -> None:
        self._means = means
        self._url = url
        self._target = means.target(host_of(url))
        self._lock = threading.Lock()
        self._letters: deque[Letter] = deque()
        self._failures = 0

    def put(self, letter: Letter) -> None:
        """Send a letter after those before it."""
        with self._lock:
            self._letters.append(letter)
            is_first = len(self._letters) == 1
        if is_first:
            self._try()

    def _try(self) -> None:
        self._target.put(self._send)

    def _send(self) -> None:
        letter = self._letters[0]
        try:
            self._post(letter)
        except Hopeless as error:
            self._end(letter, str(error))
        except Exception as error:  # whatever it is, another attempt may help
            self._fail(letter, str(error) or type(error).__name__)
        else:
            self._end(letter, "")

    def _post(self, letter: Letter) -> None:
        key = letter.key or environment_key()
        if not key:
            raise OSError(f"there is no key to sign it with: {KEY_VARIABLE} is not set")
        post(
            self._url,
            json.dumps(letter.event).encode(),
            key=key,
            allow_private=letter.allow_private,
            timestamp=int(self._means.clock.now()),
        )

    def _fail(self, letter: Letter, why: str) -> None:
        if self._means.clock.now() - letter.number / 1e9 > _GIVEN_UP_SECONDS:
            self._end(letter, f"for three days {why}")
            return
        self._failures += 1
        letter.failed(why)
        pause = backoff(self._failures, _LONGEST_PAUSE_SECONDS, self._means.chance)
        self._means.clock.after(pause, self._try)

    def _end(self, letter: Letter, why: str) -> None:
        self._failures = 0
        letter.ended(why)  # first: what was sent is not sent again by the next process
        with self._lock:
            self._letters.popleft()
            has_more = bool(self._letters)
        if has_more:
            self._try()


class Lines:
    """The lines that have letters, by call and address."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self.restart()

    def restart(self) -> None:
        """After a fork: they are the parent's."""
        self._lock = threading.Lock()
        self._lines: WeakValueDictionary[tuple[str, str], Line] = WeakValueDictionary()

    def put(self, call_id: str, url: str, letter: Letter) -> None:
        """Send a letter after those of the same call to the same address."""
        with self._lock:
            line = self._lines.get((call_id, url))
            if line is None:
                line = self._lines[call_id, url] = Line(self._means, url)
            line.put(letter)
