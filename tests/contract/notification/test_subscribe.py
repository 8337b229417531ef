"""Subscribe, Renew and Unsubscribe through the real endpoints: every answer and fault fits the schemas."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from lxml.etree import _Element

from flyinglow.access.identity import LOCAL, OPERATOR, Identity
from flyinglow.access.policy import Policy, PolicyBook
from flyinglow.notification import properties_xml
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.contents import Contents
from flyinglow.notification.lifetime import Lifetimes
from flyinglow.notification.properties_xml import SubscriptionDirectory
from flyinglow.notification.service import SubscriptionService, SubscriptionSettings
from flyinglow.notification.soap import manager_port, producer_port
from flyinglow.notification.topics import TOPICS
from flyinglow.store import Store
from flyinglow.workspace.model import LEASED, Event, Kind, ResourceKey, Topic
from flyinglow.wsrf import lifetime, properties
from flyinglow.wsrf.addresses import Addresses
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.endpoint import Endpoint
from flyinglow.wsrf.xml import NS, qname
from flyinglow.wsrf.xpath.evaluator import DIALECT
from rigs.soap import XPATH
from rigs.store import collection, workspace

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIMPLE = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Simple"
CONCRETE = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete"
FULL = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Full"
EVERY = tuple(TOPICS.values())
OURS = tuple(word for name, word in TOPICS.items() if name.startswith(f"{{{NS['fl']}}}"))
STEM = "http://docs.oasis-open.org/wsn/bw-2/"
DECLARED = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NS.items())
ADDRESSES = Addresses("http://site.example:8080")
POLICIES = {
    "open": Policy(names=("open",)),
    "near": Policy(names=("near",), consumers=("127.0.0.0/8", "10.0.0.0/8", "*.near.example")),
}
BOOK = PolicyBook(policies=POLICIES, groups={"near": frozenset({"near"})}, identities={}, default="open")
CONSUMER = (
    "<wsa:Address>http://127.0.0.1:9000/x?a=1&amp;b=2</wsa:Address><wsa:ReferenceParameters>"
    '<c:Key xmlns:c="urn:client">k&lt;1</c:Key></wsa:ReferenceParameters>'
)


each_store = pytest.mark.parametrize("site", ["sqlite", "postgresql"], indirect=True)
"""Marks what is read back from the store, or looked for in it: the same on each database."""


class Site:
    """A store with one workspace, one group and one ensemble, and the endpoints over it."""

    def __init__(self, url: str) -> None:
        self.time = NOW
        ids = count(1)
        self.store = Store(url, now=lambda: self.time, durable=False)
        self.store.migrate()
        self.seen: list[tuple[str, _Element]] = []
        self.looked_up: list[str] = []
        self.woken: list[str] = []
        self.service = SubscriptionService(
            store=self.store,
            consumers=Consumers(ConsumerPolicy(allow_loopback=True), self.resolve),
            now=lambda: self.time,
            new_id=lambda: f"{next(ids):032x}",
            contents=Contents(XPATH),
            woken=self.woken.extend,
            settings=SubscriptionSettings(lifetimes=Lifetimes(), per_owner=5, per_consumer=3, filtered_per_owner=2),
            policies=BOOK,
        )
        self.endpoints = {
            kind.value: self.endpoint(kind.value, producer_port(self.service, kind, ADDRESSES)) for kind in LEASED
        }
        directory = SubscriptionDirectory(self.service, lambda: self.time)
        self.endpoints["subscription"] = self.endpoint(
            "subscription",
            manager_port(self.service),
            properties.port(directory, properties_xml.DOCUMENT, XPATH),
            lifetime.port(directory),
        )
        self.store.call(self.fill)

    def endpoint(self, name: str, *ports: Any) -> Endpoint:
        def note(kind: str, element: _Element) -> None:
            self.seen.append((kind, element))
            Contract.packaged().validate(element)

        return Endpoint(name, ports, name, now=lambda: self.time, on_message=note)

    def fill(self, tx: object) -> None:
        tx.workspaces.add([workspace(1), workspace(2, owner="bob"), workspace(3, destroyed_at=NOW)])  # type: ignore[attr-defined]
        tx.collections.add([collection(1), collection(1, Kind.ENSEMBLE)])  # type: ignore[attr-defined]

    def resolve(self, host: str, port: int) -> list[str]:
        self.looked_up.append(host)
        return ["93.184.216.34"]

    def call(
        self, body: str, *, at: str = "workspace", resource: str = f"{1:032x}", action: str = "",
        caller: Identity = LOCAL, soap: str = "1.1",
    ) -> _Element:  # fmt: skip
        """Send a body to an endpoint; return the answer's body child."""
        envelope = "s11" if soap == "1.1" else "s12"
        header = f"<wsa:Action>{action}</wsa:Action>" if action else ""
        message = (
            f"<{envelope}:Envelope {DECLARED}><{envelope}:Header>{header}</{envelope}:Header>"
            f"<{envelope}:Body>{body}</{envelope}:Body></{envelope}:Envelope>"
        )
        answer = self.endpoints[at].call(message.encode(), resource=resource, caller=caller, soap=soap)
        found = etree.fromstring(answer.body).find(f"{{{NS[envelope]}}}Body")
        assert found is not None
        return found[0]

    def subscribe(self, inside: str = "", consumer: str = CONSUMER, **how: object) -> _Element:
        body = f"<wsnt:Subscribe><wsnt:ConsumerReference>{consumer}</wsnt:ConsumerReference>{inside}</wsnt:Subscribe>"
        return self.call(body, **how)  # type: ignore[arg-type]

    def fault(self, answer: _Element) -> _Element:
        """The typed detail of a fault, which has passed the schemas."""
        detail = answer.find("detail")
        assert detail is not None, etree.tostring(answer)
        return detail[0]

    def subscriptions(self) -> int:
        return int(self.store.view(lambda tx: tx.subscriptions.count_requests()))


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site on SQLite, or on the database that ``each_store`` names."""
    other = getattr(request, "param", "sqlite") == "postgresql"
    made = Site(request.getfixturevalue("postgres_url") if other else f"sqlite:///{tmp_path}/store.db")
    yield made
    made.store.close()


def text(element: _Element, path: str) -> str | None:
    return element.findtext(path, namespaces=dict(NS))


def topic(expression: str, dialect: str = SIMPLE, more: str = "") -> str:
    content = f'<wsnt:TopicExpression Dialect="{dialect}" {more}>{expression}</wsnt:TopicExpression>'
    return f"<wsnt:Filter>{content}</wsnt:Filter>"


def content(*expressions: str) -> str:
    made = [f'<wsnt:MessageContent Dialect="{DIALECT}">{text}</wsnt:MessageContent>' for text in expressions]
    return f"<wsnt:Filter>{''.join(made)}</wsnt:Filter>"


def about(*expressions: str) -> str:
    made = [f'<wsnt:ProducerProperties Dialect="{DIALECT}">{text}</wsnt:ProducerProperties>' for text in expressions]
    return f"<wsnt:Filter>{''.join(made)}</wsnt:Filter>"


@each_store
@pytest.mark.parametrize("kind", list(LEASED))
@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_subscribing_to_each_kind_of_resource(site: Site, kind: Kind, soap: str) -> None:
    action = STEM + "NotificationProducer/SubscribeRequest"
    answer = site.subscribe(topic("fl:state"), at=kind.value, soap=soap, action=action)
    assert answer.tag == qname("wsnt", "SubscribeResponse")
    address = text(answer, "wsnt:SubscriptionReference/wsa:Address")
    assert address == f"http://site.example:8080/subscription/{1:032x}"
    assert text(answer, "wsnt:CurrentTime") == "2026-01-02T03:04:05Z"
    assert text(answer, "wsnt:TerminationTime") == "2026-01-03T03:04:05Z"
    row = site.service.get(LOCAL, f"{1:032x}")
    assert (row.consumer, row.topics, row.producer.kind) == ("http://127.0.0.1:9000/x?a=1&b=2", ("state",), kind)
    assert [etree.fromstring(each).text for each in row.parameters] == ["k<1"]


@pytest.mark.parametrize(
    ("inside", "topics"),
    [
        ("", ()),
        ("<wsnt:Filter/>", ()),
        (topic("fl:warning"), ("warning",)),
        (topic("fl:state", CONCRETE), ("state",)),
        (topic("  fl:state\n"), ("state",)),
        (topic("mine:state", more='xmlns:mine="urn:flyinglow:types:1"'), ("state",)),
        (
            "<wsnt:Filter>"
            + "".join(topic(f"fl:{t}")[13:-14] for t in ("state", "warning", "state"))
            + "</wsnt:Filter>",
            ("state", "warning"),
        ),
        (topic("fl:state", FULL), ("state",)),
        (topic("fl:*", FULL), OURS),
        (topic("*", FULL), EVERY),
        (topic("//.", FULL), EVERY),
        (topic("//*", FULL), EVERY),
        (topic("fl://state", FULL), ("state",)),
        (topic("fl:state//.", FULL), ("state",)),
        (topic("fl:warning | fl:state|fl:nothing|flw:*", FULL), ("state", "warning")),
    ],
)
def test_filters_that_select(site: Site, inside: str, topics: tuple[str, ...]) -> None:
    site.subscribe(inside)
    assert site.service.get(LOCAL, f"{1:032x}").topics == topics


@pytest.mark.parametrize(
    ("inside", "fault"),
    [
        (topic("fl:nothing", FULL), "TopicNotSupportedFault"),
        (topic("flw:*", FULL), "TopicNotSupportedFault"),
        (topic("fl:membership"), "TopicNotSupportedFault"),
        (topic("fl:state/*", FULL), "TopicNotSupportedFault"),
        (topic("fl:state//fl:deeper", FULL), "TopicNotSupportedFault"),
        (topic("fl:state|", FULL), "InvalidTopicExpressionFault"),
        (topic("fl:state[1]", FULL), "InvalidTopicExpressionFault"),
        (topic("unknown:*", FULL), "InvalidTopicExpressionFault"),
        (topic("fl:state|" * 200 + "fl:state", FULL), "InvalidTopicExpressionFault"),
        (topic("fl:state", "urn:unheard-of"), "TopicExpressionDialectUnknownFault"),
        (topic("fl:nothing"), "TopicNotSupportedFault"),
        (topic("flw:state"), "TopicNotSupportedFault"),
        (topic("state"), "TopicNotSupportedFault"),
        (topic("state", more='xmlns="urn:flyinglow:types:1"'), "TopicNotSupportedFault"),
        (topic("fl:state/fl:deeper", CONCRETE), "TopicNotSupportedFault"),
        (topic("fl:state/fl:deeper"), "InvalidTopicExpressionFault"),
        (topic("unknown:state"), "InvalidTopicExpressionFault"),
        (topic("fl:state//", CONCRETE), "InvalidTopicExpressionFault"),
        (topic("fl:*", CONCRETE), "InvalidTopicExpressionFault"),
        (topic(""), "InvalidTopicExpressionFault"),
        (topic("fl:state fl:warning"), "InvalidTopicExpressionFault"),
        (topic("a" * 1000), "TopicNotSupportedFault"),
        (topic("a" * 100000), "InvalidTopicExpressionFault"),
        ("<wsnt:Filter><x:Sieve xmlns:x='urn:x'/></wsnt:Filter>", "InvalidFilterFault"),
        ("<wsnt:Filter><wsnt:MessageContent Dialect='urn:d'>x</wsnt:MessageContent></wsnt:Filter>",
         "InvalidMessageContentExpressionFault"),
        (content("//"), "InvalidMessageContentExpressionFault"),
        (content(""), "InvalidMessageContentExpressionFault"),
        (content("$x"), "InvalidMessageContentExpressionFault"),
        (content("//unknown:State"), "InvalidMessageContentExpressionFault"),
        (content(*["1"] * 11), "InvalidMessageContentExpressionFault"),
        ("<wsnt:Filter><wsnt:ProducerProperties Dialect='urn:d'>x</wsnt:ProducerProperties></wsnt:Filter>",
         "InvalidProducerPropertiesExpressionFault"),
        (about("//"), "InvalidProducerPropertiesExpressionFault"),
        (about("$x"), "InvalidProducerPropertiesExpressionFault"),
        (about("//unknown:State"), "InvalidProducerPropertiesExpressionFault"),
        (about("count(" * 50 + "//*" + ")" * 50), "InvalidProducerPropertiesExpressionFault"),
        (about(*["1"] * 11), "InvalidProducerPropertiesExpressionFault"),
        ("<wsnt:SubscriptionPolicy><x:Fast xmlns:x='urn:x'/></wsnt:SubscriptionPolicy>",
         "UnrecognizedPolicyRequestFault"),
    ],
)  # fmt: skip
def test_filters_and_policies_that_are_refused(site: Site, inside: str, fault: str) -> None:
    answer = site.subscribe(inside, action=STEM + "NotificationProducer/SubscribeRequest")
    assert site.fault(answer).tag == qname("wsnt", fault)
    assert site.subscriptions() == 0


def test_unknown_filters_and_policies_are_named_each(site: Site) -> None:
    sieves = "<wsnt:Filter><a:One xmlns:a='urn:a'/><Two xmlns='urn:b'/></wsnt:Filter>"
    detail = site.fault(site.subscribe(sieves))
    named = []
    for element in detail.findall("wsnt:UnknownFilter", dict(NS)):
        prefix, _, local = (element.text or "").partition(":")
        named.append(f"{{{element.nsmap[prefix]}}}{local}")
    assert named == ["{urn:a}One", "{urn:b}Two"]
    policies = sieves.replace("wsnt:Filter", "wsnt:SubscriptionPolicy")
    detail = site.fault(site.subscribe(policies))
    assert detail.tag == qname("wsnt", "UnrecognizedPolicyRequestFault")
    named = [str(element.text) for element in detail.findall("wsnt:UnrecognizedPolicy", dict(NS))]
    assert [name.rpartition(":")[2] for name in named] == ["One", "Two"]


@each_store
def test_a_raw_subscription(site: Site) -> None:
    site.subscribe("<wsnt:SubscriptionPolicy><wsnt:UseRaw/></wsnt:SubscriptionPolicy>")
    assert site.service.get(LOCAL, f"{1:032x}").raw


@each_store
@pytest.mark.parametrize(
    ("wish", "granted"),
    [
        ("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("2026-01-02T05:00:00+01:00", "2026-01-02T04:00:00Z"),
        ("2026-01-02T04:00:00", "2026-01-02T04:00:00Z"),
        ("PT1H", "2026-01-02T04:04:05Z"),
        ("P1M", "2026-02-02T03:04:05Z"),
        (None, None),
    ],
)
def test_ends_that_are_granted_to_the_second(site: Site, wish: str | None, granted: str | None) -> None:
    element = f">{wish}" if wish else ' xsi:nil="true">'
    answer = site.subscribe(f"<wsnt:InitialTerminationTime{element}</wsnt:InitialTerminationTime>")
    time = answer.find("wsnt:TerminationTime", dict(NS))
    assert time is not None
    assert time.text == granted
    assert time.get(qname("xsi", "nil")) == (None if granted else "true")
    renewed = site.call(
        f"<wsnt:Renew><wsnt:TerminationTime{element}</wsnt:TerminationTime></wsnt:Renew>", at="subscription"
    )
    assert text(renewed, "wsnt:TerminationTime") == (granted or "")
    assert text(renewed, "wsnt:CurrentTime") == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    "wish", ["2026-01-02T03:04:05Z", "1999-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "P2Y", "-PT1H", "PT0S", "P9999Y"]
)
def test_ends_that_are_refused_say_what_would_be_granted(site: Site, wish: str) -> None:
    answer = site.subscribe(f"<wsnt:InitialTerminationTime>{wish}</wsnt:InitialTerminationTime>")
    detail = site.fault(answer)
    assert detail.tag == qname("wsnt", "UnacceptableInitialTerminationTimeFault")
    assert text(detail, "wsnt:MinimumTime") == "2026-01-02T03:04:06Z"
    assert text(detail, "wsnt:MaximumTime") == "2026-02-02T03:04:05Z"
    site.subscribe()
    renewal = f"<wsnt:Renew><wsnt:TerminationTime>{wish}</wsnt:TerminationTime></wsnt:Renew>"
    detail = site.fault(site.call(renewal, at="subscription"))
    assert detail.tag == qname("wsnt", "UnacceptableTerminationTimeFault")
    assert site.service.get(LOCAL, f"{1:032x}").ends_at == NOW + timedelta(days=1)


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "ftp://h.example/",
        "http://[::ffff:127.0.0.1]/",
        "http://h.example:25/",
    ],
)
def test_a_forbidden_consumer_is_refused_with_the_reason(site: Site, address: str) -> None:
    detail = site.fault(site.subscribe(consumer=f"<wsa:Address>{address}</wsa:Address>"))
    assert detail.tag == qname("wsnt", "SubscribeCreationFailedFault")
    assert "notifications are" in (text(detail, "bf:Description") or "")
    assert site.subscriptions() == 0


@pytest.mark.parametrize(
    "parameter",
    [
        "<wsa:Action>urn:x</wsa:Action>",
        "<s11:Header/>",
        '<c:K xmlns:c="urn:c" s11:mustUnderstand="1"/>',
        '<S xmlns="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"/>',
        '<c:K xmlns:c="urn:c">' + "x" * 9000 + "</c:K>",
        '<c:K xmlns:c="urn:c"/>' * 17,
    ],
)  # fmt: skip
def test_reference_parameters_that_pose_as_other_headers_or_swell_every_message(site: Site, parameter: str) -> None:
    consumer = (
        f"<wsa:Address>http://h.example/</wsa:Address><wsa:ReferenceParameters>{parameter}</wsa:ReferenceParameters>"
    )
    assert site.fault(site.subscribe(consumer=consumer)).tag == qname("wsnt", "SubscribeCreationFailedFault")


@each_store
@pytest.mark.parametrize("resource", [f"{2:032x}", f"{3:032x}", f"{9:032x}"])
def test_a_resource_that_is_foreign_destroyed_or_not_there_is_unknown_and_nothing_is_looked_up(
    site: Site, resource: str
) -> None:
    answer = site.subscribe(consumer="<wsa:Address>http://h.example/</wsa:Address>", resource=resource)
    assert site.fault(answer).tag == qname("r", "ResourceUnknownFault")
    assert site.looked_up == []


NEAR = Identity(LOCAL.name, groups=frozenset({"near"}))


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "h.near.example"])
def test_a_consumer_that_a_policy_allows_is_taken(site: Site, host: str) -> None:
    answer = site.subscribe(consumer=f"<wsa:Address>http://{host}/</wsa:Address>", caller=NEAR)
    assert answer.tag == qname("wsnt", "SubscribeResponse")


def test_a09_a_policy_narrows_whom_its_members_may_name_and_says_so(site: Site) -> None:
    answer = site.subscribe(consumer="<wsa:Address>http://h.far.example/</wsa:Address>", caller=NEAR)
    fault = site.fault(answer)
    assert fault.tag == qname("wsnt", "SubscribeCreationFailedFault")
    said = etree.tostring(fault, encoding="unicode")
    assert "the policy near does not allow the consumer host 'h.far.example'" in said
    assert "it allows: 127.0.0.0/8, 10.0.0.0/8, *.near.example" in said
    assert site.looked_up == [], "nothing is asked about a name that is not allowed"
    everybody = site.subscribe(consumer="<wsa:Address>http://h.far.example/</wsa:Address>")
    assert everybody.tag == qname("wsnt", "SubscribeResponse")


def test_a09_a_policy_widens_nothing_that_the_site_has_not_allowed(site: Site) -> None:
    answer = site.subscribe(consumer="<wsa:Address>http://10.0.0.1/</wsa:Address>", caller=NEAR)
    assert "the site has not allowed" in etree.tostring(site.fault(answer), encoding="unicode")


@each_store
def test_a_policy_holds_for_going_on_with_a_subscription_and_not_for_ending_it(site: Site) -> None:
    site.subscribe(consumer="<wsa:Address>http://h.far.example/</wsa:Address>")
    renew = "<wsnt:Renew><wsnt:TerminationTime>PT1H</wsnt:TerminationTime></wsnt:Renew>"
    for body in (renew, "<wsnt:ResumeSubscription/>"):
        answer = site.call(body, at="subscription", caller=NEAR)
        assert "the policy near does not allow" in etree.tostring(site.fault(answer), encoding="unicode")
    ended = site.call("<wsnt:Unsubscribe/>", at="subscription", caller=NEAR)
    assert ended.tag == qname("wsnt", "UnsubscribeResponse")


@each_store
def test_owners_and_consumers_have_a_most(site: Site) -> None:
    for number in range(6):
        host = "a" if number < 4 else "b"
        answer = site.subscribe(consumer=f"<wsa:Address>http://{host}.example:80{number}/</wsa:Address>")
        if number == 3:
            assert "a.example" in (text(site.fault(answer), "bf:Description") or "")
    for letter in "cd":
        answer = site.subscribe(consumer=f"<wsa:Address>http://{letter}.example/</wsa:Address>")
    assert "5 subscriptions" in (text(site.fault(answer), "bf:Description") or "")
    assert site.subscriptions() == 5


@each_store
def test_a10_a_consumer_that_is_spelled_otherwise_is_the_same_target(site: Site) -> None:
    spellings = ("127.0.0.1:81", "127.0.0.1:82", "127.1", "2130706433")
    answers = [site.subscribe(consumer=f"<wsa:Address>http://{host}/</wsa:Address>") for host in spellings]
    assert site.looked_up[-2:] == ["127.1", "2130706433"]
    assert "127.0.0.1" in (text(site.fault(answers[-1]), "bf:Description") or "")
    assert site.subscriptions() == 3


@each_store
@pytest.mark.parametrize("inside", [content("//fl:State"), about("//fl:State")])
def test_an_owner_has_so_many_filters_that_are_evaluated_and_more_by_topic(site: Site, inside: str) -> None:
    for letter in "ab":
        consumer = f"<wsa:Address>http://{letter}.example/</wsa:Address>"
        site.subscribe(inside, consumer=consumer)
        site.time += timedelta(seconds=1)
    detail = site.fault(site.subscribe(inside, consumer=consumer))
    assert detail.tag == qname("wsnt", "SubscribeCreationFailedFault")
    assert "2 subscriptions with MessageContent" in (text(detail, "bf:Description") or "")
    assert site.subscribe(topic("fl:state")).tag == qname("wsnt", "SubscribeResponse")
    assert site.subscriptions() == 3


@each_store
@pytest.mark.parametrize("stem", ["SubscriptionManager", "PausableSubscriptionManager"])
def test_unsubscribe_under_either_stem_and_never_again(site: Site, stem: str) -> None:
    site.subscribe()

    def end() -> _Element:
        return site.call("<wsnt:Unsubscribe/>", at="subscription", action=f"{STEM}{stem}/UnsubscribeRequest")

    assert end().tag == qname("wsnt", "UnsubscribeResponse")
    assert site.fault(end()).tag == qname("r", "ResourceUnknownFault")


@each_store
@pytest.mark.parametrize("stem", ["SubscriptionManager", "PausableSubscriptionManager"])
@pytest.mark.parametrize("soap", ["1.1", "1.2"])
def test_renew_under_either_stem(site: Site, stem: str, soap: str) -> None:
    site.subscribe()
    renewal = "<wsnt:Renew><wsnt:TerminationTime>PT1H</wsnt:TerminationTime></wsnt:Renew>"
    answer = site.call(renewal, at="subscription", action=f"{STEM}{stem}/RenewRequest", soap=soap)
    assert text(answer, "wsnt:TerminationTime") == "2026-01-02T04:04:05Z"


@each_store
def test_another_persons_subscription_is_unknown_but_not_to_the_operator(site: Site) -> None:
    site.subscribe()
    answer = site.call("<wsnt:Unsubscribe/>", at="subscription", caller=Identity("bob"))
    assert site.fault(answer).tag == qname("r", "ResourceUnknownFault")
    answer = site.call("<wsnt:Unsubscribe/>", at="subscription", caller=OPERATOR)
    assert answer.tag == qname("wsnt", "UnsubscribeResponse")


@each_store
def test_an_expired_subscription_is_unknown_and_swept(site: Site) -> None:
    site.subscribe("<wsnt:InitialTerminationTime>PT10S</wsnt:InitialTerminationTime>")
    site.subscribe("<wsnt:InitialTerminationTime>PT20S</wsnt:InitialTerminationTime>")
    site.time += timedelta(seconds=10)
    renewal = "<wsnt:Renew><wsnt:TerminationTime>PT1H</wsnt:TerminationTime></wsnt:Renew>"
    assert site.fault(site.call(renewal, at="subscription")).tag == qname("r", "ResourceUnknownFault")
    site.woken.clear()
    assert site.store.call(site.service.expire) == 0
    assert site.woken == [f"{1:032x}"]  # its consumer is to be told; a minute later it is gone whatever comes of that
    site.time += timedelta(minutes=1)
    site.store.call(site.service.expire)
    assert site.subscriptions() == 1


def test_the_managers_operations_are_those_of_its_wsdl(site: Site) -> None:
    assert site.endpoints["subscription"].routes() == Contract.packaged().operations("subscription")


@each_store
def test_every_message_of_a_day_has_been_judged_by_the_schemas(site: Site) -> None:
    site.subscribe()
    site.call("<wsnt:Unsubscribe/>", at="subscription")
    site.call("<wsnt:Unsubscribe/>", at="subscription")
    assert [kind for kind, _ in site.seen] == ["request", "response"] * 2 + ["request", "fault"]


RP = {"rp": NS["rp"], "wsnt": NS["wsnt"], "fl": NS["fl"], "wsa": NS["wsa"], "rl": NS["rl"]}


@each_store
def test_pausing_and_resuming_wakes_the_delivery(site: Site) -> None:
    site.subscribe()
    for _ in range(2):  # again is as well
        action = STEM + "PausableSubscriptionManager/PauseSubscriptionRequest"
        answer = site.call("<wsnt:PauseSubscription/>", at="subscription", action=action)
        assert answer.tag == qname("wsnt", "PauseSubscriptionResponse")
    assert site.service.get(LOCAL, f"{1:032x}").paused_at == NOW
    assert site.woken == []
    answer = site.call("<wsnt:ResumeSubscription/>", at="subscription")
    assert answer.tag == qname("wsnt", "ResumeSubscriptionResponse")
    assert (site.service.get(LOCAL, f"{1:032x}").paused_at, site.woken) == (None, [f"{1:032x}"])


@each_store
def test_what_is_no_longer_sent_to_stays_paused_and_its_owner_is_told(site: Site) -> None:
    """The site has narrowed down where it sends to since."""
    site.subscribe()
    site.call("<wsnt:PauseSubscription/>", at="subscription")
    site.service._judge._consumers = Consumers(ConsumerPolicy(), site.resolve)
    action = STEM + "PausableSubscriptionManager/ResumeSubscriptionRequest"
    detail = site.fault(site.call("<wsnt:ResumeSubscription/>", at="subscription", action=action))
    assert detail.tag == qname("wsnt", "ResumeFailedFault")
    assert "loopback" in (text(detail, "bf:Description") or "")
    assert site.service.get(LOCAL, f"{1:032x}").paused_at == NOW
    assert site.woken == []


@each_store
@pytest.mark.parametrize("operation", ["PauseSubscription", "ResumeSubscription"])
def test_nobody_elses_subscription_is_paused_or_resumed(site: Site, operation: str) -> None:
    site.subscribe()
    answer = site.call(f"<wsnt:{operation}/>", at="subscription", caller=Identity("bob"))
    assert site.fault(answer).tag == qname("r", "ResourceUnknownFault")


@each_store
def test_a_subscription_is_a_resource_with_properties(site: Site) -> None:
    site.subscribe(topic("fl:state") + "<wsnt:SubscriptionPolicy><wsnt:UseRaw/></wsnt:SubscriptionPolicy>")
    (document,) = site.call("<rp:GetResourcePropertyDocument/>", at="subscription")
    assert document.tag == qname("fl", "SubscriptionProperties")
    Contract.packaged().validate(etree.fromstring(etree.tostring(document)))
    assert document.findtext("wsnt:ConsumerReference/wsa:Address", namespaces=RP) == "http://127.0.0.1:9000/x?a=1&b=2"
    assert document.findtext("wsnt:ConsumerReference/wsa:ReferenceParameters/{urn:client}Key", namespaces=RP) == "k<1"
    assert document.findtext("wsnt:Filter/wsnt:TopicExpression", namespaces=RP) == "fl:state"
    assert document.findtext("wsnt:CreationTime", namespaces=RP) == "2026-01-02T03:04:05Z"
    for name in ("ConsumerReference", "Filter", "SubscriptionPolicy", "CreationTime"):
        asked = f"<rp:GetResourceProperty>wsnt:{name}</rp:GetResourceProperty>"
        (found,) = site.call(asked, at="subscription")
        assert found.tag == qname("wsnt", name)
    assert document.find("wsnt:SubscriptionPolicy/wsnt:UseRaw", RP) is not None
    assert document.findtext("fl:Delivery/fl:Waiting", namespaces=RP) == "0"
    assert document.findtext("rl:TerminationTime", namespaces=RP) == "2026-01-03T03:04:05Z"


@each_store
def test_a_subscription_ends_and_is_prolonged_like_any_resource(site: Site) -> None:
    site.subscribe()
    duration = "<rl:RequestedLifetimeDuration>PT1H</rl:RequestedLifetimeDuration>"
    later = f"<rl:SetTerminationTime>{duration}</rl:SetTerminationTime>"
    answer = site.call(later, at="subscription")
    assert answer.findtext("rl:NewTerminationTime", namespaces=RP) == "2026-01-02T04:04:05Z"
    beyond = later.replace("PT1H", "P400D")
    fault = site.fault(site.call(beyond, at="subscription"))
    assert fault.tag == qname("rl", "TerminationTimeChangeRejectedFault")
    assert site.call("<rl:Destroy/>", at="subscription").tag == qname("rl", "DestroyResponse")
    assert site.subscriptions() == 0
    assert site.fault(site.call("<rl:Destroy/>", at="subscription")).tag == qname("r", "ResourceUnknownFault")


def _tell(event: Event, tx: Any) -> None:
    tx.outbox.add([event])


def current(expression: str, dialect: str = CONCRETE) -> str:
    return f'<wsnt:GetCurrentMessage><wsnt:Topic Dialect="{dialect}">{expression}</wsnt:Topic></wsnt:GetCurrentMessage>'


@each_store
def test_the_current_message_is_the_last_one_on_its_topic(site: Site) -> None:
    key = ResourceKey(Kind.WORKSPACE, f"{1:032x}")
    told = [(Topic.STATE, "Propagated"), (Topic.STATE, "Running"), (Topic.SCHEDULE, "")]
    for number, (name, state) in enumerate(told):
        body = {"name": "vm", "state": state}
        event = Event(key=key, sequence=number, topic=name, owner=LOCAL.name, at=NOW, body=body)
        site.store.call(partial(_tell, event))
    (change,) = site.call(current("fl:state"), action=STEM + "NotificationProducer/GetCurrentMessageRequest")
    assert (change.tag, change.get("sequence")) == (qname("fl", "StateChange"), "1")
    assert change.findtext("fl:State", namespaces=RP) == "Running"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (current("fl:warning"), qname("wsnt", "NoCurrentMessageOnTopicFault")),
        (current("fl:nothing"), qname("wsnt", "TopicNotSupportedFault")),
        (current("fl:state", "urn:other"), qname("wsnt", "TopicExpressionDialectUnknownFault")),
        (current("fl:*"), qname("wsnt", "InvalidTopicExpressionFault")),
        (current("fl:membership"), qname("wsnt", "TopicNotSupportedFault")),
        (current("fl:*", FULL), qname("wsnt", "MultipleTopicsSpecifiedFault")),
    ],
)
def test_a_current_message_that_there_is_not(site: Site, body: str, fault: str) -> None:
    assert site.fault(site.call(body)).tag == fault


@each_store
def test_nobody_elses_current_message_is_told(site: Site) -> None:
    answer = site.call(current("fl:state"), resource=f"{2:032x}")
    assert site.fault(answer).tag == qname("r", "ResourceUnknownFault")
