"""Whatever lessees, nodes and crashes do, in any order: nothing leaks, no step is illegal, folds agree.

The reference model is small: capacity and addresses are what the workspaces that are not over hold; a destroyed EPR is
unknown for ever; what is over stays as it is; and each resource's events tell a legal history without a gap.
"""

from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyinglow.access.identity import LOCAL
from flyinglow.backend.api import ClaimNews, ClaimTopic
from flyinglow.factory.model import Created
from flyinglow.group.fold import fold
from flyinglow.group.members import members_of
from flyinglow.nodectl.errors import (
    BrokenError,
    ConflictError,
    ExhaustedError,
    NeverError,
    TransientError,
    UnknownError,
)
from flyinglow.store import Store
from flyinglow.workspace.model import Kind, ResourceKey, Topic, Workspace
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.workspace.states import FINAL, State, Status, Task, may_follow
from rigs.site import Site, part

MODES = [ShutdownMode.NORMAL, ShutdownMode.PAUSE, ShutdownMode.REBOOT, ShutdownMode.TRASH]
ORDERS = ["create", "start", "pause", "resume", "reboot", "shutdown", "destroy"]
ERRORS = [TransientError("no answer"), BrokenError("the disk is full"), ConflictError("not now")]
NETWORKS = st.sampled_from([(), ("private",), ("private", "public")])
INDEX = st.integers(0, 50)
PARTS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from([50, 100, 300]), NETWORKS), min_size=1, max_size=3)


def _members(key: ResourceKey, tx: Any) -> list[Workspace]:
    return members_of(tx, key)


class History:
    """One history of a site of three nodes."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.folder = TemporaryDirectory()
        self.stores: list[Store] = []
        self.site = Site(self._open, nodes=3, memory_mb=1000, addresses=24, options=options)
        self.free = self.site.free()
        self.leases: list[Created] = []
        self.destroyed: set[ResourceKey] = set()
        self.final: dict[str, tuple[State, str]] = {}

    def _open(self, **options: Any) -> Store:
        store = Store(f"sqlite:///{Path(self.folder.name)}/store.db", durable=False, **options)
        store.migrate()
        self.stores.append(store)
        return store

    def create(self, parts: list[tuple[int, int, tuple[str, ...]]], token: str | None, open: bool) -> None:
        asked = [part(f"p{at}", n, memory_mb=mb, networks=nets) for at, (n, mb, nets) in enumerate(parts)]
        known = {lease.lease_id for lease in self.leases}
        token = token and f"{token}-{parts}-{open}"
        try:
            made = self.site.create(*asked, token=token, open=open)
        except (ExhaustedError, NeverError):
            return
        if made.lease_id not in known:
            self.leases.append(made)

    def request(self, at: int, which: int, mode: ShutdownMode | None) -> None:
        key = self._pick(at, which)
        if key is None:
            return
        service: Any = self._service(key)
        try:
            service.start(LOCAL, key.id) if mode is None else service.shutdown(LOCAL, key.id, mode)
        except ConflictError:
            assert key.kind is Kind.WORKSPACE
        except UnknownError:
            assert self._is_gone(key)

    def destroy(self, at: int, which: int) -> None:
        key = self._pick(at, which)
        if key is None:
            return
        try:
            self._service(key).destroy(LOCAL, key.id)
        except UnknownError:
            assert self._is_gone(key)
            return
        assert key not in self.destroyed
        self.destroyed |= {key, *self._inside(key)}

    def done(self, at: int) -> None:
        key = self._pick(at, 0)
        if key is None or key.kind is not Kind.ENSEMBLE:
            return
        try:
            self.site.ensemble.done(LOCAL, key.id)
        except ConflictError:
            return
        except UnknownError:
            assert self._is_gone(key)

    def fail(self, order: str, error: Any, times: int) -> None:
        self.site.simulation.fail_next(order, error, times=times)

    def silence(self, node: int, silent: bool) -> None:
        self.site.simulation.silence(f"node{node}") if silent else self.site.simulation.speak(f"node{node}")

    def hurt(self, at: int, how: str) -> None:
        tags = sorted(self.site.simulation.vms())
        if tags:
            tag = tags[at % len(tags)]
            act = getattr(self.site.simulation, how)
            act(tag, "it did so") if how in {"exit", "break_vm"} else act(tag)

    def take(self, at: int, notice: float | None, node: int | None) -> None:
        """Take a lease's places away: all of them, or those on one node."""
        rows = self._rows(at)
        if rows:
            places = frozenset() if node is None else frozenset({f"node{node}"})
            self.site.backend.take(rows[0].launch_set, notice, "it was taken away", places)

    def waiting(self, at: int, reason: str, starts_in: float | None) -> None:
        """Say why a lease waits, whether it does or not."""
        rows = self._rows(at)
        if rows:
            news = ClaimNews(key=rows[0].launch_set, topic=ClaimTopic.WAITING, reason=reason, starts_in=starts_in)
            self.site.provisioner.claims(news)

    def wait(self, seconds: int) -> None:
        self.site.settle(seconds)
        self.site.sweep()

    def settle(self) -> None:
        self.site.settle()

    def reconcile(self) -> None:
        self._reconcile()

    def crash(self) -> None:
        self.site.provisioner.stop()
        self.site.boot(self.site.simulation)
        self._reconcile()

    def holds_are_what_lives(self) -> None:
        expected = dict(self.free)
        for row in self.site.rows(living=True):
            if row.node is not None:
                expected[f"{row.node}.memory"] -= row.allocation.memory_mb
                expected[f"{row.node}.cpus"] -= row.allocation.cpus
                expected[f"{row.node}.disk"] -= row.allocation.disk_mb
            for nic in row.nics:
                expected[nic.network] -= 1
        assert self.site.free() == expected

    def what_is_over_stays_so_with_its_reason(self) -> None:
        for row in self.site.rows(living=False):
            assert self.final.setdefault(row.id, (row.state, row.reason)) == (row.state, row.reason)
            assert row.task is None
            assert row.finished_at is not None
            if row.state in {State.CORRUPTED, State.CANCELLED}:
                assert row.reason

    def folds_agree(self) -> None:
        self.site.drain()
        keys = {key for lease in self.leases for _, key in lease.resources if key.kind is not Kind.WORKSPACE}
        for key in keys:
            members = self.site.store.view(partial(_members, key))
            if members:
                told = self.site.told(key)[-1].body
                assert (told["state"], told["counts"]) == (fold(members).state, fold(members).counts)

    def check(self) -> None:
        """Compare the site with the reference model."""
        self.holds_are_what_lives()
        self.what_is_over_stays_so_with_its_reason()
        self.folds_agree()

    def end(self) -> None:
        """Have everything destroyed: the site is as it was in the beginning."""
        for node in self.site.nodes:
            self.site.simulation.speak(node)
        for lease in self.leases:
            for _, key in lease.resources:
                try:
                    self._service(key).destroy(LOCAL, key.id)
                except UnknownError:
                    continue
        self.site.settle(5000)
        self._reconcile()
        self.site.settle(100)
        self._reconcile()
        assert {row.state in FINAL for row in self.site.rows()} <= {True}, self.site.states()
        assert self.site.free() == self.free
        assert not self.site.simulation.vms()
        self._histories()

    def close(self) -> None:
        self.site.provisioner.stop()
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def _histories(self) -> None:
        """Every workspace's events tell a legal history without a gap."""
        for key in {event.key for event in self.site.events}:
            mine = [event for event in self.site.events if event.key == key]
            assert [event.sequence for event in mine] == list(range(1, len(mine) + 1))
            if key.kind is not Kind.WORKSPACE:
                continue
            told = [event.body for event in mine if event.topic is Topic.STATE]
            steps = [
                Status(State(b["state"]), Task(b["task"]) if b["task"] else None) for b in told if not b.get("ready")
            ]
            assert all(may_follow(old, new) for old, new in pairwise(steps))

    def _reconcile(self) -> None:
        from twisted.internet.defer import Deferred

        failures: list[Any] = []
        Deferred.fromCoroutine(self.site.provisioner.reconcile()).addErrback(failures.append)
        self.site.settle(2)
        assert not failures

    def _pick(self, at: int, which: int) -> ResourceKey | None:
        if not self.leases:
            return None
        resources = self.leases[at % len(self.leases)].resources
        return resources[which % len(resources)][1]

    def _rows(self, at: int) -> list[Workspace]:
        return [
            row
            for row in self.site.rows()
            if self.leases and row.lease_id == self.leases[at % len(self.leases)].lease_id
        ]

    def _is_gone(self, key: ResourceKey) -> bool:
        """Say whether it was destroyed, or forgotten after its time."""
        kept = {row.key for row in self.site.rows()}
        return key in self.destroyed or not {key, *self._inside(key)} & kept

    def _inside(self, key: ResourceKey) -> set[ResourceKey]:
        if key.kind is Kind.WORKSPACE:
            return set()
        rows = self.site.rows(**{f"{key.kind}_id": key.id})
        groups = {ResourceKey(Kind.GROUP, row.group_id) for row in rows if row.group_id}
        return {row.key for row in rows} | (groups if key.kind is Kind.ENSEMBLE else set())

    def _service(self, key: ResourceKey) -> Any:
        return {"workspace": self.site.workspace, "group": self.site.group, "ensemble": self.site.ensemble}[key.kind]


