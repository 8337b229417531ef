"""The rules of RFC 3820 on a chain that is taken as verified: each is held here too, whatever TLS has looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from flyinglow.access import proxies
from flyinglow.nodectl.errors import DeniedError
from rigs.authority import DRAFT, INDEPENDENT, LIMITED, RFC, SIGN, Authority, Credential, certify, grid, name

NO_SIGN = x509.KeyUsage(False, False, True, False, False, False, False, False, False)


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


@pytest.fixture(scope="module")
def alice(root: Authority) -> Credential:
    return root.issue("Alice")


def holder(credential: Credential) -> proxies.Holder:
    return proxies.holder([credential.certificate, *credential.above])


def renamed(alice: Credential, subject: x509.Name, issuer: x509.Name | None = None) -> Credential:
    """Make a proxy of any name."""
    info = x509.UnrecognizedExtension(x509.ObjectIdentifier(RFC), b"0\x0c0\n\x06\x08+\x06\x01\x05\x05\x07\x15\x01")
    made = certify(subject, issuer or alice.certificate.subject, alice.key, extensions=[(SIGN, True), (info, True)])
    return Credential(made.certificate, made.key, (alice.certificate,))


def below(alice: Credential, *values: str) -> x509.Name:
    added = [x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in values]
    return x509.Name([*alice.certificate.subject.rdns, *added])


def test_one_cn_goes_for_each_certificate_that_is_a_proxy(alice: Credential) -> None:
    found = holder(alice.proxy().proxy().proxy(language=LIMITED))
    assert (str(found.subject), found.proxies, found.limited) == ("CN=Alice,O=Grid", 3, True)
    assert found.certificate == alice.certificate
    assert holder(renamed(alice, below(alice, "1"))).proxies == 1


WRONG: dict[str, tuple[Callable[[Authority, Credential], Credential], str]] = {
    "somebody else's name": (lambda _, alice: renamed(alice, grid("Bob")), "does not add one CN"),
    "two more": (lambda _, alice: renamed(alice, below(alice, "1", "2")), "does not add one CN"),
    "its issuer's own": (lambda _, alice: renamed(alice, below(alice)), "does not add one CN"),
    "not a CN": (
        lambda _, alice: renamed(
            alice, name([(each.oid, str(each.value)) for each in alice.certificate.subject] + [(NameOID.TITLE, "x")])
        ),
        "does not add one CN",
    ),
    "another issuer": (lambda _, alice: renamed(alice, below(alice, "1"), grid("Bob")), "does not add one CN"),
    "path length": (lambda _, alice: alice.proxy(path_length=1).proxy().proxy(), "allows 1 more"),
    "independent": (lambda _, alice: alice.proxy(language=INDEPENDENT), "independent"),
    "other language": (lambda _, alice: alice.proxy(language="1.2.3"), "language not known"),
    "not critical": (lambda _, alice: alice.proxy(critical=False), "not marked critical"),
    "alternative name": (
        lambda _, alice: alice.proxy(extensions=[(x509.SubjectAlternativeName([x509.DNSName("a.example")]), False)]),
        "alternative name",
    ),
    "an authority": (
        lambda _, alice: alice.proxy(extensions=[(x509.BasicConstraints(ca=True, path_length=None), True)]),
        "authority's",
    ),
    "of one that may not sign": (lambda root, _: root.issue("Bob", key_usage=NO_SIGN).proxy(), "may not sign"),
    "legacy": (lambda _, alice: alice.proxy(extension=None, common_name="limited proxy"), "legacy"),
    "draft": (lambda _, alice: alice.proxy(extension=DRAFT), "draft"),
    "without a name": (lambda root, _: root.issue(x509.Name([])), "empty subject"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_proxy_of_rfc_3820_is_refused(root: Authority, alice: Credential, case: str) -> None:
    make, said = WRONG[case]
    with pytest.raises(DeniedError, match=said):
        holder(make(root, alice))


def test_a_proxy_without_its_issuer_or_below_too_many_is_refused(alice: Credential) -> None:
    with pytest.raises(DeniedError, match="without its issuer"):
        proxies.holder([alice.proxy().certificate])
    with pytest.raises(DeniedError, match="no certificate"):
        proxies.holder([])
    deep = alice
    for _ in range(17):
        deep = deep.proxy()
    with pytest.raises(DeniedError, match="too many"):
        holder(deep)


INFO = b"0\x0c0\n\x06\x08+\x06\x01\x05\x05\x07\x15\x01"  # proxyCertInfo that inherits all
LONG = b"0\x0f\x02\x88\xfb\x01\x010\n\x06\x08+\x06\x01\x05\x05\x07\x15\x01"  # with a length that no machine has


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"\x30\x03\x02\x01\x01", b"what", INFO + b"\0", LONG])
def test_a_proxy_that_cannot_be_understood_is_refused(alice: Credential, data: bytes) -> None:
    info = x509.UnrecognizedExtension(x509.ObjectIdentifier(RFC), data)
    made = certify(below(alice, "1"), alice.certificate.subject, alice.key, extensions=[(info, True)])
    with pytest.raises(DeniedError, match="cannot be understood"):
        proxies.holder([made.certificate, alice.certificate])


def test_a_person_may_be_called_as_proxies_are(root: Authority) -> None:
    assert str(holder(root.issue(grid("proxy"))).subject) == "CN=proxy,O=Grid"
