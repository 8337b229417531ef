"""Authorities, certificates, proxies and CRLs for tests, made on the spot; a directory of them as grids have it.

``Authority.issue`` gives a ``Credential``; ``Credential.proxy`` gives another below it. Whatever is to be wrong with
one is said in the call.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import crypto
from pyasn1.codec.der import encoder
from pyasn1.type import namedtype, univ

INHERIT_ALL = "1.3.6.1.5.5.7.21.1"
INDEPENDENT = "1.3.6.1.5.5.7.21.2"
LIMITED = "1.3.6.1.4.1.3536.1.1.1.9"
RFC = "1.3.6.1.5.5.7.1.14"
DRAFT = "1.3.6.1.4.1.3536.1.222"
SIGN = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
CERTIFY = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
_serials = itertools.count(1000)
Parts = Sequence[tuple[x509.ObjectIdentifier, str]]


def name(parts: Parts) -> x509.Name:
    """Return a name, outermost part first."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def grid(common_name: str) -> x509.Name:
    """Return the name that a person of the test's grid has."""
    return name([(NameOID.ORGANIZATION_NAME, "Grid"), (NameOID.COMMON_NAME, common_name)])


def now() -> datetime:
    """Return the time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass
class Credential:
    """A certificate, its key, and the certificates between it and the authority, nearest first."""

    certificate: x509.Certificate
    key: Any
    above: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> bytes:
        """The certificate and those above it."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in (self.certificate, *self.above))

    @property
    def key_pem(self) -> bytes:
        """The key, as OpenSSL's own form."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())  # type: ignore[no-any-return]

    def write(self, directory: Path, stem: str) -> tuple[Path, Path]:
        """Write certificate and key; return where."""
        certificate, key = directory / f"{stem}.pem", directory / f"{stem}.key"
        certificate.write_bytes(self.pem)
        _write_private(key, self.key_pem)
        return certificate, key

    def write_proxy(self, path: Path) -> Path:
        """Write one file in the order that Globus has: the certificate, its key, those above it."""
        above = b"".join(each.public_bytes(Encoding.PEM) for each in self.above)
        _write_private(path, self.certificate.public_bytes(Encoding.PEM) + self.key_pem + above)
        return path

    def proxy(
        self,
        *,
        language: str = INHERIT_ALL,
        path_length: int | None = None,
        common_name: str | None = "12345",
        extension: str | None = RFC,
        critical: bool = True,
        policy: bytes | None = None,
        **others: Any,
    ) -> Credential:
        """Make a proxy. ``extension`` None: one of before RFC 3820; ``common_name`` None: with its issuer's name."""
        serial = next(_serials)
        added = [] if common_name is None else [x509.RelativeDistinguishedName([_cn(common_name)])]
        subject = x509.Name([*self.certificate.subject.rdns, *added])
        extensions: list[tuple[x509.ExtensionType, bool]] = [(SIGN, True)]
        if extension is not None:
            value = x509.UnrecognizedExtension(
                x509.ObjectIdentifier(extension), proxy_cert_info(language, path_length, policy)
            )
            extensions.append((value, critical))
        extensions += others.pop("extensions", [])
        made = certify(subject, self.certificate.subject, self.key, serial=serial, extensions=extensions, **others)
        return Credential(made.certificate, made.key, (self.certificate, *self.above))


