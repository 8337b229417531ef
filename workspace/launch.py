"""The launch of a launch set: all of its workspaces are brought up together, or all are backed out.

(Unpropagated, Queued) -> Propagating -> (Propagated, Starting) -> Running or Paused; each arrow is one transaction over
all members that are ready for it. Any member's failure sends the whole set to Reclaiming with target Corrupted, and
the reason names the member. A member that its owner destroyed meanwhile drops out, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from flyinglow.backend.api import Claim, Demand, NodeState, Order, Request
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, VmStatus, encode
from flyinglow.workspace.crew import Crew
from flyinglow.workspace.lifecycle import advance, ready, reclaim
from flyinglow.workspace.model import InitialState, Kind, ResourceKey, Selection, Stamp, Workspace
from flyinglow.workspace.orders import Answer, Ask, Round
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import State, Status, Task
from flyinglow.workspace.steps import Step, step_of
from flyinglow.workspace.vmspec import specs

_QUEUED = Status(State.UNPROPAGATED, Task.QUEUED)
_PROPAGATING = Status(State.UNPROPAGATED, Task.PROPAGATING)
_STARTING = Status(State.PROPAGATED, Task.STARTING)


@dataclass(frozen=True, slots=True)
class _Begun:
    """What the nodes are to be told: what to create, and whom to start."""

    create: tuple[tuple[Workspace, VmSpec], ...]
    start: tuple[Workspace, ...]

    @property
    def ids(self) -> frozenset[str]:
        """The members that the nodes are told of."""
        return frozenset([*(row.id for row, _ in self.create), *(row.id for row in self.start)])


class Failed(Exception):
    """A member could not be brought up."""

    def __init__(self, row: Workspace | None, error: FlyingLowError) -> None:
        super().__init__(f"member {row.name}: {error.message}" if row else error.message)


class Launch:
    """One run over one launch set."""

    def __init__(self, crew: Crew, launch_set: str) -> None:
        self._crew = crew
        self._set = launch_set

    async def run(self) -> None:
        """Bring up every member that is not up yet, or back the whole set out."""
        rows = await self._crew.store.read(self._waiting)
        if not rows:
            return
        grip = None
        try:
            nodes = await self._acquire(rows)
            grip = self._crew.take([row.id for row in rows])
            begun = await self._begin(nodes)
            grip.free([row.id for row in rows if row.id not in begun.ids])
            created = await self._create(begun)
            await self._start([*begun.start, *created])
        except Failed as failed:
            reason = str(failed)
            await self._crew.commit("launch.back_out", lambda tx: self._back_out(tx, reason))
        finally:
            if grip is not None:
                grip.free_all()

    def _waiting(self, tx: Tx) -> list[Workspace]:
        """Return the members to bring up; none of an ensemble that is still open."""
        rows = [row for row in tx.workspaces.select(self._selection()) if step_of(row) is Step.LAUNCH]
        if rows and rows[0].launch_set == rows[0].ensemble_id:
            ensemble = tx.collections.get(ResourceKey(Kind.ENSEMBLE, self._set))
            if ensemble is not None and ensemble.open:
                return []
        return rows

    def _selection(self) -> Selection:
        return Selection(launch_set=self._set, living=True)

    async def _acquire(self, rows: list[Workspace]) -> Mapping[str, str]:
        """Have the members' nodes made ready. This may wait long; the members can be destroyed meanwhile."""
        claim = Claim(key=self._set, request=_request(rows), nodes={row.id: row.node for row in rows if row.node})
        try:
            return await self._crew.backend.acquire(claim)
        except FlyingLowError as error:
            raise Failed(None, error) from error

    async def _begin(self, nodes: Mapping[str, str]) -> _Begun:
        try:
            return await self._crew.commit("launch.begin", lambda tx: self._beginning(tx, nodes))
        except (BrokenError, InvalidError) as error:
            raise Failed(None, error) from error

    def _beginning(self, tx: Tx, nodes: Mapping[str, str]) -> _Begun:
        now = self._crew.now()
        rows = self._waiting(tx)
        sites = {node.name: node for node in tx.nodes.all()}
        fresh = [_begin(tx, row, nodes.get(row.id), sites, now) for row in rows if row.status == _QUEUED]
        creating = [*fresh, *(row for row in rows if row.status == _PROPAGATING)]
        starting = [row for row in rows if row.status == _STARTING]
        # Those launched together, for ever: a guest is told the same after a restart, whoever is gone by then.
        everyone = tx.workspaces.select(Selection(launch_set=self._set)) if creating else []
        members = [row for row in everyone if Stamp.LAUNCHED in row.stamps]
        told = specs(creating, members, sites, self._crew.catalogue)
        return _Begun(tuple((row, told[row.id]) for row in creating), tuple(starting))

    async def _create(self, begun: _Begun) -> list[Workspace]:
        """Create every VM on its node; return the members to start. Raises Failed when one could not be created."""
        asks = [self._ask(row, OrderName.CREATE, encode(spec)) for row, spec in begun.create]
        if not asks:
            return []
        answers = self._crew.orders.send(asks)
        infos: dict[str, VmInfo] = {}
        failed: Failed | None = None
        while batch := await answers.some():
            good, bad = _sort(batch, {VmStatus.CREATED, VmStatus.RUNNING, VmStatus.PAUSED, VmStatus.STOPPED})
            infos |= good
            failed = failed or await self._first(bad, answers)
        if failed is not None:
            raise failed
        return await self._crew.commit("launch.created", lambda tx: self._created(tx, infos))

    def _created(self, tx: Tx, infos: Mapping[str, VmInfo]) -> list[Workspace]:
        now = self._crew.now()
        rows = [row for row in tx.workspaces.select(self._selection()) if row.status == _PROPAGATING]
        return [row for row in (_propagated(tx, r, infos[r.id], now) for r in rows if r.id in infos) if row.task]

    async def _start(self, rows: list[Workspace]) -> None:
        """Start every VM and note each as it runs. Raises Failed when one could not be started."""
        asks = [self._ask(r, OrderName.START, {"paused": r.initial_state is InitialState.PAUSED}) for r in rows]
        answers = self._crew.orders.send(asks)
        failed: Failed | None = None
        while batch := await answers.some():
            good, bad = _sort(batch, {VmStatus.RUNNING, VmStatus.PAUSED})
            failed = failed or await self._first(bad, answers)
            if good and failed is None:
                await self._crew.commit("launch.started", partial(self._started, good))
        if failed is not None:
            raise failed

    def _started(self, infos: Mapping[str, VmInfo], tx: Tx) -> None:
        now = self._crew.now()
        for row in tx.workspaces.select(Selection(ids=tuple(infos))):
            if row.status == _STARTING:
                info = infos[row.id]
                state = State.PAUSED if info.status is VmStatus.PAUSED else State.RUNNING
                seconds = {**row.seconds, **info.seconds}
                stored = advance(tx, row, Status(state), now=now, stamps=[Stamp.STARTED], seconds=seconds)
                if info.ready:
                    ready(tx, stored, now=now)

    async def _first(self, bad: list[tuple[Workspace, FlyingLowError]], answers: Round) -> Failed | None:
        """Return the failure of the first member that failed on its own account, and send nothing more.

        A member that its owner has destroyed meanwhile cannot fail the others.
        """
        for row, error in bad:
            if await self._crew.store.read(partial(_still, row.id)):
                answers.call_off()
                return Failed(row, error)
        return None

    def _back_out(self, tx: Tx, reason: str) -> None:
        now = self._crew.now()
        for row in tx.workspaces.select(self._selection()):
            reclaim(tx, row, State.CORRUPTED, now=now, reason=reason)

    def _ask(self, row: Workspace, name: OrderName, body: Mapping[str, object]) -> Ask:
        return Ask(row, Order(name, row.tag, body), self._crew.timing.of(name))


