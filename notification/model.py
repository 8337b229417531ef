"""Subscriptions, deliveries and pull points as plain values (WS-BaseNotification 1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, ip_address
from socket import inet_aton
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flyinglow.workspace.model import Kind, ResourceKey

if TYPE_CHECKING:
    from datetime import datetime

    from flyinglow.workspace.model import Event


EVALUATED: Final = ("MessageContent", "ProducerProperties")
"""The filters that are expressions, evaluated for each event; topics are compared."""

ENDING: Final = "rl:ResourceTermination"
"""The topic on which the standards tell that a WS-Resource has ended; a subscription is one, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One subscription of one consumer to one producer resource.

    ``topics`` are topic names selected (empty: all). ``consumer`` is the ConsumerReference's Address,
    ``parameters`` its reference parameters as serialized XML, to be sent back as headers. ``reference`` is a random id
    in the subscription's own URL. ``retry_at`` is set while its consumer fails; ``failing_since`` tells since when.
    While it is paused (``paused_at``) what happens is kept for it and nothing is sent; ``pause_reason`` is empty when
    its owner asked for that. With a ``pull_point_id`` its consumer is a pull point of this service, and its messages
    are put there without any request.
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
    pull_point_id: str | None = None

    def is_over(self, now: datetime) -> bool:
        """Say whether its time is over: it is told nothing more but that, and nobody finds it any more."""
        return self.ends_at is not None and self.ends_at <= now

    @property
    def hears_of_its_end(self) -> bool:
        """Whether its consumer is told when its time is over: one that listens, and chose to hear of ends.

        What is told is no event of a resource: nobody gets it whose filter has to be evaluated, or who gets messages
        raw and could not see what it is that has ended.
        """
        chosen = not self.topics or ENDING in self.topics
        evaluated = any(name in self.filter_xml for name in EVALUATED)
        return chosen and not (evaluated or self.raw or self.failures or self.paused_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to one subscription; ``position`` gives the order, ``message_id`` is stable over retries."""

    position: int
    subscription_id: str
    message_id: str
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """One entry of a subscription's delivery log: what was handed to its consumer, when, after how many failures."""

    number: int
    message_id: str
    event: Event
    at: datetime
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPoint:
    """A place where messages wait until their owner fetches them (WS-BaseNotification 1.3, section 5).

    Its messages are numbered from 1 without gaps; kept are those from ``first`` to ``last``, ``fetched`` is the highest
    number that was fetched. ``dropped`` counts those that went to make room before anybody fetched them. ``size`` is
    how many characters the messages kept have.
    """

    id: str
    owner: str
    created_at: datetime
    ends_at: datetime
    first: int = 1
    last: int = 0
    fetched: int = 0
    dropped: int = 0
    size: int = 0


def host_of(consumer: str) -> str:
    """Return the host that a consumer's address names, one way for all its spellings; empty where there is none.

    What counts as one target must not depend on how it is written: ``Victim.example.``, ``2130706433`` (which
    resolvers take for 127.0.0.1), an IPv6 address with its zeros. A name is not looked up.
    """
    try:
        host = (urlsplit(consumer).hostname or "").removesuffix(".")
    except ValueError:
        return ""
    for meant in (ip_address, lambda text: IPv4Address(inet_aton(text))):
        try:
            return str(meant(host))
        except (OSError, ValueError):
            continue
    return host


def target_of(consumer: str) -> tuple[str, int]:
    """Return the host and port that a consumer's address means, one way for all its spellings."""
    parts = urlsplit(consumer)
    return host_of(consumer), parts.port or (443 if parts.scheme == "https" else 80)


def broker_of(owner: str) -> ResourceKey:
    """Return what a subscription to everything of one owner names as its producer: the owner's part of the broker."""
    return ResourceKey(Kind.BROKER, sha256(owner.encode()).hexdigest())
