"""``kill -9`` of a service whose VMs are real QEMU processes: they live on, and the next start knows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flyinglow.client import Disk, Nic, Part, connect
from flyinglow.nodectl import processes
from flyinglow.nodectl.vmdir import ProcessMark
from rigs.daemon import NODES, Daemon
from rigs.guest import Guest, guest_image
from rigs.waiting import eventually

__all__ = ["guest_image"]

RIGHT_AGAIN_SECONDS = 60.0  # a second or two on a machine that has nothing else to do


@pytest.fixture
def daemon_store() -> str:
    """Use SQLite only: what a kill leaves in either database has tests of its own."""
    return ""


def test_kill_minus_9_leaves_real_guests_running_and_the_next_start_knows_and_ends_them(
    daemon_factory: Callable[..., Daemon], guest_image: Guest
) -> None:
    daemon = daemon_factory(driver="qemu", image=guest_image.entry)
    part = Part(name="wn", count=2, memory_mb=96, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
    lease = connect(daemon.url).create([part], name="wn")
    lease.whole.wait("Running", timeout=120)
    before = _marks(daemon)
    assert len(before) == 2
    daemon.kill()
    eventually(lambda: _agents(daemon) == [])  # they end with their input
    assert all(processes.alive(mark) for mark in before)

    began = time.monotonic()
    daemon.start()
    lease.whole.wait("Running", timeout=RIGHT_AGAIN_SECONDS)
    assert [member.state for member in lease.whole.properties().members] == ["Running", "Running"]
    assert time.monotonic() - began < RIGHT_AGAIN_SECONDS
    assert _marks(daemon) == before

    processes.end(before.pop())
    lease.whole.wait("Corrupted", timeout=120)  # the new daemon watches guests that the old one had started
    lease.whole.destroy()
    eventually(lambda: daemon.admin("workspace.list") == [])
    assert not any(processes.alive(mark) for mark in before)
    for node in NODES:
        assert daemon.nodectl(node, "list")["vms"] == []
        assert list((daemon.node_state(node) / "vms").glob("*")) == []
    assert all(node["free"]["memory_mb"] == node["memory_mb"] for node in daemon.admin("node.list"))


def _marks(daemon: Daemon) -> list[ProcessMark]:
    """Return what tells the QEMU processes of all nodes from any others, by number."""
    pids = [vm["pid"] for node in NODES for vm in daemon.nodectl(node, "list")["vms"]]
    return [mark for mark in map(processes.mark, sorted(pids)) if mark is not None]


def _agents(daemon: Daemon) -> list[int]:
    configs = {str(daemon.root / node / "nodectl.json") for node in NODES}
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in numbers if configs & set(processes.arguments(pid))]
