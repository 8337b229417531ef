"""A consumer that the request itself subscribes: what it asks for, when it ends, and how it is renewed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from lxml import etree

from flyinglow.client.epr import Epr
from flyinglow.client.lease_watch import LeaseWatch
from flyinglow.client.notification import Notification
from flyinglow.nodectl.errors import InvalidError, TransientError, UnknownError

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WSNT = "http://docs.oasis-open.org/wsn/b-2"
RENEWED = etree.fromstring(
    f'<w:RenewResponse xmlns:w="{WSNT}"><w:TerminationTime>2030-01-01T00:10:00Z</w:TerminationTime>'
    "<w:CurrentTime>2030-01-01T00:00:00Z</w:CurrentTime></w:RenewResponse>"
)


@dataclass
class Wire:
    """Stands for the service: answers each operation on each subscription, or raises."""

    errors: dict[str, Exception] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def call(self, service: str, operation: str, epr: Epr, **values: Any) -> Any:
        self.calls.append((operation, epr.address))
        if epr.address in self.errors:
            raise self.errors[epr.address]
        return RENEWED


def epr(name: str) -> Epr:
    return Epr(f"http://site.example/subscription/{name}", ())


def watching(wire: Any, *names: str) -> LeaseWatch:
    watch = LeaseWatch("http://127.0.0.1:1/secret", closing=lambda _: None)
    watch.begin(wire, [("ensemble", "osg"), ("workspace", "ce")], [epr(name) for name in names])
    return watch


def news(kind: str, name: str, topic: str = "termination") -> Notification:
    return Notification(kind=kind, name=name, topic=topic, sequence=1, at=NOW, received_at=NOW)


def test_the_last_event_is_the_end_of_the_last_resource_in_whatever_order_they_end() -> None:
    for first, last in ((("workspace", "ce"), ("ensemble", "osg")), (("ensemble", "osg"), ("workspace", "ce"))):
        watch = watching(Wire())
        assert not watch.is_last(news(*first))
        assert not watch.is_last(news("group", "osg"))
        assert not watch.is_last(news(*last, "state"))
        assert watch.is_last(news(*last))


def test_a_lease_that_was_over_before_its_answer_was_read_ends_the_watch() -> None:
    watch = LeaseWatch("http://127.0.0.1:1/secret", closing=lambda _: None)
    assert not watch.is_last(news("workspace", "vm"))
    watch.begin(Wire(), [("workspace", "vm")], [])  # type: ignore[arg-type]
    assert list(watch) == []


def test_every_subscription_is_renewed_and_those_that_are_gone_are_forgotten() -> None:
    wire = Wire({epr("b").address: UnknownError("gone")})
    watch = watching(wire, "a", "b")
    watch.renew()
    watch.renew()
    assert [address for _, address in wire.calls] == [epr(name).address for name in ("a", "b", "a")]


def test_a_renewal_that_fails_is_tried_again_soon() -> None:
    watch = watching(Wire({epr("a").address: TransientError("away")}), "a")
    before = watch.renew_at
    watch.renew()
    assert watch.renew_at < before - 1000


def test_closing_ends_every_subscription_once() -> None:
    wire = Wire({epr("a").address: TransientError("away")})
    watch = watching(wire, "a", "b")
    watch.close()
    watch.close()
    assert wire.calls == [("Unsubscribe", epr("a").address), ("Unsubscribe", epr("b").address)]
    assert list(watch) == []


def test_it_asks_for_what_a_subscribe_asks_for() -> None:
    watch = LeaseWatch("http://127.0.0.1:1/secret", closing=lambda _: None, topics=("state",), lifetime=60)
    asked = watch.request()
    assert asked["ConsumerReference"] == {"Address": {"_value_1": "http://127.0.0.1:1/secret"}}
    assert asked["InitialTerminationTime"] == "PT60S"
    assert [element.text for element in asked["Filter"]["_value_1"]] == ["fl:state"]
    with pytest.raises(InvalidError, match="weather"):
        LeaseWatch("http://127.0.0.1:1/secret", closing=lambda _: None, topics=("weather",))
