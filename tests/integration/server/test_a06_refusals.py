"""A06, what is decided by the site's own files and rules: CRLs, signing policies, kinds of proxies, names, the mapfile.

Where TLS itself is content, the caller is answered with a fault that says why.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from rigs.authority import DRAFT, INDEPENDENT, Authority, Credential, name, now
from rigs.reactor import reactor_thread
from rigs.tls_door import Door, Opener, opened, root

__all__ = ["opened", "reactor_thread", "root"]

HOUR = timedelta(hours=1)


def revoked(root: Authority) -> Credential:
    made = root.issue("Alice")
    root.revoked.append(made.certificate.serial_number)
    return made


def test_a06_revoked_is_cut_off_and_so_is_its_proxy(opened: Opener, root: Authority, tmp_path: Path) -> None:
    alice, bob = revoked(root), root.issue("Bob")
    root.install(tmp_path / "certificates", crl=root.crl())
    door = opened()
    assert door.ask(alice).startswith("alert:")
    assert door.ask(alice.proxy()).startswith("alert:")
    assert door.refusals == ["it was revoked"] * 2
    assert door.ask(bob.proxy()) == "CN=Bob,O=Grid"


CRLS: dict[str, tuple[dict[str, Any], Callable[[Authority], bytes | None], str | None]] = {
    "required and missing": ({"crl": "required"}, lambda _: None, "no CRL here"),
    "missing, which is allowed": ({"crl": "present"}, lambda _: None, None),
    "expired": ({}, lambda root: root.crl(ends=now() - HOUR), "CRL has expired"),
    "expired, within grace": ({"crl_grace": 7200}, lambda root: root.crl(ends=now() - HOUR), None),
    "expired, beyond grace": ({"crl_grace": 1800}, lambda root: root.crl(ends=now() - HOUR), "CRL has expired"),
    "signed by another": ({}, lambda root: root.crl(key=Authority.make().key), "CRL is wrong"),
    "off": ({"crl": "off"}, lambda root: root.crl(ends=now() - HOUR), None),
}


@pytest.mark.parametrize("case", CRLS)
def test_a06_a_crl_counts_as_the_site_says(opened: Opener, root: Authority, tmp_path: Path, case: str) -> None:
    keys, make, reason = CRLS[case]
    root.install(tmp_path / "certificates", crl=make(root))
    door = opened(**keys)
    answer = door.ask(root.issue("Alice"))
    if reason is None:
        assert answer == "CN=Alice,O=Grid"
    else:
        assert answer.startswith("alert:")
        assert any(reason in each for each in door.refusals)


def test_a06_a_revoked_one_stays_out_while_its_crl_has_expired_within_grace(
    opened: Opener, root: Authority, tmp_path: Path
) -> None:
    alice = revoked(root)
    root.install(tmp_path / "certificates", crl=root.crl(ends=now() - HOUR))
    assert opened(crl_grace=7200).ask(alice).startswith("alert:")


KINDS: dict[str, tuple[Callable[[Credential], Credential], str]] = {
    "independent": (lambda alice: alice.proxy(language=INDEPENDENT), "independent"),
    "restricted": (lambda alice: alice.proxy(language="1.2.3.4", policy=b"read only"), "not known here"),
    "restricted by a policy": (lambda alice: alice.proxy(policy=b"read only"), "not known here"),
    "below an independent one": (lambda alice: alice.proxy(language=INDEPENDENT).proxy(), "independent"),
}


@pytest.mark.parametrize("case", KINDS)
def test_a06_a_proxy_of_a_kind_not_taken_is_answered_with_the_reason(
    opened: Opener, root: Authority, case: str
) -> None:
    make, reason = KINDS[case]
    door = opened(client_certificates="optional")
    answer = door.ask(make(root.issue("Alice")))
    assert answer.startswith("403: ")
    assert reason in answer
    assert "DeniedFault" in answer
    assert door.shelf.callers == []


def test_a06_a_draft_proxy_whose_extension_is_not_critical_is_no_certificate_of_a_user(
    opened: Opener, root: Authority
) -> None:
    door = opened(client_certificates="optional")
    assert door.ask(root.issue("Alice").proxy(extension=DRAFT, critical=False)).startswith("alert:")
    assert "draft" in door.refusals[0] or "legacy" in door.refusals[0]


def test_a06_who_shows_no_certificate_is_nobody(opened: Opener, root: Authority) -> None:
    optional = opened(client_certificates="optional")
    assert optional.ask(None).startswith("401: ")
    assert optional.shelf.callers == []
    assert opened().ask(None).startswith("alert:")


def odd(*common_names: str) -> x509.Name:
    return name([(NameOID.ORGANIZATION_NAME, "Grid"), *((NameOID.COMMON_NAME, each) for each in common_names)])


def test_a06_a_field_with_another_name_in_it_is_only_a_field(opened: Opener, root: Authority, tmp_path: Path) -> None:
    mapfile = tmp_path / "mapfile"
    mapfile.write_text('"/O=Grid/CN=Alice" alice\n"/O=Grid/CN=Alice/CN=admin" admin\n')
    door = opened(mapfile=mapfile)
    two, one = root.issue(odd("Alice", "admin")), root.issue(odd("Alice/CN=admin"))
    comma = root.issue(odd("admin,CN=Alice"))
    answers = [door.ask(each) for each in (two, one, comma, one.proxy())]
    assert answers[0] == "CN=admin,CN=Alice,O=Grid"
    assert answers[1] == answers[3] == "CN=Alice/CN\\=admin,O=Grid"
    assert answers[2] == "CN=admin\\,CN\\=Alice,O=Grid"
    assert [caller.groups for caller in door.shelf.callers] == [{"admin"}, set(), set(), set()]


def test_a06_a_name_that_only_looks_like_a_proxys_is_its_own(opened: Opener, root: Authority) -> None:
    door = opened()
    assert door.ask(root.issue(odd("Alice", "12345"))) == "CN=12345,CN=Alice,O=Grid"


POLICY = """access_id_CA X509 '/O=Grid/CN=Test CA'
pos_rights globus CA:sign
cond_subjects globus '"/O=Grid/CN=Alice*" "/O=Grid/OU=Staff/*"'
"""


def test_a06_a_signing_policy_bounds_its_authority(opened: Opener, root: Authority, tmp_path: Path) -> None:
    root.install(tmp_path / "certificates", policy=POLICY)
    door = opened()
    assert door.ask(root.issue("Alice Liddell").proxy()) == "CN=Alice Liddell,O=Grid"
    answer = door.ask(root.issue("Bob"))
    assert answer.startswith("403: ")
    assert "signing policy" in answer


def test_a06_an_authority_with_a_faulty_signing_policy_lets_nobody_in(
    opened: Opener, root: Authority, tmp_path: Path
) -> None:
    root.install(tmp_path / "certificates", policy="access_id_CA X509\n")
    assert "signing policy" in opened().ask(root.issue("Alice"))


def test_a06_with_mapfile_only_nobody_else_comes_in(opened: Opener, root: Authority, tmp_path: Path) -> None:
    mapfile = tmp_path / "mapfile"
    mapfile.write_text('"/O=Grid/CN=Alice" alice,physics\n')
    door = opened(mapfile=mapfile, mapfile_only=True)
    assert door.ask(root.issue("Alice").proxy()) == "CN=Alice,O=Grid"
    assert door.shelf.callers[-1].groups == {"alice", "physics"}
    assert "does not name CN=Bob,O=Grid" in door.ask(root.issue("Bob"))


def test_a06_a_kept_connection_ends_with_its_certificate(opened: Opener, root: Authority) -> None:
    door = opened()
    with closing(door.connect(root.issue("Alice").proxy(ends=now() + HOUR))) as connection:
        assert door.send(connection) == "CN=Alice,O=Grid"
        door.later(HOUR)
        assert "has expired since the connection began" in door.send(connection)


def test_a06_a_kept_connection_ends_when_newer_files_say_so(opened: Opener, root: Authority, tmp_path: Path) -> None:
    door, alice = opened(), root.issue("Alice")
    with closing(door.connect(alice)) as connection:
        assert door.send(connection) == "CN=Alice,O=Grid"
        root.revoked.append(alice.certificate.serial_number)
        root.install(tmp_path / "certificates", crl=root.crl())
        assert door.secured.kept.look()
        assert "was revoked" in door.send(connection)


def test_a_kept_connection_has_one_identity_and_none_is_resumed(opened: Opener, root: Authority) -> None:
    door = opened()
    with closing(door.connect(root.issue("Alice"))) as first:
        assert [door.send(first), door.send(first)] == ["CN=Alice,O=Grid"] * 2
        assert door.shelf.callers[0] is door.shelf.callers[1]
        session = first.sock.session
    context = first._context  # type: ignore[attr-defined]
    with closing(socket_to(door, context, session)) as second:
        assert not second.session_reused


def socket_to(door: Door, context: ssl.SSLContext, session: Any) -> ssl.SSLSocket:
    import socket

    plain = socket.create_connection(("127.0.0.1", door.port), timeout=120)
    return context.wrap_socket(plain, server_hostname="127.0.0.1", session=session)


def test_a06_a_connection_does_not_outlive_the_crl_that_it_began_with(
    opened: Opener, root: Authority, tmp_path: Path
) -> None:
    root.install(tmp_path / "certificates", crl=root.crl(ends=now() + HOUR))
    door = opened()
    with closing(door.connect(root.issue("Alice", ends=now() + 9 * HOUR))) as connection:
        assert door.send(connection) == "CN=Alice,O=Grid"
        door.later(2 * HOUR)
        refused = door.send(connection)
        assert refused.startswith("403:")
        assert "the CRL of" in refused
        root.install(tmp_path / "certificates", crl=root.crl(ends=now() + 9 * HOUR))
        assert door.secured.kept.look()
        assert door.send(connection) == "CN=Alice,O=Grid"
