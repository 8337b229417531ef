"""A client that was not written here: zeep loads the served WSDL, follows an EPR, and reads typed faults."""

from collections.abc import Iterator
from typing import Any

import pytest
import zeep
from lxml import etree

from flyinglow.wsrf.xml import NS, qname
from rigs.soap import RealService


@pytest.fixture(params=["WorkspaceSoap11", "WorkspaceSoap12"])
def workspace(service: RealService, request: pytest.FixtureRequest) -> Iterator[Any]:
    epr = service.addresses.epr("workspace", "w1")
    url = service.addresses.service("workspace")
    client = zeep.Client(url + "?wsdl")  # the WSDL has wsam:Action, so zeep sends addressing by itself
    header = epr[1][0]
    header.set(qname("wsa", "IsReferenceParameter"), "true")
    client.set_default_soapheaders([header])
    names = [str(name) for name in client.wsdl.bindings]
    binding = next(name for name in names if name.endswith(request.param[-6:]))
    yield client.create_service(binding, epr[0].text)
    client.transport.session.close()


def test_a_property_is_read_and_the_workspace_ended(workspace: Any, service: RealService) -> None:
    assert workspace.GetResourceProperty(etree.QName(NS["fl"], "State")) == ["Running"]
    workspace.Destroy()
    assert service.shelf.destroyed == ["w1"]
    with pytest.raises(zeep.exceptions.Fault) as caught:
        workspace.GetResourceProperty(etree.QName(NS["fl"], "State"))
    assert caught.value.detail[0].tag == qname("r", "ResourceUnknownFault")


def test_a_wrong_name_is_a_typed_fault(workspace: Any) -> None:
    with pytest.raises(zeep.exceptions.Fault) as caught:
        workspace.GetResourceProperty(etree.QName(NS["fl"], "Nope"))
    assert caught.value.detail[0].tag == qname("rp", "InvalidResourcePropertyQNameFault")


def test_the_end_is_moved(workspace: Any) -> None:
    answer = workspace.SetTerminationTime(RequestedLifetimeDuration="PT1H")
    assert (answer.NewTerminationTime - answer.CurrentTime).total_seconds() == 3600
