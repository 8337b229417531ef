"""The topics that workspaces, groups and ensembles publish, and the expressions by which subscribers choose them.

The set of topics is fixed and flat: our own, in the name space of the shared types, and views of the same events by
names of the standards. The dialects of WS-Topics 1.3 are Simple, Concrete and Full; over a flat set only Full can
select several (``fl:*``, ``fl:state|fl:warning``, ``//.``).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.notification import faults
from flyinglow.notification.views import source_of
from flyinglow.workspace.model import Kind, Topic
from flyinglow.workspace.producer_xml import CONCRETE, FULL, SIMPLE, VIEWS, clark
from flyinglow.wsrf.xml import NS, qname

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lxml.etree import _Element

PRODUCER_PROPERTIES: Final = qname("wsnt", "ProducerProperties")
"""The filter over the producer's own properties."""

TOPICS: Final[Mapping[str, str]] = MappingProxyType(
    {qname("fl", topic.value): topic.value for topic in Topic} | {clark(name): name for name in VIEWS},
)
"""Topic names in Clark notation, and by which word each is chosen: our own by their value, views by their name."""

LONGEST: Final = 1000
"""Characters of an expression."""

_NAME = r"[^\W\d][\w.\-]*"
_QNAME = rf"(?:{_NAME}:)?{_NAME}"
_STEP = rf"//?(?:{_QNAME}|(?:{_NAME}:)?\*|\.)"
_PATH = rf"(?://)?(?:{_NAME}:)?(?://)?(?:{_NAME}|\*)(?:{_STEP})*|//\."
_SHAPES: Final = {
    SIMPLE: re.compile(_QNAME),
    CONCRETE: re.compile(rf"{_QNAME}(?:/{_QNAME})*"),
    FULL: re.compile(rf"(?:{_PATH})(?:\s*\|\s*(?:{_PATH}))*"),
}
_ROOT: Final = re.compile(rf"(?://)?(?:(?P<prefix>{_NAME}):)?(?://)?(?P<name>{_NAME}|\*|\.)")
_SELF: Final = frozenset({"", "//.", "/."})
"""What may follow a root that has nothing below it, as none of ours has: itself, or itself with all below it."""


def select(expression: _Element) -> tuple[str, ...]:
    """Return the topics that a TopicExpression selects; prefixes mean what they mean where it stands.

    Raises the faults of WS-BaseNotification 4.2: unknown dialect, malformed expression, topic that is not supported.
    """
    dialect = expression.get("Dialect", "").strip()
    text = (expression.text or "").strip()
    shape = _SHAPES.get(dialect)
    if shape is None:
        raise faults.dialect_unknown(dialect)
    if len(expression) or len(text) > LONGEST or shape.fullmatch(text) is None:
        raise faults.topic_expression_invalid(f"{text[:80]!r} is not an expression of dialect {dialect}")
    chosen = [_chosen(expression, path.strip()) for path in text.split("|")]
    found = tuple(topic for name, topic in TOPICS.items() if any(name in names for names in chosen))
    if not found:
        known = ", ".join(TOPICS)
        raise faults.topic_not_supported(f"there is no topic {text[:80]!r} here; there are {known}")
    return found


def _chosen(expression: _Element, path: str) -> frozenset[str]:
    """Return the names of our topics, all of them roots, that one path of an expression selects."""
    root = _ROOT.match(path)
    if root is None or path[root.end() :] not in _SELF:
        return frozenset()
    prefix, name = root["prefix"], root["name"]
    if name == "." or (name == "*" and prefix is None):
        return frozenset(TOPICS)
    space = _space(expression, prefix)
    return frozenset(topic for topic in TOPICS if topic == space + name or (name == "*" and topic.startswith(space)))


def _space(expression: _Element, prefix: str | None) -> str:
    if prefix is None:
        return ""  # an unprefixed root is in no name space, whatever the default one is
    uri = expression.nsmap.get(prefix)
    if uri is None:
        raise faults.topic_expression_invalid(f"the prefix {prefix[:80]} is not declared where the expression stands")
    return f"{{{uri}}}"


def require(kind: Kind, chosen: Iterable[str]) -> None:
    """Raise TopicNotSupportedFault when none of the topics chosen is one of a producer of this kind; none means all."""
    words = set(chosen)
    if kind is Kind.WORKSPACE and words and {source_of(word) for word in words} == {Topic.MEMBERSHIP}:
        raise faults.topic_not_supported("a workspace has no members: that is a topic of groups and ensembles")


def expression(chosen: str, tag: str) -> _Element:
    """Return an element of this name that says the topic in the Concrete dialect."""
    name = chosen if chosen in VIEWS else f"fl:{chosen}"
    prefix = name.partition(":")[0]
    element = etree.Element(tag, {"Dialect": CONCRETE}, nsmap={"wsnt": NS["wsnt"], prefix: NS[prefix]})
    element.text = name
    return element
