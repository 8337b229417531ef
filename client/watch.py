"""One subscription: what came in for it, in order and once, until it is closed or the resource is no more."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.client.epr import Epr
from flyinglow.client.names import CONCRETE, NS, TOPICS, clark
from flyinglow.client.reading import child, moment
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from lxml.etree import _Element

    from flyinglow.client.notification import Notification, Notify
    from flyinglow.client.resource import Resource

log = logging.getLogger("flyinglow.client")

_REMEMBERED: Final = 4096
_WAITING: Final = 10_000  # what nobody fetched; beyond it the service is asked to keep the rest
_AGAIN: Final = 10.0


class Watch:
    """A subscription to one resource's events. Iterate over it, or take from ``queue``; None there means the end.

    Iteration ends after the notice that the resource is no more (topic ``termination``), or when it is closed.
    With a callback nothing is queued; it is called on the consumer's own thread, one event at a time, in order.
    """

    def __init__(
        self,
        resource: Resource,
        address: str,
        *,
        topics: Sequence[str] = (),
        lifetime: int = 3600,
        callback: Callable[[Notification], object] | None = None,
        closing: Callable[[Watch], None] | None = None,
    ) -> None:
        if unknown := set(topics) - set(TOPICS):
            raise InvalidError(f"there is no topic {min(unknown)!r}; there are {', '.join(TOPICS)}")
        self.resource, self.address, self.topics, self.lifetime = resource, address, tuple(topics), lifetime
        self.callback = callback
        self.queue: queue.Queue[Notification | None] = queue.Queue()
        self.ended = threading.Event()
        self.renew_at = float("inf")
        self.subscription: Epr | None = None
        self._closing = closing
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Notification]:
        """Yield what comes in."""
        while True:
            found = self.queue.get()
            if found is None:
                return
            yield found

    def subscribe(self) -> None:
        """Subscribe; also after the service has lost the subscription. Raises what the service raises."""
        parts: dict[str, Any] = {
            "ConsumerReference": {"Address": {"_value_1": self.address}},
            "InitialTerminationTime": f"PT{self.lifetime}S",
        }
        if self.topics:
            parts["Filter"] = {"_value_1": [_expression(topic) for topic in self.topics]}
        answer = self.resource.wire.call(self.resource.kind, "Subscribe", self.resource.epr, **parts)
        reference = child(answer, "wsnt:SubscriptionReference")
        if reference is None:
            raise BrokenError("the service subscribed without saying by what reference")
        self.subscription = Epr.read(reference)
        self._schedule(answer)

    def renew(self) -> None:
        """Prolong the subscription, or make it anew when it is gone; end the watch when the resource is gone."""
        if self.subscription is None or self.ended.is_set():
            return
        try:
            self._renew(self.subscription)
        except UnknownError:
            log.info("the watch of %s is over: there is no such resource any more", self.resource)
            self.end()
        except FlyingLowError as error:
            log.warning("the subscription to %s could not be renewed and is tried again: %s", self.resource, error)
            self.renew_at = time.monotonic() + _AGAIN

    def take(self, notify: Notify) -> list[Notification] | HTTPStatus:
        """Return what of a message is new, or the status that makes the service send it again later."""
        with self._lock:
            if self.queue.qsize() >= _WAITING:
                return HTTPStatus.SERVICE_UNAVAILABLE
            if notify.message_id and not self._is_new(notify.message_id):
                return []
            return [each for each in notify.notifications if self._is_new((each.producer, each.sequence))]

    def end(self) -> None:
        """Let the iteration end and stop renewing; nothing is sent."""
        self.renew_at = float("inf")
        if not self.ended.is_set():
            self.ended.set()
            self.queue.put(None)

    def close(self) -> None:
        """Unsubscribe and end. Does not raise: what cannot be unsubscribed runs out by itself."""
        subscription, self.subscription = self.subscription, None
        self.end()
        if self._closing is not None:
            self._closing(self)
        if subscription is not None:
            try:
                self.resource.wire.call("subscription", "Unsubscribe", subscription)
            except FlyingLowError as error:
                log.debug("the subscription to %s was not ended: %s", self.resource, error)

    def _renew(self, subscription: Epr) -> None:
        try:
            answer = self.resource.wire.call(
                "subscription", "Renew", subscription, TerminationTime=f"PT{self.lifetime}S"
            )
        except UnknownError:
            self.subscribe()
        else:
            self._schedule(answer)

    def _schedule(self, answer: _Element) -> None:
        # by the service's clock alone, so that a wrong clock here does no harm
        end, now = moment(answer, "wsnt:TerminationTime"), moment(answer, "wsnt:CurrentTime")
        granted = self.lifetime if end is None or now is None else (end - now).total_seconds()
        self.renew_at = time.monotonic() + granted / 2

    def _is_new(self, key: Hashable) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True


def _expression(topic: str) -> _Element:
    element = etree.Element(clark("wsnt:TopicExpression"), nsmap={"wsnt": NS["wsnt"], "fl": NS["fl"]})
    element.set("Dialect", CONCRETE)
    element.text = f"fl:{topic}"
    return element
