"""A real guest in QEMU on a node of a real Slurm: what it says of itself, and its node's memory while and after."""

from __future__ import annotations

from rigs.guest import IMAGES, Guest
from rigs.lease_story import calm, part, telling
from rigs.lrm_service import slurm_service

BOOT_SECONDS = 240.0  # emulated, on a machine that has other work


def test_a_real_guest_lives_on_a_slot_and_its_node_gets_its_memory_back(guest_image: Guest) -> None:
    settings = {"images": [str(IMAGES)]}
    with slurm_service(nodes=2, image=guest_image.entry, nodectl=settings, options={"vm_overhead_mb": 96}) as service:
        with telling(service, part(1, 128), name="real") as story:
            (node,) = story.running(BOOT_SECONDS)
            vm = story.lease.resources["wn"]
            (nic,) = vm.properties().nics
            said = service.wait(
                lambda: (text := vm.console(max=1 << 20).data.decode(errors="replace")).count("GUEST-READY") and text,
                "the guest's word",
                BOOT_SECONDS,
            )
            assert f"GUEST-HOSTNAME {nic.hostname}" in said
            assert f"{nic.ip}/" in said
            memory = service.status(node)["memory"]
            assert memory["base_mb"] - memory["actual_mb"] >= 128 + 96
            vm.destroy()
        calm(service)
