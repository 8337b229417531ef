"""A lease on a real Slurm: pilots as unprivileged jobs, through sudo, until the nodes have their memory again.

The nodes want the service's signature before they give a slot, as every site should have it.
"""

from __future__ import annotations

import json

from flyinglow.cli.demo.lrm_site import NODECTL
from flyinglow.client import Disk, Nic, Part
from rigs.lrm_service import LrmService, slurm_service

ASK = """import json, subprocess, sys
agent = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
agent.stdin.write(sys.argv[1] + chr(10))
agent.stdin.flush()
print(next(line for line in agent.stdout if json.loads(line).get("id") == 1))
agent.stdin.close()
agent.wait()
"""
RESERVE = {"v": 1, "id": 1, "order": "reserve", "tag": None}


def test_a_lease_runs_on_slots_and_gives_everything_back() -> None:
    part = Part(name="wn", count=2, memory_mb=128, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
    with slurm_service(tickets=True) as service:
        service.wait((service.lrm_site.state / "slot_key.signers").exists, "the key for tickets")
        service.lrm_site.trust()
        assert (service.lrm_site.state / "slot_key").stat().st_mode & 0o777 == 0o600
        lease = service.site.create([part], name="cluster", duration=600)
        properties = lease.whole.wait("Running", timeout=120)
        assert sorted(str(member.node) for member in properties.members) == ["node1", "node2"]
        assert len(service.slots("Ready")) == 2
        assert "needs a ticket" in taken_by_hand(service, "node1")
        assert "needs a ticket" in taken_by_hand(service, "node3")
        taken_again(service, "node1")
        lease.whole.destroy()
        service.wait(lambda: not service.admin("workspace.list"), "the end of all rows")
        service.wait(lambda: all(job["over"] for job in service.jobs()), "the end of the job")
        assert service.clean_nodes() == []
        service.stop()


def taken_by_hand(service: LrmService, node: str) -> str:
    """Let a job of the same user, without a lease, ask the agent for a slot; return what it is told."""
    order = json.dumps({**RESERVE, "body": {"slot": "mine.0", "memory_mb": 100, "cpus": 1}})
    words = ["setpriv", "--reuid=lease", "--clear-groups", "python3", "-c", ASK, order, "sudo", "-n", NODECTL]
    done = service.world.run_on(node, [*words, "agent", "--stdio"])
    answer = json.loads(done.stdout)
    assert not answer["ok"]
    return str(answer["error"]["message"])


def taken_again(service: LrmService, node: str) -> None:
    """Kill a node's agent; its pilot starts another one, which needs, and gets, a ticket of its own."""
    (before,) = service.status(node)["slots"]
    service.world.run_on(node, ["kill", "-9", str(before["pid"])])

    def taken() -> bool:
        slots = service.status(node)["slots"]
        return bool(slots and slots[0]["alive"] and slots[0]["pid"] != before["pid"])

    service.wait(taken, "a new agent on the slot")
