"""The broker, filters of every kind, and the delivery log, through the real endpoints on each database."""

from collections.abc import Callable

import pytest

from flyinglow.access.identity import Identity
from flyinglow.nodectl.errors import TransientError
from flyinglow.store import Store
from flyinglow.workspace.model import Topic
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS, qname
from flyinglow.wsrf.xpath.evaluator import DIALECT
from rigs.pull_site import KEY, PullSite, sequences
from rigs.store import workspace

BOB = Identity("bob")
FULL = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Full"
CONSUMER = "<wsa:Address>http://127.0.0.1:9000/in</wsa:Address>"


def about(text: str, tag: str = "ProducerProperties") -> str:
    return f'<wsnt:{tag} Dialect="{DIALECT}">{text}</wsnt:{tag}>'


def filtered(*filters: str) -> str:
    return f"<wsnt:Filter>{''.join(filters)}</wsnt:Filter>"


def subscription_of(answer: object) -> str:
    address: str = answer.findtext(".//wsa:Address", namespaces=dict(NS))  # type: ignore[attr-defined]
    return address.rpartition("/")[2]


def test_one_is_told_of_all_ones_own_and_of_what_is_leased_later(pull_site: PullSite) -> None:
    mine, bobs = pull_site.pull_point(), pull_site.pull_point(BOB)
    assert pull_site.subscribe(mine, at="broker").tag == qname("wsnt", "SubscribeResponse")
    pull_site.subscribe(bobs, at="broker", caller=BOB)
    pull_site.happen(1, 1)
    pull_site.happen(2, 3, owner="bob")
    pull_site.happen(3, 2)
    pull_site.store.call(lambda tx: tx.workspaces.add([workspace(7)]))
    pull_site.happen(4, 7)
    found = pull_site.get(mine)
    assert sequences(found) == [1, 3, 4]
    ids = [each.text for each in found.iterfind(".//wsnt:ProducerReference//fl:ResourceID", dict(NS))]
    assert ids == [f"{number:032x}" for number in (1, 2, 7)]
    assert sequences(pull_site.get(bobs, caller=BOB)) == [2]


def test_a_subscription_at_the_broker_must_end(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    endless = '<wsnt:InitialTerminationTime xsi:nil="true"/>'
    refused = pull_site.subscribe(point, endless, at="broker")
    assert refused.tag == qname("wsnt", "UnacceptableInitialTerminationTimeFault")
    subscription = subscription_of(pull_site.subscribe(point, at="broker"))
    renewal = '<wsnt:Renew><wsnt:TerminationTime xsi:nil="true"/></wsnt:Renew>'
    refused = pull_site.call("subscription", renewal, subscription)
    assert refused.tag == qname("wsnt", "UnacceptableTerminationTimeFault")


def test_the_brokers_current_message_is_ones_own(pull_site: PullSite) -> None:
    expression = f'<wsnt:Topic Dialect="{FULL}">fl:state</wsnt:Topic>'
    asked = f"<wsnt:GetCurrentMessage>{expression}</wsnt:GetCurrentMessage>"
    assert pull_site.call("broker", asked).tag == qname("wsnt", "NoCurrentMessageOnTopicFault")
    pull_site.happen(1, 2)
    pull_site.happen(2, 3, owner="bob")
    (change,) = pull_site.call("broker", asked)
    assert change.get("sequence") == "1"


def test_the_broker_takes_no_publishers_and_says_so(pull_site: PullSite) -> None:
    refused = pull_site.call("broker", "<wsn-br:RegisterPublisher/>")
    assert refused.tag == qname("wsn-br", "PublisherRegistrationRejectedFault")
    (document,) = pull_site.call("broker", "<rp:GetResourcePropertyDocument/>")
    Contract.packaged().validate(document)
    assert document.findtext("wsn-br:RequiresRegistration", namespaces=dict(NS)) == "true"


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("//fl:Name='w1'", [1]),
        ("//fl:Name='w2'", [2]),
        ("number(//fl:ResourceAllocation/fl:MemoryMB) &gt;= 512", [1, 2]),
        ("//fl:Owner='nobody'", []),
    ],
)
def test_a_filter_over_the_producers_properties(pull_site: PullSite, expression: str, told: list[int]) -> None:
    point = pull_site.pull_point()
    pull_site.subscribe(point, filtered(about(expression)), at="broker")
    pull_site.happen(1, 1)
    pull_site.happen(2, 2)
    assert sequences(pull_site.get(point)) == told


