"""TLS for a listener: a certificate and its key from files, checked before anything is served, read anew on change."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer  # type: ignore[import-untyped]

from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.server.kept import Kept
from flyinglow.server.tls.linger import LingeringFactory

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from cryptography import x509

    from flyinglow.access.identity import Identity
    from flyinglow.server.callers.authorities import Authorities
    from flyinglow.server.callers.mapping import Mapping

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:@SECLEVEL=2"  # TLS 1.2; level 2: no SHA-1, RSA of 2048 bits


@dataclass(frozen=True, slots=True)
class Trust:
    """One state of a listener's files: an OpenSSL context and, if it asks callers for certificates, how they count."""

    context: Any
    authorities: Authorities | None = None
    mapping: Mapping | None = None


@dataclass(slots=True)
class Met:
    """What is known of one connection: hangs on Twisted's protocol for it, as ``met``.

    ``identity`` is who was found at the other end under the state ``trust`` of the files, ``until`` when the first
    certificate of its chain expires, ``again`` when it is to be found out anew.
    """

    trust: Trust
    chain: tuple[x509.Certificate, ...] = ()
    identity: Identity | None = None
    until: datetime | None = None
    again: datetime | None = None


@implementer(IOpenSSLServerConnectionCreator)
class Secured:
    """A certificate that is ready to be served; what connections begin with is always the newest state of its files."""

    def __init__(self, kept: Kept[Trust]) -> None:
        self.kept = kept

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """Return a connection for one peer; Twisted's name."""
        from OpenSSL import SSL  # noqa: PLC0415 - see ``server_context``

        trust = self.kept.current
        connection = SSL.Connection(trust.context, None)
        connection.set_app_data(protocol)
        protocol.met = Met(trust)
        return connection

    def wrap(self, site: Any, reactor: Any) -> Any:
        """Return a factory that serves ``site`` over TLS; a connection that the site will not have is closed."""
        from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: PLC0415 - imports OpenSSL

        class Factory(TLSMemoryBIOFactory):
            def buildProtocol(self, addr: Any) -> Any:
                inner = self.wrappedFactory.buildProtocol(addr)
                return None if inner is None else self.protocol(self, inner)

        secured = Factory(self, isClient=False, wrappedFactory=site, clock=reactor)  # type: ignore[arg-type]
        return LingeringFactory(secured, reactor)


def secured(certificate: Path | None, private_key: Path | None, where: str = "[listen.node]") -> Secured:
    """Load the certificate and key of ``where``, and ask peers for nothing.

    Raises InvalidError or BrokenError that says which file is wrong, and how.
    """
    files = [each for each in (certificate, private_key) if each is not None]
    return Secured(Kept(lambda: Trust(server_context(certificate, private_key, where)), files, where))


def server_context(certificate: Path | None, private_key: Path | None, where: str) -> Any:
    """Return an OpenSSL context with the certificate and key of ``where``: TLS 1.2 or later, strong keys only.

    A connection's certificates are checked when it begins: none is resumed from another, or renegotiated.
    Raises InvalidError or BrokenError that says which file is wrong, and how.
    """
    if certificate is None or private_key is None:
        raise InvalidError(f"{where} needs both certificate and private_key, or neither")
    _private(private_key, where)
    try:
        from OpenSSL import SSL  # noqa: PLC0415 - a service without TLS does not need it
    except ModuleNotFoundError as error:
        message = f"{where} certificate needs the Python package pyopenssl; {error.name} is not there"
        raise InvalidError(message) from None
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"flyinglow")  # without one, a peer that tries to resume would be cut off
    _load(f"{where} certificate", certificate, context.use_certificate_chain_file, SSL.Error)
    _load(f"{where} private_key", private_key, context.use_privatekey_file, SSL.Error)
    try:
        context.check_privatekey()
    except SSL.Error:
        raise BrokenError(f"{private_key} is not the key of the certificate {certificate}") from None
    return context


def _load(key: str, path: Path, use: Any, wrong: type[Exception]) -> None:
    try:
        path.open("rb").close()
        use(str(path))
    except OSError as error:
        raise BrokenError(f"{key}: {path} cannot be read: {error.strerror}") from None
    except wrong as error:
        raise BrokenError(f"{key}: {path} is not what it should be (PEM): {error}") from None


def _private(path: Path, where: str) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BrokenError(f"{where} private_key: {path} cannot be read: {error.strerror}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise BrokenError(f"{where} private_key: everyone can read or write {path}; chmod 0600 it")


def peer(protocol: Any) -> str:
    """Return the address at the other end of a connection, for the log."""
    found = protocol.transport.getPeer() if protocol is not None and protocol.transport is not None else None
    return f"{getattr(found, 'host', '')}:{getattr(found, 'port', '')}"
