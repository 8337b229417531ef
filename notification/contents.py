"""MessageContent and ProducerProperties filters: expressions of which each must be true for a message to be sent.

WS-BaseNotification 1.3, section 4.2, in the dialect of XPath 1.0. The first are about the message's payload, the
second about the property document of the resource that the message is from, as its owner would read it when the
message is queued; the last messages of a resource that is gone are not held back by them. A subscriber's expression
that takes too long must neither hold up the others nor lose its own messages: its subscription is paused, with what
happened kept for it. Those for whom no time was left are asked later (``sieve.py``); nobody is told unasked.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from lxml import etree

from flyinglow.nodectl.errors import InvalidError
from flyinglow.notification import faults
from flyinglow.notification.payload import payload
from flyinglow.notification.views import form_of
from flyinglow.wsrf.xml import local_name, qname
from flyinglow.wsrf.xpath.evaluator import DIALECT, Query, query_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lxml.etree import _Element

    from flyinglow.notification.model import Subscription
    from flyinglow.workspace.model import Event
    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.xpath.evaluator import XPath

MESSAGE_CONTENT: Final = qname("wsnt", "MessageContent")
PRODUCER_PROPERTIES: Final = qname("wsnt", "ProducerProperties")
MOST: Final = 10
"""Expressions of one kind in one filter."""

_KEPT: Final = 4096
_SAMPLE: Final = (
    b'<fl:StateChange xmlns:fl="urn:flyinglow:types:1" sequence="1"><fl:State>Running</fl:State></fl:StateChange>'
)


_PROPERTIES: Final = (
    b'<fl:WorkspaceProperties xmlns:fl="urn:flyinglow:types:1"><fl:Name>vm</fl:Name><fl:State>Running</fl:State>'
    b"</fl:WorkspaceProperties>"
)
_KINDS: Final[Mapping[str, tuple[bytes, Callable[[str], Exception]]]] = {
    MESSAGE_CONTENT: (_SAMPLE, faults.message_content_invalid),
    PRODUCER_PROPERTIES: (_PROPERTIES, faults.producer_properties_invalid),
}


def read(chosen: _Element | None, tag: str = MESSAGE_CONTENT) -> tuple[Query, ...]:
    """Return the expressions of one kind in a Filter. Raises that kind's fault for another dialect than XPath 1.0."""
    invalid = _KINDS[tag][1]
    elements = [] if chosen is None else chosen.findall(tag)
    for element in elements:
        if (dialect := element.get("Dialect", "").strip()) != DIALECT:
            raise invalid(f"the dialect {dialect[:200]} is not known here; {DIALECT} is")
    if len(elements) > MOST:
        raise invalid(f"a filter has at most {MOST} {local_name(tag)} expressions")
    return tuple(map(query_at, elements))


@dataclass(slots=True)
class Patience:
    """How many more evaluations may fail, and how many seconds all may take: a transaction waits for them."""

    left: int = 5
    seconds: float = 0.5

    @property
    def is_gone(self) -> bool:
        """Say whether no more is to be asked in this transaction."""
        return self.left <= 0 or self.seconds <= 0


@dataclass(slots=True)
class Judgement:
    """Who is not to be told of an event, by id, or not yet.

    ``refused``: the filter does not want it. ``untold``: the filter takes too long to say. ``later``: there was no
    patience left to ask.
    """

    refused: set[str] = field(default_factory=set)
    untold: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)

    def holds_back(self, subscription_id: str) -> bool:
        """Say whether a subscription is not to be told, or not yet."""
        return any(subscription_id in names for names in (self.refused, self.untold, self.later))


class Contents:
    """Judges events for subscriptions. Blocking; one thread at a time for ``judge``. ``clock`` tells seconds."""

    def __init__(
        self, xpath: XPath, addresses: Addresses | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._xpath = xpath
        self._clock = clock
        self._addresses = addresses
        # by kind and subscription, whose filter never changes
        self._queries: OrderedDict[tuple[str, str], tuple[Query, ...]] = OrderedDict()

    def check(self, queries: Sequence[Query], tag: str = MESSAGE_CONTENT) -> None:
        """Raise the kind's fault for what is no expression, or is slow on a small document."""
        sample, invalid = _KINDS[tag]
        for query in queries:
            try:
                self._xpath.check(query)
            except InvalidError as error:
                raise invalid(error.message) from error
        if None in self._xpath.holds(sample, queries):
            raise invalid("the expression cannot be evaluated, or takes too long")

    def judge(
        self,
        event: Event,
        rows: Iterable[Subscription],
        patience: Patience,
        properties: Callable[[], bytes | None] = lambda: None,
    ) -> Judgement:
        """Return which of these subscriptions are not to be told of the event, or not yet; the others are.

        ``properties`` returns the producer's property document; what is from one that is gone is let through.
        """
        rows = list(rows)
        found = Judgement()
        for form in dict.fromkeys(form_of(row.topics, event) or "" for row in rows):
            told = [row for row in rows if (form_of(row.topics, event) or "") == form]
            self._of_kind(MESSAGE_CONTENT, told, patience, partial(self._payload, event, form), found)
        left = [row for row in rows if not found.holds_back(row.id)]
        self._of_kind(PRODUCER_PROPERTIES, left, patience, properties, found)
        return found

    def _payload(self, event: Event, form: str) -> bytes:
        return etree.tostring(payload(event, form, self._addresses))

    def _of_kind(
        self,
        tag: str,
        rows: Sequence[Subscription],
        patience: Patience,
        make: Callable[[], bytes | None],
        found: Judgement,
    ) -> None:
        asked = {row.id: queries for row in rows if (queries := self._of(row, tag))}
        if not asked or (document := make()) is None:
            return
        judged = {} if patience.is_gone else self._judged(document, asked, patience)
        if None in judged.values() and len(asked) > 1:
            judged = self._alone(document, asked, patience)
        found.refused |= {name for name, truth in judged.items() if truth is False}
        found.untold |= {name for name, truth in judged.items() if truth is None}
        found.later |= asked.keys() - judged.keys()

    def _alone(
        self, document: bytes, asked: Mapping[str, Sequence[Query]], patience: Patience
    ) -> dict[str, bool | None]:
        """Ask one by one: whoever it is that takes too long, the others are not to suffer."""
        judged: dict[str, bool | None] = {}
        for name, queries in asked.items():
            if patience.is_gone:
                break
            judged |= self._judged(document, {name: queries}, patience)
        return judged

    def _judged(
        self, document: bytes, asked: Mapping[str, Sequence[Query]], patience: Patience
    ) -> dict[str, bool | None]:
        began = self._clock()
        truths = iter(self._xpath.holds(document, [query for queries in asked.values() for query in queries]))
        judged = {name: _all([next(truths) for _ in queries]) for name, queries in asked.items()}
        patience.seconds -= self._clock() - began
        if None in judged.values():
            patience.left -= 1
        return judged

    def _of(self, row: Subscription, tag: str) -> tuple[Query, ...]:
        if local_name(tag) not in row.filter_xml:
            return ()
        key = (tag, row.id)
        if key not in self._queries:
            self._queries[key] = read(etree.fromstring(row.filter_xml), tag)
            if len(self._queries) > _KEPT:
                self._queries.popitem(last=False)
        return self._queries[key]


def _all(truths: Sequence[bool | None]) -> bool | None:
    return None if None in truths else all(truths)
