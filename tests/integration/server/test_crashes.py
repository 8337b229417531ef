"""The daemon dies after each step that it commits, and the next one goes on from there to the same end.

Each case is a short story in which its step is reached. Afterwards there is one truth: the resources are what they
would have been, no VM is left on a node, and every bit of capacity and every address is free again.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from flyinglow.client import Disk, Lease, Nic, Part, connect
from flyinglow.nodectl.errors import FlyingLowError, UnknownError
from flyinglow.server.composition import SQLITE
from flyinglow.workspace.lifecycle import STEPS
from rigs.daemon import NODES, Daemon

SECONDS = 120.0
TOKEN = "one-lease"
PART = Part(
    name="wn", count=2, memory_mb=64, disks=(Disk(image="guest"),), nics=(Nic(network="private"), Nic(network="public"))
)
OVER = {"Ended", "Corrupted", "Cancelled"}


@pytest.fixture
def daemon_store() -> str:
    """Let these run on SQLite only: which database it is makes no difference to what is done after a start."""
    return ""


def nothing(daemon: Daemon, lease: Lease) -> None:
    """Let the lease alone."""


def pause(daemon: Daemon, lease: Lease) -> None:
    """Pause what runs."""
    lease.whole.wait("Running", timeout=SECONDS)
    lease.whole.pause()


def trash(daemon: Daemon, lease: Lease) -> None:
    """End what runs."""
    lease.whole.wait("Running", timeout=SECONDS)
    lease.whole.trash()


def end_soon(daemon: Daemon, lease: Lease) -> None:
    """Move the end so near that its disk is saved now."""
    now = lease.whole.wait("Running", timeout=SECONDS).current_time
    assert now is not None
    lease.whole.set_end(now + timedelta(seconds=605))


def lose(daemon: Daemon, lease: Lease) -> None:
    """Take a VM away behind the service's back."""
    lease.whole.wait("Running", timeout=SECONDS)
    daemon.nodectl("n1", "destroy", daemon.nodectl("n1", "list")["vms"][0]["tag"])


def age(daemon: Daemon, lease: Lease) -> None:
    """Let all events be very old, and start the service that will find them so."""
    lease.whole.wait("Running", timeout=SECONDS)
    daemon.stop()
    with contextlib.closing(sqlite3.connect(daemon.state / SQLITE)) as database, database:
        database.execute("UPDATE events SET at = 0")
    daemon.start(arguments=("sweep.forget",), wait=False)


def report(daemon: Daemon, lease: Lease) -> None:
    """Let a guest report."""
    lease.whole.wait("Running", timeout=SECONDS)
    workspace = next(each.id for each in lease.resources.values() if each.kind == "workspace")
    headers = {"Authorization": f"Bearer {daemon.guest_token(workspace)}"}
    asked = urllib.request.Request(f"{daemon.guest_url}/report", b'{"status": "ok"}', headers)
    with contextlib.suppress(OSError):
        urllib.request.urlopen(asked, timeout=SECONDS).close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """How a step is reached: the site's settings, the request, what is done with the lease. ``states`` are the end."""

    states: tuple[str, ...]
    act: Callable[[Daemon, Lease], None] = nothing
    request: Mapping[str, Any] = field(default_factory=dict)
    lease: str = ""
    backend: str = ""
    node: Mapping[str, Any] = field(default_factory=dict)
    from_the_start: bool = True
    forgotten: bool = False


