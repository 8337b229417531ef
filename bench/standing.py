"""The service at rest, and with 10,000 workspaces: memory, a page of the list, a start with all VMs there."""

from __future__ import annotations

import re
import secrets
import string
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import messages
from messages import Caller
from rows import Row, at_most, median, number, percentile
from service import Service

from bench import Bench, until
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.vmdir import StateDir
from flyinglow.store import Store
from flyinglow.workspace.model import Allocation, Disk, Event, Kind, Lease, Nic, ResourceKey, Topic, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import State

NODES = 10
NETWORK = "private"
CHUNK = 1000
_NEXT = re.compile(rb"<flf:Next>(\w+)</flf:Next>")


def measure(bench: Bench) -> list[Row]:
    """Measure the idle service, then fill its store and its nodes, and start it again."""
    many = 2000 if bench.quick else 10_000
    service = Service(bench.directory / "standing", nodes=NODES)
    try:
        service.start()
        idle = _idle(bench, service)
        service.stop()
        bench.say(f"writing {many} workspaces and their VMs")
        rows = fill(service, many)
        starts = [_start(bench, service, rows.pop()) for _ in range(bench.rounds)]
        pages = _pages(service, 100)
        full = service.memory_mb()
    finally:
        service.stop()
    part = f"With {many:,} workspaces"
    answer, reconciled = (median(times) for times in zip(*starts, strict=True))
    return [
        Row(part="At rest", name="memory of the daemon", value=idle, unit="MB", target=at_most(120)),
        Row(
            part=part,
            name="a page of 100 of the list",
            value=percentile(pages, 0.5) * 1000,
            unit="ms",
            p50=percentile(pages, 0.5) * 1000,
            p99=percentile(pages, 0.99) * 1000,
            target=at_most(50),
            beside=f"every page of the list, {number(len(pages))} requests",
        ),
        Row(
            part=part,
            name="process start to first right answer",
            value=answer,
            unit="s",
            beside="slowest " + number(max(first for first, _ in starts)) + " s",
        ),
        Row(
            part=part,
            name="process start to reconciled",
            value=reconciled,
            unit="s",
            target=at_most(5),
            beside=f"{NODES} nodes listing {many:,} VMs; until the loss of one VM is told; slowest "
            + number(max(last for _, last in starts)) + " s",
        ),
        Row(part=part, name="memory of the daemon", value=full, unit="MB", beside="after lists and reconcile"),
    ]  # fmt: skip


def _idle(bench: Bench, service: Service) -> float:
    caller = Caller(service.url)
    for _ in range(20):
        caller.post(service.factory, messages.list_page(service.factory, None, 100))
    time.sleep(2 if bench.quick else 8)
    memory = service.memory_mb()
    bench.say(f"{memory:.0f} MB at rest")
    return memory


def _start(bench: Bench, service: Service, victim: Workspace) -> tuple[float, float]:
    """Take one VM away behind the service's back, start it, wait until it says so; return both times from the start."""
    service.stop()
    if victim.node is None:
        raise RuntimeError("the workspace is on no node")
    _state_dir(service, victim.node).vm(victim.tag).remove()
    service.start()
    url = service.resource("workspace", victim.id)
    caller, question = Caller(service.url), messages.get_state(url)
    answer = caller.post(url, question)
    first = time.monotonic() - service.started
    if b"Running</fl:State>" not in answer:
        raise RuntimeError(f"no state: {answer[-500:]!r}")
    until(lambda: b"Running</fl:State>" not in caller.post(url, question), 60, "the loss of a VM told")
    reconciled = time.monotonic() - service.started
    bench.say(f"first answer after {first:.2f} s, reconciled after {reconciled:.2f} s")
    return first, reconciled


def _pages(service: Service, limit: int) -> list[float]:
    """Turn over the whole list and return the seconds of each page."""
    caller, took, after = Caller(service.url), [], None
    while True:
        began = time.monotonic()
        answer = caller.post(service.factory, messages.list_page(service.factory, after, limit))
        took.append(time.monotonic() - began)
        following = _NEXT.search(answer)
        if following is None:
            return took
        if following[1].decode() == after or len(messages.resources(answer)) != limit:
            raise RuntimeError("the list does not go on as it should")
        after = following[1].decode()


def fill(service: Service, many: int) -> list[Workspace]:
    """Write running workspaces, each a lease of its own, into the store and onto the nodes; return them."""
    made = [_row(service, at) for at in range(many)]
    store = Store(f"sqlite:///{service.database}", now=lambda: datetime.now(UTC), durable=False)
    written: list[Workspace] = []
    for first in range(0, many, CHUNK):
        written += store.call(lambda tx, first=first: _write(tx, made[first : first + CHUNK]))
    store.close()
    for row in written:
        vm = _state_dir(service, row.node or "").vm(row.tag)
        vm.create(VmSpec(tag=row.tag, name=row.name, memory_mb=64, cpus=1))
        vm.update(started=True, simulated={"state": "running", "ready_at": 0.0, "exit_at": None})
    service.hand_over()
    return written


def _state_dir(service: Service, node: str) -> StateDir:
    directory = service.root / node
    return StateDir(directory / "state", directory / "run")


def _row(service: Service, number: int) -> Workspace:
    now = datetime.now(UTC)
    lease = secrets.token_hex(16)
    tag = "b" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(7))
    return Workspace(
        id=secrets.token_hex(16),
        tag=tag,
        owner="local",
        name=f"w{number}",
        part="w",
        lease_id=lease,
        launch_set=lease,
        state=State.RUNNING,
        task=None,
        node=service.nodes[number % len(service.nodes)],
        allocation=Allocation(memory_mb=64, cpus=1, disk_mb=1),
        disks=(Disk(name="disk0", image="guest"),),
        duration=86400,
        accepted_at=now,
        ends_at=now + timedelta(days=1),
        stamps=dict.fromkeys(("accepted", "scheduled", "launched", "image", "started", "notified"), now),
        sequence=1,
    )


def _write(tx: Tx, rows: list[Workspace]) -> list[Workspace]:
    written = []
    for row in rows:
        key = ResourceKey(Kind.WORKSPACE, row.id)
        lease = Lease(
            id=row.lease_id,
            owner=row.owner,
            token=None,
            digest="",
            created_at=row.accepted_at,
            resources=((row.name, key),),
        )
        tx.leases.add(lease)
        nic = tx.addresses.lease(NETWORK, row.id, "eth0")
        written.append(_with_nic(row, nic))
    tx.workspaces.add(written)
    for row in written:
        size = row.allocation
        tx.nodes.hold(row.node or "", row.id, memory_mb=size.memory_mb, cpus=size.cpus, disk_mb=size.disk_mb)
    tx.outbox.add([_event(row) for row in written])
    return written


def _with_nic(row: Workspace, nic: Nic) -> Workspace:
    return replace(row, nics=(nic,))


def _event(row: Workspace) -> Event:
    body = {"name": row.name, "state": "Running", "task": None, "target": None, "previous": "Propagated", "reason": ""}
    return Event(key=row.key, sequence=1, topic=Topic.STATE, owner=row.owner, at=row.accepted_at, body=body)
