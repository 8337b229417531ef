"""A lease on a real Slurm: pilots as unprivileged jobs, through sudo, until the nodes have their memory again."""

from __future__ import annotations

from flyinglow.client import Disk, Nic, Part
from rigs.lrm_service import slurm_service


def test_a_lease_runs_on_slots_and_gives_everything_back() -> None:
    part = Part(name="wn", count=2, memory_mb=128, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
    with slurm_service() as service:
        lease = service.site.create([part], name="cluster", duration=600)
        properties = lease.whole.wait("Running", timeout=60)
        assert sorted(str(member.node) for member in properties.members) == ["node1", "node2"]
        assert len(service.slots("Ready")) == 2
        lease.whole.destroy()
        service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
        service.wait(lambda: all(job["over"] for job in service.jobs()), "the end of the job")
        assert service.clean_nodes() == []
        service.stop()
