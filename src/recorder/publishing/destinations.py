# SPDX-License-Identifier: MIT
"""Where a recording and its events are to go, as a user says it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Self

from recorder.errors import OptionError, shown
from recorder.events import file_url
from recorder.options import check_switch

KEY_VARIABLE: Final = "RECORDER_STATUS_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Checked when made: OptionError for what cannot be.

    - `storage`: a URL of fsspec below which the files go; None or "" for nowhere.
    - `status_url`: where events are POSTed; None or "" for nowhere.
    - `status_key`: what these are signed with; that in the environment when not given.
    - `keep_local`: whether a file stays in its folder once it is stored.
    - `allow_private`: whether `status_url` may be in a private network.
    """

    storage: str | None = None
    status_url: str | None = None
    status_key: str | None = field(default=None, repr=False)
    keep_local: bool = False
    allow_private: bool = False

    def __post_init__(self) -> None:
        for name in ("keep_local", "allow_private"):
            object.__setattr__(self, name, check_switch(name, getattr(self, name)))
        key = self.status_key
        if key is not None and (not isinstance(key, str) or not key):
            # Without the value, which is a secret.
            raise OptionError("status_key: expected a string, not empty, or None")
        if self.storage:
            from recorder.publishing.storage import check_storage

            object.__setattr__(self, "storage", check_storage(self.storage))
        elif self.storage not in {None, ""}:
            raise OptionError(f"storage: expected a URL or None, got {shown(self.storage)}")
        if self.status_url:
            from recorder.publishing.webhook import check_status_url

            url = check_status_url(self.status_url, allow_private=self.allow_private)
            object.__setattr__(self, "status_url", url)
            if not self.key:
                raise OptionError(
                    f"status_url: expected a key to sign with, status_key or {KEY_VARIABLE},"
                    " got none"
                )
        elif self.status_url not in {None, ""}:
            raise OptionError(f"status_url: expected a URL or None, got {shown(self.status_url)}")

    def __bool__(self) -> bool:
        return bool(self.storage or self.status_url)

    @property
    def key(self) -> str | None:
        """What events are signed with."""
        return self.status_key or environment_key()

    def url_of(self, base_url: str | None) -> Callable[[Path], str]:
        """Return what gives the URL of a file, as events carry it."""
        if not self.storage or base_url is not None:
            return partial(file_url, base_url)
        from recorder.publishing.storage import object_url

        return partial(object_url, self.storage)

    def but(self, storage: str | None, status_url: str | None) -> Self:
        """Return those of one recording: None is what all have, "" is nowhere."""
        if storage is None and status_url is None:
            return self
        return replace(
            self,
            storage=self.storage if storage is None else storage,
            status_url=self.status_url if status_url is None else status_url,
        )


NOWHERE: Final = Destinations()


def environment_key() -> str | None:
    """Return the key in the environment."""
    return os.environ.get(KEY_VARIABLE) or None
