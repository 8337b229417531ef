"""Keeps the public keys of token issuers fresh: read from a file or fetched by https, with limits, off the reactor.

A token that names an unknown key makes its issuer's keys be fetched at once, for it may have a new one; but not more
often than once in a minute, whatever callers send.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred

from flyinglow.access import token_keys
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flyinglow.access.token_keys import Key, KeySet
    from flyinglow.server.configuration.tokens import TokenIssuer

log = logging.getLogger("flyinglow.server.tokens")

AT_LEAST: Final = 60.0
"""Seconds between two fetches that callers can cause."""

TOO_OLD: Final = 86400.0
"""Seconds after which keys that could not be fetched again are not believed any more."""

_BYTES: Final = 256 << 10
_SECONDS: Final = 10.0
_CHUNK: Final = 16 << 10
_OK: Final = 200


class FreshKeys:
    """The keys of one issuer (``access.token_keys.Keys``); to be used on the reactor's thread only.

    ``load`` blocks and returns the document; ``in_thread`` runs it elsewhere. ``monotonic`` is in seconds.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], bytes],
        *,
        refresh: float,
        monotonic: Callable[[], float],
        in_thread: Callable[[Callable[[], bytes]], Deferred[bytes]],
    ) -> None:
        self._name = name
        self._load = load
        self._refresh = refresh
        self._monotonic = monotonic
        self._in_thread = in_thread
        self._keys: KeySet | None = None
        self._read_at = self._tried_at = float("-inf")
        self._fetching: Deferred[None] | None = None

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Return a key, or None. Raises TransientError while the keys that may hold it are fetched."""
        now = self._monotonic()
        if self._keys is not None and now - self._read_at < TOO_OLD:
            key = self._keys.find(kid, algorithm)
            if key is not None:
                return key
        if self._fetching is None and now - self._tried_at >= AT_LEAST:
            self._begin(now)
        if self._fetching is not None or self._keys is None:
            raise TransientError(f"the keys of issuer {self._name} are being fetched; try again")
        return None

    async def look(self) -> None:
        """Fetch the keys if it is time to; for a timer."""
        now = self._monotonic()
        wanted = self._refresh if self._keys is not None else min(self._refresh, AT_LEAST)
        if self._fetching is None and now - self._tried_at >= wanted:
            self._begin(now)
        if self._fetching is not None:
            waiting: Deferred[None] = Deferred()
            self._fetching.addBoth(lambda _: waiting.callback(None))
            await waiting

    def _begin(self, now: float) -> None:
        self._tried_at = now
        self._fetching = fetching = Deferred.fromCoroutine(self._fetch())
        if fetching.called:
            self._fetching = None

    async def _fetch(self) -> None:
        try:
            self._keys = token_keys.read(await self._in_thread(self._load))
            self._read_at = self._monotonic()
        except FlyingLowError as error:
            log.warning(
                "the keys of a token issuer cannot be had", extra={"issuer": self._name, "reason": error.message}
            )
        finally:
            self._fetching = None


def reader(issuer: TokenIssuer, dated: Callable[[str], None] = lambda _: None) -> Callable[[], bytes]:
    """Return the function that gets an issuer's keys, by file or URL; ``dated`` hears what time it is there."""
    if issuer.keys_file is not None:
        return file_reader(issuer.keys_file)
    return url_reader(issuer.keys_url, issuer.ca_file, dated=dated)


def file_reader(path: Path) -> Callable[[], bytes]:
    """Return a function that reads a key set from a file. It raises BrokenError."""

    def read() -> bytes:
        try:
            with path.open("rb") as file:
                return _bounded(file.read(_BYTES + 1), str(path))
        except OSError as error:
            raise BrokenError(f"{path} cannot be read: {error.strerror}") from None

    return read


def url_reader(
    url: str, ca_file: Path | None, seconds: float = _SECONDS, dated: Callable[[str], None] = lambda _: None
) -> Callable[[], bytes]:
    """Return a function that fetches a key set by https: no redirect, no proxy, 256 KiB and 10 seconds at most.

    A server that sends a byte now and then does not hold it for longer: what is left of the time bounds each read.

    It raises TransientError when the issuer cannot be reached or does not answer as it should.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def fetch() -> bytes:
        try:
            context = ssl.create_default_context(cafile=ca_file)
            context.sslsocket_class = _until(time.monotonic() + seconds)
            made = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=seconds, context=context)
            with closing(made) as connection:
                connection.request("GET", target, headers={"Accept": "application/jwk-set+json, application/json"})
                response = connection.getresponse()
                dated(response.headers.get("date", ""))
                return _body(response, url)
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"{url} cannot be fetched: {error}") from None

    return fetch


def _until(ends_at: float) -> type[ssl.SSLSocket]:
    """Return a kind of socket that reads until then (monotonic seconds), and no longer."""

    class Bounded(ssl.SSLSocket):
        def recv_into(self, *args: Any, **options: Any) -> int:
            self.settimeout(max(0.001, ends_at - time.monotonic()))
            return super().recv_into(*args, **options)

    return Bounded


def _body(response: http.client.HTTPResponse, url: str) -> bytes:
    if response.status != _OK:
        raise TransientError(f"{url} answers {response.status}")
    found = b""
    while chunk := response.read1(_CHUNK):
        found = _bounded(found + chunk, url)
    return found


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > _BYTES:
        raise BrokenError(f"{where} is larger than {_BYTES} bytes")
    return data