def test_filters_of_every_kind_must_all_let_a_message_through(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    filters = filtered(
        f'<wsnt:TopicExpression Dialect="{FULL}">fl:state|fl:warning</wsnt:TopicExpression>',
        about("//fl:Source/fl:Name='w1'", "MessageContent"),
        about("/*/@sequence &gt; 1", "MessageContent"),
        about("//fl:Owner='local'"),
        about("//fl:Name='w1' or //fl:Name='w2'"),
    )
    pull_site.subscribe(point, filters, at="broker")
    for sequence, number in enumerate((1, 2, 1, 1), 1):
        pull_site.happen(sequence, number)
    pull_site.happen(9, 1, topic=Topic.SCHEDULE)
    assert sequences(pull_site.get(point)) == [3, 4]


def test_the_last_message_of_what_is_gone_is_not_held_back(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    pull_site.subscribe(point, filtered(about("//fl:Name='another'")), at="broker")
    pull_site.happen(1, 99)
    assert sequences(pull_site.get(point)) == [1]


def test_its_owner_reads_what_was_delivered_and_has_it_sent_again(any_store: Store) -> None:
    site = PullSite(any_store).fill()
    down = [True]
    failing: Callable[[str, int], int | Exception] = lambda _to, _n: TransientError("away") if down[0] else 202  # noqa: E731
    site.sender.answer = failing
    body = f"<wsnt:Subscribe><wsnt:ConsumerReference>{CONSUMER}</wsnt:ConsumerReference></wsnt:Subscribe>"
    subscription = subscription_of(site.call("workspace", body, KEY.id))
    site.happen(1)
    down[0] = False
    site.clock.advance(10)
    site.happen(2)
    site.happen(3)
    asked = "<rp:GetResourceProperty>fl:DeliveryLog</rp:GetResourceProperty>"
    (log,) = site.call("subscription", asked, subscription)
    told = [
        (entry.findtext("fl:Sequence", namespaces=dict(NS)), entry.findtext("fl:Failures", namespaces=dict(NS)))
        for entry in log
    ]
    assert told == [("1", "1"), ("2", "0"), ("3", "0")]
    sent = [body for _, _, body in site.sender.posts]
    number = log[1].findtext("fl:Number", namespaces=dict(NS))
    again = f"<fl:Redeliver><fl:From>{number}</fl:From></fl:Redeliver>"
    assert site.call("subscription", again, subscription, caller=BOB).tag == qname("r", "ResourceUnknownFault")
    answer = site.call("subscription", again, subscription)
    assert answer.findtext("fl:Messages", namespaces=dict(NS)) == "2"
    repeated = b"".join(body for _, _, body in site.sender.posts[len(sent) :])
    assert [repeated.find(f'sequence="{n}"'.encode()) >= 0 for n in (1, 2, 3)] == [False, True, True]
    ids = [
        entry.findtext("fl:MessageID", namespaces=dict(NS))
        for entry in site.call("subscription", asked, subscription)[0]
    ]
    assert ids == [entry.findtext("fl:MessageID", namespaces=dict(NS)) for entry in log]
    newest = log[2].findtext("fl:Number", namespaces=dict(NS))
    for beyond in (int(newest) + 1, 2**53, 2**63, 2**64 + int(number), 10**200):
        answer = site.call("subscription", f"<fl:Redeliver><fl:From>{beyond}</fl:From></fl:Redeliver>", subscription)
        assert answer.tag == qname("fl", "InvalidFault")
        assert f"its newest entry has {newest}" in answer.findtext("bf:Description", namespaces=dict(NS))
    (document,) = site.call("subscription", "<rp:GetResourcePropertyDocument/>", subscription)
    Contract.packaged().validate(document)
    site.stop()
