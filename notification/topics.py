"""The topics that workspaces, groups and ensembles publish, and the expressions by which subscribers choose them.

The set of topics is fixed and flat, in the name space of the shared types. Of the dialects of WS-Topics 1.3, Simple
and Concrete are understood; over a flat set they select the same, and only the faults tell them apart.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.notification import faults
from flyinglow.workspace.model import Topic
from flyinglow.workspace.producer_xml import CONCRETE, SIMPLE
from flyinglow.wsrf.xml import NS, qname

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lxml.etree import _Element

MESSAGE_CONTENT: Final = qname("wsnt", "MessageContent")
PRODUCER_PROPERTIES: Final = qname("wsnt", "ProducerProperties")
"""The filters that WS-BaseNotification defines beside topic expressions."""

TOPICS: Final[Mapping[str, Topic]] = MappingProxyType({qname("fl", topic.value): topic for topic in Topic})
"""Topic names in Clark notation."""

_NAME = r"[^\W\d][\w.\-]*"
_QNAME = rf"(?:{_NAME}:)?{_NAME}"
_SHAPES: Final = {SIMPLE: re.compile(_QNAME), CONCRETE: re.compile(rf"{_QNAME}(?:/{_QNAME})*")}


def select(expression: _Element) -> Topic:
    """Return the topic that a TopicExpression selects; prefixes mean what they mean where it stands.

    Raises the faults of WS-BaseNotification 4.2: unknown dialect, malformed expression, topic that is not supported.
    """
    dialect = expression.get("Dialect", "").strip()
    text = (expression.text or "").strip()
    shape = _SHAPES.get(dialect)
    if shape is None:
        raise faults.dialect_unknown(dialect)
    if len(expression) or shape.fullmatch(text) is None:
        raise faults.topic_expression_invalid(f"{text[:80]!r} is not an expression of dialect {dialect}")
    root, _, below = text.partition("/")
    topic = TOPICS.get(_resolve(expression, root))
    if topic is None or below:
        known = ", ".join(TOPICS)
        raise faults.topic_not_supported(f"there is no topic {text[:80]!r} here; there are {known}")
    return topic


def _resolve(expression: _Element, text: str) -> str:
    prefix, colon, local = text.rpartition(":")
    if not colon:
        return local  # an unprefixed root is in no name space, whatever the default one is
    uri = expression.nsmap.get(prefix)
    if uri is None:
        raise faults.topic_expression_invalid(f"the prefix of {text[:80]!r} is not declared where it stands")
    return f"{{{uri}}}{local}"


def expression(topic: Topic, tag: str) -> _Element:
    """Return an element of this name that says the topic in the Concrete dialect."""
    element = etree.Element(tag, {"Dialect": CONCRETE}, nsmap={"wsnt": NS["wsnt"], "fl": NS["fl"]})
    element.text = f"fl:{topic.value}"
    return element
