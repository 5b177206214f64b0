# SPDX-License-Identifier: MIT
"""Events POSTed to a web address, by httpx; never to a machine of the sender's own network.

A name is resolved here, its addresses are checked, and the connection goes to one that was checked,
so that a name that changes in between is no way round. Redirects are not followed, and no proxy is
used.
"""

import socket
from functools import cache
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from recorder.errors import OptionError, shown
from recorder.publishing.attempts import Hopeless
from recorder.publishing.signature import HEADER, sign

if TYPE_CHECKING:
    import httpx

_MOST_URL: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}
_GONE: Final = 410
# Seconds without progress.
_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
# IPv4 addresses behind IPv6 ones, of translators.
_NAT64: Final = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address


def check_status_url(value: object, *, allow_private: bool) -> str:
    """Return a URL to POST to; OptionError unless there can be one."""
    parts = _split(value)
    if parts is None:
        raise OptionError(
            f"status_url: expected a URL such as https://example.org/events, got {shown(value)}"
        )
    if find_spec("httpx") is None:
        raise OptionError(
            "status_url: needs the extra `publish`: pip install 'recorder-telephony[publish]'"
        )
    address = _literal(parts.hostname or "")
    if address is not None and not allow_private and not _is_public(address):
        raise OptionError(
            f"status_url: expected a public address unless allow_private is set, got {shown(value)}"
        )
    return str(value)


def _split(value: object) -> SplitResult | None:
    if not isinstance(value, str) or len(value) > _MOST_URL:
        return None
    if any(character <= " " or character == "\x7f" for character in value):
        return None
    try:
        parts = urlsplit(value)
        fits = parts.scheme.lower() in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port, or brackets
        return None
    return parts if fits and not parts.fragment else None


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast


def _resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host; Hopeless when one of them is not to be connected to."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(where[0]) for *_, where in found))
    if not allow_private:
        for address in addresses:
            if not _is_public(ip_address(address.partition("%")[0])):
                raise Hopeless(f"{host} is at {address}, which is not public")
    return addresses


def post(url: str, body: bytes, *, key: str, allow_private: bool, timestamp: int) -> None:
    """POST a body of JSON, signed.

    Returns once it was answered by 2xx. Hopeless where it is not to be sent again: by 410, or since
    the address is private. OSError where another attempt may help.
    """
    import httpx

    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme.lower()]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "recorder",
        "Host": parts.netloc.rpartition("@")[2],
        HEADER: sign(key, body, timestamp),
    }
    target = httpx.URL(url).copy_with(userinfo=b"")  # httpx logs its URLs
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    auth = (user, password) if user or password else None
    failure: Exception = OSError(f"{host} has no address")
    for address in _resolve(host, port, allow_private=allow_private):
        try:
            with _client().stream(
                "POST",
                target.copy_with(host=address),
                content=body,
                headers=headers,
                auth=auth,
                extensions={"sni_hostname": host},
            ) as answer:
                status = answer.status_code
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = error
            continue
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise OSError(_described(error)) from error
        _judge(status)
        return
    raise OSError(_described(failure)) from failure


def _judge(status: int) -> None:
    if status == _GONE:
        raise Hopeless("it was answered by 410: nobody wants it any more")
    if not 200 <= status < 300:
        raise OSError(f"it was answered by {status}")


def _described(error: Exception) -> str:
    return str(error) or type(error).__name__


@cache
def _client() -> "httpx.Client":
    """One for all: it takes long to make, and threads may share it. It keeps no connection."""
    import httpx

    settings: dict[str, Any] = {"trust_env": False, "follow_redirects": False}
    return httpx.Client(
        timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
        limits=httpx.Limits(max_keepalive_connections=0),
        **settings,
    )
