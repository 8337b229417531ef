"""The services that the endpoints publish, built over the store, the back-end and the configuration's terms.

Every verb of theirs blocks on a worker thread; ``composition.py`` hands in what they share with the rest of the daemon.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flyinglow.ensemble.service import EnsembleService
from flyinglow.factory.service import FactoryService
from flyinglow.group.service import GroupService
from flyinglow.group.sharing import SharingService
from flyinglow.notification.contents import Contents
from flyinglow.notification.lifetime import Lifetimes
from flyinglow.notification.service import SubscriptionService, SubscriptionSettings
from flyinglow.server.catalogue import uri_policy
from flyinglow.server.configuration.access import policies
from flyinglow.server.identifiers import new_id, new_tag
from flyinglow.server.pools import network_terms
from flyinglow.workspace.changes import Changes
from flyinglow.workspace.quotas import Quotas
from flyinglow.workspace.service import WorkspaceService
from flyinglow.workspace.terms import HardwareTerms, Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flyinglow.backend.api import Backend
    from flyinglow.notification.consumers import Consumers
    from flyinglow.notification.pulling.bell import Bell
    from flyinglow.notification.pulling.service import PullService
    from flyinglow.server.configuration.settings import Config
    from flyinglow.server.notifying import Notifying
    from flyinglow.store import Store
    from flyinglow.workspace.catalogue import Catalogue
    from flyinglow.workspace.ports import Now


def now() -> datetime:
    """Return the time as an aware UTC datetime."""
    return datetime.now(UTC)


def terms(config: Config) -> Terms:
    """Return the lease terms that the configuration means."""
    lease = config.lease
    return Terms(
        default_duration=lease.default_duration,
        max_duration=lease.maximum_duration,
        warn_before=lease.warn_before,
        retain=lease.retain,
        save_rate=lease.save_rate,
        save_margin=lease.save_margin,
        save_retry=lease.save_retry,
        show_node=config.server.show_node,
        reports=bool(config.listen.guest.base_url),
        hardware=HardwareTerms(**asdict(config.hardware)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the endpoints publish; every verb blocks on a worker thread."""

    factory: FactoryService
    workspace: WorkspaceService
    group: GroupService
    ensemble: EnsembleService
    subscriptions: SubscriptionService
    changes: Changes
    sharing: SharingService
    pulls: PullService
    bell: Bell


def build(
    config: Config,
    store: Store,
    backend: Backend,
    consumers: Consumers,
    images: Catalogue,
    carriers: Notifying,
    woken: Callable[[Sequence[str]], None],
) -> Services:
    """Return the services. ``woken`` hears which subscriptions have something waiting."""
    lease_terms = terms(config)
    clock: Now = now
    book = policies(config.access, config.policy)
    subscriptions = SubscriptionService(
        store=store,
        consumers=consumers,
        now=clock,
        new_id=new_id,
        contents=Contents(carriers.checks),
        woken=woken,
        places=carriers.pulls,
        policies=book,
        settings=SubscriptionSettings(
            lifetimes=Lifetimes(longest=config.notification.maximum_lifetime),
            per_owner=config.notification.per_owner,
            per_consumer=config.notification.per_host,
            filtered_per_owner=config.notification.filtered_per_owner,
            log_entries=config.notification.log_entries,
            log_seconds=config.notification.log_kept,
        ),
    )
    quotas = Quotas(clock, book)
    schedule = "immediate" if config.backend.kind == "default" else "best-effort"
    return Services(
        factory=FactoryService(
            store,
            backend,
            now=clock,
            terms=lease_terms,
            catalogue=images,
            new_id=new_id,
            new_tag=new_tag,
            subscriptions=subscriptions,
            schedule=schedule,
            uris=uri_policy(config.image_uri),
            networks=network_terms(config.network),
            quotas=quotas,
        ),
        workspace=WorkspaceService(store, clock, lease_terms, backend, quotas),
        group=GroupService(store, clock, lease_terms, backend, quotas),
        ensemble=EnsembleService(store, clock, lease_terms, backend, quotas),
        subscriptions=subscriptions,
        changes=Changes(store, clock, lease_terms, images),
        sharing=SharingService(store, clock),
        pulls=carriers.pulls,
        bell=carriers.bell,
    )
