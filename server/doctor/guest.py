"""The doctor's look at the context endpoint: whether guests are told of one, and whether it answers by that address."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flyinglow.server.doctor.finding import Finding

if TYPE_CHECKING:
    from flyinglow.server.configuration.settings import GuestListener

_NAME = "context endpoint"
_SECONDS = 10.0


def examine(listener: GuestListener, *, running: bool) -> Finding:
    """Ask it as somebody without a token, which it refuses; blocks."""
    url = listener.base_url.rstrip("/")
    if not url:
        detail = "not configured: guests cannot report; [listen.guest] base_url says where they reach the service"
        return Finding(_NAME, ok=True, detail=detail)
    if _is_loopback(url):
        fix = (
            "set [listen.guest] base_url to an address of this machine on the guests' networks, or forwarded from there"
        )
        return Finding(_NAME, ok=False, detail=f"{url} is each guest's own loopback, not this machine", fix=fix)
    if not running:
        return Finding(
            _NAME, ok=True, detail=f"guests are told {url}; whether it answers is seen while the service runs"
        )
    fix = "check [listen.guest] address, port and base_url, and what filters or forwards are between"
    said = _asked(url)
    if said is None:
        return Finding(_NAME, ok=True, detail=f"{url} answers from this machine")
    return Finding(_NAME, ok=False, detail=f"{url} does not answer as the endpoint does: {said}", fix=fix)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _asked(url: str) -> str | None:
    """Return what is wrong with the answer, or None. Guests, not this machine, judge a certificate."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323, SLF001 - see above
    )
    try:
        opener.open(f"{url}/members", timeout=_SECONDS).close()
    except urllib.error.HTTPError as error:
        with error:
            refused = error.code == HTTPStatus.UNAUTHORIZED and error.headers.get("www-authenticate") == "Bearer"
        return None if refused else f"status {error.code}"
    except OSError as error:
        return str(getattr(error, "reason", error))
    return "somebody else is there"
