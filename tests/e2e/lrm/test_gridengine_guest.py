"""A real guest in QEMU on a host of a real Grid Engine, and what becomes of it when the operator deletes its job."""

from __future__ import annotations

import time

from rigs.guest import IMAGES, Guest
from rigs.lease_story import part, telling
from rigs.lrm_queues import GridEngineQueue, calm
from rigs.lrm_service import LrmService, gridengine_service

BOOT_SECONDS = 240.0  # emulated, on a machine that has other work
NOTIFY = 60


def test_a_real_guest_is_ended_and_its_hosts_memory_given_back_inside_the_notice(guest_image: Guest) -> None:
    made = gridengine_service(
        nodes=1,
        image=guest_image.entry,
        nodectl={"images": [str(IMAGES)]},
        world={"notify": NOTIFY},
        options={"grace": NOTIFY},
    )
    with made as service:
        queue = GridEngineQueue(service)
        with telling(service, part(1, 128), name="real") as story:
            assert story.running(BOOT_SECONDS) == ["node1"]
            vm = story.lease.resources["wn"]
            service.wait(lambda: b"GUEST-READY" in vm.console(max=1 << 20).data, "the guest's word", BOOT_SECONDS)
            memory = service.status("node1")["memory"]
            assert memory["base_mb"] - memory["actual_mb"] >= 128
            assert len(processes(service)) == 1
            began = time.monotonic()
            queue.delete(story.job["id"])
            assert "SIGUSR2 on node1" in story.warning().reason
            assert "was cancelled" in story.cancelled()
            service.wait(lambda: not service.clean_nodes() and not processes(service), "all given back", NOTIFY)
            assert time.monotonic() - began < NOTIFY - 1
        calm(service, queue)


def processes(service: LrmService) -> list[str]:
    """Return the guests' processes on the host."""
    listed = service.world.run_on("node1", ["ps", "-e", "-o", "args="]).stdout.splitlines()
    return [line for line in listed if line.partition(" ")[0].endswith("qemu-system-x86_64")]
