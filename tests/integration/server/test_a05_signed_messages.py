"""A04 and A05 on a real service: who signs is known by it, for one message, once."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from http.client import HTTPSConnection

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.client import Disk, Nic, Part, connect
from flyinglow.client.credential import Credential
from flyinglow.wsrf.security.names import SECURITY
from rigs.daemon import Daemon, daemon_factory, daemon_store
from rigs.grid import Grid
from rigs.signed import Signer
from rigs.waiting import eventually

__all__ = ["daemon_factory", "daemon_store"]

PART = Part(name="wn", memory_mb=64, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))


def test_a05_a_signed_destroy_counts_once_and_a04_for_its_signer_only(
    daemon_factory: Callable[..., Daemon], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("fl")
    grid = Grid(root)
    alice, bob = Signer(grid.root.issue("Alice")), Signer(grid.root.issue("Bob"))
    client = f'{grid.keys}\nclient_certificates = "optional"\nsignatures = "alone"'
    daemon = daemon_factory(root=root, client=client)
    certificate, key = alice.credential.write(root, "alice")
    shown = Credential(certificate=certificate, private_key=key, ca_directory=grid.authorities, sign=True)
    context = ssl.create_default_context(cadata=grid.root.certificate_pem)

    def send(envelope: _Element) -> tuple[str, str]:
        connection = HTTPSConnection("127.0.0.1", daemon.port, context=context, timeout=120)
        connection.request("POST", "/workspace", etree.tostring(envelope), {"Content-Type": "text/xml"})
        answer = etree.fromstring(connection.getresponse().read())
        connection.close()
        fault = answer.findtext(".//faultstring") or ""
        details = [etree.QName(each).localname for each in answer.iterfind(".//detail/*")]
        return (details[0] if details else etree.QName(answer[-1][0]).localname), fault

    to = f"{daemon.url}/workspace"
    eventually(lambda: "just started" not in send(alice.destroy("none", to=to))[1])
    lease = connect(daemon.url, timeout=120, credential=shown).create([PART], name="wn")
    found = lease.whole.id
    unsigned = alice.destroy(found, to=to)
    unsigned[0].remove(next(unsigned.iter(SECURITY)))
    assert send(unsigned)[0] == "DeniedFault"
    assert send(bob.destroy(found, to=to))[0] == "ResourceUnknownFault"
    assert send(alice.destroy(found, to=to.replace("127.0.0.1", "localhost")))[0] == "DeniedFault"
    good = alice.destroy(found, to=to)
    assert send(good)[0] == "DestroyResponse"
    assert "received before" in send(good)[1]
    lines = [json.loads(line) for line in (daemon.state / "audit.log").read_text().splitlines()]
    (done,) = [each for each in lines if "Destroy" in str(each) and '"done"' in json.dumps(each)]
    assert "CN=Alice,O=Grid" in json.dumps(done)
    assert "signature" in json.dumps(done)
