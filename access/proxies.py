"""Who stands behind a chain of certificates: the rules of RFC 3820 (proxies) on a chain that TLS has verified.

The identity is the subject of the end entity, the certificate that is no proxy. It is found by going up from the leaf,
one certificate at a time as long as each carries proxyCertInfo, and each must add exactly one CN to its issuer's name;
nothing is ever taken off a name because of how it looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from pyasn1.codec.der import decoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import namedtype, univ

from flyinglow.access import subjects
from flyinglow.nodectl.errors import DeniedError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.access.subjects import Subject

PROXY_CERT_INFO: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
DRAFT_PROXY_CERT_INFO: Final = x509.ObjectIdentifier("1.3.6.1.4.1.3536.1.222")
"""What Globus Toolkit 3 wrote before there was an RFC."""

INHERIT_ALL: Final = "1.3.6.1.5.5.7.21.1"
INDEPENDENT: Final = "1.3.6.1.5.5.7.21.2"
LIMITED: Final = "1.3.6.1.4.1.3536.1.1.1.9"
_LEGACY: Final = frozenset({"proxy", "limited proxy"})
_DEEPEST: Final = 16
"""Certificates in a chain of proxies; no honest delegation is so long."""


class _Policy(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - pyasn1's name
        namedtype.NamedType("policyLanguage", univ.ObjectIdentifier()),
        namedtype.OptionalNamedType("policy", univ.OctetString()),
    )


class _ProxyCertInfo(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - pyasn1's name
        namedtype.OptionalNamedType("pCPathLenConstraint", univ.Integer()),
        namedtype.NamedType("proxyPolicy", _Policy()),
    )


@dataclass(frozen=True, slots=True)
class Info:
    """What a proxy says of itself: how many may follow it (None: any number), and what it passes on."""

    path_length: int | None
    language: str
    policy: bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """Who stands behind a chain: the end entity's certificate and subject, and through how many proxies."""

    subject: Subject
    certificate: x509.Certificate
    proxies: int
    limited: bool


def holder(chain: Sequence[x509.Certificate]) -> Holder:
    """Return who stands behind a verified chain, leaf first.

    Raises DeniedError, with the reason, for a proxy that RFC 3820 or this service does not allow.
    """
    place, limited = 0, False
    while place < len(chain) and (found := info(chain[place])) is not None:
        if place + 1 >= len(chain) or place >= _DEEPEST:
            raise DeniedError("the proxy certificate comes without its issuer's, or through too many others")
        _check(chain[place], chain[place + 1], found, following=place)
        limited = limited or found.language == LIMITED
        place += 1
    if place >= len(chain):
        raise DeniedError("there is no certificate")
    end = chain[place]
    subject = subjects.of(end.subject)
    if not subject.parts:
        raise DeniedError("the certificate has an empty subject")
    if (why := legacy(end)) is not None:
        raise DeniedError(why)
    return Holder(subject, end, place, limited)


def info(certificate: x509.Certificate) -> Info | None:
    """Return what a proxy certificate says of itself; None for a certificate that is no proxy.

    Raises DeniedError when it cannot be understood.
    """
    try:
        extension = certificate.extensions.get_extension_for_oid(PROXY_CERT_INFO)
    except x509.ExtensionNotFound:
        return None
    except ValueError:
        raise DeniedError("the certificate's extensions cannot be understood") from None
    if not extension.critical:
        raise DeniedError("the proxy certificate's proxyCertInfo is not marked critical, as RFC 3820 wants it")
    return _read(extension.value.public_bytes())


def _read(data: bytes) -> Info:
    try:
        found, rest = decoder.decode(data, asn1Spec=_ProxyCertInfo())
    except (PyAsn1Error, OverflowError, RecursionError, ValueError):
        found, rest = None, b""
    if found is None or rest:
        raise DeniedError("the proxy certificate's proxyCertInfo cannot be understood")
    length, policy = found["pCPathLenConstraint"], found["proxyPolicy"]
    carried = policy["policy"]
    return Info(
        path_length=int(length) if length.hasValue() else None,
        language=str(policy["policyLanguage"]),
        policy=bytes(carried) if carried.hasValue() else b"",
    )


def _check(proxy: x509.Certificate, issuer: x509.Certificate, found: Info, *, following: int) -> None:
    """Hold one proxy against RFC 3820, section 3. ``following`` proxies come after it, towards the leaf."""
    name, above = subjects.of(proxy.subject), subjects.of(issuer.subject)
    if subjects.of(proxy.issuer) != above or name.parent != above or name.common_name is None:
        raise DeniedError(f"the proxy certificate {name} does not add one CN to the name of its issuer, {above}")
    if found.path_length is not None and following > found.path_length:
        raise DeniedError(
            f"the proxy certificate {name} allows {found.path_length} more proxies after it; there are {following}"
        )
    if found.language == INDEPENDENT:
        raise DeniedError("the proxy certificate is independent: it takes no rights over from its issuer")
    if found.language not in {INHERIT_ALL, LIMITED} or found.policy:
        raise DeniedError(f"the proxy certificate restricts itself in a language not known here: {found.language}")
    if _says(proxy, x509.SubjectAlternativeName) or _says(proxy, x509.IssuerAlternativeName):
        raise DeniedError("the proxy certificate has an alternative name, which RFC 3820 forbids")
    if is_authority(proxy) or is_authority(issuer):
        raise DeniedError("the proxy certificate is an authority's, or was issued by one")
    if not _signs(issuer):
        raise DeniedError(f"the certificate {above} may not sign (its key usage), so it cannot have made a proxy")


def legacy(certificate: x509.Certificate) -> str | None:
    """Say why a certificate that is no proxy of RFC 3820 is refused as one of those before it; None: it is none."""
    try:
        name, issuer = subjects.of(certificate.subject), subjects.of(certificate.issuer)
        draft = any(each.oid == DRAFT_PROXY_CERT_INFO for each in certificate.extensions)
    except (ValueError, InvalidError):
        return None  # it is refused for being what cannot be understood
    if draft:
        return "the proxy certificate follows a draft (Globus Toolkit 3), not RFC 3820; make one with -rfc"
    if name.common_name in _LEGACY and name.parent == issuer:
        return "the proxy certificate is of the legacy kind (Globus Toolkit 2), not RFC 3820; make one with -rfc"
    return None


def _says(certificate: x509.Certificate, kind: type[x509.ExtensionType]) -> bool:
    return any(isinstance(each.value, kind) for each in certificate.extensions)


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether a certificate is an authority's."""
    return any(isinstance(each.value, x509.BasicConstraints) and each.value.ca for each in certificate.extensions)


def _signs(certificate: x509.Certificate) -> bool:
    usages = [each.value for each in certificate.extensions if isinstance(each.value, x509.KeyUsage)]
    return all(each.digital_signature for each in usages)
