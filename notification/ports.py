"""What notification needs from storage besides the workspace core's; ``store/`` implements it in the same ``Tx``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flyinglow.workspace.ports import Tx

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from flyinglow.notification.model import Delivered, Delivery, PullPoint, Subscription
    from flyinglow.workspace.model import ResourceKey


class SubscriptionRows(Protocol):
    """Subscriptions; a producer that is gone for good takes its subscriptions along."""

    def add(self, row: Subscription) -> None:
        """Insert it."""

    def get(self, subscription_id: str) -> Subscription | None:
        """Return it or None."""

    def named(self, ids: Sequence[str]) -> dict[str, Subscription]:
        """Return those of these ids that are there; locks them in a writing transaction, as ``get`` does."""

    def write(self, row: Subscription) -> None:
        """Replace it; a removed one stays removed."""

    def remove(self, ids: Sequence[str]) -> None:
        """Remove subscriptions with their deliveries; unknown ids are no error."""

    def of(self, producers: Sequence[ResourceKey]) -> list[Subscription]:
        """Return every subscription to any of these resources."""

    def expired(self, before: datetime) -> list[Subscription]:
        """Return subscriptions whose ends_at is at or before this time."""

    def count_requests(
        self, *, owner: str | None = None, consumer_host: str | None = None, filtered: bool = False
    ) -> int:
        """Count the requests that made them, for limits: those of one owner, consumer and moment are one request's.

        ``filtered``: only those whose filter has expressions to be evaluated.
        """


class DeliveryRows(Protocol):
    """Events on their way, one FIFO per subscription."""

    def enqueue(self, pairs: Sequence[tuple[str, int]], unjudged: Collection[tuple[str, int]] = ()) -> None:
        """Append (subscription id, event id) pairs in this order; those ``unjudged`` wait for their filter as well."""

    def waiting(self) -> list[str]:
        """Return the ids of subscriptions that have deliveries."""

    def head(self, subscription_id: str, limit: int) -> list[Delivery]:
        """Return the oldest deliveries of one subscription, in order, up to the first that is unjudged."""

    def heads(self, limits: Mapping[str, int]) -> dict[str, list[Delivery]]:
        """Return the heads of several subscriptions, of each up to its limit."""

    def count(self, subscription_id: str) -> int:
        """Return how many deliveries wait for one subscription."""

    def done(self, positions: Sequence[int], at: datetime, failures: int) -> None:
        """Move these deliveries into their subscriptions' logs; others stay, those put back meanwhile as well."""


class DeliveryLog(Protocol):
    """What was delivered, one log per subscription; it goes with its subscription."""

    def log(self, subscription_id: str, limit: int) -> list[Delivered]:
        """Return the newest entries of a subscription's log, oldest of them first."""

    def again(self, subscription_id: str, number: int) -> int:
        """Put what was delivered from this number on back where it stood, before what waits; return how many."""

    def forget(self, before: datetime, most: int) -> None:
        """Forget entries older than this time, and of each subscription those beyond the newest ``most``."""


class UnjudgedRows(Protocol):
    """The deliveries that wait for their subscription's filter to be evaluated."""

    def unjudged(self) -> list[tuple[str, str]]:
        """Return (owner, id) of the subscriptions that have some and are not paused, those that wait longest first."""

    def to_judge(self, subscription_id: str, limit: int) -> list[Delivery]:
        """Return the oldest unjudged of one subscription, in order."""

    def judged(self, let: Sequence[int], refused: Sequence[int]) -> None:
        """Let these go on their way, and forget those."""


class Deliveries(DeliveryRows, UnjudgedRows, DeliveryLog, Protocol):
    """What is on its way, and what has arrived."""


class PullPointRows(Protocol):
    """Pull points; one that is removed takes its messages and the subscriptions that send to it along."""

    def add(self, row: PullPoint) -> None:
        """Insert it."""

    def get(self, pull_point_id: str) -> PullPoint | None:
        """Return it or None."""

    def write(self, row: PullPoint) -> None:
        """Replace it; a removed one stays removed."""

    def remove(self, ids: Sequence[str]) -> None:
        """Remove pull points with their messages and the subscriptions that send to them."""

    def count(self, owner: str) -> int:
        """Return how many an owner has."""

    def expired(self, before: datetime) -> list[str]:
        """Return the ids of those whose end is at or before this time."""


class PullMessages(Protocol):
    """The messages in pull points."""

    def append(self, pull_point_id: str, first: int, bodies: Sequence[str]) -> None:
        """Insert messages under the numbers from ``first`` on."""

    def after(self, pull_point_id: str, number: int, limit: int) -> list[tuple[int, str]]:
        """Return the messages with numbers above this one, in order."""

    def sizes(self, pull_point_id: str, limit: int) -> list[tuple[int, int]]:
        """Return (number, characters) of the oldest messages, in order."""

    def drop(self, pull_point_id: str, below: int) -> None:
        """Remove the messages with numbers below this one."""


class PullPoints(PullPointRows, PullMessages, Protocol):
    """Pull points with their messages."""


class NotificationTx(Tx, Protocol):
    """One transaction over the workspace core and notification."""

    @property
    def subscriptions(self) -> SubscriptionRows:
        """Return the subscriptions."""

    @property
    def deliveries(self) -> Deliveries:
        """Return the events on their way, and those that arrived."""

    @property
    def pull_points(self) -> PullPoints:
        """Return the pull points."""
