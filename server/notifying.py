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
from flyinglow.notification.pulling.bell import Bell
from flyinglow.notification.pulling.service import PullService, PullSettings
from flyinglow.notification.sender import HttpSender
from flyinglow.server.configuration.access import publishers
from flyinglow.server.identifiers import new_id
from flyinglow.server.stamps import stamp_notified
from flyinglow.server.tls.consumers import consumer_tls
from flyinglow.wsrf.xpath.evaluator import ProcessXPath, XPathLimits

if TYPE_CHECKING:
    from flyinglow.server.configuration.settings import Config
    from flyinglow.server.kept import Kept
    from flyinglow.server.producers import Producers
    from flyinglow.server.tls.consumers import Trusted
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
    tls: Kept[Trusted]
    lookups: ThreadPool
    filters: ProcessXPath  # those of the drainer, whom nobody else makes wait
    checks: ProcessXPath
    pulls: PullService
    bell: Bell


def policy(config: Config) -> ConsumerPolicy:
    """Return which consumers the configuration allows."""
    listen = config.listen
    return ConsumerPolicy(
        allow_loopback=config.notification.allow_loopback,
        networks=tuple(ip_network(network) for network in config.notification.allow_networks),
        denied_ports=frozenset(port for port in (listen.node.port, listen.guest.port) if port),
    )


def notifying(
    config: Config,
    store: Store,
    reactor: Any,
    now: Now,
    addresses: Addresses,
    consumers: Consumers,
    producers: Producers,
) -> Notifying:
    """Build what carries events over an open store."""
    lookups = ThreadPool(1, 4, "lookups")
    filters = ProcessXPath(_FILTERS)
    tls = consumer_tls(config)
    sender = HttpSender(reactor=reactor, consumers=consumers, pool=lookups, tls=tls)
    envelopes = Envelopes(addresses)
    bell = Bell(reactor, per_owner=config.notification.pull_waits)
    pulls = PullService(
        store=store,
        now=now,
        new_id=new_id,
        kept=envelopes.kept,
        base=addresses.service("pullpoint"),
        arrived=lambda names: reactor.callFromThread(bell.ring, names),
        settings=pull_settings(config),
        publishers=publishers(config.access),
    )
    courier = Courier(
        store=store,
        ledger=Ledger(store=store, clock=reactor, now=now, settled=stamp_notified, put=pulls.put, arrived=bell.ring),
        sender=sender,
        compose=envelopes.compose,
        clock=reactor,
        now=now,
        random=random.random,
        settings=DeliverySettings(give_up=config.notification.give_up_after),
    )
    drainer = Drainer(
        store=store,
        folds=[CollectionFold(now)],
        clock=reactor,
        now=now,
        queued=courier.wake,
        contents=Contents(filters, addresses),
        properties=producers.document,
    )
    return Notifying(
        drainer=drainer,
        courier=courier,
        sender=sender,
        tls=tls.kept,
        lookups=lookups,
        filters=filters,
        checks=ProcessXPath(_FILTERS),
        pulls=pulls,
        bell=bell,
    )


def pull_settings(config: Config) -> PullSettings:
    """Return the limits of pull points that the configuration means."""
    terms = config.notification
    return PullSettings(
        per_owner=terms.pull_points,
        messages=terms.pull_messages,
        size=terms.pull_size,
        longest=terms.maximum_lifetime,
        lifetime=min(PullSettings().lifetime, terms.maximum_lifetime),
    )