def _begin(tx: Tx, row: Workspace, given: str | None, sites: Mapping[str, NodeState], now: datetime) -> Workspace:
    """Note that the orders go out; a member that was queued is placed, and its lease begins, only now."""
    stamps = [Stamp.LAUNCHED]
    node = row.node or given
    if row.node is None and node is not None and node in sites:
        size = row.allocation
        tx.nodes.hold(node, row.id, memory_mb=size.memory_mb, cpus=size.cpus, disk_mb=size.disk_mb)
        stamps.append(Stamp.SCHEDULED)
    ends_at = row.ends_at or now + timedelta(seconds=row.duration)
    target = State(row.initial_state)
    return advance(tx, row, _PROPAGATING, now=now, target=target, stamps=stamps, node=node, ends_at=ends_at)


def _propagated(tx: Tx, row: Workspace, info: VmInfo, now: datetime) -> Workspace:
    ends = row.initial_state is InitialState.PROPAGATED
    new = Status(State.PROPAGATED) if ends else _STARTING
    seconds = {**row.seconds, **info.seconds}
    # one order does both, the image first; how long the second took is known from the node
    wired = timedelta(seconds=info.seconds.get(Stamp.NETWORK, 0.0))
    stamps = {Stamp.IMAGE: max(now - wired, row.stamps.get(Stamp.LAUNCHED, now - wired)), Stamp.NETWORK: now}
    return advance(tx, row, new, now=now, target=State(row.initial_state), stamps=stamps, seconds=seconds)


def _still(workspace_id: str, tx: Tx) -> bool:
    """Say whether the member is still being launched."""
    current = tx.workspaces.get(workspace_id)
    return current is not None and step_of(current) is Step.LAUNCH


def _sort(
    batch: Iterable[Answer], fine: set[VmStatus]
) -> tuple[dict[str, VmInfo], list[tuple[Workspace, FlyingLowError]]]:
    """Tell the answers that are as hoped (by workspace id) from the others."""
    good: dict[str, VmInfo] = {}
    bad: list[tuple[Workspace, FlyingLowError]] = []
    for answer in batch:
        try:
            info = answer.info()
        except FlyingLowError as error:
            bad.append((answer.row, error))
            continue
        if info.status in fine:
            good[answer.row.id] = info
        else:
            bad.append((answer.row, BrokenError(info.reason or f"its VM is {info.status.value} on its node")))
    return good, bad


def _request(rows: list[Workspace]) -> Request:
    demands = tuple(
        Demand(
            member=row.id,
            name=row.name,
            memory_mb=row.allocation.memory_mb,
            cpus=row.allocation.cpus,
            disk_mb=row.allocation.disk_mb,
            networks=tuple(nic.network for nic in row.nics),
        )
        for row in rows
    )
    return Request(demands=demands, duration=max(row.duration for row in rows))
