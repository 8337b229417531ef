"""A09: whom a policy lets its members have told, by the configuration, at Subscribe, the broker and within a Create."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from flyinglow.access.identity import Identity
from rigs.composed import Composed
from rigs.store import OpenStore, open_store  # noqa: F401

NEAR, OTHER = Identity("ann", groups=frozenset({"near"}), via="x509"), Identity("bob", via="x509")
CONFIGURED = """
[notification]
allow_networks = ["192.168.0.0/16"]
[access]
default_policy = "open"
[policy.open]
running = 10
[policy.near]
groups = ["near"]
consumers = ["192.168.1.0/24", "10.0.0.0/8"]
"""
CONSUMER = """<ConsumerReference xmlns="http://docs.oasis-open.org/wsn/b-2">
<Address xmlns="http://www.w3.org/2005/08/addressing">{}</Address></ConsumerReference>"""
SUBSCRIBE = '<w:Subscribe xmlns:w="http://docs.oasis-open.org/wsn/b-2">{}</w:Subscribe>'
CREATE = """<Create xmlns="urn:flyinglow:factory:1"><Name>a</Name>
<Part><Name>a</Name><MemoryMB>16</MemoryMB><CPUs>1</CPUs><Disk><Image>minimal</Image></Disk></Part>
<Lease><Duration>PT1H</Duration></Lease>{}</Create>"""


@pytest.fixture
def site(tmp_path: Path, open_store: OpenStore) -> Iterator[Composed]:  # noqa: F811
    made = Composed(tmp_path, open_store(), CONFIGURED)
    yield made
    made.close()


def _said(answer: etree._Element) -> str:
    return etree.tostring(answer, encoding="unicode")


@pytest.mark.parametrize("service", ["broker", "factory"])
def test_a09_members_have_nobody_told_whom_their_policy_does_not_name(site: Composed, service: str) -> None:
    def ask(address: str, caller: Identity) -> str:
        body = SUBSCRIBE.format(CONSUMER.format(address))
        return _said(site.ask(service, body if service == "broker" else CREATE.format(body), caller))

    near, far, never = (f"https://{host}:9443/" for host in ("192.168.1.7", "192.168.2.7", "10.0.0.1"))
    assert "Response" in ask(near, NEAR)
    refused = ask(far, NEAR)
    assert "SubscribeCreationFailedFault" in refused
    assert "the policy near does not allow the consumer host '192.168.2.7' (it allows: 192.168.1.0/24" in refused
    assert "Response" in ask(far, OTHER), "the site allows it, and his policy says nothing of it"
    assert "the site has not allowed" in ask(never, NEAR), "a policy widens nothing"
