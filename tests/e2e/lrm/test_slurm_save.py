"""The end action Save on nodes of a real Slurm: the disk is sent within the lease, and the slot is given back."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyinglow.client import Resource
from rigs.guest import IMAGES, Guest
from rigs.lease_story import calm, part, telling
from rigs.lrm_service import slurm_service

pytestmark = [pytest.mark.full, pytest.mark.xdist_group("real-guest")]

BOOT_SECONDS = 240.0  # emulated, on a machine that has other work
LEAD = 600  # so that saving is done long before the end on any machine
TERMS = f"[lease]\nwarn_before = {LEAD + 60}\nsave_margin = {LEAD}\nsave_rate = 1e6\n"


@pytest.fixture
def store() -> Iterator[Path]:
    """Give a directory that all nodes share, and that is root's own."""
    with tempfile.TemporaryDirectory(prefix="fl-store-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_lease_whose_end_action_is_to_save_sends_its_disk_before_its_end(guest_image: Guest, store: Path) -> None:
    place = f"file://{store}"
    nodectl = {"images": [str(IMAGES)], "image_store": place, "save_targets": [place]}
    with slurm_service(nodes=2, image=guest_image.entry, nodectl=nodectl, more=TERMS) as service:
        with telling(
            service, part(1, 128), name="kept", duration=3600, end_action="Save", save_to="store:{name}.qcow2"
        ) as story:
            story.running(BOOT_SECONDS)
            vm: Resource = story.lease.resources["wn"]
            found = vm.properties()
            assert found.ends_at is not None
            assert found.current_time is not None
            vm.extend(LEAD + 5 - int((found.ends_at - found.current_time).total_seconds()))
            service.wait(lambda: vm.properties().state == "TransportReady", "the saved disk", LEAD)
            saved = vm.properties().saved
            assert saved is not None
            (path,) = store.iterdir()
            assert (saved.target, saved.format) == (f"{place}/{path.name}", "qcow2")
            assert saved.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=True)
            vm.destroy()
        calm(service)
