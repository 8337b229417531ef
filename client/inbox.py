"""Where notifications come in: in order and once, until it is closed or what it watches is no more."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.client.names import CONCRETE, NS, TOPICS, clark
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from lxml.etree import _Element

    from flyinglow.client.notification import Notification, Notify

LAST: Final = frozenset({"termination", "rl:ResourceTermination"})
"""Topics of what a resource tells last."""

_REMEMBERED: Final = 4096
_WAITING: Final = 10_000  # what nobody fetched; beyond it the service is asked to keep the rest


class Inbox(ABC):
    """What comes in at one secret address. Iterate over it, or take from ``queue``; None there means the end.

    With a callback nothing is queued; it is called on the consumer's own thread, one event at a time, in order.
    Raises InvalidError for a topic that there is not.
    """

    def __init__(
        self,
        address: str,
        *,
        topics: Sequence[str] = (),
        lifetime: int = 3600,
        callback: Callable[[Notification], object] | None = None,
    ) -> None:
        filters(topics)
        self.address, self.topics, self.lifetime = address, tuple(topics), lifetime
        self.callback = callback
        self.queue: queue.Queue[Notification | None] = queue.Queue()
        self.ended = threading.Event()
        self.renew_at = float("inf")
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Notification]:
        """Yield what comes in."""
        while True:
            found = self.queue.get()
            if found is None:
                return
            yield found

    def take(self, notify: Notify) -> list[Notification] | HTTPStatus:
        """Return what of a message is new, or the status that makes the service send it again later."""
        with self._lock:
            if self.queue.qsize() >= _WAITING:
                return HTTPStatus.SERVICE_UNAVAILABLE
            if notify.message_id and not self._is_new(notify.message_id):
                return []
            return [each for each in notify.notifications if self._is_fresh(each)]

    def is_last(self, news: Notification) -> bool:
        """Say whether nothing can come after this event."""
        return news.topic in LAST

    def end(self) -> None:
        """Let the iteration end and stop renewing; nothing is sent."""
        self.renew_at = float("inf")
        if not self.ended.is_set():
            self.ended.set()
            self.queue.put(None)

    @abstractmethod
    def renew(self) -> None:
        """Prolong what was subscribed. Does not raise: what fails is tried again."""

    @abstractmethod
    def close(self) -> None:
        """Unsubscribe and end. Does not raise: what cannot be unsubscribed runs out by itself."""

    def request(self) -> dict[str, Any]:
        """Return the parts of the wsnt:Subscribe that brings notifications here."""
        parts: dict[str, Any] = {
            "ConsumerReference": {"Address": {"_value_1": self.address}},
            "InitialTerminationTime": f"PT{self.lifetime}S",
        }
        return parts | filters(self.topics)

    def _is_fresh(self, news: Notification) -> bool:
        """Say whether an event was not told yet; the standards' own messages have no number to know that by."""
        return not news.sequence or self._is_new((news.producer, news.sequence))

    def _is_new(self, key: Hashable) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


def filters(topics: Sequence[str]) -> dict[str, Any]:
    """Return the part of a wsnt:Subscribe that chooses topics. Raises InvalidError for one that there is not."""
    if unknown := set(topics) - set(TOPICS):
        raise InvalidError(f"there is no topic {min(unknown)!r}; there are {', '.join(TOPICS)}")
    return {"Filter": {"_value_1": [_expression(topic) for topic in topics]}} if topics else {}


def _expression(topic: str) -> _Element:
    name = topic if ":" in topic else f"fl:{topic}"
    prefix = name.partition(":")[0]
    element = etree.Element(clark("wsnt:TopicExpression"), nsmap={"wsnt": NS["wsnt"], prefix: NS[prefix]})
    element.set("Dialect", CONCRETE)
    element.text = name
    return element
