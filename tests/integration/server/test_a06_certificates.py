"""A06: certificates and proxies that must let nobody in; each is refused with its reason, and nobody falls back."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rigs.authority import DRAFT, LIMITED, Authority, Credential, name, now
from rigs.reactor import reactor_thread
from rigs.tls_door import Opener, opened, root

__all__ = ["opened", "reactor_thread", "root"]

ALICE = "CN=Alice,O=Grid"
HOUR = timedelta(hours=1)


def test_a_certificate_and_a_proxy_are_the_same_caller(opened: Opener, root: Authority) -> None:
    door, alice = opened(), root.issue("Alice")
    assert door.ask(alice) == ALICE
    assert door.ask(alice.proxy()) == ALICE
    assert door.ask(alice.proxy(path_length=1).proxy()) == ALICE
    assert door.ask(alice.proxy(common_name="proxy")) == ALICE  # an RFC proxy may be called so
    assert [caller.limited for caller in door.shelf.callers] == [False] * 4
    assert {caller.via for caller in door.shelf.callers} == {"x509"}
    assert all(caller.peer.startswith("127.0.0.1:") for caller in door.shelf.callers)


def test_a06_limited_proxy_is_known_as_limited_however_far_up(opened: Opener, root: Authority) -> None:
    door, limited = opened(), root.issue("Alice").proxy(language=LIMITED)
    assert [door.ask(limited), door.ask(limited.proxy())] == [ALICE, ALICE]
    assert [caller.limited for caller in door.shelf.callers] == [True, True]


def _sha1(root: Authority) -> Credential:
    """Have OpenSSL sign, for nothing newer signs so any more."""
    made = root.issue("Alice")
    with tempfile.TemporaryDirectory() as where:
        here = Path(where)
        Credential(root.certificate, root.key).write(here, "ca")
        made.write(here, "alice")
        request = ["openssl", "req", "-new", "-key", "alice.key", "-subj", "/O=Grid/CN=Alice"]
        asked = subprocess.run(request, cwd=here, capture_output=True, check=True, timeout=120).stdout
        sign = ["openssl", "x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-sha1", "-set_serial", "7"]
        done = subprocess.run(sign, cwd=here, input=asked, capture_output=True, check=True, timeout=120)
    return Credential(x509.load_pem_x509_certificate(done.stdout), made.key)


def _constrained(root: Authority) -> Credential:
    tree = x509.DirectoryName(name([(NameOID.ORGANIZATION_NAME, "Elsewhere")]))
    below = Authority.make("Small CA", above=root, constraints=x509.NameConstraints([tree], None))
    return below.issue("Alice")


def _too_deep(root: Authority) -> Credential:
    first = Authority.make("First", above=root, path_length=0)
    return Authority.make("Second", above=first).issue("Alice")


def _bob_by_alice(root: Authority) -> Credential:
    alice = root.issue("Alice")
    made = Authority(alice.certificate.subject, alice.key, alice.certificate).issue("Bob")
    return Credential(made.certificate, made.key, (alice.certificate,))


ALERTS: dict[str, tuple[Callable[[Authority], Credential], str]] = {
    "expired": (lambda root: root.issue("Alice", begins=now() - 3 * HOUR, ends=now() - HOUR), "it has expired"),
    "not yet valid": (lambda root: root.issue("Alice", begins=now() + HOUR), "not valid yet"),
    "wrong usage": (lambda root: root.issue("Alice", usage=[ExtendedKeyUsageOID.SERVER_AUTH]), "not meant for clients"),
    "wrong authority": (lambda _: Authority.make("Other CA").issue("Alice"), "no authority here"),
    "a namesake of the authority": (lambda _: Authority.make().issue("Alice"), "its signature is wrong"),
    "path length": (_too_deep, "path length"),
    "name constraint": (_constrained, "name constraints"),
    "SHA-1": (_sha1, "too weak"),
    "small key": (lambda root: root.issue("Alice", key=rsa.generate_private_key(65537, 1024)), "too small"),
    "expired proxy": (lambda root: root.issue("Alice").proxy(begins=now() - 3 * HOUR, ends=now() - HOUR), "expired"),
    "proxy after path length": (lambda root: root.issue("Alice").proxy(path_length=0).proxy(), "path length"),
    "legacy proxy": (lambda root: root.issue("Alice").proxy(extension=None, common_name="proxy"), "legacy"),
    "legacy limited": (lambda root: root.issue("Alice").proxy(extension=None, common_name="limited proxy"), "legacy"),
    "draft proxy": (lambda root: root.issue("Alice").proxy(extension=DRAFT), "critical extension|draft"),
    "proxy without a name": (lambda root: root.issue("Alice").proxy(common_name=None), "one CN more|self-signed"),
    "signed by a user": (_bob_by_alice, "signature is wrong|may not sign|no authority"),
}


@pytest.mark.parametrize("case", ALERTS)
def test_a06_is_cut_off_with_an_alert_and_a_reason_in_the_log(opened: Opener, root: Authority, case: str) -> None:
    make, reason = ALERTS[case]
    door = opened(client_certificates="optional")  # where nobody may fall back to being nobody either
    assert door.ask(make(root)).startswith("alert:")
    assert door.shelf.callers == []
    assert len(door.refusals) == 1
    assert any(word in door.refusals[0] for word in reason.split("|")), door.refusals
