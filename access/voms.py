"""What VOMS servers say of a caller: attributes (``/vo/group/Role=name``) in its proxy, believed if their server is.

Whom to believe stands in LSC files, one a server (``VO/HOST.lsc``): the server's subject, then that of each authority
above it. A proxy may carry attributes of organisations that this site does not know; those count for nothing. Those of
an organisation that it knows must be right in every respect, or the caller is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flyinglow.access import attribute_certificates, subjects
from flyinglow.access.mapfile import plain_attribute
from flyinglow.nodectl.errors import DeniedError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from cryptography import x509

    from flyinglow.access.attribute_certificates import AttributeCertificate
    from flyinglow.access.subjects import Subject

    Chain = Callable[[x509.Certificate, Sequence[x509.Certificate]], Sequence[x509.Certificate]]
    """Verifies a certificate with the help of others and returns its chain, leaf first; raises DeniedError."""

_NEXT = "NEXT CHAIN"
_SHORTEST = 2


@dataclass(frozen=True, slots=True)
class Servers:
    """The VOMS servers that a site believes: chains of subjects, server first, by organisation and host."""

    chains: dict[tuple[str, str], tuple[tuple[Subject, ...], ...]] = field(default_factory=dict)

    def knows(self, organisation: str) -> bool:
        """Say whether any server speaks for an organisation."""
        return any(each == organisation for each, _ in self.chains)


def parse_lsc(text: str) -> tuple[tuple[Subject, ...], ...]:
    """Read an LSC file. Raises InvalidError."""
    chains: list[list[Subject]] = [[]]
    for line in text.splitlines():
        bare = line.strip()
        if _NEXT in bare:
            chains.append([])
        elif bare and not bare.startswith("#"):
            chains[-1].append(subjects.of_slashes(bare))
    if any(len(chain) < _SHORTEST for chain in chains):
        raise InvalidError("a server's subject and that of its authority are needed")
    return tuple(map(tuple, chains))


def attributes(
    chain: Sequence[x509.Certificate], holder: x509.Certificate, servers: Servers, verify: Chain, now: datetime
) -> frozenset[str]:
    """Return the attributes that the holder of a verified chain has, from the proxy nearest the leaf that carries any.

    Raises DeniedError for attributes of a known organisation that are not right.
    """
    for certificate in chain[: chain.index(holder) + 1]:
        carried = attribute_certificates.carried(certificate)
        if carried:
            return frozenset(each for one in carried for each in _granted(one, holder, servers, verify, now))
    return frozenset()


def _granted(
    one: AttributeCertificate, holder: x509.Certificate, servers: Servers, verify: Chain, now: datetime
) -> set[str]:
    parts = urlsplit(one.authority)
    # a scheme is case-folded by urlsplit, a name of an organisation is not
    organisation, host = one.authority.partition("://")[0], parts.hostname or ""
    if not servers.knows(organisation):
        return set()
    _check(one, holder, now)
    _check_signer(one, servers.chains.get((organisation, host), ()), verify)
    for attribute in one.attributes:
        if not f"{attribute}/".startswith(f"/{organisation}/"):
            raise DeniedError(f"a server of {organisation} grants {attribute[:80]!r}, which is not its to grant")
    return {plain_attribute(attribute) for attribute in one.attributes}


def _check(one: AttributeCertificate, holder: x509.Certificate, now: datetime) -> None:
    if (one.holder_issuer, one.holder_serial) != (subjects.of(holder.issuer), holder.serial_number):
        raise DeniedError("the attribute certificate in the proxy is another person's")
    if not one.begins <= now < one.ends:
        raise DeniedError(f"the attribute certificate in the proxy is in force from {one.begins} to {one.ends} only")
    if one.critical:
        raise DeniedError("the attribute certificate in the proxy is meant for certain services only, or restricted")


def _check_signer(one: AttributeCertificate, known: Sequence[tuple[Subject, ...]], verify: Chain) -> None:
    if not one.certificates:
        raise DeniedError("the attribute certificate does not bring its server's certificate along")
    signer, *others = one.certificates
    names = tuple(subjects.of(each.subject) for each in verify(signer, others))
    if one.issuer != names[0] or not any(names[: len(each)] == each for each in known):
        raise DeniedError(f"the attribute certificate comes from {names[0]}, whom this site does not believe about it")
    one.check_signature(signer)
