"""Notifications over TLS between real services and the client library's own consumer, each proving who it is."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from lxml import etree

from flyinglow.client import Consumer, Disk, Part
from flyinglow.client.watch import Watch
from rigs.authority import Authority, Credential
from rigs.daemon import Daemon
from rigs.grid import Grid
from rigs.waiting import eventually

PART = Part(name="wn", memory_mb=64, disks=(Disk(image="guest"),))


class Host(Grid):
    """A host of a grid that may be a client, too, and sends to consumers that its authority has certified."""

    def __init__(self, directory: Path, root: Authority) -> None:
        super().__init__(directory)
        self.root, self.authorities = root, root.install(directory / "known")
        self.host = server(root).write(directory, "host")
        self.pem = directory / "ca.pem"
        self.pem.write_text(root.certificate_pem)

    def daemon(self, factory: Callable[..., Daemon]) -> Daemon:
        """Start a service on it."""
        toml = f'[notification]\nallow_loopback = true\nca_directory = "{self.authorities}"\n'
        toml += '[access]\npublishers = ["CN=localhost,O=Grid"]'
        return factory(root=self.directory, client=self.keys, toml=toml)


def server(root: Authority) -> Credential:
    """Issue what a host shows, to its clients and to other hosts."""
    usage = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    number = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return root.issue("localhost", usage=usage, alternative=[x509.DNSName("localhost"), number])


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.make()


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory, root: Authority) -> Callable[[], Host]:
    return lambda: Host(tmp_path_factory.mktemp("fl"), root)


def test_a_lease_is_heard_of_over_tls_from_nobody_but_the_service(
    daemon_factory: Callable[..., Daemon], host: Callable[[], Host], tmp_path: Path, root: Authority
) -> None:
    here = host()
    site = here.site(here.daemon(daemon_factory), root.issue("Alice"))
    certificate, key = server(root).write(tmp_path, "consumer")
    with Consumer(certificate=certificate, private_key=key, callers=here.pem) as consumer:
        assert consumer.url.startswith("https://127.0.0.1:")
        whole = site.create([PART], name="wn").whole
        watch = consumer.watch(whole, topics=("state", "termination"))
        whole.wait("Running", timeout=120)
        whole.destroy()
        assert [news.topic for news in watch][-1] == "termination"


def test_a_service_sends_over_tls_to_a_pull_point_of_another(
    daemon_factory: Callable[..., Daemon], host: Callable[[], Host], tmp_path: Path, root: Authority
) -> None:
    alice = root.issue("Alice")
    producer, other = (each.site(each.daemon(daemon_factory), alice) for each in (host(), host()))
    with other.pull_point() as point:
        assert point.url.startswith("https://")
        whole = producer.create([PART], name="wn").whole
        Watch(whole, point.url).subscribe()
        whole.destroy()
        found: list[str] = []

        def ended() -> bool:
            found.extend(news.topic for news in point.fetch(5))
            return "termination" in found

        eventually(ended, 120)


def test_why_a_consumer_is_not_told_can_be_read_at_the_subscription(
    daemon_factory: Callable[..., Daemon], host: Callable[[], Host], tmp_path: Path, root: Authority
) -> None:
    here = host()
    site = here.site(here.daemon(daemon_factory), root.issue("Alice"))
    certificate, key = server(Authority.make("Other CA")).write(tmp_path, "other")
    with Consumer(certificate=certificate, private_key=key) as consumer:
        whole = site.create([PART], name="wn").whole
        watch = consumer.watch(whole)
        delivery = etree.QName("urn:flyinglow:types:1", "Delivery")

        def told() -> str:
            assert watch.subscription is not None
            answer = whole.wire.call("subscription", "GetResourceProperty", watch.subscription, delivery)
            return etree.tostring(answer).decode()

        eventually(lambda: "CertificateError" in told(), 120)
        assert "no authority here" in told()
        whole.destroy()
