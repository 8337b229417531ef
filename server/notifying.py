"""Composes what carries events to consumers: drainer, courier, sender."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from twisted.python.threadpool import ThreadPool

from flyinglow.group.derive import CollectionFold
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.contents import Contents
from flyinglow.notification.delivery import Courier, DeliverySettings
from flyinglow.notification.drainer import Drainer
from flyinglow.notification.envelope import Envelopes
from flyinglow.notification.ledger import Ledger
from flyinglow.notification.sender import HttpSender
from flyinglow.server.stamps import stamp_notified
from flyinglow.wsrf.xpath.evaluator import ProcessXPath, XPathLimits

if TYPE_CHECKING:
    from flyinglow.server.config import Config
    from flyinglow.store import Store
    from flyinglow.workspace.ports import Now
    from flyinglow.wsrf.addresses import Addresses


_FILTERS = XPathLimits(seconds=0.2)  # a transaction waits for them


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifying:
    """What carries events to consumers; all on the reactor's thread."""

    drainer: Drainer
    courier: Courier
    sender: HttpSender
    lookups: ThreadPool
    filters: ProcessXPath  # those of the drainer, whom nobody else makes wait
    checks: ProcessXPath


def policy(config: Config) -> ConsumerPolicy:
    """Return which consumers the configuration allows."""
    listen = config.listen
    return ConsumerPolicy(
        allow_loopback=config.notification.allow_loopback,
        networks=tuple(ip_network(network) for network in config.notification.allow_networks),
        denied_ports=frozenset(port for port in (listen.node.port, listen.guest.port) if port),
        schemes=frozenset({"http"}),
    )


def notifying(
    config: Config,
    store: Store,
    reactor: Any,
    now: Now,
    addresses: Addresses,
    consumers: Consumers,
) -> Notifying:
    """Build what carries events over an open store."""
    lookups = ThreadPool(1, 4, "lookups")
    filters = ProcessXPath(_FILTERS)
    sender = HttpSender(reactor=reactor, consumers=consumers, pool=lookups, tls=None)
    courier = Courier(
        store=store,
        ledger=Ledger(store=store, clock=reactor, now=now, settled=stamp_notified),
        sender=sender,
        compose=Envelopes(addresses).compose,
        clock=reactor,
        now=now,
        random=random.random,
        settings=DeliverySettings(give_up=config.notification.give_up_after),
    )
    folds, contents = [CollectionFold(now)], Contents(filters)
    drainer = Drainer(store=store, folds=folds, clock=reactor, now=now, queued=courier.wake, contents=contents)
    return Notifying(
        drainer=drainer, courier=courier, sender=sender, lookups=lookups, filters=filters, checks=ProcessXPath(_FILTERS)
    )
