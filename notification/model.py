"""Subscriptions and deliveries as plain values (WS-BaseNotification 1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from flyinglow.workspace.model import Event, ResourceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One subscription of one consumer to one producer resource.

    ``topics`` are topic names selected (empty: all). ``consumer`` is the ConsumerReference's Address,
    ``parameters`` its reference parameters as serialized XML, to be sent back as headers. ``reference`` is a random id
    in the subscription's own URL. ``retry_at`` is set while its consumer fails; ``failing_since`` tells since when.
    While it is paused (``paused_at``) what happens is kept for it and nothing is sent; ``pause_reason`` is empty when
    its owner asked for that.
    """

    id: str
    owner: str
    producer: ResourceKey
    consumer: str
    parameters: tuple[str, ...] = ()
    filter_xml: str = ""
    topics: tuple[str, ...] = ()
    raw: bool = False
    created_at: datetime
    ends_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    retry_at: datetime | None = None
    last_error: str = ""
    paused_at: datetime | None = None
    pause_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one subscription; ``position`` gives the order, ``message_id`` is stable over retries."""

    position: int
    subscription_id: str
    message_id: str
    event: Event
