"""Callers known by their certificate or proxy: who a TLS connection's peer is, decided once for each connection.

A connection lives on while files change and time passes, so each of its requests asks again whether what it began with
still holds: that nothing in its chain has expired, and nothing was revoked or forbidden by newer files.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from flyinglow.access import proxies
from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.server.tls.listening import peer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography import x509
    from twisted.web.http import Request

    from flyinglow.server.kept import Kept
    from flyinglow.server.tls.listening import Met, Trust


_AGAIN: Final = timedelta(minutes=5)


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
            self._meet(protocol, met)
        except InvalidError as error:
            raise DeniedError(error.message) from None
        except ValueError as error:  # of what cryptography cannot read
            raise DeniedError(f"the certificate cannot be understood: {error}"[:200]) from None
        if met.until is not None and self._clock() >= met.until:
            raise DeniedError("the certificate, or one in its chain, has expired since the connection began")
        return met.identity

    def _meet(self, protocol: Any, met: Met) -> None:
        """Find out who is there: once for each connection and state of the files, and again every few minutes.

        Attribute certificates may end before the chain does.
        """
        trust, moment = self._kept.current, self._clock()
        if met.trust is trust and met.again is not None and moment < met.again:
            return
        met.identity = met.again = None
        met.chain = met.chain or tuple(protocol.getHandle().get_verified_chain(as_cryptography=True) or ())
        if not met.chain and protocol.getPeerCertificate() is not None:
            raise DeniedError("the certificate was not verified")  # as in a session that was resumed; there is none
        if met.chain:
            met.identity = self._identity(met.chain, trust, peer(protocol))
            met.trust, met.again = trust, moment + _AGAIN
            met.until = min(each.not_valid_after_utc for each in met.chain)

    def _identity(self, chain: Sequence[x509.Certificate], trust: Trust, address: str) -> Identity:
        if trust.authorities is None or trust.mapping is None:
            raise DeniedError("no authority is known here")
        if (objection := trust.authorities.objection(chain, self._clock())) is not None:
            raise DeniedError(objection)
        found = proxies.holder(chain)
        groups = trust.mapping.groups(chain, found, trust.authorities.verify, self._clock())
        return Identity(str(found.subject), groups=groups, limited=found.limited, via="x509", peer=address)
