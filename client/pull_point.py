"""Notifications for who cannot be sent to: they wait at the service, in a pull point, and are fetched from there.

Every message has a number, and what is asked for is what comes after the last one that arrived: an answer that was
lost on its way is fetched again, and nothing comes twice.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from flyinglow.client.epr import Epr
from flyinglow.client.inbox import LAST, filters
from flyinglow.client.names import clark
from flyinglow.client.notification import notifications
from flyinglow.client.reading import child
from flyinglow.client.wire import LostError
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from lxml.etree import _Element

    from flyinglow.client.notification import Notification
    from flyinglow.client.resource import Resource
    from flyinglow.client.wire import Wire

log = logging.getLogger("flyinglow.client")

_WAIT: Final = 20  # seconds that the service lets a request wait, at most
_AGAIN: Final = 2.0  # seconds until a service that was lost, or lets nobody wait, is asked again
_SOON: Final = 0.5  # seconds within which an empty answer comes that did not wait


class PullPoint:
    """Notifications of what it watches, one resource's in their order and once. Not for several threads at once.

    A context manager. Iterate over it: that ends when everything watched is no more. ``missed`` counts the messages
    that made room for others before they were fetched. Raises what the service raises; while it cannot be reached,
    iteration asks again.
    """

    def __init__(
        self, wire: Wire, site: str, *, lifetime: int = 3600, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._sleep = sleep
        self._wire, self._site, self._lifetime = wire, site, lifetime
        answer = wire.call("pullpoints", "CreatePullPoint", Epr(f"{site}/pullpoints"))
        reference = child(answer, "wsnt:PullPoint")
        if reference is None:
            raise BrokenError("the service made a pull point without saying where it is")
        self._epr = Epr.read(reference)
        self._after = 0
        self._renew_at = 0.0
        self._watched: set[str] = set()
        self._subscriptions: list[Epr] = []
        self._endless = False
        self.missed = 0
        self._renew()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Its address, which any Subscribe takes as its ConsumerReference."""
        return self._epr.address

    def watch(self, resource: Resource, *, topics: Sequence[str] = ()) -> None:
        """Subscribe to a resource's events: to all ``topics`` when none is named."""
        self._subscribe(resource.kind, resource.epr, topics)
        self._watched.add(resource.id)

    def watch_all(self, *, topics: Sequence[str] = ()) -> None:
        """Subscribe to the events of everything that one leases, now and later: iteration does not end by itself."""
        self._subscribe("broker", Epr(f"{self._site}/broker"), topics)
        self._endless = True

    def fetch(self, wait: int = 0) -> list[Notification]:
        """Return what has come in; when there is nothing, wait so many seconds for it (at most 20)."""
        self._renew()
        seconds = min(wait, _WAIT, int(self._wire.timeout / 2))
        extensions = [_element("After", self._after), *([_element("Wait", seconds)] if seconds else [])]
        answer = self._wire.call("pullpoint", "GetMessages", self._epr, _value_1=extensions)
        self._note(child(answer, "fl:Numbers"))
        found = notifications(answer, datetime.now(UTC))
        return [news for news in found if news.kind != "subscription"]  # its own end; what is watched has not ended

    def __iter__(self) -> Iterator[Notification]:
        """Yield what comes in."""
        while self._endless or self._watched:
            asked = time.monotonic()
            try:
                found = self.fetch(_WAIT)
            except (LostError, TransientError) as error:
                log.warning("the pull point is asked again: %s", error)
                self._sleep(_AGAIN)
                continue
            if not found and time.monotonic() < asked + _SOON:
                self._sleep(_AGAIN)  # as many as may are waiting at the service already
            for news in found:
                yield news
                if news.topic in LAST:
                    self._watched.discard(news.producer.rpartition("/")[2])

    def close(self) -> None:
        """End it with its subscriptions. Does not raise: what cannot be ended runs out by itself."""
        self._watched.clear()
        self._endless = False
        try:
            self._wire.call("pullpoint", "DestroyPullPoint", self._epr)
        except FlyingLowError as error:
            log.debug("the pull point was not ended: %s", error)

    def _subscribe(self, service: str, to: Epr, topics: Sequence[str]) -> None:
        parts: dict[str, Any] = {
            "ConsumerReference": {"Address": {"_value_1": self.url}},
            "InitialTerminationTime": f"PT{self._lifetime}S",
            **filters(topics),
        }
        answer = self._wire.call(service, "Subscribe", to, **parts)
        reference = child(answer, "wsnt:SubscriptionReference")
        if reference is None:
            raise BrokenError("the service subscribed without saying by what reference")
        self._subscriptions.append(Epr.read(reference))

    def _renew(self) -> None:
        """Move the ends of it and of its subscriptions, once half of their time is over."""
        if time.monotonic() < self._renew_at:
            return
        duration = timedelta(seconds=self._lifetime)
        self._wire.call("pullpoint", "SetTerminationTime", self._epr, RequestedLifetimeDuration=duration)
        for subscription in tuple(self._subscriptions):
            try:
                self._wire.call("subscription", "Renew", subscription, TerminationTime=f"PT{self._lifetime}S")
            except FlyingLowError as error:
                log.info("a subscription of the pull point is over: %s", error)
                self._subscriptions.remove(subscription)
        self._renew_at = time.monotonic() + self._lifetime / 2

    def _note(self, numbers: _Element | None) -> None:
        if numbers is None:
            raise InvalidError("the service's pull points do not tell the numbers of their messages")
        gap = child(numbers, "fl:Gap")
        if gap is not None:
            lost = int(gap.get("to", "0")) - int(gap.get("from", "1")) + 1
            self.missed += lost
            log.warning("%d messages made room for others before they were fetched", lost)
        self._after = int(numbers.get("last", self._after))


def _element(name: str, value: int) -> _Element:
    element = etree.Element(clark(f"fl:{name}"))
    element.text = str(value)
    return element
