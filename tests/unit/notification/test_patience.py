"""Filters that are slow, but not too slow each, do not make a transaction wait for all of them."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from flyinglow.notification.contents import Contents, Patience
from flyinglow.notification.model import Subscription
from flyinglow.workspace.model import Event, Kind, ResourceKey, Topic
from flyinglow.wsrf.xml import NS
from flyinglow.wsrf.xpath.evaluator import DIALECT, Part, Query

KEY = ResourceKey(Kind.WORKSPACE, "w1")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILTER = (
    f'<wsnt:Filter xmlns:wsnt="{NS["wsnt"]}"><wsnt:MessageContent Dialect="{DIALECT}">{{}}</wsnt:MessageContent>'
    "</wsnt:Filter>"
)


class Slow:
    """Takes as many seconds as an expression says; what takes more than a fifth of one in all is not told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def check(self, query: Query) -> None: ...

    def select(self, document: bytes, query: Query) -> tuple[Part, ...]:
        raise NotImplementedError

    def holds(self, document: bytes, queries: Sequence[Query]) -> tuple[bool | None, ...]:
        took = sum(float(query.text) for query in queries)
        self.seconds += min(took, 0.2)
        return tuple(None if took > 0.2 else True for _ in queries)


def rows(*seconds: float) -> list[Subscription]:
    return [
        Subscription(
            id=f"s{number}",
            owner="ann",
            producer=KEY,
            consumer="http://192.0.2.1/",
            created_at=NOW,
            filter_xml=FILTER.format(each),
        )
        for number, each in enumerate(seconds)
    ]


def event(number: int) -> Event:
    body = {"name": "vm", "state": "Running", "task": None, "target": None, "reason": "", "previous": "Propagated"}
    return Event(key=KEY, sequence=number, topic=Topic.STATE, owner="ann", at=NOW, body=body, id=number)


def test_many_slow_filters_cost_a_transaction_half_a_second_and_nobody_is_to_blame() -> None:
    xpath = Slow()
    contents, patience = Contents(xpath, clock=lambda: xpath.seconds), Patience()
    asked = rows(*[0.06] * 10, 0.19, *[0.06] * 200)
    found = contents.judge(event(1), asked, patience)
    assert (found.untold, found.refused) == (set(), set())
    assert len(found.later) > 200
    for number in range(2, 500):
        assert len(contents.judge(event(number), asked, patience).later) == len(asked)
    assert xpath.seconds == pytest.approx(0.5, abs=0.2)


def test_the_next_transaction_has_time_again() -> None:
    xpath = Slow()
    contents = Contents(xpath, clock=lambda: xpath.seconds)
    asked = rows(0.01, 0.02)
    for number in range(1, 200):
        found = contents.judge(event(number), asked, Patience())
        assert not any(found.holds_back(row.id) for row in asked)