def _cn(value: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(NameOID.COMMON_NAME, value)


def proxy_cert_info(language: str, path_length: int | None, policy: bytes | None = None) -> bytes:
    """Return the DER of RFC 3820's ProxyCertInfo."""
    spec = univ.Sequence(
        componentType=namedtype.NamedTypes(
            namedtype.NamedType("language", univ.ObjectIdentifier()),
            namedtype.OptionalNamedType("policy", univ.OctetString()),
        )
    )
    spec["language"] = language
    if policy is not None:
        spec["policy"] = policy
    info = univ.Sequence(
        componentType=namedtype.NamedTypes(
            namedtype.OptionalNamedType("length", univ.Integer()), namedtype.NamedType("policy", spec.clone())
        )
    )
    if path_length is not None:
        info["length"] = path_length
    info["policy"] = spec
    return bytes(encoder.encode(info))


def certify(
    subject: x509.Name,
    issuer: x509.Name,
    issuer_key: Any | None,
    *,
    serial: int | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    begins: datetime | None = None,
    ends: datetime | None = None,
    digest: Any = None,
    key: Any = None,
) -> Credential:
    """Make a certificate; without an issuer's key it signs itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())  # voms-proxy-fake wants its issuer's
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial or next(_serials))
        .not_valid_before(begins or now() - timedelta(hours=1))
        .not_valid_after(ends or now() + timedelta(days=1))
    )
    for value, critical in [(own, False), *extensions]:
        builder = builder.add_extension(value, critical)
    return Credential(builder.sign(issuer_key or key, digest or hashes.SHA256()), key)


@dataclass
class Authority:
    """An authority; ``revoked`` are serial numbers for its CRL."""

    name: x509.Name
    key: Any
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()
    revoked: list[int] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        common_name: str = "Test CA",
        *,
        above: Authority | None = None,
        path_length: int | None = None,
        constraints: x509.NameConstraints | None = None,
        rsa_bits: int | None = None,
        **others: Any,
    ) -> Authority:
        """Make a root, or an authority below another."""
        called = grid(common_name)
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=True, path_length=path_length), True),
            (CERTIFY, True),
        ]
        if constraints is not None:
            extensions.append((constraints, True))
        key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
        issuer = above.name if above else called
        signer = above.key if above else None
        made = certify(called, issuer, signer, extensions=extensions, key=key, **others)
        chain = (above.certificate, *above.above) if above else ()
        return cls(called, key, made.certificate, chain)

    def issue(
        self,
        subject: x509.Name | str = "Alice",
        *,
        usage: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        key_usage: x509.KeyUsage = SIGN,
        alternative: Sequence[x509.GeneralName] = (),
        **others: Any,
    ) -> Credential:
        """Make a person's certificate, or with ``server`` use a host's."""
        called = grid(subject) if isinstance(subject, str) else subject
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage, True),
        ]
        if usage:
            extensions.append((x509.ExtendedKeyUsage(usage), False))
        if alternative:
            extensions.append((x509.SubjectAlternativeName(alternative), False))
        extensions += others.pop("extensions", [])
        made = certify(called, self.name, self.key, extensions=extensions, **others)
        below_root = (self.certificate, *self.above) if self.above else ()
        return Credential(made.certificate, made.key, below_root)

    def host(self, *addresses: str) -> Credential:
        """Make a host's certificate for numbers of the machine."""
        import ipaddress

        numbers = [x509.IPAddress(ipaddress.ip_address(each)) for each in addresses or ("127.0.0.1",)]
        return self.issue(
            "host/localhost",
            usage=(ExtendedKeyUsageOID.SERVER_AUTH,),
            alternative=[x509.DNSName("localhost"), *numbers],
        )

    def crl(self, *, ends: datetime | None = None, key: Any = None) -> bytes:
        """Return its CRL (PEM); ``key`` signs in its place."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now() - timedelta(days=2))
            .next_update(ends or now() + timedelta(days=1))
        )
        for serial in self.revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now()).build()
            )
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @property
    def certificate_pem(self) -> str:
        """Its own certificate, as text."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def hash(self) -> str:
        """What OpenSSL calls its files."""
        return f"{crypto.X509.from_cryptography(self.certificate).subject_name_hash():08x}"

    def install(self, directory: Path, *, crl: bytes | None = None, policy: str | None = None) -> Path:
        """Write its files into a directory of authorities, which is returned."""
        directory.mkdir(exist_ok=True)
        (directory / f"{self.hash}.0").write_bytes(self.certificate.public_bytes(Encoding.PEM))
        if crl is not None:
            (directory / f"{self.hash}.r0").write_bytes(crl)
        if policy is not None:
            (directory / f"{self.hash}.signing_policy").write_text(policy)
        return directory


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_bytes(data)
