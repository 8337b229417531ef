"""Pull points through the real endpoints, on each database: kept, numbered, replayed, bounded, waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from twisted.internet.task import Clock

from flyinglow.access.identity import Identity
from flyinglow.notification.pulling.bell import Bell
from flyinglow.notification.pulling.service import PullSettings
from flyinglow.store import Store
from flyinglow.wsrf.contract import Contract
from flyinglow.wsrf.xml import NS, qname
from rigs.pull_site import KEY, PullSite, numbers, sequences
from rigs.store import NOON

BOB = Identity("bob")
UNKNOWN = qname("r", "ResourceUnknownFault")
STEM = "http://docs.oasis-open.org/wsn/bw-2/"


@contextmanager
def small(store: Store, settings: PullSettings) -> Iterator[PullSite]:
    site = PullSite(store, settings).fill()
    yield site
    site.stop()


def test_messages_are_fetched_once_in_order_and_say_where_they_are_from(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    pull_site.subscribe(point)
    for sequence in range(1, 8):
        pull_site.happen(sequence)
    first = pull_site.get(
        point, "<wsnt:MaximumNumber>3</wsnt:MaximumNumber>", action=f"{STEM}PullPoint/GetMessagesRequest"
    )
    assert first.tag == qname("wsnt", "GetMessagesResponse")
    assert sequences(first) == [1, 2, 3]
    assert numbers(first) == {"first": "1", "last": "3", "waiting": "4"}
    producer = first.findtext(".//wsnt:ProducerReference//fl:ResourceID", namespaces=dict(NS))
    assert producer == KEY.id
    assert sequences(pull_site.get(point)) == [4, 5, 6, 7]
    assert numbers(pull_site.get(point)) == {"waiting": "0"}
    assert pull_site.sender.posts == []


def test_a_maximum_of_none_gets_none(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    pull_site.subscribe(point)
    pull_site.happen(1)
    assert numbers(pull_site.get(point, "<wsnt:MaximumNumber>0</wsnt:MaximumNumber>")) == {"waiting": "1"}


def test_a_lost_answer_is_asked_for_again_by_its_number(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    pull_site.subscribe(point)
    for sequence in range(1, 6):
        pull_site.happen(sequence)
    pull_site.get(point)
    again = pull_site.get(point, "<fl:After>2</fl:After>")
    assert (sequences(again), numbers(again)) == ([3, 4, 5], {"first": "3", "last": "5", "waiting": "0"})
    fault = pull_site.get(point, "<fl:After>6</fl:After>")
    assert fault.tag == qname("wsnt", "UnableToGetMessagesFault")
    assert pull_site.get(point, "<fl:After>99999999999999999999999</fl:After>").tag == fault.tag


def test_the_oldest_make_room_and_who_asks_for_them_is_told(any_store: Store) -> None:
    with small(any_store, PullSettings(messages=4)) as site:
        point = site.pull_point()
        site.subscribe(point)
        for sequence in (1, 2):
            site.happen(sequence)
        assert sequences(site.get(point)) == [1, 2]
        for sequence in range(3, 10):
            site.happen(sequence)
        found = site.get(point)
        assert sequences(found) == [6, 7, 8, 9]
        assert numbers(found) == {"first": "6", "last": "9", "waiting": "0", "gap": "3-5"}
        assert numbers(site.get(point)) == {"waiting": "0"}
        assert numbers(site.get(point, "<fl:After>0</fl:After>"))["gap"] == "1-5"
        (held,) = site.call("pullpoint", "<rp:GetResourceProperty>fl:Held</rp:GetResourceProperty>", point)
        assert [child.text for child in held] == ["6", "9", "9", "3"]


def test_the_size_is_bounded_too(any_store: Store) -> None:
    with small(any_store, PullSettings(size=3000)) as site:
        point = site.pull_point()
        site.subscribe(point)
        for sequence in range(1, 10):
            site.happen(sequence)
        row = site.store.view(lambda tx: tx.pull_points.get(point))
        sizes = site.store.view(lambda tx: tx.pull_points.sizes(point, 99))
        assert 0 < row.size == sum(size for _, size in sizes) <= 3000
        assert sequences(site.get(point))[-1] == 9


def test_messages_and_numbers_survive_a_restart(any_store: Store) -> None:
    before = PullSite(any_store).fill()
    point = before.pull_point()
    before.subscribe(point)
    before.happen(1)
    assert sequences(before.get(point)) == [1]
    before.stop()
    before.happen(2)  # committed, and handed on by nobody: the process died
    after = PullSite(any_store, first_id=100)
    after.happen(3)
    found = after.get(point)
    assert (sequences(found), numbers(found)) == ([2, 3], {"first": "2", "last": "3", "waiting": "0"})
    assert sequences(after.get(point, "<fl:After>0</fl:After>")) == [1, 2, 3]
    after.stop()


def test_one_who_waits_is_answered_when_a_message_comes_and_holds_no_thread(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    pull_site.subscribe(point)
    waiting = pull_site.ask("pullpoint", "<wsnt:GetMessages><fl:Wait>15</fl:Wait></wsnt:GetMessages>", point)
    pull_site.clock.advance(14)
    assert waiting == []
    pull_site.happen(1)
    (answer,) = waiting
    assert sequences(answer) == [1]  # type: ignore[arg-type]


def test_one_who_waits_in_vain_is_answered_within_twenty_seconds(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    waiting = pull_site.ask("pullpoint", "<wsnt:GetMessages><fl:Wait>3600</fl:Wait></wsnt:GetMessages>", point)
    pull_site.clock.advance(19.9)
    assert waiting == []
    pull_site.clock.advance(0.2)
    assert numbers(waiting[0]) == {"waiting": "0"}  # type: ignore[arg-type]


def test_who_comes_next_sends_away_who_waited(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    body = "<wsnt:GetMessages><fl:Wait>20</fl:Wait></wsnt:GetMessages>"
    first, second = pull_site.ask("pullpoint", body, point), pull_site.ask("pullpoint", body, point)
    assert numbers(first[0]) == {"waiting": "0"}  # type: ignore[arg-type]
    assert second == []
    pull_site.call("pullpoint", "<wsnt:DestroyPullPoint/>", point)
    assert second[0].tag == UNKNOWN  # type: ignore[union-attr]


LONG = "<wsnt:GetMessages><fl:Wait>20</fl:Wait></wsnt:GetMessages>"


def test_one_caller_waits_at_so_many_places_and_leaves_the_others_to_others(pull_site: PullSite) -> None:
    points = [pull_site.pull_point() for _ in range(9)]
    *waiting, beyond = [pull_site.ask("pullpoint", LONG, point) for point in points]
    assert waiting == [[]] * 8
    assert numbers(beyond[0]) == {"waiting": "0"}  # type: ignore[arg-type]
    others = pull_site.ask("pullpoint", LONG, pull_site.pull_point(caller=BOB), caller=BOB)
    assert others == []
    again = pull_site.ask("pullpoint", LONG, points[0])
    assert (len(waiting[0]), again) == (1, [])
    pull_site.clock.advance(20)
    assert [len(each) for each in (*waiting, others, again)] == [1] * 10
    assert pull_site.ask("pullpoint", LONG, points[8]) == []


def test_the_bell_has_so_many_places_and_forgets_who_has_gone() -> None:
    clock: Any = Clock()
    bell = Bell(clock, most=3, per_owner=2)
    first, second = bell.wait("a", 20, "ann"), bell.wait("b", 20, "ann")
    assert not first.called
    assert bell.wait("c", 20, "ann").called
    assert not bell.wait("d", 20, "bob").called
    assert bell.wait("e", 20, "eve").called
    bell.leave("a", second)
    assert not first.called
    bell.leave("a", first)
    assert not bell.wait("e", 20, "eve").called
    bell.stop()
    assert not bell.wait("c", 20, "ann").called
    assert bell._owners == {"ann": 1}
    assert len(clock.getDelayedCalls()) == 1


def test_a_paused_subscription_keeps_what_happens_and_then_puts_it_in(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    address = pull_site.subscribe(point).findtext(".//wsa:Address", namespaces=dict(NS))
    subscription = address.rpartition("/")[2]
    pull_site.call("subscription", "<wsnt:PauseSubscription/>", subscription)
    pull_site.happen(1)
    assert sequences(pull_site.get(point)) == []
    pull_site.call("subscription", "<wsnt:ResumeSubscription/>", subscription)
    assert sequences(pull_site.get(point)) == [1]


def test_a_subscription_whose_time_is_over_says_so_as_the_standard_does(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    end = "<wsnt:InitialTerminationTime>PT10S</wsnt:InitialTerminationTime>"
    address = pull_site.subscribe(point, end).findtext(".//wsa:Address", namespaces=dict(NS))
    pull_site.happen(1)
    woken: list[str] = []
    pull_site.service._woken = woken.extend
    pull_site.clock.advance(10)
    pull_site.happen(2)
    pull_site.store.call(pull_site.service.expire)
    pull_site.courier.wake(woken)
    told = pull_site.get(point)  # which fits the schemas
    assert sequences(told) == [1]
    (farewell,) = told.findall("wsnt:NotificationMessage", dict(NS))[1:]
    for reference in ("SubscriptionReference", "ProducerReference"):
        assert farewell.findtext(f"wsnt:{reference}/wsa:Address", namespaces=dict(NS)) == address
    topic = farewell.find("wsnt:Topic", dict(NS))
    prefix, _, local = topic.text.partition(":")
    assert (topic.nsmap[prefix], local) == (NS["rl"], "ResourceTermination")
    at = farewell.findtext("wsnt:Message/rl:TerminationNotification/rl:TerminationTime", namespaces=dict(NS))
    assert at == "2030-01-01T12:00:10Z"
    assert pull_site.call("subscription", "<wsnt:Unsubscribe/>", address.rpartition("/")[2]).tag == UNKNOWN
    assert pull_site.store.view(lambda tx: tx.subscriptions.count_requests()) == 0


def test_more_than_one_batch_goes_in_whole(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    address = pull_site.subscribe(point).findtext(".//wsa:Address", namespaces=dict(NS))
    pull_site.call("subscription", "<wsnt:PauseSubscription/>", address.rpartition("/")[2])
    for sequence in range(1, 121):
        pull_site.happen(sequence)
    pull_site.call("subscription", "<wsnt:ResumeSubscription/>", address.rpartition("/")[2])
    first, second = pull_site.get(point), pull_site.get(point)
    assert sequences(first) + sequences(second) == list(range(1, 121))


@pytest.mark.parametrize(
    "body",
    [
        "<wsnt:GetMessages/>",
        "<wsnt:DestroyPullPoint/>",
        "<rl:Destroy/>",
        "<rp:GetResourcePropertyDocument/>",
        "<wsnt:Notify><wsnt:NotificationMessage><wsnt:Message><x/></wsnt:Message></wsnt:NotificationMessage></wsnt:Notify>",
    ],
)
def test_anothers_pull_point_is_unknown(pull_site: PullSite, body: str) -> None:
    point = pull_site.pull_point()
    assert pull_site.call("pullpoint", body, point, caller=BOB).tag == UNKNOWN
    assert pull_site.call("pullpoint", body, "f" * 32).tag == UNKNOWN
    assert pull_site.get(point).tag == qname("wsnt", "GetMessagesResponse")


def test_nobody_sends_to_anothers_pull_point(pull_site: PullSite) -> None:
    refused = pull_site.subscribe(pull_site.pull_point(BOB))
    assert refused.tag == qname("wsnt", "SubscribeCreationFailedFault")
    assert pull_site.subscribe("f" * 32).tag == refused.tag


def test_a_pull_point_takes_no_raw_messages(pull_site: PullSite) -> None:
    policy = "<wsnt:SubscriptionPolicy><wsnt:UseRaw/></wsnt:SubscriptionPolicy>"
    refused = pull_site.subscribe(pull_site.pull_point(), policy)
    assert refused.tag == qname("wsnt", "UnsupportedPolicyRequestFault")
    assert refused.findtext("wsnt:UnsupportedPolicy", namespaces=dict(NS)) == "wsnt:UseRaw"


def test_subscriptions_of_pull_points_do_not_count_towards_one_host(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    answers = {pull_site.subscribe(point).tag for _ in range(5)}
    assert answers == {qname("wsnt", "SubscribeResponse")}


def test_an_owner_has_so_many_pull_points_and_no_more(any_store: Store) -> None:
    with small(any_store, PullSettings(per_owner=2)) as site:
        point = site.pull_point()
        site.pull_point()
        refused = site.call("pullpoints", "<wsnt:CreatePullPoint/>")
        assert refused.tag == qname("wsnt", "UnableToCreatePullPointFault")
        assert len(site.pull_point(BOB)) == 32
        assert site.call("pullpoint", "<wsnt:DestroyPullPoint/>", point).tag == qname(
            "wsnt", "DestroyPullPointResponse"
        )
        assert len(site.pull_point()) == 32


def test_its_owner_may_put_messages_in_by_notify(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    content = '<wsnt:Message><x:News xmlns:x="urn:x">1</x:News></wsnt:Message>'
    message = f"<wsnt:NotificationMessage>{content}</wsnt:NotificationMessage>"
    for stem in ("PullPoint", "NotificationConsumer"):
        action = f"{STEM}{stem}/Notify"
        answer = pull_site.call("pullpoint", f"<wsnt:Notify>{message * 2}</wsnt:Notify>", point, action=action)
        assert answer.status == 202
    found = pull_site.get(point)
    assert len(found.findall(".//{urn:x}News")) == 4
    assert numbers(found) == {"first": "1", "last": "4", "waiting": "0"}
    large = f"<wsnt:Notify>{message.replace('>1<', '>' + 'x' * 70000 + '<')}</wsnt:Notify>"
    assert pull_site.call("pullpoint", large, point).tag == qname("fl", "InvalidFault")


def test_a_publisher_of_the_site_puts_messages_in_and_does_nothing_else(pull_site: PullSite) -> None:
    point, service = pull_site.pull_point(), Identity("service", via="x509")
    message = (
        '<wsnt:NotificationMessage><wsnt:Message><x:News xmlns:x="urn:x"/></wsnt:Message></wsnt:NotificationMessage>'
    )
    news = f"<wsnt:Notify>{message}</wsnt:Notify>"
    assert pull_site.call("pullpoint", news, point, caller=service).status == 202
    assert pull_site.call("pullpoint", news, "f" * 32, caller=service).tag == UNKNOWN
    for body in ("<wsnt:GetMessages/>", "<wsnt:DestroyPullPoint/>", "<rp:GetResourcePropertyDocument/>"):
        assert pull_site.call("pullpoint", body, point, caller=service).tag == UNKNOWN
    assert len(pull_site.get(point).findall(".//{urn:x}News")) == 1


def test_a_pull_point_is_a_resource_with_an_end(pull_site: PullSite) -> None:
    point = pull_site.pull_point()
    pull_site.subscribe(point)
    (document,) = pull_site.call("pullpoint", "<rp:GetResourcePropertyDocument/>", point)
    Contract.packaged().validate(document)
    duration = "<rl:RequestedLifetimeDuration>PT1H</rl:RequestedLifetimeDuration>"
    change = f"<rl:SetTerminationTime>{duration}</rl:SetTerminationTime>"
    answer = pull_site.call("pullpoint", change, point)
    assert answer.findtext("rl:NewTerminationTime", namespaces=dict(NS)) == "2030-01-01T13:00:00Z"
    rejected = pull_site.call("pullpoint", change.replace("PT1H", "P30D"), point)
    assert rejected.tag == qname("rl", "TerminationTimeChangeRejectedFault")
    pull_site.clock.advance(3601)
    assert pull_site.get(point).tag == UNKNOWN
    assert pull_site.store.call(pull_site.pulls.expire) == 1
    assert pull_site.store.view(lambda tx: tx.subscriptions.count_requests()) == 0
    assert pull_site.now() == NOON + timedelta(seconds=3601)
