"""The directory of authorities as grids have it: certificates and CRLs under OpenSSL's hashed names, signing policies.

``xxxxxxxx.0`` is an authority's certificate, ``xxxxxxxx.r0`` its CRL and ``xxxxxxxx.signing_policy`` what it may sign,
where xxxxxxxx is the hash of its subject, OpenSSL's of today or that of before 1.0. A file whose name is not the hash
of what is in it does not count, and is told. All of it is read at once, so a connection sees one state of it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from flyinglow.access import proxies, signing_policy, subjects
from flyinglow.nodectl.errors import BrokenError, DeniedError, InvalidError
from flyinglow.server.tls.refusals import CRL_EXPIRED, NO_CRL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flyinglow.access.signing_policy import SigningPolicy
    from flyinglow.access.subjects import Subject

_DIGEST_BYTES: Final = 28
_RSA_BITS: Final = 2048
_FILE: Final = re.compile(r"([0-9a-f]{8})\.(r?[0-9]+|signing_policy)")


@dataclass(frozen=True, slots=True)
class Terms:
    """How strictly CRLs are taken: ``required``, ``present`` or ``off``; and how long one outlives its time."""

    crl: str = "present"
    grace: timedelta = timedelta(0)


@dataclass(slots=True)
class Authorities:
    """What a directory holds; ``problems`` says what of it does not count, and why."""

    terms: Terms = Terms()
    certificates: dict[bytes, x509.Certificate] = field(default_factory=dict)  # by fingerprint
    crls: dict[Subject, list[x509.CertificateRevocationList]] = field(default_factory=dict)
    policies: dict[Subject, SigningPolicy] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def fill(self, store: Any) -> None:
        """Put the certificates and CRLs into an OpenSSL store."""
        for certificate in self.certificates.values():
            store.add_cert(crypto.X509.from_cryptography(certificate))
        for crls in self.crls.values():
            for crl in crls:
                store.add_crl(crl)

    def next_update(self, issuer: Subject) -> datetime | None:
        """Return when an authority's newest CRL should have been followed by another; None: it has no CRL."""
        times = [crl.next_update_utc for crl in self.crls.get(issuer, ()) if crl.next_update_utc is not None]
        return max(times, default=None)

    def forgives(self, code: int, issuer: Subject, at: datetime) -> bool:
        """Say whether the terms pass over what OpenSSL says of an issuer's CRL (its codes, ``tls.refusals``)."""
        due = self.next_update(issuer)
        if code == NO_CRL:
            return self.terms.crl == "present" and due is None and issuer not in self.crls
        return code == CRL_EXPIRED and due is not None and at < due + self.terms.grace

    def objection(self, chain: Sequence[x509.Certificate], at: datetime) -> str | None:
        """Say what speaks against a verified chain, leaf first: a signing policy, or what came to be known later.

        That a CRL has expired by ``at`` does, too: nobody knows what would be in the next one.
        """
        for certificate in chain:
            name, issuer = subjects.of(certificate.subject), subjects.of(certificate.issuer)
            for crl in self.crls.get(issuer, ()):
                if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                    return f"the certificate of {name} was revoked"
            policy = self.policies.get(issuer)
            if policy is not None and name != issuer and not policy.allows(issuer, name):
                return f"the signing policy of {issuer} does not allow it to certify {name}"
        if chain and fingerprint(chain[-1]) not in self.certificates:
            return f"{subjects.of(chain[-1].subject)} is no authority here any more"
        return self._stale(chain, at)

    def verify(self, certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
        """Return the chain of a certificate that came by another way than TLS, leaf first; ``others`` may be in it.

        What TLS would refuse is refused here, too, but for the purpose: that is the caller's to look at. Raises
        DeniedError with the reason.
        """
        store = crypto.X509Store()
        store.set_flags(crypto.X509StoreFlags.ALLOW_PROXY_CERTS)
        for each in self.certificates.values():
            store.add_cert(crypto.X509.from_cryptography(each))
        leaf, between = crypto.X509.from_cryptography(certificate), list(map(crypto.X509.from_cryptography, others))
        try:
            found = crypto.X509StoreContext(store, leaf, between).get_verified_chain()
        except crypto.X509StoreContextError as error:
            raise DeniedError(f"the certificate of {subjects.of(certificate.subject)}: {error}") from None
        chain = [each.to_cryptography() for each in found]
        objection = self.objection(chain, datetime.now(UTC))
        if objection := objection or next(filter(None, map(_weakness, chain[:-1])), None):
            raise DeniedError(objection)
        return chain

    def _stale(self, chain: Sequence[x509.Certificate], at: datetime) -> str | None:
        """Say which authority of a chain has no CRL that is in force, where it must have one."""
        for issuer in {subjects.of(each.subject) for each in chain if proxies.is_authority(each)}:
            due = self.next_update(issuer)
            if due is None and self.terms.crl == "required":
                return f"{issuer} has no CRL here"
            if due is not None and at >= due + self.terms.grace:
                return f"the CRL of {issuer} has expired"
        return None


def fingerprint(certificate: x509.Certificate) -> bytes:
    """Return what tells certificates apart."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def _weakness(certificate: x509.Certificate) -> str | None:
    """Say why a certificate below its anchor is too weak to count, as OpenSSL's security level 2 has it in TLS."""
    digest, key = certificate.signature_hash_algorithm, certificate.public_key()
    if digest is not None and digest.digest_size < _DIGEST_BYTES:
        return f"the certificate of {subjects.of(certificate.subject)} is signed with {digest.name}, which is too weak"
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS:
        return f"the key of {subjects.of(certificate.subject)} is too small"
    return None


def read(directory: Path, terms: Terms | None = None) -> Authorities:
    """Read a directory. Raises BrokenError when it cannot be read or holds no authority."""
    found = Authorities(terms or Terms())
    hashes: dict[str, set[Subject]] = {}
    try:
        paths = sorted(path for path in directory.iterdir() if _FILE.fullmatch(path.name))
    except OSError as error:
        raise BrokenError(f"ca_directory: {directory} cannot be read: {error.strerror}") from None
    for path in paths:
        if path.suffix[1:].isdigit():
            _certificates(path, found, hashes)
    if not found.certificates:
        raise BrokenError(f"ca_directory: {directory} has no authority (xxxxxxxx.0, as `openssl rehash` names them)")
    for path in paths:
        if path.suffix.startswith(".r") and found.terms.crl != "off":
            _crl(path, found, hashes)
        elif path.suffix == ".signing_policy":
            _policy(path, found, hashes)
    return found


def _certificates(path: Path, found: Authorities, hashes: dict[str, set[Subject]]) -> None:
    try:
        for certificate in x509.load_pem_x509_certificates(path.read_bytes()):
            names = name_hashes(certificate)
            if path.stem not in names:
                found.problems.append(f"{path} is not named after what it holds: {' or '.join(names)}")
                continue
            found.certificates[fingerprint(certificate)] = certificate
            for name in names:
                hashes.setdefault(name, set()).add(subjects.of(certificate.subject))
    except (OSError, ValueError, InvalidError) as error:
        found.problems.append(f"{path} is no certificate (PEM): {error}")


def name_hashes(certificate: x509.Certificate) -> tuple[str, str]:
    """Return the hashes of a certificate's subject: OpenSSL's of today, and that of before 1.0."""
    today: int = crypto.X509.from_cryptography(certificate).subject_name_hash()
    old = hashlib.md5(certificate.subject.public_bytes(), usedforsecurity=False).digest()[:4]
    return f"{today:08x}", f"{int.from_bytes(old, 'little'):08x}"


def _crl(path: Path, found: Authorities, hashes: dict[str, set[Subject]]) -> None:
    try:
        crl = x509.load_pem_x509_crl(path.read_bytes())
        issuer = subjects.of(crl.issuer)
    except (OSError, ValueError, InvalidError) as error:
        found.problems.append(f"{path} is no CRL (PEM): {error}")
        return
    if issuer not in hashes.get(path.stem, ()):
        found.problems.append(f"{path} is the CRL of {issuer}, which is no authority under that name here")
        return
    crls = found.crls.setdefault(issuer, [])
    if crl not in crls:
        crls.append(crl)


def _policy(path: Path, found: Authorities, hashes: dict[str, set[Subject]]) -> None:
    try:
        policy = signing_policy.parse(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InvalidError) as error:
        found.problems.append(f"{path}: {error}; its authority may certify nobody until it is mended")
        policy = signing_policy.SigningPolicy(())
    for authority in hashes.get(path.stem, ()):
        found.policies[authority] = policy
