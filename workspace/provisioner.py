"""Drives life cycles: sees committed intents, carries them out on the nodes, writes down what came of it.

Lives on the reactor; every transaction runs on the store's threads.

A workspace is in the hands of one step at a time. An event that comes meanwhile is looked at when the step is done, so
a Destroy waits for the order that is under way on the node and then takes its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from twisted.internet.defer import Deferred

from flyinglow.backend.api import Backend, ClaimNews
from flyinglow.nodectl.messages import VmInfo
from flyinglow.workspace.barrier import Barrier
from flyinglow.workspace.catalogue import Catalogue
from flyinglow.workspace.claims import Claims
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.crew import Crew, Stopped
from flyinglow.workspace.hands import Grip, Hands
from flyinglow.workspace.launch import Launch
from flyinglow.workspace.model import Event, Kind, Selection, Topic, Workspace
from flyinglow.workspace.operation import Operation
from flyinglow.workspace.orders import Orders
from flyinglow.workspace.ports import Now, Store
from flyinglow.workspace.reclaim import Reclaim
from flyinglow.workspace.reconcile import Reconcile, ReconcileReport
from flyinglow.workspace.retries import ReactorTime, Retries, Timer
from flyinglow.workspace.states import Task
from flyinglow.workspace.steps import Step, step_of
from flyinglow.workspace.timing import Timing

_AT_BARRIER = frozenset({Task.STARTING, Task.RECLAIMING})  # what may change who is waited for
log = structlog.get_logger(__name__)
T = TypeVar("T")


class Provisioner:
    """Give ``notice`` the store's events and ``news`` the back-end's, both on the reactor; call ``reconcile`` first."""

    def __init__(
        self,
        store: Store,
        backend: Backend,
        reactor: ReactorTime,
        now: Now,
        catalogue: Catalogue,
        *,
        timing: Timing | None = None,
        endpoint: Endpoint | None = None,
        committed: Callable[[str], None] = lambda _: None,
    ) -> None:
        timing = timing or Timing()
        self._reactor = reactor
        self._hands = Hands(self._look)
        self._retries = Retries(reactor, self._look)
        self._crew = Crew(
            store=store,
            backend=backend,
            orders=Orders(backend.channel, timing.per_node),
            now=now,
            timing=timing,
            catalogue=catalogue,
            later=self._retries.later,
            take=self._hands.take,
            wrest=self._wrest,
            committed=committed,
            endpoint=endpoint,
        )
        self._barrier = Barrier(self._crew)
        self._claims = Claims(self._crew)
        self._operation = Operation(self._crew)
        self._reclaim = Reclaim(self._crew)
        self._reconcile = Reconcile(self._crew, reactor.seconds, lambda reaping: self._spawn(reaping, []))
        self.strangers = self._reconcile.strangers
        self._todo: dict[str, bool] = {}  # workspace id -> found by a reconcile pass
        self._launching: dict[str, set[str]] = {}  # launch set -> members told of meanwhile
        self._launches: dict[str, Launch] = {}
        self._told: list[tuple[str, VmInfo]] = []
        self._claimed: list[ClaimNews] = []
        self._hearing = False
        self._turn: Timer | None = None
        self._under_way = 0
        self._idle: list[Deferred[None]] = []

    def notice(self, events: Iterable[Event]) -> None:
        """Look at the workspaces of these committed events; cheap, does nothing at once."""
        mine = [event for event in events if event.key.kind is Kind.WORKSPACE and _calls_for_work(event)]
        # what is given back waits for no disk to be sent: its node stops that when it is told to destroy the VM
        gone = [event.key.id for event in mine if event.body.get("task") == Task.RECLAIMING]
        self._hands.wrest(self._operation.saving.intersection(gone))
        self._look([event.key.id for event in mine], unwanted=gone)

    def news(self, node: str, info: VmInfo) -> None:
        """Take what a node says unasked of one VM."""
        self._told.append((node, info))
        self._wake()

    def claims(self, news: ClaimNews) -> None:
        """Take what the back-end says unasked of one claim."""
        self._claimed.append(news)
        self._wake()

    async def reconcile(self) -> ReconcileReport:
        """Observe every node, compare with the rows, and take up every task that nobody is at.

        Never raises for a node; raises Stopped when the service is stopped meanwhile.
        """
        report, unfinished = await self._watch(self._reconcile.run())
        self._look([one for one in unfinished if one not in self._hands and one not in self._retries], recovered=True)
        return report

    async def idle(self) -> None:
        """Return when nothing is under way or waits for its turn; retries that wait for their time do not count.

        A launch set that waits for the back-end's nodes is under way.
        """
        if self._busy():
            waiting: Deferred[None] = Deferred()
            self._idle.append(waiting)
            await waiting

    def stop(self) -> None:
        """Take no further step; what is under way leaves the store as it is, for the next start to go on."""
        self._crew.stopped = True
        self._retries.stop()
        if self._turn:
            self._turn.cancel()
        self._turn = None
        self._todo.clear()
        self._told.clear()
        self._claimed.clear()

    # turns

    def _look(self, ids: Iterable[str], *, recovered: bool = False, unwanted: Sequence[str] = ()) -> None:
        for workspace_id in ids:
            if workspace_id in self._hands:
                self._hands.remind(workspace_id, unwanted=workspace_id in unwanted)
            else:
                self._todo.setdefault(workspace_id, recovered)
        self._wake()

    def _wake(self) -> None:
        told = (self._told or self._claimed) and not self._hearing
        if self._turn is None and (self._todo or told) and not self._crew.stopped:
            self._turn = self._reactor.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        self._turn = None
        todo, self._todo = self._todo, {}
        if (self._told or self._claimed) and not self._hearing:
            self._spawn(self._hear(), [])
        if todo:
            self._spawn(self._sort(todo), list(todo))

    async def _hear(self) -> None:
        """Write news down, one lot at a time: two transactions at once might be committed the newer one first.

        Claims come first: a VM that is gone because its place was taken away is Cancelled, not Corrupted.
        """
        self._hearing = True
        try:
            while (self._told or self._claimed) and not self._crew.stopped:
                claimed, self._claimed = self._claimed, []
                await self._claims.news(claimed)
                told, self._told = self._told, []
                await self._reconcile.news(told)
        finally:
            self._hearing = False
            self._wake()

    async def _sort(self, todo: Mapping[str, bool]) -> None:
        """Read the rows and begin the step of each that is in nobody's hands."""
        rows = await self._crew.store.read(lambda tx: tx.workspaces.select(Selection(ids=tuple(todo))))
        by_step: dict[Step, list[Workspace]] = {step: [] for step in Step}
        for row in rows:
            step = step_of(row)
            if step is not None and row.id in self._hands:
                self._hands.remind(row.id)
            elif step is not None:
                by_step[step].append(row)
        self._launch(by_step[Step.LAUNCH])
        recovered = frozenset(workspace_id for workspace_id, found in todo.items() if found)
        self._begin(by_step[Step.OPERATE], partial(self._operation.run, recovered=recovered))
        self._begin(by_step[Step.RECLAIM], self._reclaim.run)
        barriers = {row.launch_set: row.id for row in rows if row.ready_within and row.task in _AT_BARRIER}
        for launch_set, workspace_id in barriers.items():
            self._spawn(self._barrier.run(launch_set), [workspace_id])

    def _launch(self, rows: Sequence[Workspace]) -> None:
        members: dict[str, list[str]] = {}
        for row in rows:
            members.setdefault(row.launch_set, []).append(row.id)
        for launch_set, ids in members.items():
            if launch_set in self._launching:
                self._launching[launch_set].update(ids)
            else:
                self._launching[launch_set] = set()
                self._spawn(self._launched(launch_set), ids)

    async def _launched(self, launch_set: str) -> None:
        launch = self._launches[launch_set] = Launch(self._crew, launch_set)
        try:
            await launch.run()
        finally:
            del self._launches[launch_set]
            self._look(self._launching.pop(launch_set))

    def _wrest(self, sets: Mapping[str, str]) -> None:
        """Take workspaces whose places go away out of the hands of their steps, and call their launches off."""
        for launch_set in set(sets.values()) & self._launches.keys():
            self._launches[launch_set].abandon()
        self._hands.wrest(sets)

    def _begin(
        self, rows: Sequence[Workspace], run: Callable[[Sequence[Workspace], Grip], Coroutine[Any, Any, None]]
    ) -> None:
        if rows:
            self._spawn(self._held(rows, run), [row.id for row in rows])

    async def _held(
        self, rows: Sequence[Workspace], run: Callable[[Sequence[Workspace], Grip], Coroutine[Any, Any, None]]
    ) -> None:
        grip = self._hands.take(row.id for row in rows)
        try:
            await run(rows, grip)
        finally:
            grip.free_all()

    # watching over what is under way

    def _spawn(self, step: Coroutine[Any, Any, None], ids: Iterable[str]) -> None:
        Deferred.fromCoroutine(self._guard(step, list(ids)))

    async def _guard(self, step: Coroutine[Any, Any, None], ids: list[str]) -> None:
        """See a step through. One that fails unforeseen is logged, and its workspaces are looked at again later."""
        try:
            await self._watch(step)
        except Stopped:
            return
        except Exception:
            log.exception("a step of the provisioner failed; it will be tried again")
            self._retries.later(self._crew.timing.backoff(4), ids)

    async def _watch(self, step: Coroutine[Any, Any, T]) -> T:
        self._under_way += 1
        try:
            return await step
        finally:
            self._under_way -= 1
            if not self._busy():
                waiting, self._idle = self._idle, []
                for one in waiting:
                    one.callback(None)

    def _busy(self) -> bool:
        return bool(self._under_way or self._todo or self._told or self._claimed or self._turn)


def _calls_for_work(event: Event) -> bool:
    """Say whether an event may mean work: a task was begun, or an ensemble was closed."""
    return event.topic is Topic.SCHEDULE or (event.topic is Topic.STATE and event.body.get("task") is not None)
