"""One subscription to one resource: what came in for it, in order and once, until it is closed or the resource ends."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from flyinglow.client.epr import Epr
from flyinglow.client.inbox import Inbox
from flyinglow.client.reading import child, moment
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxml.etree import _Element

    from flyinglow.client.resource import Resource

log = logging.getLogger("flyinglow.client")

AGAIN: Final = 10.0
"""Seconds until a renewal that failed is tried again."""


class Watch(Inbox):
    """A subscription to one resource's events.

    Iteration ends after the notice that the resource is no more (topic ``termination``), or when it is closed.
    """

    def __init__(
        self, resource: Resource, address: str, *, closing: Callable[[Inbox], None] | None = None, **options: Any
    ) -> None:
        super().__init__(address, **options)
        self.resource = resource
        self.subscription: Epr | None = None
        self._closing = closing

    def subscribe(self) -> None:
        """Subscribe; also after the service has lost the subscription. Raises what the service raises."""
        answer = self.resource.wire.call(self.resource.kind, "Subscribe", self.resource.epr, **self.request())
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
            self.renew_at = time.monotonic() + AGAIN

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
        self.renew_at = time.monotonic() + granted(answer, self.lifetime) / 2


def granted(answer: _Element, wanted: int) -> float:
    """Return for how many seconds a subscription was granted or renewed.

    By the service's clock alone, so that a wrong clock here does no harm.
    """
    end, now = moment(answer, "wsnt:TerminationTime"), moment(answer, "wsnt:CurrentTime")
    return wanted if end is None or now is None else (end - now).total_seconds()
