"""What goes to consumers: by the project's schemas and by the standards' own, and byte for byte what was meant."""

import importlib.util
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.notification.envelope import NOTIFY, Envelopes
from flyinglow.notification.model import Delivery, Subscription
from flyinglow.notification.payload import ELEMENTS
from flyinglow.workspace.model import LEASED, Event, Kind, ResourceKey, Topic
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KEY = ResourceKey(Kind.WORKSPACE, "a" * 32)
ADDRESSES = Addresses("http://site.example:8080")
SUBSCRIPTION = Subscription(
    id="b" * 32,
    owner="ann",
    producer=KEY,
    consumer="http://client.example:9000/in?x=1&y=<2>",
    parameters=(
        '<c:Key xmlns:c="urn:client" c:kind="&lt;">k&amp;1</c:Key>',
        '<Plain xmlns="urn:other" xmlns:q="urn:q" type="q:name"><Deep/></Plain>',
    ),
    created_at=AT,
)
NIC = {"network": "public", "name": "eth0", "ip": "10.0.0.5", "prefix": 24, "mac": "02:00:00:00:00:05",
       "hostname": "ce", "gateway": "10.0.0.1", "dns": ["10.0.0.1", "10.0.0.2"]}  # fmt: skip
BODIES = [
    (Topic.STATE, {"state": "Running", "task": None, "target": None, "reason": "", "previous": "Propagated"}),
    (Topic.STATE, {"state": "Propagated", "task": "Starting", "target": "Running", "reason": "", "previous": None}),
    (Topic.STATE, {"state": "Running", "reason": "ready", "ready": True}),
    (Topic.STATE, {"state": "Corrupted", "reason": "<no & room>\x00\x0b \N{SNOWMAN}"}),
    (Topic.STATE, {"state": "Running", "counts": {"Running": 3, "Propagated": 1}, "total": 4}),
    (Topic.SCHEDULE, {"reason": "extended", "starts_at": None, "ends_at": "2026-01-02T05:04:05.000001+00:00"}),
    (Topic.SCHEDULE, {"reason": "", "starts_at": "2026-01-02T03:04:05Z", "ends_at": None}),
    (Topic.NETWORKING, {"nics": [NIC, {"network": "private"}]}),
    (Topic.NETWORKING, {"nics": []}),
    (Topic.NETWORKING, {"nics": [NIC], "reason": "its guest sent what is not its own"}),
    (Topic.TERMINATION, {"reason": "destroyed", "at": "2026-01-02T05:04:05+00:00", "state": "Ended"}),
    (Topic.WARNING, {"ends_at": "2026-01-02T05:04:05+00:00", "seconds": 300}),
]


@pytest.fixture(scope="module")
def contracts() -> list[Contract]:
    """Ours, and ours on top of the standards' own files, which a public ONVIF client ships."""
    own = Contract.packaged()
    spec = importlib.util.find_spec("onvif")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "wsdl"
    names = ("b-2.xsd", "bf-2.xsd", "r-2.xsd", "t-1.xsd", "ws-addr.xsd", "xml.xsd")
    return [own, Contract({**own.schemas, **{name: (folder / name).read_bytes() for name in names}}, {})]


def event(number: int, topic: Topic = Topic.STATE, body: object = None, key: ResourceKey = KEY) -> Event:
    content = {"name": "ce-1", "state": "Running"} if body is None else {"name": "ce-1", **body}  # type: ignore[dict-item]
    return Event(key=key, sequence=number, topic=topic, owner="ann", at=AT, body=content, id=number)


def delivery(item: Event) -> Delivery:
    return Delivery(position=item.id, subscription_id=SUBSCRIPTION.id, message_id=f"urn:uuid:{item.id}", event=item)


def sent(*events: Event, to: Subscription = SUBSCRIPTION, by: Envelopes | None = None) -> _Element:
    message = (by or Envelopes(ADDRESSES)).compose(to, [delivery(item) for item in events])
    return etree.fromstring(message.body)


def find(root: _Element, path: str) -> _Element:
    found = root.find(path, dict(NS))
    assert found is not None, etree.tostring(root)
    return found


@pytest.mark.parametrize(("topic", "body"), BODIES)
@pytest.mark.parametrize("kind", list(LEASED))
def test_every_payload_fits_both_sets_of_schemas(
    contracts: list[Contract], topic: Topic, body: object, kind: Kind
) -> None:
    root = sent(event(7, topic, body, ResourceKey(kind, "c" * 32)))
    notify = find(root, "s11:Body/wsnt:Notify")
    message = find(notify, "wsnt:NotificationMessage/wsnt:Message")
    for contract in contracts:
        contract.validate(notify)
        contract.validate(message[0])
    assert etree.QName(message[0]).localname == ELEMENTS[topic]
    assert message[0].get("sequence") == "7"
    assert find(message[0], "fl:Source/fl:Kind").text == kind.value
    assert find(message[0], "fl:Source/fl:Name").text == "ce-1"
    assert find(message[0], "fl:Time").text == "2026-01-02T03:04:05Z"


