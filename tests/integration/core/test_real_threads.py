"""The core on a real reactor with real threads, on each database: many at once, and requests from many threads."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from threading import Thread
from time import monotonic
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import NodeState, Settings
from flyinglow.backend.simulated import SimulatedBackend
from flyinglow.backend.testing import ReactorThread
from flyinglow.ensemble.service import EnsembleService
from flyinglow.factory.service import FactoryService
from flyinglow.nodectl.errors import ConflictError
from flyinglow.store import Store
from flyinglow.workspace.model import Event, Kind, Selection, Workspace
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.provisioner import Provisioner
from flyinglow.workspace.service import WorkspaceService
from flyinglow.workspace.states import FINAL, State
from flyinglow.workspace.terms import Terms
from rigs.reactor import reactor_thread  # noqa: F401
from rigs.site import CATALOGUE, part, pool, request, subscriptions
from rigs.store import OpenStore, store_url  # noqa: F401


def _now() -> datetime:
    return datetime.now(UTC)


class Live:
    """A core that lives on the reactor's thread."""

    def __init__(self, loop: ReactorThread, store: Store) -> None:
        self.loop = loop
        self.store = store
        self.nodes = {
            f"n{at}": NodeState(name=f"n{at}", memory_mb=100_000, cpus=1000, disk_mb=10**6, networks={"private": None})
            for at in range(4)
        }
        store.call(self._furnish)
        settings = Settings(reactor=loop.reactor, nodes=self.nodes, options={"placement": "spread"}, news=self._news)
        self.backend = SimulatedBackend(settings)
        self.provisioner = Provisioner(store, self.backend, loop.reactor, _now, CATALOGUE)
        store.listen(self._heard)
        self.factory = FactoryService(
            store, self.backend, now=_now, terms=Terms(), catalogue=CATALOGUE,
            new_id=lambda: secrets.token_hex(16), new_tag=lambda: f"t{secrets.token_hex(4)[:7]}",
            subscriptions=subscriptions(store, _now, lambda: secrets.token_hex(16)),
        )  # fmt: skip
        self.workspace = WorkspaceService(store, _now, Terms(), self.backend)
        self.ensemble = EnsembleService(store, _now, Terms())

    def rows(self, **selection: Any) -> list[Workspace]:
        return self.store.view(lambda tx: tx.workspaces.select(Selection(**selection)))

    def wait(self, holds: Callable[[list[Workspace]], bool], seconds: float = 180) -> list[Workspace]:
        """Wait until something holds of all rows, by looking whenever the provisioner comes to rest."""
        deadline = monotonic() + seconds
        while not holds(rows := self.rows()):
            assert monotonic() < deadline, {row.name: row.status for row in rows}
            self.loop.run(self._rest, timeout=seconds)
        return rows

    async def _rest(self) -> None:
        await self.provisioner.idle()
        turn: Deferred[None] = Deferred()
        self.loop.reactor.callLater(0.01, turn.callback, None)
        await turn

    def _furnish(self, tx: Any) -> None:
        for node in self.nodes.values():
            tx.nodes.put(node)
        tx.addresses.define("private", pool("private", 400))

    def _heard(self, events: tuple[Event, ...]) -> None:
        self.loop.reactor.callFromThread(self.provisioner.notice, events)

    def _news(self, node: str, info: Any) -> None:
        self.provisioner.news(node, info)


@pytest.fixture
def live(reactor_thread: ReactorThread, open_store: OpenStore, store_url: str) -> Iterator[Live]:  # noqa: F811
    threads = ThreadPool(1, 6)
    threads.start()
    store = open_store(store_url, now=_now, reactor=reactor_thread.reactor, pool=threads)
    made = Live(reactor_thread, store)
    yield made
    reactor_thread.call(made.provisioner.stop)
    reactor_thread.run(made.provisioner.idle)
    threads.stop()


def test_a_large_ensemble_comes_up_and_goes_down(live: Live) -> None:
    created = live.factory.create(LOCAL, request(part("ce"), part("worker", 100, image="guest")))
    rows = live.wait(_all_up)
    assert len(rows) == 101
    for row in rows:
        order = [row.stamps[name] for name in ("accepted", "scheduled", "launched", "image", "started")]
        assert order == sorted(order)
    live.ensemble.destroy(LOCAL, created.resources[0][1].id)
    live.wait(lambda rows: {row.state for row in rows} == {State.ENDED})
    free = live.factory.offers(LOCAL)
    assert free.free.memory_mb == 400_000
    assert [network.free for network in free.networks] == [400]
    assert live.backend.simulation.vms() == {}


def test_requests_from_many_threads_leave_nothing_behind(live: Live) -> None:
    failures: list[BaseException] = []

    def lessee() -> None:
        try:
            for _ in range(3):
                created = live.factory.create(LOCAL, request(part("a"), part("w", 3)))
                for _, key in created.resources:
                    if key.kind is Kind.WORKSPACE:
                        _pause(live, key.id)
                live.ensemble.destroy(LOCAL, created.resources[0][1].id)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [Thread(target=lessee) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failures == []
    rows = live.wait(lambda rows: all(row.state in FINAL for row in rows))
    assert len(rows) == 48
    assert live.factory.offers(LOCAL).free.memory_mb == 400_000
    assert live.backend.simulation.vms() == {}


def _all_up(rows: list[Workspace]) -> bool:
    """Say whether all run, and those whose guests can tell are ready."""
    return all(row.state is State.RUNNING and ("ready" in row.stamps or row.part == "ce") for row in rows)


def _pause(live: Live, workspace_id: str) -> None:
    """Ask for a pause; most often it is too early for one."""
    with suppress(ConflictError):
        live.workspace.shutdown(LOCAL, workspace_id, ShutdownMode.PAUSE)
