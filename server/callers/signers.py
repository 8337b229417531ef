"""Who may sign messages: whoever the client listener's authorities vouch for, by the same rules as over TLS."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from flyinglow.access import proxies
from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.server.configuration import access as config_access
from flyinglow.wsrf.security.replay import Replays
from flyinglow.wsrf.security.signatures import Signatures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flyinglow.server.configuration.settings import Config
    from flyinglow.server.kept import Kept
    from flyinglow.server.tls.listening import Secured, Trust
    from flyinglow.wsrf.addresses import Addresses

_CLIENTS = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


class Signers:
    """Identifies signers; safe to use from several threads. ``known`` gives an identity its roles."""

    def __init__(self, kept: Kept[Trust], known: Callable[[Identity], Identity]) -> None:
        self._kept, self._known = kept, known

    def identify(self, chain: Sequence[x509.Certificate]) -> Identity:
        """Return whom a chain, the signer's certificate first, stands for. Raises DeniedError with the reason."""
        trust = self._kept.current
        if trust.authorities is None or trust.mapping is None:
            raise DeniedError("no authority is known here")
        try:
            verified = trust.authorities.verify(chain[0], chain[1:])
            _check(verified)
            found = proxies.holder(verified)
            groups = trust.mapping.groups(verified, found, trust.authorities.verify, _now())
        except InvalidError as error:
            raise DeniedError(error.message) from None
        except ValueError:
            raise DeniedError("the signer's certificate cannot be understood") from None
        return self._known(Identity(str(found.subject), groups=groups, limited=found.limited, via="signature"))


def signatures(
    config: Config, secured: Secured | None, addresses: Addresses, count: Callable[[Identity], float]
) -> Signatures | None:
    """Return what checks the signatures of messages; None where they are not looked at. ``count`` as there.

    Raises InvalidError when the installation cannot check any.
    """
    wanted = config.listen.client.signatures
    if secured is None or wanted == "off":
        return None
    signers = Signers(secured.kept, config_access.roles(config.access).known)
    return Signatures(signers, Replays(_now), addresses, alone=wanted == "alone", count=count)


def _now() -> datetime:
    return datetime.now(UTC)


def _check(chain: Sequence[x509.Certificate]) -> None:
    usages = [each.value for each in chain[0].extensions if isinstance(each.value, x509.KeyUsage)]
    if not all(usage.digital_signature for usage in usages):
        raise DeniedError("the signer's certificate may not sign (its key usage)")
    for certificate in chain[:-1]:
        purposes = [each.value for each in certificate.extensions if isinstance(each.value, x509.ExtendedKeyUsage)]
        if not all(_CLIENTS & set(purpose) for purpose in purposes):
            raise DeniedError("the signer's certificate is not for clients (its extended key usage)")
