"""The standards' own messages, as the service makes them, read by the client library."""

from datetime import UTC, datetime
from typing import Any

import pytest

from flyinglow.client.notification import Notification, read
from flyinglow.notification.envelope import Envelopes
from flyinglow.notification.model import Delivery, Subscription
from flyinglow.workspace.model import Event, Kind, ResourceKey, Topic
from flyinglow.wsrf.addresses import Addresses

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HEARD = datetime(2026, 1, 2, 3, 4, 9, tzinfo=UTC)
SITE = "http://site.example:8080"
ENVELOPES = Envelopes(Addresses(SITE))
GROUP = ResourceKey(Kind.GROUP, "c" * 32)
MEMBER = "d" * 32
NIC = {"network": "public", "name": "eth0", "ip": "10.0.0.5", "prefix": 24}
JOINED = {"change": "added", "member": MEMBER, "member_name": "wn-1"}
LEFT = {"change": "removed", "member": MEMBER, "member_name": "wn-1", "reason": "destroyed by its owner"}


def subscription(*topics: str, **more: Any) -> Subscription:
    values: dict[str, Any] = {"owner": "ann", "producer": GROUP, "consumer": "http://client.example/", **more}
    return Subscription(id="b" * 32, topics=topics, created_at=AT, **values)


def heard(topic: Topic, body: dict[str, Any], *chosen: str) -> Notification:
    event = Event(key=GROUP, sequence=7, topic=topic, owner="ann", at=AT, body={"name": "farm", **body}, id=id(body))
    delivery = Delivery(position=1, subscription_id="b" * 32, message_id="urn:uuid:1", event=event)
    (found,) = read(ENVELOPES.compose(subscription(*chosen), [delivery]).body, HEARD).notifications
    assert (found.kind, found.producer) == ("group", f"{SITE}/group/{GROUP.id}")
    assert (found.sequence, found.at, found.received_at, found.name) == (0, HEARD, HEARD, "")
    return found


@pytest.mark.parametrize("chosen", [(), ("sg:ServiceGroupModification",)])
@pytest.mark.parametrize(("body", "joined", "reason"), [(JOINED, True, ""), (LEFT, False, "destroyed by its owner")])
def test_members_that_come_and_go(chosen: tuple[str, ...], body: Any, joined: bool, reason: str) -> None:
    found = heard(Topic.MEMBERSHIP, body, *chosen)
    assert (found.topic, found.joined, found.member, found.reason) == ("membership", joined, "wn-1", reason)
    assert found.member_url == f"{SITE}/workspace/{MEMBER}"


def test_a_state_that_changes() -> None:
    found = heard(Topic.STATE, {"state": "Running", "previous": "Propagated"}, "fl:state-value")
    assert (found.topic, found.state, found.previous) == ("state-value", "Running", "Propagated")
    found = heard(Topic.STATE, {"state": "Running"}, "fl:state-value")
    assert (found.state, found.previous) == ("Running", None)


def test_addresses_that_are_known() -> None:
    found = heard(Topic.NETWORKING, {"nics": [NIC]}, "fl:networking-value")
    assert (found.topic, [nic.ip for nic in found.nics]) == ("networking-value", ["10.0.0.5"])


@pytest.mark.parametrize("at", ["2026-01-02T05:04:05+00:00", None])
def test_an_end_that_is_moved(at: str | None) -> None:
    found = heard(Topic.SCHEDULE, {"ends_at": at, "starts_at": None}, "fl:end-value")
    assert (found.topic, found.ends_at) == ("end-value", at and datetime.fromisoformat(at))


def test_a_resource_that_has_ended() -> None:
    found = heard(Topic.TERMINATION, {"reason": "its lease", "at": AT.isoformat()}, "rl:ResourceTermination")
    assert (found.topic, found.reason, found.ends_at) == ("rl:ResourceTermination", "its lease", AT)


def test_a_subscription_that_has_ended_is_not_taken_for_what_it_was_about() -> None:
    body = ENVELOPES.compose(subscription(ends_at=AT), []).body
    (found,) = read(body, HEARD).notifications
    assert (found.kind, found.topic, found.ends_at) == ("subscription", "rl:ResourceTermination", AT)
