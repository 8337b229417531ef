"""A node listener with a real intake over a real store behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from twisted.python.threadpool import ThreadPool

from flyinglow.backend.lrm.intake.door import Intake, SlotChange
from flyinglow.backend.lrm.lines.channel import Lines
from flyinglow.backend.testing import ReactorThread
from flyinglow.pilot.messages import Standing
from flyinglow.server import listeners
from flyinglow.server.configuration.settings import NodeListener
from flyinglow.server.node_door import node_site
from flyinglow.store import Store
from rigs.intake import SignedPilot, job_and_slots, noon


class NodeService:
    """What serves pilots: store, intake, listener. ``restart`` leaves nothing but the store."""

    def __init__(self, reactor_thread: ReactorThread, store: Store, listener: NodeListener, slots: int) -> None:
        self.reactor_thread, self.store, self.listener = reactor_thread, store, listener
        self.changes: list[SlotChange] = []
        self.standings: dict[str, Standing] = {}
        self.job, rows = job_and_slots(slots)
        store.call(lambda tx: (tx.jobs.add(self.job), tx.slots.add(rows)))
        self._port: Any = None
        self._site: Any = None
        self.start()

    def start(self) -> None:
        reactor = self.reactor_thread.reactor
        bound = listeners.bind(self.listener)
        self.address: tuple[str, int] = bound.socket.getsockname()[:2]
        self.url = bound.url
        self.reactor_thread.call(self._start, reactor, bound)

    def _start(self, reactor: Any, bound: listeners.Bound) -> None:
        self.lines = Lines(reactor, lambda place, info: None)
        self.intake = Intake(
            self.store,
            reactor,
            noon,
            self.changes.extend,
            lambda slot_id: self.standings.get(slot_id, Standing()),
            "service 1",
            lines=self.lines,
        )
        self._site = node_site(self.intake, self.listener, reactor)  # type: ignore[arg-type]
        self._port = bound.serve(reactor, self._site)

    def stop(self) -> None:
        """Stop as a daemon does: what is held back is answered, then all connections end with the process."""
        self.reactor_thread.call(self._port.stopListening)
        self.reactor_thread.call(self.intake.stop)
        self.reactor_thread.call(self._hang_up)

    def _hang_up(self) -> None:
        for channel in list(self._site._channels):
            channel.transport.loseConnection()

    def slots(self) -> dict[str, Any]:
        """Return the slots as they are stored."""
        return self.store.view(lambda tx: {slot.id: slot for slot in tx.slots.select()})

    def trail(self, slot_id: str) -> list[Any]:
        """Return what is kept of a slot."""
        return self.store.view(lambda tx: tx.trails.of(slot_id))

    def pilot(self, rank: int = 0, **fields: Any) -> SignedPilot:
        """Return a pilot of the job that has not said anything."""
        return SignedPilot(f"{self.job.tag}.{rank}", self.job.secret, **fields)


Serve = Callable[..., NodeService]


@pytest.fixture
def serve(reactor_thread: ReactorThread, tmp_path: Path) -> Iterator[Serve]:
    """Give a function that starts a service with so many slots, on SQLite unless told otherwise."""
    with ExitStack() as stack:
        reactor = reactor_thread.reactor

        def start(slots: int = 2, *, database: str = "", **listener: Any) -> NodeService:
            pool = ThreadPool(1, 4, "store")
            pool.start()
            stack.callback(pool.stop)
            store = Store(database or f"sqlite:///{tmp_path}/store.db", now=noon, reactor=reactor, pool=pool)
            stack.callback(store.close)
            store.migrate()
            service = NodeService(reactor_thread, store, NodeListener(**{"port": 0, **listener}), slots)
            stack.callback(service.stop)
            return service

        yield start