SIMULATED = '[backend]\nkind = "simulated"\n[backend.options]\n'
RUNNING, PAUSED, ENDED = ("Running",) * 2, ("Paused",) * 2, ("Ended",) * 2
CASES: Mapping[str, Case] = {
    "launch.begin": Case(states=RUNNING),
    "launch.created": Case(states=RUNNING),
    "launch.started": Case(states=RUNNING),
    "launch.back_out": Case(states=("Corrupted",) * 2, node={"failures": [{"order": "start"}]}),
    "context.report": Case(states=RUNNING, act=report),
    "barrier.counted": Case(states=RUNNING, request={"ready_barrier": 60}, node={"delays": {"ready": 0.5}}),
    "barrier.passed": Case(states=RUNNING, request={"ready_barrier": 60}, node={"delays": {"ready": 0.5}}),
    "barrier.failed": Case(states=("Corrupted",) * 2, request={"ready_barrier": 1}, node={"delays": {"ready": 1000.0}}),
    "claim.waiting": Case(states=RUNNING, backend=f"{SIMULATED}queue = true\ngrant_after = 1.0"),
    "claim.ending": Case(states=("Cancelled",) * 2, backend=f"{SIMULATED}take_after = 0.5\ntake_notice = 10.0"),
    "claim.lost": Case(states=("Cancelled",) * 2, backend=f"{SIMULATED}take_after = 0.5"),
    "operation.done": Case(states=PAUSED, act=pause),
    "reclaim.done": Case(states=ENDED, act=trash),
    "reclaim.failed": Case(states=ENDED, act=trash, node={"failures": [{"order": "destroy", "times": 1}]}),
    "observe.found": Case(states=("Corrupted", "Running"), act=lose),
    "sweep.expire": Case(states=ENDED, request={"duration": 3}),
    "sweep.save": Case(
        states=("Propagated",) * 2,  # its simulated disks cannot be sent, which is tried again later
        act=end_soon,
        request={"duration": 3600, "end_action": "Save", "save_to": "store:{name}"},
        lease="save_margin = 600\nsave_rate = 1e9\nsave_retry = 600",
    ),
    "sweep.overdue": Case(states=("Cancelled",) * 2, request={"open": True, "start_within": 1}),
    "sweep.warn": Case(states=ENDED, request={"duration": 4}, lease="warn_before = 60"),
    "sweep.purge": Case(states=(), act=trash, lease="retain = 1", forgotten=True),
    "sweep.forget": Case(states=RUNNING, act=age, from_the_start=False),
}


def test_every_step_has_a_case() -> None:
    assert set(CASES) == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_after_any_step_changes_nothing_about_the_end(step: str, daemon_factory: Callable[..., Daemon]) -> None:
    case = CASES[step]
    toml = f"[lease]\n{case.lease}\n[notification]\nallow_loopback = true\n{case.backend}"
    daemon = daemon_factory(start=False, nodectl={"simulated": case.node}, toml=toml, reconcile_every=1.0, guests=True)
    daemon.start(arguments=(step,) if case.from_the_start else ())
    lease = tell(daemon, case)
    assert daemon.wait_for_death() == -signal.SIGKILL
    daemon.start()
    if case.forgotten:
        assert lease is not None
        with pytest.raises(UnknownError):
            lease.whole.properties()
    else:
        again = create(daemon, case)
        assert lease is None or again.resources == lease.resources
        wait_for(lambda: states(again) == case.states)
        if not set(case.states) <= OVER:
            again.whole.destroy()
            with pytest.raises(UnknownError):
                again.whole.properties()
    assert_nothing_is_held(daemon)
    daemon.stop()


def create(daemon: Daemon, case: Case) -> Lease:
    """Ask for the case's lease; with the same token it is the same lease."""
    return connect(daemon.url).create([PART], name="wn", token=TOKEN, **case.request)


def tell(daemon: Daemon, case: Case) -> Lease | None:
    """Go through the story as far as the service lives; return the lease if its answer still came."""
    lease = None
    with contextlib.suppress(FlyingLowError):
        lease = create(daemon, case)
        case.act(daemon, lease)
    return lease


def states(lease: Lease) -> tuple[str, ...]:
    """Return the states of all workspaces that are at rest."""
    found = [resource.properties() for resource in lease.resources.values() if resource.kind == "workspace"]
    return tuple(sorted(each.state if each.task is None else f"{each.state}/{each.task}" for each in found))


def assert_nothing_is_held(daemon: Daemon) -> None:
    """Hold the site against an empty one: rows, VMs, capacity and addresses."""
    wait_for(lambda: daemon.admin("workspace.list") == [])
    assert [daemon.nodectl(node, "list")["vms"] for node in NODES] == [[], []]
    for node in daemon.admin("node.list"):
        assert node["free"] == {key: node[key] for key in ("memory_mb", "cpus", "disk_mb")}
    assert all(network.free_addresses == network.addresses for network in connect(daemon.url).offers().networks)


def wait_for(true: Callable[[], bool]) -> None:
    """Return when it is true; fails when it does not become so."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not come to this"
        time.sleep(0.05)
