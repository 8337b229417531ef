"""The launch of a launch set: all of its workspaces are brought up together, or all are backed out.

(Unpropagated, Queued) -> Propagating -> (Propagated, Starting) -> Running or Paused; each arrow is one transaction over
all members that are ready for it. Any member's failure sends the whole set to Reclaiming with target Corrupted, and
the reason names the member; with target Cancelled where the places were taken away. A member that its owner destroyed
meanwhile drops out, and the others go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from flyinglow.backend.api import Claim, Grant, Order, node_name
from flyinglow.nodectl.errors import BrokenError, ConflictError, FlyingLowError, InvalidError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, VmStatus, encode
from flyinglow.workspace import barrier
from flyinglow.workspace.context_endpoint import hash_of
from flyinglow.workspace.crew import Crew
from flyinglow.workspace.demands import request
from flyinglow.workspace.lifecycle import advance, ready, reclaim
from flyinglow.workspace.model import InitialState, Kind, ResourceKey, Selection, Stamp, Workspace
from flyinglow.workspace.orders import Answer, Ask, GoneError, Round
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.spreading import Spreading
from flyinglow.workspace.states import State, Status, Task
from flyinglow.workspace.steps import Step, step_of
from flyinglow.workspace.transfers import Transfers
from flyinglow.workspace.vmspec import specs

_GRANTED = (Stamp.SCHEDULED, Stamp.LAUNCHED, Stamp.ADAPTED)  # what a back-end says of a place
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
    """A member could not be brought up; the set heads for ``target``."""

    def __init__(self, row: Workspace | None, error: FlyingLowError, *, taken: bool = False) -> None:
        super().__init__(f"member {row.name}: {error.message}" if row else error.message)
        self.target = State.CANCELLED if taken or isinstance(error, GoneError) else State.CORRUPTED


class Launch:
    """One run over one launch set."""

    def __init__(self, crew: Crew, launch_set: str) -> None:
        self._crew = crew
        self._set = launch_set
        self._abandoned = False
        self._round: Round | None = None
        self._transfers = Transfers(crew.orders.send, crew.timing.destroy)
        self._spreading = Spreading(crew.orders.send, seconds=crew.timing.create, patience=crew.timing.info)

    def abandon(self) -> None:
        """Send nothing more: the set's places were taken away, and its rows are being given back."""
        self._abandoned = True
        if self._round is not None:
            self._round.call_off()

    async def run(self) -> None:
        """Bring up every member that is not up yet, or back the whole set out."""
        rows = await self._crew.store.read(self._waiting)
        if not rows:
            return
        grip = None
        try:
            grants = await self._acquire(rows)
            grip = self._crew.take([row.id for row in rows])
            grip.unwanted = self._transfers.cut
            begun = await self._begin(grants)
            grip.free([row.id for row in rows if row.id not in begun.ids])
            created = await self._create(begun)
            await self._start([*begun.start, *created])
        except Failed as failed:
            reason, target = str(failed), failed.target
            await self._crew.commit("launch.back_out", lambda tx: self._back_out(tx, target, reason))
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

    async def _acquire(self, rows: list[Workspace]) -> Mapping[str, Grant]:
        """Have the members' places made ready. This may wait long; the members can be destroyed meanwhile."""
        claim = Claim(key=self._set, request=request(rows), nodes={row.id: row.node for row in rows if row.node})
        try:
            return await self._crew.backend.acquire(claim)
        except ConflictError as error:  # granted or not, the claim was taken back
            raise Failed(None, error, taken=True) from error
        except FlyingLowError as error:
            raise Failed(None, error) from error

    async def _begin(self, grants: Mapping[str, Grant]) -> _Begun:
        try:
            return await self._crew.commit("launch.begin", lambda tx: self._beginning(tx, grants))
        except (BrokenError, InvalidError, GoneError) as error:
            raise Failed(None, error) from error

    def _beginning(self, tx: Tx, grants: Mapping[str, Grant]) -> _Begun:
        now = self._crew.now()
        rows = self._waiting(tx)
        places = {grant.node.name: grant.node for grant in grants.values()}
        held = {node.name for node in tx.nodes.all()}  # the others' capacity is the back-end's own business
        fresh = [_begin(tx, row, grants.get(row.id), held, now) for row in rows if row.status == _QUEUED]
        creating = [*fresh, *(row for row in rows if row.status == _PROPAGATING)]
        starting = [row for row in rows if row.status == _STARTING]
        # Those launched together, for ever: a guest is told the same after a restart, whoever is gone by then.
        everyone = tx.workspaces.select(Selection(launch_set=self._set)) if creating else []
        members = [row for row in everyone if Stamp.LAUNCHED in row.stamps]
        for row in creating:
            if row.node not in places:
                raise GoneError(f"member {row.name}: its place on node {node_name(row.node or '')} is gone")
        endpoint = self._crew.endpoint
        if endpoint is not None:
            tx.guests.invite({row.id: hash_of(endpoint.token(row.id)) for row in creating})
        told = specs(creating, members, places, self._crew.catalogue, endpoint)
        return _Begun(tuple((row, told[row.id]) for row in creating), tuple(starting))

    async def _create(self, begun: _Begun) -> list[Workspace]:
        """Create every VM on its node; return the members to start. Raises Failed when one could not be created."""
        ahead = await self._spreading.upstreams(begun.create)
        asks = [
            self._ask(row, OrderName.CREATE, {**encode(spec), **ahead.get(row.id, {})}) for row, spec in begun.create
        ]
        if not asks or self._abandoned:
            return []
        self._transfers.begin(begun.create)
        answers = self._round = self._crew.orders.send(asks)
        infos: dict[str, VmInfo] = {}
        failed: Failed | None = None
        while batch := await answers.some():
            good, bad = _sort(batch, {VmStatus.CREATED, VmStatus.RUNNING, VmStatus.PAUSED, VmStatus.STOPPED})
            infos |= good
            self._transfers.end(answer.row.id for answer in batch)
            failed = failed or await self._first(bad, answers)
            if failed is not None:
                self._transfers.cut_all()
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
        if self._abandoned:
            return
        answers = self._round = self._crew.orders.send(asks)
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
                if row.ready_within is not None:
                    stored = barrier.enter(tx, row, now=now, seconds=seconds)
                else:
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
                return Failed(row, error, taken=self._is_gone(row.node or ""))
        return None

    def _is_gone(self, place: str) -> bool:
        """Say whether there is no such place any more: then it is no fault of the member's that it did not answer."""
        try:
            self._crew.backend.channel(place)
        except UnknownError:
            return True
        except FlyingLowError:
            return False
        return False

    def _back_out(self, tx: Tx, target: State, reason: str) -> None:
        now = self._crew.now()
        for row in tx.workspaces.select(self._selection()):
            reclaim(tx, row, target, now=now, reason=reason)

    def _ask(self, row: Workspace, name: OrderName, body: Mapping[str, object]) -> Ask:
        return Ask(row, Order(name, row.tag, body), self._crew.timing.of(name))


