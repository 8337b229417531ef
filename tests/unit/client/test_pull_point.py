"""A pull point as the client library sees it: numbers asked for, gaps counted, a lost service asked again."""

from typing import Any

import pytest
from lxml import etree

from flyinglow.client.epr import Epr
from flyinglow.client.pull_point import PullPoint
from flyinglow.client.resource import Resource
from flyinglow.client.wire import LostError
from flyinglow.nodectl.errors import InvalidError

SPACES = (
    'xmlns:w="http://docs.oasis-open.org/wsn/b-2" xmlns:a="http://www.w3.org/2005/08/addressing"'
    ' xmlns:fl="urn:flyinglow:types:1"'
)
MADE = "<w:PullPoint><a:Address>http://there/pullpoint/p1</a:Address></w:PullPoint>"
SUBSCRIBED = "<w:SubscriptionReference><a:Address>http://there/subscription/s1</a:Address></w:SubscriptionReference>"


def message(kind: str, sequence: int) -> str:
    source = "<fl:Source><fl:Kind>workspace</fl:Kind><fl:Name>vm</fl:Name></fl:Source>"
    payload = f'<fl:{kind} sequence="{sequence}">{source}<fl:Time>2030-01-01T12:00:00Z</fl:Time></fl:{kind}>'
    producer = "<w:ProducerReference><a:Address>http://there/workspace/w1</a:Address></w:ProducerReference>"
    return f"<w:NotificationMessage>{producer}<w:Message>{payload}</w:Message></w:NotificationMessage>"


class Wire:
    """Answers GetMessages with what it was told to, in turn; notes what was asked for."""

    def __init__(self, *answers: str | Exception) -> None:
        self.timeout = 30.0
        self.answers = list(answers)
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def call(self, service: str, operation: str, to: Epr, /, *_arguments: Any, **parts: Any) -> Any:
        self.calls.append((operation, to.url, parts))
        content = {"CreatePullPoint": MADE, "Subscribe": SUBSCRIBED}.get(operation, "")
        if operation == "GetMessages":
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            content = answer
        return etree.fromstring(f"<A {SPACES}>{content}</A>")

    def asked(self) -> list[list[tuple[str, str]]]:
        """The extensions of each GetMessages."""
        return [
            [(etree.QName(each).localname, each.text) for each in parts["_value_1"]]
            for operation, _, parts in self.calls
            if operation == "GetMessages"
        ]


def test_it_asks_for_what_follows_the_last_number_and_counts_what_is_gone() -> None:
    wire = Wire(
        message("StateChange", 1) + '<fl:Numbers first="1" last="1" waiting="0"/>',
        '<fl:Numbers waiting="0"/>',
        message("StateChange", 9) + '<fl:Numbers first="6" last="6" waiting="0"><fl:Gap from="2" to="5"/></fl:Numbers>',
    )
    with PullPoint(wire, "http://there") as point:  # type: ignore[arg-type]
        assert [[news.sequence for news in point.fetch(wait)] for wait in (0, 99, 0)] == [[1], [], [9]]
        assert point.missed == 4
    assert wire.asked() == [[("After", "0")], [("After", "1"), ("Wait", "15")], [("After", "1")]]
    assert wire.calls[-1][:2] == ("DestroyPullPoint", "http://there/pullpoint/p1")


def test_iteration_ends_with_what_is_watched_and_outlasts_a_lost_service() -> None:
    slept: list[float] = []
    wire = Wire(
        LostError("away"),
        '<fl:Numbers waiting="0"/>',
        message("StateChange", 1) + '<fl:Numbers first="1" last="1" waiting="1"/>',
        message("TerminationNotice", 2) + '<fl:Numbers first="2" last="2" waiting="0"/>',
    )
    point = PullPoint(wire, "http://there", sleep=slept.append)  # type: ignore[arg-type]
    point.watch(Resource(wire, Epr("http://there/workspace/w1"), "vm"), topics=["state"])  # type: ignore[arg-type]
    assert [(news.topic, news.sequence) for news in point] == [("state", 1), ("termination", 2)]
    assert len(slept) == 2  # after the loss, and after an answer that came at once with nothing


def test_a_service_that_tells_no_numbers_is_not_pulled_from() -> None:
    point = PullPoint(Wire(message("StateChange", 1)), "http://there")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="numbers"):
        point.fetch()
