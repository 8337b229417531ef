"""The operations of the standards have the messages, the faults and the actions that the standards give them.

Those of WS-BaseNotification are read in its own WSDL, which a public ONVIF client ships. Those of the others are
written down here as their WSDLs (rpw-2, rlw-2, brw-2) have them: operation, portType, faults.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.wsrf.xml import NS as PREFIXES
from flyinglow.wsrf.xml import qname
from rigs.contract_site import Site
from rigs.soap import message

ROOT = Path(__file__).parents[3]
NS = {"w": "http://schemas.xmlsoap.org/wsdl/", "xs": "http://www.w3.org/2001/XMLSchema"}
ACTION = "{http://www.w3.org/2007/05/addressing/metadata}Action"
WSRF, WSN = "http://docs.oasis-open.org/wsrf/", "http://docs.oasis-open.org/wsn/"
CHANGE = ("InvalidModificationFault", "UnableToModifyResourcePropertyFault", "InvalidResourcePropertyQNameFault")
FROM_STANDARDS = {
    WSRF + "rpw-2/GetResourcePropertyDocument": (),
    WSRF + "rpw-2/GetResourceProperty": ("InvalidResourcePropertyQNameFault",),
    WSRF + "rpw-2/GetMultipleResourceProperties": ("InvalidResourcePropertyQNameFault",),
    WSRF + "rpw-2/PutResourcePropertyDocument": ("UnableToPutResourcePropertyDocumentFault",),
    WSRF + "rpw-2/SetResourceProperties": (*CHANGE, "SetResourcePropertyRequestFailedFault"),
    WSRF + "rpw-2/InsertResourceProperties": (*CHANGE, "InsertResourcePropertiesRequestFailedFault"),
    WSRF + "rpw-2/UpdateResourceProperties": (*CHANGE, "UpdateResourcePropertiesRequestFailedFault"),
    WSRF + "rpw-2/DeleteResourceProperties": (*CHANGE, "DeleteResourcePropertiesRequestFailedFault"),
    WSRF + "rpw-2/QueryResourceProperties": (
        "UnknownQueryExpressionDialectFault", "InvalidQueryExpressionFault", "QueryEvaluationErrorFault",
    ),
    WSRF + "sgw-2/ServiceGroupRegistration": (
        "ContentCreationFailedFault", "UnsupportedMemberInterfaceFault", "AddRefusedFault",
    ),
    WSRF + "rlw-2/ImmediateResourceTermination": ("ResourceNotDestroyedFault",),
    WSRF + "rlw-2/ScheduledResourceTermination": (
        "UnableToSetTerminationTimeFault", "TerminationTimeChangeRejectedFault",
    ),
    WSN + "brw-2/RegisterPublisher": (
        "InvalidTopicExpressionFault", "TopicNotSupportedFault", "PublisherRegistrationRejectedFault",
        "PublisherRegistrationFailedFault", "UnacceptableInitialTerminationTimeFault",
    ),
}  # fmt: skip
"""By the stem of its action, the faults of each operation besides those of WS-Resource."""
OPERATION = {
    "ServiceGroupRegistration": "Add",
    "ImmediateResourceTermination": "Destroy",
    "ScheduledResourceTermination": "SetTerminationTime",
}
"""Operations that have another name than their portType."""
ONE_RESOURCE = {"factory", "broker", "pullpoints"}
"""Services that are themselves the resource: there is none that could be unknown."""
SERVICES = sorted(path.stem for path in (ROOT / "wsdl").glob("*.wsdl"))


def operations(name: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield the name, the action and the faults of every operation of a service."""
    wsdl = etree.parse(ROOT / "wsdl" / f"{name}.wsdl").getroot()
    for operation in wsdl.iterfind("w:portType/w:operation", NS):
        given = operation.find("w:input", NS)
        assert given is not None
        yield operation.get("name", ""), given.get(ACTION, ""), names_of(operation.findall("w:fault", NS))


def names_of(elements: list[_Element]) -> set[str]:
    return {element.get("name", "") for element in elements}


@pytest.fixture(scope="module")
def notification(originals: Path) -> _Element:
    return etree.parse(originals / "bw-2.wsdl").getroot()


@pytest.mark.parametrize("service", SERVICES)
def test_operations_have_the_actions_and_faults_of_their_standard(service: str) -> None:
    for name, action, faults in operations(service):
        stem = action.rpartition("/")[0]
        if not stem.startswith((WSRF, WSN + "brw-2/")):
            continue
        assert action == f"{stem}/{OPERATION.get(stem.rpartition('/')[2], name)}Request"
        resource = set() if service in ONE_RESOURCE else {"ResourceUnknownFault", "ResourceUnavailableFault"}
        assert faults >= {*FROM_STANDARDS[stem], *resource}, name


@pytest.mark.parametrize("service", SERVICES)
def test_operations_of_notification_are_those_of_its_own_wsdl(service: str, notification: _Element) -> None:
    for name, action, faults in operations(service):
        if not action.startswith(WSN + "bw-2/"):
            continue
        stem, _, last = action.rpartition("/")
        (port,) = notification.findall(f"w:portType[@name='{stem.rpartition('/')[2]}']", NS)
        (operation,) = port.findall(f"w:operation[@name='{name}']", NS)
        assert last == (name if operation.find("w:output", NS) is None else f"{name}Request")
        theirs = names_of(operation.findall("w:fault", NS))
        assert faults >= theirs - ({"ResourceUnknownFault"} if service in ONE_RESOURCE else set()), name


def test_every_operation_of_notification_is_offered_somewhere(notification: _Element) -> None:
    theirs = names_of(notification.findall("w:portType/w:operation", NS))
    assert theirs <= {name for service in SERVICES for name, _, _ in operations(service)}


@pytest.mark.parametrize("name", ["b-2.xsd", "bf-2.xsd", "r-2.xsd"])
def test_the_schemas_declare_what_the_originals_declare(name: str, originals: Path) -> None:
    def declared(path: Path) -> set[tuple[str, str]]:
        return {(str(child.tag), child.get("name", "")) for child in etree.parse(path).getroot().iterchildren("{*}*")}

    assert declared(ROOT / "schemas" / name) == declared(originals / name)


TOPIC = f'<wsnt:Topic Dialect="{PREFIXES["wstop"]}/TopicExpression/Simple">fl:state</wsnt:Topic>'
CONSUMER = "<wsnt:ConsumerReference><wsa:Address>http://c.example/</wsa:Address></wsnt:ConsumerReference>"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (f"<wsnt:Subscribe>{CONSUMER}</wsnt:Subscribe>", qname("wsnt", "SubscribeResponse")),
        (f"<wsnt:GetCurrentMessage>{TOPIC}</wsnt:GetCurrentMessage>", qname("wsnt", "GetCurrentMessageResponse")),
        ("<wsn-br:RegisterPublisher/>", qname("wsn-br", "PublisherRegistrationRejectedFault")),
    ],
)
def test_a_client_of_the_brokers_own_wsdl_is_understood(body: str, answer: str) -> None:
    """Its WSDL gives no actions: by the default rule they have its own name space, and its portType's name."""
    action = body.partition(":")[2].partition(">")[0].rstrip("/")
    header = f"<wsa:Action>{WSN}brw-2/NotificationBroker/{action}Request</wsa:Action>"
    said = etree.fromstring(Site().ask("broker", message(body, header, "1.2")).body).find("{*}Body")
    assert said is not None
    detail = said.find("{*}Fault/{*}Detail")
    assert (said[0] if detail is None else detail[0]).tag == answer
