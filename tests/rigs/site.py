"""A whole site without SOAP: real store, simulated back-end, services, provisioner and sweeper, on a test clock."""

from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from flyinglow.access.identity import LOCAL, Identity
from flyinglow.backend.api import ClaimNews, NodeState, Settings
from flyinglow.backend.simulated import SimulatedBackend, SimulatedQueue
from flyinglow.backend.simulation import Simulation
from flyinglow.ensemble.service import EnsembleService
from flyinglow.factory.model import Created, CreateRequest, Part
from flyinglow.factory.service import FactoryService
from flyinglow.group.derive import CollectionFold
from flyinglow.group.service import GroupService
from flyinglow.notification.consumers import ConsumerPolicy, Consumers
from flyinglow.notification.contents import Contents
from flyinglow.notification.service import SubscriptionService
from flyinglow.store import Store
from flyinglow.workspace.catalogue import Image
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.model import (
    Allocation,
    Context,
    Disk,
    Event,
    Kind,
    Nic,
    ResourceKey,
    Selection,
    Topic,
    Workspace,
)
from flyinglow.workspace.provisioner import Provisioner
from flyinglow.workspace.service import WorkspaceService
from flyinglow.workspace.sweep import Sweeper, SweepReport
from flyinglow.workspace.terms import Terms
from flyinglow.workspace.timing import Timing
from rigs.soap import XPATH
from rigs.store import OpenStore, open_store  # noqa: F401

START = datetime(2030, 1, 1, 12, tzinfo=UTC)
T = TypeVar("T")
CATALOGUE = {
    "guest": Image(name="guest", source="/images/guest.raw", kernel="/images/k", size_mb=10, ready_mark="GUEST-READY"),
    "bare": Image(name="bare", kernel="/images/k", initrd="/images/i"),
    "plain": Image(name="plain", source="/images/plain.qcow2", format="qcow2", size_mb=100),
}


def pool(network: str, size: int) -> list[Nic]:
    """Make a pool of addresses."""
    octet = {"public": 1, "private": 2}[network]
    return [
        Nic(
            network=network,
            ip=f"10.{octet}.{at // 250}.{at % 250 + 2}",
            prefix=16,
            mac=f"52:54:00:{octet:02x}:{at // 256:02x}:{at % 256:02x}",
            hostname=f"{network}-{at}",
            gateway=f"10.{octet}.0.1" if network == "public" else None,
        )
        for at in range(size)
    ]


def subscriptions(store: Store, now: Callable[[], datetime], new_id: Callable[[], str]) -> SubscriptionService:
    """Make the service by which a Create can subscribe its maker; consumers may be on this machine."""
    return SubscriptionService(
        store=store,
        consumers=Consumers(ConsumerPolicy(allow_loopback=True)),
        now=now,
        new_id=new_id,
        contents=Contents(XPATH),
    )


def part(name: str = "vm", number: int = 1, *, memory_mb: int = 100, networks: tuple[str, ...] = ("private",),
         image: str = "plain", context: Context | None = None, **changes: Any) -> Part:  # fmt: skip
    """Make one part of a request."""
    fields: dict[str, Any] = {
        "allocation": Allocation(memory_mb=memory_mb, cpus=1),
        "disks": (Disk(name="root", image=image),),
        "nics": tuple(Nic(network=network) for network in networks),
        "context": context or Context(),
        **changes,
    }
    return Part(name=name, count=number, **fields)


def request(*parts: Part, **changes: Any) -> CreateRequest:
    """Make a request."""
    return CreateRequest(name=changes.pop("name", "whole"), parts=parts or (part(),), **changes)


