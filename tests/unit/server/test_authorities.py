"""The directory of authorities: what of it counts, and what does not."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from flyinglow.access import subjects
from flyinglow.nodectl.errors import BrokenError, DeniedError
from flyinglow.server.callers import authorities
from flyinglow.server.callers.authorities import Terms
from rigs.authority import Authority, now


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


def old_hash(root: Authority) -> str:
    digest = hashlib.md5(root.certificate.subject.public_bytes(), usedforsecurity=False).digest()
    return digest[:4][::-1].hex()


def test_both_hashes_of_openssl_name_an_authority(root: Authority, tmp_path: Path) -> None:
    directory = root.install(tmp_path / "new", crl=root.crl())
    found = authorities.read(directory)
    assert (len(found.certificates), len(found.crls), found.problems) == (1, 1, [])
    (directory / f"{root.hash}.0").rename(directory / f"{old_hash(root)}.0")
    (directory / f"{root.hash}.r0").rename(directory / f"{old_hash(root)}.r0")
    again = authorities.read(directory)
    assert (again.certificates, len(again.crls), again.problems) == (found.certificates, 1, [])


def test_what_does_not_count_is_told(root: Authority, tmp_path: Path) -> None:
    directory = root.install(tmp_path / "c", crl=root.crl(), policy="what")
    (directory / "00000000.0").write_bytes((directory / f"{root.hash}.0").read_bytes())
    (directory / f"{root.hash}.1").write_text("no PEM")
    (directory / f"{root.hash}.r1").write_bytes(Authority.make("Other CA").crl())
    (directory / "README").write_text("not looked at")
    found = authorities.read(directory)
    said = " ".join(found.problems)
    assert len(found.problems) == 4
    assert all(f"{root.hash}.{kind}" in said for kind in ("1", "r1", "signing_policy"))
    assert "00000000.0 is not named after what it holds" in said
    assert len(found.certificates) == 1


@pytest.mark.parametrize("empty", [True, False])
def test_a_directory_without_authorities_is_refused(tmp_path: Path, empty: bool) -> None:
    directory = tmp_path / "c"
    if empty:
        directory.mkdir()
    with pytest.raises(BrokenError, match="ca_directory"):
        authorities.read(directory)


def test_a_certificate_that_came_another_way_is_verified(root: Authority, tmp_path: Path) -> None:
    found = authorities.read(root.install(tmp_path / "c"))
    middle = Authority.make("Middle CA", above=root)
    alice = middle.issue("Alice")
    chain = found.verify(alice.certificate, [middle.certificate])
    assert [str(subjects.of(each.subject)) for each in chain] == [
        "CN=Alice,O=Grid",
        "CN=Middle CA,O=Grid",
        "CN=Test CA,O=Grid",
    ]
    with pytest.raises(DeniedError, match="CN=Alice,O=Grid"):
        found.verify(alice.certificate, [])
    root.revoked.append(middle.certificate.serial_number)
    later = authorities.read(root.install(tmp_path / "c", crl=root.crl()))
    with pytest.raises(DeniedError, match="CN=Middle CA,O=Grid was revoked"):
        later.verify(alice.certificate, [middle.certificate])


def test_what_tls_would_refuse_is_refused_there_too(root: Authority, tmp_path: Path) -> None:
    directory = tmp_path / "c"
    alice = root.issue("Alice").certificate
    root.install(directory)
    with pytest.raises(DeniedError, match="has no CRL here"):
        authorities.read(directory, Terms("required")).verify(alice, [])
    root.install(directory, crl=root.crl(ends=now() - timedelta(hours=1)))
    with pytest.raises(DeniedError, match="CRL of CN=Test CA,O=Grid has expired"):
        authorities.read(directory).verify(alice, [])
    for terms in (Terms("off"), Terms("present", timedelta(hours=2))):
        assert authorities.read(directory, terms).verify(alice, [])[0] == alice
    small = root.issue("Alice", key=rsa.generate_private_key(65537, 1024)).certificate
    with pytest.raises(DeniedError, match="too small"):
        authorities.read(directory, Terms("off")).verify(small, [])


def test_a_proxy_may_come_another_way_and_a_user_may_not_sign_others(root: Authority, tmp_path: Path) -> None:
    found = authorities.read(root.install(tmp_path / "c"))
    alice = root.issue("Alice")
    proxy = alice.proxy()
    assert found.verify(proxy.certificate, proxy.above)[1] == alice.certificate
    bob = Authority(alice.certificate.subject, alice.key, alice.certificate).issue("Bob")
    with pytest.raises(DeniedError):
        found.verify(bob.certificate, [alice.certificate])
