"""TLS to consumers of notifications: whose certificates are taken, by which authorities, and what is shown to them.

A consumer must show a certificate for the very host that its address names (RFC 9110, section 4.3.4), from an authority
of ``[notification] ca_directory``, or from one of the machine's own where there is none. CRLs count as for callers. A
consumer that asks for a certificate is shown that of the client listener, by which it can know this service.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer  # type: ignore[import-untyped]

from flyinglow.access import subjects
from flyinglow.server.callers import authorities
from flyinglow.server.kept import Kept
from flyinglow.server.tls.refusals import reason

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509

    from flyinglow.server.callers.authorities import Authorities
    from flyinglow.server.configuration.settings import Config

_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:@SECLEVEL=2"
_NOT_FOR_SERVERS: Final = {26: "it is not meant for servers (extended key usage)"}


@dataclass(frozen=True, slots=True)
class Trusted:
    """One state of the files: an OpenSSL context, and the authorities in it where they are the site's own choice."""

    context: Any
    found: Authorities | None


@implementer(IPolicyForHTTPS)
class ConsumerTls:
    """Makes what connects to consumers, always by the newest state of the files."""

    def __init__(self, kept: Kept[Trusted]) -> None:
        self.kept = kept

    @property
    def trusted(self) -> Trusted:
        """The newest state of the files."""
        return self.kept.current

    def creatorForNetloc(self, hostname: bytes, port: int) -> ConsumerConnection:
        """Return what makes one connection to this host; Twisted's name."""
        del port
        return ConsumerConnection(self.trusted, hostname.decode("ascii").strip("[]"))


@implementer(IOpenSSLClientConnectionCreator)
class ConsumerConnection:
    """One connection; ``refusal`` says why the other end's certificate was not taken, once it was not."""

    def __init__(self, trusted: Trusted, host: str) -> None:
        self._trusted, self._host = trusted, host
        self.refusal = ""

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        """Return the connection that OpenSSL is to begin; Twisted's name."""
        del protocol
        connection = SSL.Connection(self._trusted.context, None)
        connection.set_verify(SSL.VERIFY_PEER, self._judge)
        if not _is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection

    def _judge(self, _: Any, certificate: Any, code: int, depth: int, ok: int) -> bool:
        """Say whether a certificate of the chain is taken; called by OpenSSL for each, the consumer's own last."""
        try:
            shown = certificate.to_cryptography()
            self.refusal = self._objection(shown, code, depth, ok=bool(ok))
        except Exception as error:  # noqa: BLE001 - whatever a hostile certificate makes a library say
            self.refusal = f"its certificate cannot be understood: {error}"
        return not self.refusal

    def _objection(self, shown: x509.Certificate, code: int, depth: int, *, ok: bool) -> str:
        found = self._trusted.found
        if not ok and not (found and found.forgives(code, subjects.of(shown.issuer), datetime.now(UTC))):
            return f"the certificate of {subjects.of(shown.subject)}: {_NOT_FOR_SERVERS.get(code) or reason(code)}"
        if depth == 0 and not _is_for(shown, self._host):
            return f"its certificate is not for {self._host}, but for {subjects.of(shown.subject)}"
        return ""


def consumer_tls(config: Config) -> ConsumerTls:
    """Return what https consumers are reached by. Raises InvalidError or BrokenError that says which file is wrong."""
    terms, client = config.notification, config.listen.client
    files = (terms.ca_directory, client.certificate, client.private_key)
    kept = Kept(partial(_trusted, config), [each for each in files if each is not None], "[notification]")
    return ConsumerTls(kept)


def _trusted(config: Config) -> Trusted:
    client, directory = config.listen.client, config.notification.ca_directory
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(_CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    if client.certificate is not None and client.private_key is not None:
        context.use_certificate_chain_file(str(client.certificate))
        context.use_privatekey_file(str(client.private_key))
    if directory is None:
        context.set_default_verify_paths()
        return Trusted(context, None)
    return Trusted(context, _authorities(context, directory, timedelta(seconds=client.crl_grace), client.crl))


def _authorities(context: Any, directory: Path, grace: timedelta, crl: str) -> Authorities:
    found = authorities.read(directory, authorities.Terms(crl, grace))
    store = context.get_cert_store()
    found.fill(store)
    if crl != "off":
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    return found


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_for(shown: x509.Certificate, host: str) -> bool:
    check = verify_certificate_ip_address if _is_address(host) else verify_certificate_hostname
    try:
        check(shown, host)
    except (VerificationError, CertificateError):
        return False
    return True
