"""A consumer subscribed by the very request that makes a lease, so that it misses no event of any of its resources."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from flyinglow.client.inbox import Inbox
from flyinglow.client.watch import AGAIN, granted
from flyinglow.nodectl.errors import FlyingLowError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from flyinglow.client.epr import Epr
    from flyinglow.client.notification import Notification
    from flyinglow.client.wire import Wire

log = logging.getLogger("flyinglow.client")


class LeaseWatch(Inbox):
    """The events of all resources of one lease, each resource's in their order.

    Made by ``Consumer.expect`` and handed to ``Site.create``. Iteration ends after the notices that everything the
    request made is no more (those of different resources come in any order), or when it is closed.
    """

    def __init__(self, address: str, *, closing: Callable[[Inbox], None], **options: Any) -> None:
        super().__init__(address, **options)
        self._closing = closing
        self._wire: Wire | None = None
        self._subscriptions: list[Epr] = []
        self._made: frozenset[tuple[str, str]] | None = None
        self._over: set[tuple[str, str]] = set()

    def begin(self, wire: Wire, made: Iterable[tuple[str, str]], subscriptions: Sequence[Epr]) -> None:
        """Take note of what the service made: the (kind, name) of each resource, and the subscriptions."""
        self._wire, self._subscriptions = wire, list(subscriptions)
        self.renew_at = time.monotonic() + self.lifetime / 2
        self._made = frozenset(made)
        if self._made <= self._over:  # it was over before the answer was read
            self.end()

    def is_last(self, news: Notification) -> bool:
        """Say whether this is the end of the last resource that was left."""
        if super().is_last(news):
            self._over.add((news.kind, news.name))
        return self._made is not None and self._made <= self._over

    def renew(self) -> None:
        """Prolong every subscription; those of resources that are gone are forgotten."""
        seconds = float(self.lifetime)
        for subscription in tuple(self._subscriptions):
            seconds = min(seconds, self._renewed(subscription))
        self.renew_at = time.monotonic() + seconds / 2

    def _renewed(self, subscription: Epr) -> float:
        if self._wire is None:
            return self.lifetime
        try:
            answer = self._wire.call("subscription", "Renew", subscription, TerminationTime=f"PT{self.lifetime}S")
        except UnknownError:
            self._subscriptions.remove(subscription)
            return self.lifetime
        except FlyingLowError as error:
            log.warning("a subscription could not be renewed and is tried again: %s", error)
            return AGAIN * 2
        return granted(answer, self.lifetime)

    def close(self) -> None:
        """Unsubscribe and end. Does not raise: what cannot be unsubscribed runs out by itself."""
        subscriptions, self._subscriptions = self._subscriptions, []
        self.end()
        self._closing(self)
        for subscription in subscriptions:
            try:
                if self._wire is not None:
                    self._wire.call("subscription", "Unsubscribe", subscription)
            except FlyingLowError as error:
                log.debug("a subscription was not ended: %s", error)
