"""Each policy, configured as a site configures it, with the whole service on a real Slurm and real guests in QEMU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import SUDOERS
from flyinglow.cli.demo.slurm_world import SlurmWorld
from flyinglow.nodectl.errors import DeniedError
from rigs.guest import IMAGES, Guest
from rigs.lease_story import calm, dismiss, mine, only, part, slurm, telling, tidy
from rigs.lrm_service import LrmService, lrm_service
from rigs.slurm import slurm_world

pytestmark = pytest.mark.xdist_group("slurm-policies")

GRACE = 40
START = 240.0  # seconds until emulated guests run, on a machine that has other work
CPUS = 4  # that each node says it has
OVERHEAD = 96  # of one QEMU
LARGEST = 1744  # what slots may take of a node: all of its 2000 but the least that it keeps


@pytest.fixture(scope="module")
def world() -> Iterator[SlurmWorld]:
    """Give a Slurm of two nodes for the services of all policies, one after the other."""
    with slurm_world(2, sudoers=SUDOERS, kill_wait=GRACE, cpus=CPUS) as made:
        yield made


@contextlib.contextmanager
def ruled(world: SlurmWorld, image: Guest, policy: str, options: Mapping[str, Any]) -> Iterator[LrmService]:
    """Give a service under a policy; afterwards none of its jobs is left and the nodes are as they were."""
    table = {
        "lrm": "slurm",
        "grace": GRACE,
        "share": 0.05,  # pilots wait so long for a service that is gone
        "vm_overhead_mb": OVERHEAD,
        "node_memory_mb": LARGEST,
        "policy": policy,
        "policy_options": options,
    }
    nodectl = {"images": [str(IMAGES)]}
    with lrm_service(world, HEAD_ADDRESS, table, image=image.entry, nodectl=nodectl, node_cpus=CPUS) as service:
        # only then are the nodes' CPUs known, which a whole slot takes
        service.wait(lambda: service.admin("backend.inspect")["version"], "what Slurm says of itself")
        try:
            yield service
        finally:
            service.kill()  # some policies would ask for jobs again
            tidy(service)
            dismiss(service)


def taken(service: LrmService, node: str) -> int:
    """Return how much memory slots have taken of a node, in MB."""
    memory = service.status(node)["memory"]
    return int(memory["base_mb"] - memory["actual_mb"])


def test_packing_puts_the_machines_of_a_request_on_one_slot(world: SlurmWorld, guest_image: Guest) -> None:
    with ruled(world, guest_image, "packing", {}) as service:
        with telling(service, part(3, 96), name="packed") as story:
            (node,) = set(story.running(START))  # more machines than the cluster has nodes, and one node does
            assert len(service.slots("Ready")) == 1
            assert len(service.status(node)["vms"]) == 3
            assert taken(service, node) >= 3 * (96 + OVERHEAD)
            story.lease.whole.destroy()
        calm(service)


def test_a_job_that_is_kept_warm_serves_the_next_request_and_is_given_back_later(
    world: SlurmWorld, guest_image: Guest
) -> None:
    options = {"seconds": 15, "base": "packing", "base_options": {"whole": True}}
    with ruled(world, guest_image, "keep_warm", options) as service:
        with telling(service, part(1, 96), name="first", duration=900) as first:
            first.running(START)
            job = first.job["id"]
            first.lease.whole.destroy()
            service.wait(lambda: not service.admin("workspace.list"), "the end of the first lease")
        with telling(service, part(1, 96), name="next", duration=300) as second:
            second.running(START)
            assert only(service, over=False)["id"] == job
            assert len(service.jobs()) == 1
            second.lease.whole.destroy()
            service.wait(lambda: not service.admin("workspace.list"), "the end of the next lease")
            assert mine(service) == [f"{job} RUNNING"]
        calm(service)


def test_a_slot_is_held_ready_ahead_of_need_and_replaced_when_it_is_used(world: SlurmWorld, guest_image: Guest) -> None:
    options = {"memory_mb": 128, "slots": 1, "seconds": 3600}
    with ruled(world, guest_image, "proactive", options) as service:
        service.wait(lambda: len(service.slots("Ready")) == 1, "a slot that is ready before anybody asks")
        (ahead,) = (job["id"] for job in service.jobs())
        with telling(service, part(1, 96), name="at-once") as story:
            (node,) = story.running(START)
            assert len(service.status(node)["vms"]) == 1
            held = {job["id"]: bool(job["claims"]) for job in service.jobs() if not job["over"]}
            assert held[ahead]
            service.wait(lambda: len(service.slots("Ready")) == 2, "another slot in its place")
            story.lease.whole.destroy()
            service.wait(lambda: not service.admin("workspace.list"), "the end of the lease")
            service.wait(lambda: len(mine(service)) == 1, "the end of the job that is not needed")


def test_an_ordinary_user_extends_within_the_time_that_was_asked_for_beyond_the_lease(
    world: SlurmWorld, guest_image: Guest
) -> None:
    with ruled(world, guest_image, "over_provision", {"factor": 2.0}) as service:
        with telling(service, part(1, 96), name="longer", duration=600) as story:
            story.running(START)
            limit = ["squeue", "-h", "-u", "lease", "-o", "%l"]
            before, known = story.lease.whole.properties().ends_at, slurm(service).run_in_head(limit).stdout
            assert before is not None
            assert story.lease.whole.extend(500) - before == timedelta(seconds=500)
            with pytest.raises(DeniedError, match=r"longest|latest"):
                story.lease.whole.extend(3000)
            assert slurm(service).run_in_head(limit).stdout == known
            story.lease.whole.destroy()
        calm(service)


def test_what_may_be_preempted_uses_what_is_left_of_a_running_slot(world: SlurmWorld, guest_image: Guest) -> None:
    options = {"base": "packing", "base_options": {"whole": True}}
    with ruled(world, guest_image, "opportunistic", options) as service:
        with telling(service, part(1, 96, "host"), name="host", duration=900) as host:
            (node,) = host.running(START)
            job = host.job["id"]
            with telling(service, part(1, 96, "guest"), name="guest", duration=300, preemptable=True) as left_over:
                assert left_over.running(START) == [node]
                assert [entry["id"] for entry in service.jobs()] == [job]
                assert len(service.status(node)["vms"]) == 2
                left_over.lease.whole.destroy()
                service.wait(lambda: len(service.status(node)["vms"]) == 1, "the end of the guest's machine")
            assert host.lease.whole.properties().state == "Running"
            host.lease.whole.destroy()
        calm(service)
