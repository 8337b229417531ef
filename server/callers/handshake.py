"""TLS that asks callers for certificates: what is verified while a connection begins, by which state of the files.

OpenSSL builds and checks the chain: signatures (no SHA-1), validity, purpose, path lengths (those of proxies too), name
constraints, CRLs. What it refuses ends the handshake with an alert; the reason goes to the log. What it cannot know
(signing policies, the rules of proxies beyond it, who the caller is here) is decided in ``certificates.py``.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL, crypto

from flyinglow.access import proxies, subjects
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.server.callers import authorities, mapping
from flyinglow.server.callers.authorities import Terms
from flyinglow.server.kept import Kept
from flyinglow.server.tls.listening import Secured, Trust, peer, server_context
from flyinglow.server.tls.refusals import reason

if TYPE_CHECKING:
    from flyinglow.server.callers.authorities import Authorities
    from flyinglow.server.configuration.settings import ClientListener

log = logging.getLogger("flyinglow.server.tls.listening")

_WHERE: Final = "[listen.client]"
_DEEPEST: Final = 24


def secured(listener: ClientListener) -> Secured:
    """Return what the client listener serves TLS with. Raises what ``trust`` raises."""
    files = (
        listener.certificate,
        listener.private_key,
        listener.ca_directory,
        listener.mapfile,
        listener.voms_directory,
    )
    return Secured(Kept(lambda: trust(listener), [each for each in files if each is not None], _WHERE))


def trust(listener: ClientListener) -> Trust:
    """Read what the client listener needs for TLS; blocks.

    Raises InvalidError or BrokenError that says which file is wrong, and how.
    """
    context = server_context(listener.certificate, listener.private_key, _WHERE)
    if listener.ca_directory is None:
        return Trust(context)
    terms = Terms(listener.crl, timedelta(seconds=listener.crl_grace))
    found = authorities.read(listener.ca_directory, terms)
    for problem in found.problems:
        log.warning("a file of the authorities does not count", extra={"problem": problem})
    _ask(context, found, required=listener.client_certificates == "required")
    return Trust(context, found, mapping.read(listener))


def _ask(context: Any, found: Authorities, *, required: bool) -> None:
    store = context.get_cert_store()
    found.fill(store)
    flags = crypto.X509StoreFlags.ALLOW_PROXY_CERTS
    if found.terms.crl != "off":
        flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
    store.set_flags(flags)
    context.set_verify_depth(_DEEPEST)
    mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0)
    context.set_verify(mode, Verdict(found))


class Verdict:
    """Called by OpenSSL for each certificate of a chain; forgives what the terms allow, and tells of the rest."""

    def __init__(self, found: Authorities) -> None:
        self._found = found

    def __call__(self, connection: Any, certificate: Any, code: int, depth: int, ok: int) -> bool:
        """Say whether the chain is to be followed further."""
        if ok:
            return True
        try:
            shown = certificate.to_cryptography()
            if self._found.forgives(code, subjects.of(shown.issuer), datetime.now(UTC)):
                return True
            subject, why = str(subjects.of(shown.subject)), proxies.legacy(shown) or reason(code)
        except (ValueError, FlyingLowError) as error:
            subject, why = "unreadable", str(error)
        log.warning(
            "a caller's certificate was refused",
            extra={"subject": subject[:200], "reason": why, "depth": depth, "peer": peer(connection.get_app_data())},
        )
        return False
