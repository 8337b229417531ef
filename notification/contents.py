"""MessageContent filters: expressions over the payload, of which each must be true for a message to be sent.

WS-BaseNotification 1.3, section 4.2, in the dialect of XPath 1.0. A subscriber's expression that takes too long must
neither hold up the others nor lose its own messages: its subscription is paused, with what happened kept for it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.nodectl.errors import InvalidError
from flyinglow.notification import faults
from flyinglow.notification.payload import payload
from flyinglow.wsrf.xml import qname
from flyinglow.wsrf.xpath.evaluator import DIALECT, Query, query_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lxml.etree import _Element

    from flyinglow.notification.model import Subscription
    from flyinglow.workspace.model import Event
    from flyinglow.wsrf.xpath.evaluator import XPath

MESSAGE_CONTENT: Final = qname("wsnt", "MessageContent")
MOST: Final = 10
"""Expressions of one filter."""

_KEPT: Final = 4096
_SAMPLE: Final = (
    b'<fl:StateChange xmlns:fl="urn:flyinglow:types:1" sequence="1"><fl:State>Running</fl:State></fl:StateChange>'
)


def read(chosen: _Element | None) -> tuple[Query, ...]:
    """Return the expressions of a Filter. Raises InvalidMessageContentExpressionFault for another dialect."""
    elements = [] if chosen is None else chosen.findall(MESSAGE_CONTENT)
    for element in elements:
        if (dialect := element.get("Dialect", "").strip()) != DIALECT:
            raise faults.message_content_invalid(f"the dialect {dialect[:200]} is not known here; {DIALECT} is")
    if len(elements) > MOST:
        raise faults.message_content_invalid(f"a filter has at most {MOST} MessageContent expressions")
    return tuple(map(query_at, elements))


@dataclass(slots=True)
class Patience:
    """How many more evaluations may fail: a transaction waits for them."""

    left: int = 5


class Contents:
    """Judges events for subscriptions. Blocking; used by one thread at a time for ``judge``."""

    def __init__(self, xpath: XPath) -> None:
        self._xpath = xpath
        self._queries: OrderedDict[str, tuple[Query, ...]] = (
            OrderedDict()
        )  # by subscription, whose filter never changes

    def check(self, queries: Sequence[Query]) -> None:
        """Raise InvalidMessageContentExpressionFault for what is no expression, or is slow on a small message."""
        for query in queries:
            try:
                self._xpath.check(query)
            except InvalidError as error:
                raise faults.message_content_invalid(error.message) from error
        if None in self._xpath.holds(_SAMPLE, queries):
            raise faults.message_content_invalid("the expression cannot be evaluated, or takes too long")

    def judge(self, event: Event, rows: Iterable[Subscription], patience: Patience) -> dict[str, bool | None]:
        """Return by id whether each subscription's expressions let the event through; None: that could not be told.

        One that is not in the answer is let through: it has no expressions, or there was no patience left to ask.
        """
        asked = {row.id: queries for row in rows if (queries := self._of(row))}
        if not asked or not patience.left:
            return {}
        document = etree.tostring(payload(event))
        judged = self._judged(document, asked, patience)
        if None not in judged.values() or len(asked) == 1:
            return judged
        alone: dict[str, bool | None] = {}
        for name, queries in asked.items():  # whoever it is that takes too long, the others are not to suffer
            if patience.left:
                alone |= self._judged(document, {name: queries}, patience)
        return alone

    def _judged(
        self, document: bytes, asked: Mapping[str, Sequence[Query]], patience: Patience
    ) -> dict[str, bool | None]:
        truths = iter(self._xpath.holds(document, [query for queries in asked.values() for query in queries]))
        judged = {name: _all([next(truths) for _ in queries]) for name, queries in asked.items()}
        if None in judged.values():
            patience.left -= 1
        return judged

    def _of(self, row: Subscription) -> tuple[Query, ...]:
        if "MessageContent" not in row.filter_xml:
            return ()
        if row.id not in self._queries:
            self._queries[row.id] = read(etree.fromstring(row.filter_xml))
            if len(self._queries) > _KEPT:
                self._queries.popitem(last=False)
        return self._queries[row.id]


def _all(truths: Sequence[bool | None]) -> bool | None:
    return None if None in truths else all(truths)
