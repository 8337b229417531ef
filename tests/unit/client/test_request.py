"""What zeep makes of a request, held against the schemas; nothing is sent."""

from datetime import UTC, datetime
from importlib import resources
from typing import Any

import pytest
from lxml import etree

from flyinglow.client import Disk, Epr, File, Nic, Part
from flyinglow.client.request import Request, values
from flyinglow.client.wire import Wire
from flyinglow.wsrf.contract import Contract

FLF = "{urn:flyinglow:factory:1}"
FULL = Part(
    name="ce",
    memory_mb=512,
    cpus=2,
    count=3,
    disk_mb=1024,
    disks=(
        Disk(image="guest"),
        Disk(blank_mb=10, name="scratch", mount="/scratch"),
        Disk(partition="sw", read_only=True),
    ),
    nics=(Nic(network="public"), Nic(network="private", name="inner")),
    provides=("a",),
    requires=("b", "c"),
    keys=("ssh-ed25519 AAAA me",),
    user_data=b"\x00\xff",
    files=(File(path="/etc/motd", content=b"hi", mode="0600"),),
)
JOIN = Epr("http://h/ensemble", (b'<f:ResourceID xmlns:f="urn:flyinglow:types:1">e1</f:ResourceID>',))


def made(**changes: Any) -> etree._Element:
    given: dict[str, Any] = {"name": "osg", "parts": (FULL,), "token": "t", **changes}
    client = Wire(30.0)._client("factory", True)
    envelope = client.create_message(client.service, "Create", **values(Request(**given)))
    return etree.fromstring(etree.tostring(envelope[-1][0]))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"duration": 90061, "start_within": 0},
        {"ready_barrier": 300, "preemptable": True},
        {"start_by": datetime(2030, 1, 1, 12, tzinfo=UTC), "open": True},
        {"join": JOIN, "end_action": "Save", "save_to": "file:///tmp/x", "initial_state": "Paused"},
        {"parts": (Part(name="vm", memory_mb=1),)},
    ],
)
def test_requests_fit_the_schemas(changes: dict[str, Any]) -> None:
    Contract.packaged().validate(made(**changes))


def test_nothing_is_lost() -> None:
    body = made(duration=5400, join=JOIN, start_by=datetime(2030, 1, 1, 12, tzinfo=UTC))
    part = body.find(f"{FLF}Part")
    assert part is not None
    said = {element.tag.rpartition("}")[2]: element.text for element in part.iter() if element.text}
    assert said["UserData"] == "AP8="
    assert (said["Content"], said["Mode"], said["Path"]) == ("aGk=", "0600", "/etc/motd")
    assert [each.text for each in part.iter(f"{FLF}Requires")] == ["b", "c"]
    assert len(part.findall(f"{FLF}Disk")) == 3
    assert body.findtext(f"{FLF}Lease/{FLF}Duration") == "PT1H30M"
    assert body.findtext(f"{FLF}Lease/{FLF}StartBy") == "2030-01-01T12:00:00Z"
    ensemble = body.find(f"{FLF}Ensemble")
    assert ensemble is not None
    assert Epr.read(ensemble).url == "http://h/ensemble/e1"


def test_every_wsdl_is_packaged_and_loads() -> None:
    names = [path.name.removesuffix(".wsdl") for path in resources.files("flyinglow.wsdl").iterdir()]
    wsdls = [name for name in names if not name.startswith("_")]
    assert {"factory", "workspace", "group", "ensemble", "entry", "subscription", "consumer"} <= set(wsdls)
    for name in wsdls:
        assert Wire(30.0)._client(name, True).wsdl.services
