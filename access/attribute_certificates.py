"""Attribute certificates (RFC 5755) as VOMS servers put them into proxies: what they say, and whether it is signed.

Nothing here decides whom to believe: that is ``access/voms.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pyasn1.codec.der import decoder
from pyasn1.error import PyAsn1Error
from pyasn1_modules import rfc5755

from flyinglow.access import der
from flyinglow.access.subjects import Subject
from flyinglow.nodectl.errors import DeniedError, InvalidError

if TYPE_CHECKING:
    from datetime import datetime

EXTENSION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.8005.100.100.5")
"""Where a proxy carries them."""

_FQANS: Final = "1.3.6.1.4.1.8005.100.100.4"
_CERTIFICATES: Final = "1.3.6.1.4.1.8005.100.100.10"
_DIGESTS: Final[dict[str, tuple[type, hashes.HashAlgorithm]]] = {
    "1.2.840.113549.1.1.11": (rsa.RSAPublicKey, hashes.SHA256()),
    "1.2.840.113549.1.1.12": (rsa.RSAPublicKey, hashes.SHA384()),
    "1.2.840.113549.1.1.13": (rsa.RSAPublicKey, hashes.SHA512()),
    "1.2.840.10045.4.3.2": (ec.EllipticCurvePublicKey, hashes.SHA256()),
    "1.2.840.10045.4.3.3": (ec.EllipticCurvePublicKey, hashes.SHA384()),
    "1.2.840.10045.4.3.4": (ec.EllipticCurvePublicKey, hashes.SHA512()),
}
_LARGEST: Final = 65536
_UNREADABLE: Final = (
    PyAsn1Error,
    InvalidError,
    ValueError,
    LookupError,
    OverflowError,
    RecursionError,
    x509.InvalidVersion,
)
"""What hostile bytes have been seen to raise, or might: all of it means that they are not what they should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeCertificate:
    """What one says. ``authority`` is the VOMS server's URI (``VO://HOST:PORT``), ``attributes`` what it grants."""

    holder_issuer: Subject
    holder_serial: int
    issuer: Subject
    authority: str
    attributes: tuple[str, ...]
    begins: datetime
    ends: datetime
    critical: tuple[str, ...]
    certificates: tuple[x509.Certificate, ...]
    signed: bytes
    algorithm: str
    signature: bytes

    def check_signature(self, signer: x509.Certificate) -> None:
        """Raise DeniedError unless ``signer`` signed it, with a digest that still counts."""
        key = signer.public_key()
        kind, digest = _DIGESTS.get(self.algorithm, (type(None), hashes.SHA256()))
        if not isinstance(key, kind):
            raise DeniedError(f"the attribute certificate is signed in a way that does not count ({self.algorithm})")
        try:
            if isinstance(key, rsa.RSAPublicKey):
                key.verify(self.signature, self.signed, padding.PKCS1v15(), digest)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(self.signature, self.signed, ec.ECDSA(digest))
        except InvalidSignature:
            raise DeniedError("the signature of the attribute certificate is wrong") from None


def carried(certificate: x509.Certificate) -> list[AttributeCertificate]:
    """Return those that a certificate carries. Raises DeniedError for what cannot be understood."""
    try:
        value = certificate.extensions.get_extension_for_oid(EXTENSION).value.public_bytes()
    except x509.ExtensionNotFound:
        return []
    try:
        if len(value) > _LARGEST:
            raise InvalidError("they are too large")
        return [_read(each) for sequence in der.members(value) for each in der.members(sequence)]
    except _UNREADABLE as error:
        raise DeniedError(f"the attribute certificates in the proxy cannot be understood: {error}"[:200]) from None


def _read(data: bytes) -> AttributeCertificate:
    found, rest = decoder.decode(data, asn1Spec=rfc5755.AttributeCertificate())
    info = found["acinfo"]
    if rest or str(info["version"]) not in {"1", "v2"}:
        raise InvalidError("one is of another version")
    base, period = info["holder"]["baseCertificateID"], info["attrCertValidityPeriod"]
    authority, attributes = _attributes(info["attributes"])
    extensions = list(info["extensions"]) if info["extensions"].isValue else []
    return AttributeCertificate(
        holder_issuer=_directory_name(base["issuer"]),
        holder_serial=int(base["serial"]),
        issuer=_directory_name(info["issuer"]["v2Form"]["issuerName"]),
        authority=authority,
        attributes=attributes,
        begins=period["notBeforeTime"].asDateTime,
        ends=period["notAfterTime"].asDateTime,
        critical=tuple(str(each["extnID"]) for each in extensions if each["critical"]),
        certificates=_certificates(extensions),
        signed=next(der.members(data)),
        algorithm=str(found["signatureAlgorithm"]["algorithm"]),
        signature=found["signatureValue"].asOctets(),
    )


def _attributes(attributes: Any) -> tuple[str, tuple[str, ...]]:
    authorities, granted = [], []
    for attribute in attributes:
        if str(attribute["type"]) != _FQANS:
            continue
        for value in attribute["values"]:
            syntax, _ = decoder.decode(bytes(value), asn1Spec=rfc5755.IetfAttrSyntax())
            authorities += [str(each["uniformResourceIdentifier"]) for each in syntax["policyAuthority"]]
            granted += [bytes(each["octets"]).decode("ascii") for each in syntax["values"]]
    if len(set(authorities)) != 1:
        raise InvalidError("one names no authority, or several")
    return authorities[0], tuple(granted)


def _directory_name(names: Any) -> Subject:
    """Return the only name of a GeneralNames, which must be a directory name."""
    if len(names) != 1:
        raise InvalidError("one has several names where one is to be")
    return Subject(
        tuple(
            frozenset((str(each["type"]), str(decoder.decode(bytes(each["value"]))[0])) for each in part)
            for part in names[0]["directoryName"]["rdnSequence"]
        )
    )


def _certificates(extensions: Any) -> tuple[x509.Certificate, ...]:
    values = [bytes(each["extnValue"]) for each in extensions if str(each["extnID"]) == _CERTIFICATES]
    return tuple(
        x509.load_der_x509_certificate(each)
        for value in values
        for stack in der.members(value)
        for each in der.members(stack)
    )
