"""Callers known by their certificate or proxy: who a TLS connection's peer is, decided once for each connection.

A connection lives on while files change and time passes, so each of its requests asks again whether what it began with
still holds: that nothing in its chain has expired, and nothing was revoked or forbidden by newer files.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flyinglow.access import proxies
from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.server.tls import peer

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.http import Request

    from flyinglow.server.kept import Kept
    from flyinglow.server.tls import Met, Trust


def now() -> datetime:
    """Return the time by which certificates are judged."""
    return datetime.now(UTC)


class ByCertificate:
    """Identifies callers by the certificate of their TLS connection."""

    def __init__(self, kept: Kept[Trust], clock: Callable[[], datetime] = now) -> None:
        self._kept, self._clock = kept, clock

    def identify(self, request: Request) -> Identity | None:
        """Return who sent a request; None when its connection showed no certificate. Raises DeniedError."""
        protocol: Any = request.channel.transport
        met: Met | None = getattr(protocol, "met", None)
        if met is None:
            return None  # it came in plain HTTP
        try:
            if met.identity is None:
                self._meet(protocol, met)
            self._hold(met)
        except InvalidError as error:
            raise DeniedError(error.message) from None
        return met.identity

    def _meet(self, protocol: Any, met: Met) -> None:
        met.chain = tuple(protocol.getHandle().get_verified_chain(as_cryptography=True) or ())
        if not met.chain:
            return
        self._examine(met)
        found = proxies.holder(met.chain)
        met.identity = Identity(str(found.subject), limited=found.limited, via="x509", peer=peer(protocol))
        met.until = min(each.not_valid_after_utc for each in met.chain)

    def _examine(self, met: Met) -> None:
        trust = self._kept.current
        objection = trust.authorities.objection(met.chain) if trust.authorities else "no authority is known here"
        if objection is not None:
            raise DeniedError(objection)
        met.trust = trust

    def _hold(self, met: Met) -> None:
        if met.identity is None:
            return
        if met.trust is not self._kept.current:
            self._examine(met)
        if met.until is not None and self._clock() >= met.until:
            raise DeniedError("the certificate, or one in its chain, has expired since the connection began")
