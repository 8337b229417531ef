"""What notification needs from storage besides the workspace core's; ``store/`` implements it in the same ``Tx``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flyinglow.workspace.ports import Tx

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from flyinglow.notification.model import Delivery, Subscription
    from flyinglow.workspace.model import ResourceKey


class SubscriptionRows(Protocol):
    """Subscriptions; a producer that is gone for good takes its subscriptions along."""

    def add(self, row: Subscription) -> None:
        """Insert it."""

    def get(self, subscription_id: str) -> Subscription | None:
        """Return it or None."""

    def write(self, row: Subscription) -> None:
        """Replace it; a removed one stays removed."""

    def remove(self, ids: Sequence[str]) -> None:
        """Remove subscriptions with their deliveries; unknown ids are no error."""

    def of(self, producers: Sequence[ResourceKey]) -> list[Subscription]:
        """Return every subscription to any of these resources."""

    def expired(self, before: datetime) -> list[Subscription]:
        """Return subscriptions whose ends_at is at or before this time."""

    def count_requests(self, *, owner: str | None = None, consumer_host: str | None = None) -> int:
        """Count the requests that made them, for limits: those of one owner, consumer and moment are one request's."""


class DeliveryRows(Protocol):
    """Events on their way, one FIFO per subscription."""

    def enqueue(self, pairs: Sequence[tuple[str, int]]) -> None:
        """Append (subscription id, event id) pairs in this order."""

    def waiting(self) -> list[str]:
        """Return the ids of subscriptions that have deliveries."""

    def head(self, subscription_id: str, limit: int) -> list[Delivery]:
        """Return the oldest deliveries of one subscription, in order."""

    def count(self, subscription_id: str) -> int:
        """Return how many deliveries wait for one subscription."""

    def done(self, subscription_id: str, up_to: int) -> None:
        """Forget this subscription's deliveries up to and including this position."""


class NotificationTx(Tx, Protocol):
    """One transaction over the workspace core and notification."""

    @property
    def subscriptions(self) -> SubscriptionRows:
        """Return the subscriptions."""

    @property
    def deliveries(self) -> DeliveryRows:
        """Return the events on their way."""