def _begin(tx: Tx, row: Workspace, grant: Grant | None, held: Collection[str], now: datetime) -> Workspace:
    """Note that the orders go out; a member that was queued is placed, and its lease begins, only now.

    From here on ``launched`` is stamped, whatever time it says: orders may have gone out.
    """
    stamps = {Stamp.LAUNCHED: now}
    node = row.node or (grant.node.name if grant else None)
    if row.node is None and node is not None:
        stamps[Stamp.SCHEDULED] = now
        if node in held:
            size = row.allocation
            tx.nodes.hold(node, row.id, memory_mb=size.memory_mb, cpus=size.cpus, disk_mb=size.disk_mb)
    if grant is not None:
        known = {Stamp(word): at for word, at in grant.stamps.items() if word in _GRANTED}
        stamps |= {stamp: min(at, now) for stamp, at in known.items()}
    ends_at = row.ends_at or now + timedelta(seconds=row.duration)
    target, expected = State(row.initial_state), {"starts_at": None}
    return advance(tx, row, _PROPAGATING, now=now, target=target, stamps=stamps, node=node, ends_at=ends_at, **expected)


def _propagated(tx: Tx, row: Workspace, info: VmInfo, now: datetime) -> Workspace:
    ends = row.initial_state is InitialState.PROPAGATED
    new = Status(State.PROPAGATED) if ends else _STARTING
    seconds = {**row.seconds, **info.seconds}
    # one order does both, the image first; how long the second took is known from the node
    wired = timedelta(seconds=info.seconds.get(Stamp.NETWORK, 0.0))
    begun = max((row.stamps[stamp] for stamp in _GRANTED if stamp in row.stamps), default=now - wired)
    stamps = {Stamp.IMAGE: min(now, max(now - wired, begun)), Stamp.NETWORK: now}
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
