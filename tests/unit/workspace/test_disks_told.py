"""What a node and a guest are told of disks: partitions by name, blank ones with their file systems, mount points."""

from dataclasses import replace

import pytest

from flyinglow.backend.api import NodeState
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.messages import DiskSpec, VmInfo, VmStatus
from flyinglow.workspace.catalogue import Image
from flyinglow.workspace.model import Disk, Workspace
from flyinglow.workspace.observe import Change, sighting
from flyinglow.workspace.states import State, Task
from flyinglow.workspace.vmspec import vm_spec

URI = "http://images.example/data.raw"
CATALOGUE = {
    "base": Image(name="base", source="/images/base.raw"),
    "bare": Image(name="bare"),
    "data": Image(name="data", source=URI, sha256="a" * 64, partition=True),
}


@pytest.fixture
def row() -> Workspace:
    from datetime import UTC, datetime

    from flyinglow.workspace.model import Allocation

    return Workspace(
        id="i",
        tag="a1",
        owner="me",
        name="ce",
        part="ce",
        lease_id="l",
        launch_set="s",
        node="n",
        allocation=Allocation(memory_mb=96, cpus=1),
        duration=60,
        accepted_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


NODES = {"n": NodeState(name="n", memory_mb=1, cpus=1, disk_mb=1)}


def test_three_kinds_of_disk_reach_node_and_guest(row: Workspace) -> None:
    disks = (
        Disk(name="root", image="base"),
        Disk(name="data", partition="data", mount="/data", read_only=True),
        Disk(name="scratch", blank_mb=64, mount="/scratch"),
        Disk(name="swap", blank_mb=32, file_system="swap"),
        Disk(name="raw", blank_mb=8),
    )
    spec = vm_spec(replace(row, disks=disks), "name ce\n", NODES, CATALOGUE)
    assert spec.disks[1:] == (
        DiskSpec("data", source=URI, sha256="a" * 64, read_only=True, mount="/data"),
        DiskSpec("scratch", blank_mb=64, mount="/scratch", file_system="ext4"),
        DiskSpec("swap", blank_mb=32, file_system="swap"),
        DiskSpec("raw", blank_mb=8),
    )
    lines = ["disk 1 data ext4 /data ro", "disk 2 scratch ext4 /scratch rw", "disk 3 swap swap - rw"]
    assert spec.context.splitlines() == ["name ce", *lines]


def test_disks_are_counted_as_the_guest_sees_them(row: Workspace) -> None:
    disks = (Disk(name="root", image="bare"), Disk(name="scratch", blank_mb=64, mount="/s"))
    assert vm_spec(replace(row, disks=disks), "", NODES, CATALOGUE).context == "disk 0 scratch ext4 /s rw\n"


def test_a_partition_that_the_site_has_no_more_is_named(row: Workspace) -> None:
    disks = (Disk(name="root", image="base"), Disk(name="d", partition="gone"))
    with pytest.raises(BrokenError, match="gone"):
        vm_spec(replace(row, disks=disks), "", NODES, CATALOGUE)


def test_how_far_a_transfer_is_says_nothing_else_of_a_vm(row: Workspace) -> None:
    info = VmInfo("a1", VmStatus.CREATED, progress="image x: 1.0 of 3.0 MiB")
    found = sighting(replace(row, task=Task.PROPAGATING), info)
    assert found is not None
    assert found.change is Change.PROGRESS
    assert sighting(replace(row, task=Task.PROPAGATING, reason=info.progress), info) is None
    for state, task in ((State.RUNNING, None), (State.PROPAGATED, Task.STARTING), (State.UNPROPAGATED, Task.QUEUED)):
        assert sighting(replace(row, state=state, task=task), info) is None
