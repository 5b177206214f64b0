# SPDX-License-Identifier: MIT
"""Object stores and other file systems, by fsspec: a file goes there whole, or not at all.

Where a store takes an object in one step, as S3 does, it is written under its name. Elsewhere it is
written as `.NAME.part` beside it, compared, and renamed; the same again after a failure, so that
nothing else is ever left there.

What arrived is compared: S3 gets the SHA-256 with the object and refuses another one, and keeps it
as metadata `sha256`; from everywhere else the object is read again. Its size is compared always.
"""

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from recorder.errors import OptionError, shown
from recorder.publishing.attempts import Hopeless
from recorder.writing.disk import make_folder, sync_folder

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^\s?#\x00-\x1f]*)")
_S3: Final = ("s3", "s3a")
_LOCAL: Final = ("file", "local")
# What takes an object in one step, and has no folders to be made.
_WHOLE: Final = (*_S3, "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory")
_READ_ONLY: Final = ("http", "https", "data", "git", "github", "zip", "tar")
_NEEDS_NO_PATH: Final = ("memory",)
_READ_BYTES: Final = 1 << 20
_PASSWORD: Final = re.compile(r"(?<=://)[^/@:]*:[^/]*@")
# Seconds; botocore's own are 60, five times over.
_S3_CONFIG: Final[dict[str, Any]] = {
    "connect_timeout": 10,
    "read_timeout": 30,
    "retries": {"max_attempts": 1},
}


def check_storage(value: object) -> str:
    """Return a URL of a folder to store in; OptionError unless there can be one."""
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    if match is None or "::" in match[0]:
        raise OptionError(
            f"storage: expected a URL such as s3://bucket/prefix, got {_redacted(shown(value))}"
        )
    scheme, rest = match[1].lower(), match[2]
    shown_url = without_password(match[0])
    if not rest.strip("/") and scheme not in _NEEDS_NO_PATH:
        raise OptionError(f"storage: expected a bucket or folder in it, got {shown_url!r}")
    if scheme in _READ_ONLY:
        raise OptionError(f"storage: expected a scheme that can be written to, got {shown_url!r}")
    if problem := _problem(scheme):
        raise OptionError(f"storage: {problem}, got {shown_url!r}")
    return match[0]


@cache
def _problem(scheme: str) -> str:
    """Why a scheme cannot be used; "" when it can."""
    try:
        import fsspec
    except ImportError:
        return "needs the extra `publish`: pip install 'recorder-telephony[publish]'"
    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        return "expected a scheme of fsspec, such as s3, gs, abfs, sftp or file"
    except ImportError as error:
        return f"{scheme}:// needs a library: {error}"
    return ""


def without_password(url: str) -> str:
    """Return a URL as events and messages may show it."""
    return _PASSWORD.sub("", url)


def _redacted(text: str) -> str:
    return _PASSWORD.sub("...@", text)


def object_url(storage: str, path: Path) -> str:
    """Return where a file is stored, as fsspec opens it."""
    folder = without_password(storage)
    return f"{folder.removesuffix('/')}/{path.name}"


def host_of(url: str) -> str:
    """Return what one URL shares with others that are served by the same."""
    parts = urlsplit(url)
    return f"{parts.scheme.lower()}://{parts.netloc.rpartition('@')[2].lower()}"


def upload(local: Path, storage: str, *, is_begun: bool, begin: Callable[[], None]) -> str:
    """Store a file under its own name; return its SHA-256, in hexadecimal.

    `begin` is called before anything is written; whoever says `is_begun` then may replace what is
    there. Raises Hopeless, and whatever the store's library does where another attempt may help.
    """
    import fsspec

    scheme = storage.partition("://")[0].lower()
    try:
        digest = _digest(local)
    except FileNotFoundError:
        raise Hopeless(f"{local} is gone") from None
    try:
        fs, folder = fsspec.core.url_to_fs(storage, **_options(scheme))
        final = f"{folder.rstrip('/')}/{local.name}"
        if not is_begun and _exists(fs, final):
            raise Hopeless(f"{object_url(storage, local)} is there already")
        begin()
        if scheme in _WHOLE:
            fs.put_file(os.fspath(local), final, **_extras(scheme, digest))
            if scheme not in _S3:
                _compare(fs, final, digest)
        else:
            _put_renamed(fs, scheme, local, folder, final, digest)
        _compare_size(fs, final, digest.size)
    except (NotImplementedError, ValueError) as error:
        raise Hopeless(str(error) or type(error).__name__) from error
    except FileNotFoundError as error:
        if scheme not in _WHOLE:
            raise
        raise Hopeless(f"there is no such bucket: {error}") from error
    return digest.hex()


def _options(scheme: str) -> dict[str, Any]:
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in _S3:
        import fsspec.config

        configured = fsspec.config.conf.get(scheme, {}).get("config_kwargs", {})
        options["config_kwargs"] = _S3_CONFIG | configured
    return options


def _extras(scheme: str, digest: "_Sha256") -> dict[str, Any]:
    if scheme not in _S3:
        return {}
    return {"Metadata": {"sha256": digest.hex()}, "ChecksumSHA256": digest.base64()}


def _put_renamed(
    fs: Any, scheme: str, local: Path, folder: str, final: str, digest: "_Sha256"
) -> None:
    part = f"{folder.rstrip('/')}/.{local.name}.part"
    if scheme in _LOCAL:
        make_folder(Path(folder), local.stat().st_mode & 0o777)
    else:
        fs.makedirs(folder, exist_ok=True)
    fs.put_file(os.fspath(local), part)
    if scheme in _LOCAL:
        shutil.copymode(local, part)
        with Path(part).open("rb") as file:
            os.fsync(file.fileno())
    _compare(fs, part, digest)
    if scheme not in _LOCAL and fs.exists(final):  # not all of them replace
        fs.rm_file(final)
    fs.mv(part, final)
    if scheme in _LOCAL:
        sync_folder(Path(folder))


# -- what is there -------------------------------------------------------------------------------


class _Sha256:
    """The SHA-256 of bytes, and how many they are."""

    def __init__(self) -> None:
        self.size = 0
        self._digest = hashlib.sha256()

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)

    def hex(self) -> str:
        return self._digest.hexdigest()

    def base64(self) -> str:
        return base64.b64encode(self._digest.digest()).decode()


def _exists(fs: Any, path: str) -> bool:
    with suppress(PermissionError):  # of who may only write
        return bool(fs.exists(path))
    return False


def _digest(path: Path) -> _Sha256:
    found = _Sha256()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            found.update(data)
    return found


def _compare(fs: Any, path: str, digest: _Sha256) -> None:
    found = _Sha256()
    with fs.open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            found.update(data)
    if found.hex() != digest.hex():
        raise OSError(f"{path} has arrived damaged: its SHA-256 is {found.hex()}")


def _compare_size(fs: Any, path: str, size: int) -> None:
    try:
        found = fs.info(path)["size"]
    except PermissionError:  # of who may only write
        return
    if found != size:
        raise OSError(f"{path} has arrived damaged: expected {size} bytes, got {found}")
