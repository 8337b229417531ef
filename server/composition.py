"""The composition root: builds every part of the daemon from the configuration and wires them to each other.

Nothing here decides anything; ``server/daemon.py`` starts and stops what is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.python.threadpool import ThreadPool

from flyinglow.backend import loading
from flyinglow.backend.api import Settings
from flyinglow.nodectl.errors import InvalidError
from flyinglow.notification.consumers import Consumers
from flyinglow.server.catalogue import catalogue
from flyinglow.server.guests.key import endpoint
from flyinglow.server.nodes import NodeBook
from flyinglow.server.notifying import Notifying, notifying, policy
from flyinglow.server.pools import pool
from flyinglow.server.producers import Producers
from flyinglow.server.services import Services, build, now, terms
from flyinglow.store import Store
from flyinglow.workspace.context_desk import Desk
from flyinglow.workspace.provisioner import Provisioner
from flyinglow.workspace.sweep import Sweeper
from flyinglow.workspace.timing import Timing
from flyinglow.wsrf.addresses import Addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flyinglow.backend.api import Backend, ClaimNews
    from flyinglow.nodectl.messages import VmInfo
    from flyinglow.server.configuration.settings import Config
    from flyinglow.workspace.model import Nic
    from flyinglow.workspace.ports import Tx

SQLITE = "flyinglow.sqlite"
"""The embedded store's file in the state directory."""


def store_url(config: Config) -> str:
    """Return the database URL that the configuration means."""
    return config.server.store or f"sqlite:///{config.server.state_dir / SQLITE}"


def timing(config: Config) -> Timing:
    """Return the provisioner's limits that the configuration means."""
    patience = config.patience
    return Timing(
        create=patience.create,
        start=patience.start,
        operation=patience.operation,
        shutdown=patience.shutdown,
        grace=patience.guest_shutdown,
        destroy=patience.destroy,
        info=patience.info,
        save=patience.save,
        stray_grace=config.lease.stranger_grace,
    )


def open_store(
    config: Config,
    *,
    reactor: Any = None,
    threads: ThreadPool | None = None,
    committed: Callable[[str], None] | None = None,
) -> Store:
    """Open the store, take its lock and bring its tables up to date; blocks. Raises BrokenError."""
    try:
        store = Store(store_url(config), now=now, reactor=reactor, pool=threads, committed=committed)
    except ModuleNotFoundError as error:
        message = f"[server] store needs the Python package {error.name}; pip install 'flyinglow[postgresql]' brings it"
        raise InvalidError(message) from None
    try:
        store.lock()
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All parts of one daemon."""

    config: Config
    store: Store
    book: NodeBook
    backend: Backend
    services: Services
    provisioner: Provisioner
    desk: Desk
    sweeper: Sweeper
    notifying: Notifying


class _News:
    """Carries a back-end's news to the provisioner, which is made after the back-end."""

    to: Provisioner

    def vms(self, node: str, info: VmInfo) -> None:
        """Pass on what happened to a VM."""
        self.to.news(node, info)

    def claims(self, news: ClaimNews) -> None:
        """Pass on what happened to a claim."""
        self.to.claims(news)


def compose(
    config: Config,
    store: Store,
    reactor: Any,
    addresses: Addresses,
    committed: Callable[[str], None] | None = None,
    urls: Mapping[str, str] | None = None,
) -> Parts:
    """Build everything over an open store. ``committed`` hears each step of ``lifecycle.STEPS`` when it is done.

    ``urls`` are the listeners' base URLs by name, as nodes and guests are told them.
    """
    heard = committed or _unheard
    images = catalogue(config.image)
    book = _world(config, store)
    news = _News()
    backend = _backend(config, _settings(config, store, book, reactor, news, urls or {}))
    provisioner = Provisioner(
        store, backend, reactor, now, images, timing=timing(config), endpoint=endpoint(config), committed=heard
    )
    news.to = provisioner
    consumers = Consumers(policy(config))
    producers = Producers(addresses=addresses, now=now, terms=terms(config), backend=backend)
    carriers = notifying(config, store, reactor, now, addresses, consumers, producers)
    store.listen(lambda events: reactor.callFromThread(provisioner.notice, events))
    store.listen(lambda events: reactor.callFromThread(carriers.drainer.notice, events))
    return Parts(
        config=config,
        store=store,
        book=book,
        backend=backend,
        services=build(
            config,
            store,
            backend,
            consumers,
            images,
            carriers,
            lambda waiting: reactor.callFromThread(carriers.courier.wake, waiting),
        ),
        provisioner=provisioner,
        desk=Desk(store, reactor, now, heard),
        sweeper=Sweeper(store, now, terms(config), committed=heard),
        notifying=carriers,
    )


def _unheard(_: str) -> None:
    """Take no notice of a step."""


def _world(config: Config, store: Store) -> NodeBook:
    """Write the configuration's networks and nodes into the store."""
    pools = {name: pool(name, network) for name, network in config.network.items()}
    store.call(lambda tx: _define(tx, pools))
    book = NodeBook(store)
    book.load(config)
    return book


def _define(tx: Tx, pools: Mapping[str, Sequence[Nic]]) -> None:
    for name, addresses in pools.items():
        tx.addresses.define(name, addresses)
    for name in set(tx.addresses.view()) - set(pools):
        tx.addresses.define(name, [])


def _settings(
    config: Config, store: Store, book: NodeBook, reactor: Any, news: _News, urls: Mapping[str, str]
) -> Settings:
    return Settings(
        reactor=reactor,
        nodes=book.nodes,
        options={"max_members": config.lease.max_members, **config.backend.options},
        news=news.vms,
        claims=news.claims,
        ledger=store,
        urls=urls,
        now=now,
    )


def _backend(config: Config, settings: Settings) -> Backend:
    made: Backend = loading.load(config.backend.kind)(settings)
    return made
