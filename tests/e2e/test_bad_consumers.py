"""Where a subscriber may not send the service to: ConsumerReferences that are refused when Subscribe is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.sax.saxutils import escape

import pytest

from flyinglow.client import Consumer, Disk, Part, Resource, connect
from flyinglow.client.watch import Watch
from flyinglow.nodectl.errors import DeniedError, InvalidError
from rigs.daemon import Daemon
from rigs.raw_soap import ask

pytestmark = pytest.mark.xdist_group("bad-consumers")

PART = Part(name="wn", memory_mb=64, disks=(Disk(image="guest"),))


@pytest.fixture(scope="module")
def whole(shared: Daemon) -> Iterator[Resource]:
    resource = connect(shared.url).create([PART], name="wn").whole
    yield resource
    resource.destroy()


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://0.0.0.0:80/",
        "http://10.0.0.1/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://192.168.1.1/",
        "http://224.0.0.1/",
        "ftp://203.0.113.1/x",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/x",
        "javascript:alert(1)",
        "https://10.0.0.1/",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:22/",
        "http://127.0.0.1:99999/",
        "http://",
        "",
        "http://127.0.0.1/\r\nX: y",
        "http://127.0.0.1/" + "a" * 5000,
    ],
)
def test_a_consumer_where_nothing_is_sent_to(shared: Daemon, whole: Resource, address: str) -> None:
    assert subscribe(shared, whole, address) == "SubscribeCreationFailedFault"
    with pytest.raises((DeniedError, InvalidError)):
        Watch(whole, address).subscribe()


def subscribe(daemon: Daemon, resource: Resource, address: str) -> str:
    body = (
        '<Subscribe xmlns="http://docs.oasis-open.org/wsn/b-2"><ConsumerReference>'
        f'<Address xmlns="http://www.w3.org/2005/08/addressing">{escape(address)}</Address>'
        "</ConsumerReference></Subscribe>"
    )
    return ask(daemon, f"/{resource.kind}/{resource.id}", body)


def test_loopback_must_be_allowed_by_the_site(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml="")
    site = connect(daemon.url)
    whole = site.create([PART], name="wn").whole
    with Consumer() as consumer, pytest.raises((InvalidError, DeniedError)):
        consumer.watch(whole)
    for address in ("http://localhost:8080/", "http://[::1]:8080/", "http://127.8.8.8/", "http://2130706433/"):
        assert subscribe(daemon, whole, address) == "SubscribeCreationFailedFault"
