"""TLS for a listener: a certificate and its key from files, checked before anything is served."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer  # type: ignore[import-untyped]

from flyinglow.nodectl.errors import BrokenError, InvalidError

if TYPE_CHECKING:
    from pathlib import Path


@implementer(IOpenSSLServerConnectionCreator)
class Secured:
    """A certificate that is ready to be served."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        """Return a connection for one peer; Twisted's name."""
        from OpenSSL import SSL  # noqa: PLC0415 - see ``secured``

        return SSL.Connection(self._context, None)

    def wrap(self, site: Any, reactor: Any) -> Any:
        """Return a factory that serves ``site`` over TLS; a connection that the site will not have is closed."""
        from twisted.protocols.tls import TLSMemoryBIOFactory  # noqa: PLC0415 - imports OpenSSL

        class Factory(TLSMemoryBIOFactory):
            def buildProtocol(self, addr: Any) -> Any:
                inner = self.wrappedFactory.buildProtocol(addr)
                return None if inner is None else self.protocol(self, inner)

        return Factory(self, isClient=False, wrappedFactory=site, clock=reactor)  # type: ignore[arg-type]


def secured(certificate: Path | None, private_key: Path | None, where: str = "[listen.node]") -> Secured:
    """Load the certificate and key of ``where``.

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
    _load(f"{where} certificate", certificate, context.use_certificate_chain_file, SSL.Error)
    _load(f"{where} private_key", private_key, context.use_privatekey_file, SSL.Error)
    try:
        context.check_privatekey()
    except SSL.Error:
        raise BrokenError(f"{private_key} is not the key of the certificate {certificate}") from None
    return Secured(context)


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