ACTS = st.one_of(
    st.tuples(st.just("create"), PARTS, st.sampled_from([None, None, "a", "b"]), st.sampled_from([False, False, True])),
    st.tuples(st.just("request"), INDEX, INDEX, st.sampled_from([None, *MODES])),
    st.tuples(st.just("request"), INDEX, INDEX, st.sampled_from([None, *MODES])),
    st.tuples(st.just("destroy"), INDEX, INDEX),
    st.tuples(st.just("done"), INDEX),
    st.tuples(st.just("fail"), st.sampled_from(ORDERS), st.sampled_from(ERRORS), st.integers(1, 2)),
    st.tuples(st.just("silence"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("hurt"), INDEX, st.sampled_from(["exit", "break_vm", "lose", "ready"])),
    st.tuples(st.just("take"), INDEX, st.sampled_from([None, 20.0]), st.sampled_from([None, None, 0, 1])),
    st.tuples(st.just("waiting"), INDEX, st.sampled_from(["Resources", "Priority"]), st.sampled_from([None, 90.0])),
    st.tuples(st.just("wait"), st.sampled_from([0, 0, 0, 1, 61, 700, 4000])),
    st.tuples(st.just("settle")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("reconcile")),
    st.tuples(st.just("crash")),
)


SLOW = {"delays": {"create": 3.0, "start": 2.0, "shutdown": 5.0, "destroy": 1.0}}
SITES: list[dict[str, Any]] = [{}, SLOW, {"queue": True, "grant_after": 30.0}, {"queue": True, **SLOW}]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(ACTS, min_size=15, max_size=40), st.sampled_from(SITES))
def test_any_history_is_legal_and_leaks_nothing(acts: list[tuple[Any, ...]], options: dict[str, Any]) -> None:
    history = History(options)
    try:
        for name, *arguments in [("create", [(2, 50, ("private",)), (1, 100, ())], None, False), *acts]:
            getattr(history, name)(*arguments)
            history.check()
        history.end()
    finally:
        history.close()
