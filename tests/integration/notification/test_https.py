"""Delivery to https consumers: whose certificate is taken, why another's is not, and what they are shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from flyinglow.backend.testing import ReactorThread
from rigs.authority import Authority, Credential, now
from rigs.https_consumer import HttpsRig, consumer

HOUR = timedelta(hours=1)


Make = Callable[..., HttpsRig]


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


@pytest.fixture
def rig(reactor_thread: ReactorThread, tmp_path: Path, root: Authority) -> Iterator[Make]:
    made: list[HttpsRig] = []

    def make(**keys: Any) -> HttpsRig:
        made.append(HttpsRig(reactor_thread, tmp_path, root, **keys))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_consumer_with_a_good_certificate_is_told(rig: Make, root: Authority, tmp_path: Path) -> None:
    sender = rig()
    with consumer(tmp_path, root.host()) as (port, _):
        assert [sender.post(port), sender.post(port, "localhost"), sender.post(port)] == [202, 202, 202]


BAD: dict[str, tuple[Callable[[Authority], Credential], str]] = {
    "of another authority": (lambda _: Authority.make("Other CA").host(), "no authority here"),
    "for another host": (lambda root: root.host("192.0.2.1"), "its certificate is not for 127.0.0.1, but for"),
    "without a host": (
        lambda root: root.issue("Alice", usage=[ExtendedKeyUsageOID.SERVER_AUTH]),
        "is not for 127.0.0.1",
    ),
    "expired": (
        lambda root: root.issue("host", usage=(), alternative=[_number()], begins=now() - 3 * HOUR, ends=now() - HOUR),
        "it has expired",
    ),
    "for clients only": (
        lambda root: root.issue("host", usage=[ExtendedKeyUsageOID.CLIENT_AUTH], alternative=[_number()]),
        "not meant for servers",
    ),
    "a user's proxy": (lambda root: root.host().proxy(), "proxy"),
}


def _number() -> x509.GeneralName:
    import ipaddress

    return x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@pytest.mark.parametrize("case", BAD)
def test_a10_nothing_is_sent_to_who_shows_a_certificate_that_is(
    rig: Make, root: Authority, tmp_path: Path, case: str
) -> None:
    make, reason = BAD[case]
    with consumer(tmp_path, make(root)) as (port, shown):
        said = str(rig().post(port))
    assert said.startswith("CertificateError: ")
    assert reason in said
    assert shown == []


def test_a_certificate_that_was_revoked_is_refused_once_the_files_say_so(
    rig: Make, root: Authority, tmp_path: Path
) -> None:
    sender, host = rig(), root.host()
    with consumer(tmp_path, host) as (port, shown):
        assert sender.post(port, "localhost") == 202
        root.revoked.append(host.certificate.serial_number)
        root.install(sender.authorities, crl=root.crl())
        assert sender.tls.kept.look()
        assert "it was revoked" in str(sender.post(port)), "on a connection of its own"
        assert "it was revoked" in str(sender.post(port, "localhost")), "the connection that was kept is used no more"
    assert len(shown) == 1


def test_a_consumer_that_asks_is_shown_the_services_own_certificate(rig: Make, root: Authority, tmp_path: Path) -> None:
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate, key = root.issue("service", usage=both).write(tmp_path, "service")
    with consumer(tmp_path, root.host(), callers=root) as (port, shown):
        assert rig(certificate=certificate, private_key=key).post(port) == 202
        assert "TLS failed" in str(rig().post(port)), "its end, not ours"
    assert [dict(part[0] for part in each["subject"])["commonName"] for each in shown] == ["service"]


def test_plain_http_behind_https_is_no_success(rig: Make) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as plain:
        port = plain.getsockname()[1]

        def answer() -> None:
            connection, _ = plain.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        said = rig().post(port)
        thread.join(120)
    assert isinstance(said, str)
