"""The resource properties that every leased resource has because it ends, and because it notifies.

Those of WS-ResourceLifetime 1.2 (CurrentTime, TerminationTime) and of a WS-BaseNotification 1.3 producer.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.workspace.makers import RL, WSNT
from flyinglow.workspace.model import Topic
from flyinglow.wsrf.xml import NIL, NS, qname, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.wsrf.ports import QName

SIMPLE: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Simple"
CONCRETE: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete"
FULL: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Full"
TOPIC_EXPRESSION: Final = qname("wsnt", "TopicExpression")

VIEWS: Final[Mapping[str, Topic]] = MappingProxyType(
    {
        "fl:state-value": Topic.STATE,
        "fl:networking-value": Topic.NETWORKING,
        "fl:end-value": Topic.SCHEDULE,
        "rl:ResourceTermination": Topic.TERMINATION,
        "sg:ServiceGroupModification": Topic.MEMBERSHIP,
    },
)
"""Topics of the standards, by name, and the own topic whose events they tell in the standards' messages."""


def lifetime(ends_at: datetime | None, now: datetime) -> Mapping[QName, Callable[[], list[_Element]]]:
    """Return what makes CurrentTime and TerminationTime (nil while the end is not known), in document order."""
    return {
        qname("rl", "CurrentTime"): lambda: [RL.CurrentTime(timestamp(now))],
        qname("rl", "TerminationTime"): lambda: [_termination(ends_at)],
    }


def _termination(ends_at: datetime | None) -> _Element:
    if ends_at is None:
        return RL.TerminationTime({NIL: "true"})
    return RL.TerminationTime(timestamp(ends_at))


def topic_names(*, whole: bool) -> tuple[str, ...]:
    """Return the names of all topics as prefixed text; ``whole``: of a group or ensemble, whose members change."""
    own = (f"fl:{topic}" for topic in Topic if whole or topic is not Topic.MEMBERSHIP)
    views = (name for name, source in VIEWS.items() if whole or source is not Topic.MEMBERSHIP)
    return (*own, *views)


def clark(name: str) -> str:
    """Return a topic's name in Clark notation."""
    prefix, _, local = name.partition(":")
    return qname(prefix, local)


def _topics(names: Sequence[str]) -> list[_Element]:
    """Return one expression a topic; its prefix is declared where the expression stands."""
    made = []
    for name in names:
        prefix = name.partition(":")[0]
        element = etree.Element(TOPIC_EXPRESSION, nsmap={"wsnt": NS["wsnt"], prefix: NS[prefix]}, Dialect=SIMPLE)
        element.text = name
        made.append(element)
    return made


def _topic_set(names: Sequence[str]) -> _Element:
    """Return the topics as the tree they are, which is flat (WS-Topics 1.3, section 5)."""
    root = etree.Element(
        qname("wstop", "TopicSet"), nsmap={prefix: NS[prefix] for prefix in ("wstop", "fl", "rl", "sg")}
    )
    for name in names:
        etree.SubElement(root, clark(name), {qname("wstop", "topic"): "true"})
    return root


def producer(*, whole: bool) -> Mapping[QName, Callable[[], list[_Element]]]:
    """Return what makes a producer's properties, in document order."""
    names = topic_names(whole=whole)
    return {
        TOPIC_EXPRESSION: lambda: _topics(names),
        qname("wsnt", "FixedTopicSet"): lambda: [WSNT.FixedTopicSet("true")],
        qname("wsnt", "TopicExpressionDialect"): lambda: [
            WSNT.TopicExpressionDialect(dialect) for dialect in (SIMPLE, CONCRETE, FULL)
        ],
        qname("wstop", "TopicSet"): lambda: [_topic_set(names)],
    }


PRODUCER: Final = producer(whole=False)
"""What makes a workspace's properties as a producer."""

WHOLE_PRODUCER: Final = producer(whole=True)
"""What makes the properties of a producer that has members."""

COMMON: Final = (qname("rl", "CurrentTime"), qname("rl", "TerminationTime"), *PRODUCER)
"""The names of all these properties, in document order."""
