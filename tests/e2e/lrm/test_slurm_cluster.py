"""A cluster on nodes of a real Slurm: values travel between real guests, and the lease waits for all of them."""

from __future__ import annotations

import pytest

from flyinglow.cli.demo.lrm_site import GUEST_PORT
from flyinglow.client import Disk, File, Lease, Nic, Part, WaitError
from rigs.guest import IMAGES, Guest
from rigs.lease_story import calm
from rigs.lrm_service import LrmService, slurm_service

BOOT_SECONDS = 280.0  # emulated, on a machine that has other work
EXPORTS = b"#!/bin/sh\necho value export /srv/data\n"
FAILS = b"#!/bin/sh\necho disk quota exceeded\nexit 1\n"


def cluster(role: bytes) -> list[Part]:
    """Return a storage element, with what it does for its role, and a worker that needs it."""
    common = {"memory_mb": 128, "disks": (Disk(image="guest"),), "nics": (Nic(network="private"),)}
    hook = File(path="/etc/flyinglow/roles/storage-element", mode="0755", content=role)
    return [
        Part(name="se", provides=("storage-element",), files=(hook,), **common),  # type: ignore[arg-type]
        Part(name="wn", requires=("storage-element",), **common),  # type: ignore[arg-type]
    ]


def console(lease: Lease, name: str) -> str:
    return lease.resources[name].console(max=1 << 20).data.decode(errors="replace")


def serve_guests(service: LrmService) -> None:
    """Start the service with a context endpoint that the guests' networks reach."""
    text = service.lrm_site.config.read_text()
    plain = f"[listen.guest]\nport = {GUEST_PORT}"
    assert plain in text
    url = f'base_url = "http://10.73.0.1:{GUEST_PORT}"'
    service.lrm_site.config.write_text(text.replace(plain, f'{plain}\naddress = "0.0.0.0"\ninsecure = true\n{url}'))
    service.start()


@pytest.mark.full
def test_a_cluster_on_slots_waits_for_its_guests_and_fails_with_one_of_them(guest_image: Guest) -> None:
    settings = {"images": [str(IMAGES)]}
    options = {"vm_overhead_mb": 96}
    with slurm_service(nodes=2, image=guest_image.entry, nodectl=settings, options=options, start=False) as service:
        serve_guests(service)
        lease = service.site.create(cluster(EXPORTS), name="good", duration=1800, ready_barrier=280)
        lease.whole.wait("Running", timeout=BOOT_SECONDS)
        reported = lease.resources["se"].properties().guest
        assert reported is not None
        assert (reported.status, reported.values["export"]) == ("ok", "/srv/data")
        service.wait(lambda: "GUEST-VALUE se export /srv/data" in console(lease, "wn"), "the value", BOOT_SECONDS)
        lease.whole.destroy()
        calm(service)

        bad = service.site.create(cluster(FAILS), name="bad", duration=1800, ready_barrier=280)
        with pytest.raises(WaitError):
            bad.whole.wait("Running", timeout=BOOT_SECONDS)
        properties = bad.resources["wn"].properties()
        assert properties.state == "Corrupted"
        assert properties.reason.startswith("member se: its guest reported an error: role storage-element: disk quota")
        assert "its console ends: " in properties.reason
        bad.whole.destroy()
        calm(service)
