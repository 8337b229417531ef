"""SOAP stacks of others, given nothing but the WSDLs, talk to the services (no network: the stand-in endpoints)."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import suds.client
import suds.transport
import zeep
from lxml import etree

from flyinglow.wsrf.xml import NS, qname
from rigs.contract import ADDRESSES, CE, GROUP, NOW
from rigs.contract_site import Site

ROOT = Path(__file__).parents[3]


class ZeepTransport(zeep.Transport):  # type: ignore[misc]
    """Hands messages to the endpoints, and reads WSDLs from files as ever."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> Any:
        service, _, resource = address.removeprefix(f"{ADDRESSES.base_url}/").partition("/")
        answer = self.site.ask(service, message, resource or None)
        return SimpleNamespace(
            status_code=answer.status,
            content=answer.body,
            headers={"Content-Type": answer.content_type},
            encoding="utf-8",
        )


def zeep_service(site: Site, name: str, soap: str = "Soap11", resource: str = "") -> Any:
    client = zeep.Client(str(ROOT / "wsdl" / f"{name}.wsdl"), transport=ZeepTransport(site))
    address = ADDRESSES.resource(name, resource) if resource else ADDRESSES.service(name)
    return client.create_service(f"{{urn:flyinglow:{name}:1:wsdl}}{name.capitalize()}{soap}", address)


@pytest.mark.parametrize("soap", ["Soap11", "Soap12"])
def test_zeep_leases_a_cluster(site: Site, soap: str) -> None:
    disk = {"Image": "minimal"}
    parts = [
        {"Name": "ce", "MemoryMB": 512, "CPUs": 1, "Disk": [disk], "NIC": [{"Network": "public"}]},
        {"Name": "wn", "Count": 2, "MemoryMB": 64, "CPUs": 1, "Disk": [disk, {"Name": "x", "BlankMB": 10}]},
    ]
    answer = zeep_service(site, "factory", soap).Create(
        Name="atlas", Part=parts, Lease={"Duration": "PT1H", "InitialState": "Paused"}, Token="t"
    )
    (request,) = site.factory.asked
    assert [(part.name, part.count) for part in request.parts] == [("ce", 1), ("wn", 2)]
    assert request.parts[1].disks[1].blank_mb == 10
    assert (request.duration, request.initial_state) == (3600, "Paused")
    found = answer.Resource[1]
    assert (found.Name, found.Kind) == ("ce", "workspace")
    assert found.EndpointReference.ReferenceParameters._value_1[0].text == CE.id
    assert answer.TerminationTime.hour == NOW.hour + 2


def test_zeep_reads_properties_and_ends_the_lease(site: Site) -> None:
    workspace = zeep_service(site, "workspace", resource=CE.id)
    assert workspace.GetResourceProperty(etree.QName(NS["fl"], "State")) == ["Running"]
    workspace.Shutdown(Mode="Pause")
    assert workspace.Console().Data == b"ce login: "
    workspace.Destroy()
    assert site.workspaces.asked == ["Pause", (0, 65536), "destroy"]


def test_zeep_sees_one_result_for_each_member(site: Site) -> None:
    done, refused = zeep_service(site, "group", resource=GROUP.id).Start()
    assert (done.Name, done.Fault) == ("wn-1", None)
    assert refused.Fault.Kind == "conflict"
    assert refused.Fault.Figure[0].name == "attempts"


def test_zeep_gets_the_typed_fault(site: Site) -> None:
    with pytest.raises(zeep.exceptions.Fault) as raised:
        zeep_service(site, "workspace", resource="f" * 32).Start()
    assert raised.value.detail[0].tag == qname("r", "ResourceUnknownFault")


class SudsTransport(suds.transport.Transport):  # type: ignore[misc]
    """Hands messages to the endpoints and reads files."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site

    def open(self, request: Any) -> Any:
        return io.BytesIO(Path(request.url.removeprefix("file://")).read_bytes())

    def send(self, request: Any) -> Any:
        service, _, resource = request.url.removeprefix(f"{ADDRESSES.base_url}/").partition("/")
        answer = self.site.ask(service, request.message, resource or None)
        if answer.status != 200:
            raise suds.transport.TransportError("fault", answer.status, io.BytesIO(answer.body))
        return suds.transport.Reply(200, {}, answer.body)


def suds_client(site: Site, name: str, resource: str = "") -> Any:
    address = ADDRESSES.resource(name, resource) if resource else ADDRESSES.service(name)
    url = (ROOT / "wsdl" / f"{name}.wsdl").as_uri()
    return suds.client.Client(url, transport=SudsTransport(site), cache=None, location=address)


def test_suds_creates_and_destroys(site: Site) -> None:
    disk = {"Image": "minimal"}
    client = suds_client(site, "factory")
    client.set_options(port="FactoryPort")
    answer = client.service.Create("one", [{"Name": "ce", "MemoryMB": 64, "CPUs": 1, "Disk": [disk]}])
    assert site.factory.asked[0].parts[0].disks[0].image == "minimal"
    assert answer.Resource[0].Kind == "ensemble"
    workspace = suds_client(site, "workspace", CE.id)
    workspace.set_options(port="WorkspacePort")
    workspace.service.Start()
    workspace.service.Destroy()
    assert site.workspaces.asked == ["start", "destroy"]


def test_suds_gets_a_fault(site: Site) -> None:
    client = suds_client(site, "workspace", "f" * 32)
    client.set_options(port="WorkspacePort")
    with pytest.raises(suds.WebFault, match="no such workspace"):
        client.service.Start()
