"""The resource properties that every leased resource has because it ends, and because it notifies.

Those of WS-ResourceLifetime 1.2 (CurrentTime, TerminationTime) and of a WS-BaseNotification 1.3 producer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.workspace.makers import RL, WSNT
from flyinglow.workspace.model import Topic
from flyinglow.wsrf.xml import NIL, NS, qname, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.wsrf.ports import QName

SIMPLE: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Simple"
CONCRETE: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Concrete"
FULL: Final = "http://docs.oasis-open.org/wsn/t-1/TopicExpression/Full"
TOPIC_EXPRESSION: Final = qname("wsnt", "TopicExpression")


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


def _topics() -> list[_Element]:
    """Return one expression a topic; its prefix is declared where the expression stands."""
    made = []
    for topic in Topic:
        element = etree.Element(TOPIC_EXPRESSION, nsmap={"wsnt": NS["wsnt"], "fl": NS["fl"]}, Dialect=SIMPLE)
        element.text = f"fl:{topic}"
        made.append(element)
    return made


def _topic_set() -> _Element:
    """Return the topics as the tree they are, which is flat (WS-Topics 1.3, section 5)."""
    root = etree.Element(qname("wstop", "TopicSet"), nsmap={"wstop": NS["wstop"], "fl": NS["fl"]})
    for topic in Topic:
        etree.SubElement(root, qname("fl", topic.value), {qname("wstop", "topic"): "true"})
    return root


PRODUCER: Final[Mapping[QName, Callable[[], list[_Element]]]] = {
    TOPIC_EXPRESSION: _topics,
    qname("wsnt", "FixedTopicSet"): lambda: [WSNT.FixedTopicSet("true")],
    qname("wsnt", "TopicExpressionDialect"): lambda: [
        WSNT.TopicExpressionDialect(dialect) for dialect in (SIMPLE, CONCRETE, FULL)
    ],
    qname("wstop", "TopicSet"): lambda: [_topic_set()],
}
"""What makes a producer's properties, in document order."""

COMMON: Final = (qname("rl", "CurrentTime"), qname("rl", "TerminationTime"), *PRODUCER)
"""The names of all these properties, in document order."""
