"""Shows a bearer token with every request, over TLS or to this machine only; the file is read anew each time."""

from __future__ import annotations

import ipaddress
import re
import stat
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flyinglow.client.credential import CredentialError
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def read(path: Path) -> str:
    """Return the token in a file. Raises BrokenError for one that others can read, or that holds no token."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CredentialError(f"others than its owner may use the token in {path}; chmod 0600 it")
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"the token in {path} cannot be read: {getattr(error, 'strerror', error)}") from None
    if not _TOKEN.fullmatch(text):
        raise CredentialError(f"{path} does not hold a token on one line")
    return text


def shower(path: Path) -> Any:
    """Return what a session of requests calls to authenticate each request.

    It raises InvalidError for a request that others could read, and what ``read`` raises.
    """

    def show(request: Any) -> Any:
        parts = urlsplit(request.url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise InvalidError("a token is shown over https only; over http others could take it")
        request.headers["Authorization"] = f"Bearer {read(path)}"
        return request

    return show


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine for certain."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