def test_the_parts_of_a_message() -> None:
    root = sent(event(1, Topic.WARNING, BODIES[-1][1]))
    message = find(root, "s11:Body/wsnt:Notify/wsnt:NotificationMessage")
    assert (
        find(message, "wsnt:SubscriptionReference/wsa:Address").text == f"{ADDRESSES.base_url}/subscription/{'b' * 32}"
    )
    topic = find(message, "wsnt:Topic")
    assert topic.get("Dialect") == "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete"
    assert (topic.text, topic.nsmap["fl"]) == ("fl:warning", NS["fl"])
    assert ADDRESSES.read(find(message, "wsnt:ProducerReference")) == ("workspace", KEY.id)
    assert find(message, "wsnt:Message/fl:EndWarning/fl:Seconds").text == "300"


def test_the_headers_address_the_consumer_and_bring_its_parameters_back() -> None:
    header = find(sent(event(1)), "s11:Header")
    assert find(header, "wsa:To").text == SUBSCRIPTION.consumer
    assert find(header, "wsa:Action").text == NOTIFY
    assert find(header, "wsa:MessageID").text == "urn:uuid:1"
    key, plain = list(header)[-2:]
    assert (key.tag, key.text, key.get("{urn:client}kind")) == ("{urn:client}Key", "k&1", "<")
    assert (plain.tag, plain.get("type"), plain.nsmap["q"]) == ("{urn:other}Plain", "q:name", "urn:q")
    assert all(each.get(f"{{{NS['wsa']}}}IsReferenceParameter") == "true" for each in (key, plain))
    assert len(header) == 5


def test_several_messages_ride_together_in_order(contracts: list[Contract]) -> None:
    notify = find(sent(*(event(number) for number in range(1, 51))), "s11:Body/wsnt:Notify")
    numbers = [each.get("sequence") for each in notify.iter(f"{{{NS['fl']}}}StateChange")]
    assert numbers == [str(number) for number in range(1, 51)]
    for contract in contracts:
        contract.validate(notify)


def test_a_subscription_says_itself_that_its_time_is_over(contracts: list[Contract]) -> None:
    row = replace(SUBSCRIPTION, ends_at=AT)
    root = sent(to=row)
    assert find(root, "s11:Header/wsa:MessageID").text == find(sent(to=row), "s11:Header/wsa:MessageID").text
    notify = find(root, "s11:Body/wsnt:Notify")
    for contract in contracts:
        contract.validate(notify)
    message = find(notify, "wsnt:NotificationMessage")
    itself = find(message, "wsnt:ProducerReference/wsa:Address").text
    assert itself == find(message, "wsnt:SubscriptionReference/wsa:Address").text
    said = find(message, "wsnt:Message/rl:TerminationNotification")
    assert find(said, "rl:TerminationTime").text == "2026-01-02T03:04:05Z"
    assert find(said, "rl:TerminationReason").text == "the subscription's time is over"


def test_the_message_id_tells_the_same_messages_from_more_messages() -> None:
    def name(*numbers: int) -> str | None:
        return find(sent(*(event(number) for number in numbers)), "s11:Header/wsa:MessageID").text

    assert name(1, 2) == name(1, 2)
    assert len({name(1), name(1, 2), name(1, 2, 3), name(2, 3), name(2)}) == 5
    assert (name(1, 2) or "").startswith("urn:uuid:")


def test_a_raw_message_is_the_payload_with_its_own_action(contracts: list[Contract]) -> None:
    raw = replace(SUBSCRIPTION, raw=True)
    message = Envelopes(ADDRESSES).compose(raw, [delivery(event(1))])
    root = etree.fromstring(message.body)
    (payload,) = find(root, "s11:Body")
    assert payload.tag == f"{{{NS['fl']}}}StateChange"
    assert find(root, "s11:Header/wsa:Action").text == "urn:flyinglow:types:1/Notification/StateChange"
    assert message.headers["SOAPAction"] == '"urn:flyinglow:types:1/Notification/StateChange"'
    for contract in contracts:
        contract.validate(payload)


@pytest.mark.parametrize(
    ("form", "topic", "body", "prefix", "name"),
    [
        ("fl:state-value", Topic.STATE, None, "rp", "ResourcePropertyValueChangeNotification"),
        ("rl:ResourceTermination", Topic.TERMINATION, {}, "rl", "TerminationNotification"),
    ],
)
def test_a_raw_message_of_a_standard_has_that_standards_name_for_an_action(
    form: str, topic: Topic, body: object, prefix: str, name: str
) -> None:
    raw = replace(SUBSCRIPTION, raw=True, topics=(form,))
    root = etree.fromstring(Envelopes(ADDRESSES).compose(raw, [delivery(event(1, topic, body))]).body)
    assert find(root, "s11:Header/wsa:Action").text == f"{NS[prefix]}/{name}"
    (payload,) = find(root, "s11:Body")
    assert payload.tag == f"{{{NS[prefix]}}}{name}"


def test_events_and_subscriptions_do_not_mix_in_memory() -> None:
    envelopes = Envelopes(ADDRESSES)
    other = replace(SUBSCRIPTION, id="d" * 32, consumer="http://other.example/", parameters=())
    first = sent(event(1), by=envelopes)
    second = sent(event(1), event(2), to=other, by=envelopes)
    assert find(second, "s11:Header/wsa:To").text == "http://other.example/"
    assert len(find(second, "s11:Header")) == 3
    addresses = [each.text for each in second.iterfind(".//wsnt:SubscriptionReference/wsa:Address", dict(NS))]
    assert addresses == [f"{ADDRESSES.base_url}/subscription/{'d' * 32}"] * 2
    assert etree.tostring(first) == etree.tostring(sent(event(1)))