class Site:
    """The site; ``events`` lists all that was committed, in order."""

    def __init__(
        self, open_: OpenStore, *, nodes: int = 2, memory_mb: int = 1000, addresses: int = 20,
        terms: Terms | None = None, timing: Timing | None = None, options: dict[str, Any] | None = None,
        endpoint: Endpoint | None = None,
    ) -> None:  # fmt: skip
        self.clock = Clock()
        self.events: list[Event] = []
        self.committed: list[str] = []
        self.terms = terms or Terms()
        self.timing = timing or Timing()
        self.options = options or {}
        self.endpoint = endpoint
        self.store = open_(now=self.now)
        self.nodes = {
            f"node{at}": NodeState(
                name=f"node{at}", memory_mb=memory_mb, cpus=memory_mb // 10, disk_mb=memory_mb * 10,
                networks={"public": "br0", "private": None},
            )
            for at in range(nodes)
        }  # fmt: skip
        self.store.call(lambda tx: self._furnish(tx, addresses))
        self.store.listen(self._heard)
        self._ids = count(1)
        self.boot()

    def boot(self, simulation: Simulation | None = None) -> None:
        """Make everything that a daemon makes; given the simulation of another one, its VMs are still there."""
        settings = Settings(
            reactor=self.clock, nodes=self.nodes, options=self.options, news=self._news, claims=self._claims
        )
        self.backend = (
            SimulatedQueue(settings, simulation)
            if self.options.get("queue")
            else SimulatedBackend(settings, simulation)
        )
        self.simulation = self.backend.simulation
        self.provisioner = Provisioner(
            self.store, self.backend, self.clock, self.now, CATALOGUE, timing=self.timing,
            endpoint=self.endpoint, committed=self.committed.append,
        )  # fmt: skip
        self.factory = FactoryService(
            self.store, self.backend, now=self.now, terms=self.terms, catalogue=CATALOGUE,
            new_id=self._new_id, subscriptions=subscriptions(self.store, self.now, self._new_id),
            new_tag=lambda: f"t{next(self._ids):07d}",
        )  # fmt: skip
        self.workspace = WorkspaceService(self.store, self.now, self.terms, self.backend)
        self.group = GroupService(self.store, self.now, self.terms, self.backend)
        self.ensemble = EnsembleService(self.store, self.now, self.terms, self.backend)
        self.sweeper = Sweeper(self.store, self.now, self.terms, committed=self.committed.append)
        self.fold = CollectionFold(self.now)

    def reboot(self) -> None:
        """Stop the daemon as a crash does, and start another on the same store and the same nodes."""
        self.provisioner.stop()
        self.boot(self.simulation)
        self.run(self.provisioner.reconcile())

    def now(self) -> datetime:
        """Return the time of day: START and what the clock has advanced."""
        return START + timedelta(seconds=self.clock.seconds())

    def create(self, *parts: Part, caller: Identity = LOCAL, **changes: Any) -> Created:
        """Create and return the answer; nothing has been done on a node yet."""
        return self.factory.create(caller, request(*parts, **changes))

    def settle(self, seconds: float = 0) -> None:
        """Let the provisioner do all that it can do now, after ``seconds`` more."""
        until = self.clock.seconds() + seconds
        for _ in range(10_000):
            calls: Any = self.clock.getDelayedCalls()
            due = [call.getTime() for call in calls if call.getTime() <= until]
            if not due:
                self.clock.advance(until - self.clock.seconds())
                return
            self.clock.advance(max(0.0, min(due) - self.clock.seconds()))
        raise AssertionError("the site does not come to rest")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that needs no more time than there has been."""
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        self.settle()
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]  # type: ignore[no-any-return]

    def sweep(self) -> SweepReport:
        """Sweep once, and let the provisioner do what follows."""
        report = self.run(self.sweeper.run())
        self.settle()
        return report

    def rows(self, **selection: Any) -> list[Workspace]:
        """Return rows by name."""
        return sorted(self.store.view(lambda tx: tx.workspaces.select(Selection(**selection))), key=lambda r: r.name)

    def row(self, name: str) -> Workspace:
        """Return the newest row of this name."""
        return next(row for row in reversed(self.rows()) if row.name == name)

    def states(self) -> dict[str, str]:
        """Return state and task of every row by its name."""
        return {row.name: f"{row.state}{'/' + row.task if row.task else ''}" for row in self.rows()}

    def free(self) -> dict[str, int]:
        """Return all that is free: by node its memory, CPUs and disk, by network its addresses."""

        def read(tx: Any) -> dict[str, int]:
            figures = {}
            for view in tx.nodes.view():
                figures[f"{view.node.name}.memory"] = view.free_memory_mb
                figures[f"{view.node.name}.cpus"] = view.free_cpus
                figures[f"{view.node.name}.disk"] = view.free_disk_mb
            return figures | {name: pool.free for name, pool in tx.addresses.view().items()}

        return self.store.view(read)

    def told(self, key: ResourceKey, topic: Topic = Topic.STATE) -> list[Event]:
        """Return the events of one resource on one topic."""
        return [event for event in self.events if event.key == key and event.topic is topic]

    def drain(self) -> list[Event]:
        """Do what the drainer does with unsent events: fold them and mark them; return the derived events."""

        def act(tx: Any) -> list[Event]:
            events = tx.outbox.unsent(10_000)
            derived = self.fold.derive(tx, events)
            tx.outbox.mark_sent([event.id for event in events])
            return derived

        return self.store.call(act)

    def _new_id(self) -> str:
        return f"{next(self._ids) * 0x9E3779B97F4A7C15 % 2**128:032x}"

    def _furnish(self, tx: Any, addresses: int) -> None:
        for node in self.nodes.values():
            tx.nodes.put(node)
        for network in ("public", "private"):
            tx.addresses.define(network, pool(network, addresses))

    def _heard(self, events: tuple[Event, ...]) -> None:
        self.events += events
        self.provisioner.notice(events)

    def _news(self, node: str, info: Any) -> None:
        self.provisioner.news(node, info)

    def _claims(self, news: ClaimNews) -> None:
        self.provisioner.claims(news)


def key_of(created: Created, name: str) -> ResourceKey:
    """Return the key of the resource of this name; of several, the last (the whole comes first)."""
    return [key for found, key in created.resources if found == name][-1]


def whole(created: Created) -> ResourceKey:
    """Return the key of the whole."""
    return created.resources[0][1]


def kinds(created: Created) -> list[tuple[str, Kind]]:
    """Return names and kinds in the order of the answer."""
    return [(name, key.kind) for name, key in created.resources]


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(open_store: OpenStore) -> Iterator[MakeSite]:  # noqa: F811
    """Give a function that makes a site; every site's daemon is stopped at the end."""
    made: list[Site] = []

    def make(**options: Any) -> Site:
        made.append(Site(open_store, **options))
        return made[-1]

    yield make
    for site in made:
        site.provisioner.stop()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """Give a site of two nodes."""
    return make_site()
