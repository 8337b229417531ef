"""A lease with every kind of disk, two NICs and context on real Xen: all of it as the PV guest itself has it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.client import Disk, File, Nic, Part
from rigs.guest import Guest
from rigs.lease_story import telling
from rigs.lrm_service import LrmService
from rigs.xen.control import GUEST_MB, WAIT, Control
from rigs.xen.site import NODE, Stopwatch, service_on
from rigs.xen.world import XenWorld

pytestmark = [pytest.mark.xen, pytest.mark.timeout(1800), pytest.mark.xdist_group("xen")]

PORT = 8490
SERVED = f"http://{HEAD_ADDRESS}:{PORT}/"
STATE = "/var/lib/flyinglow-node"
ISO_MARK = "CD001"  # of ISO 9660, at 32769 bytes
FILE = File(path="/etc/app.conf", content=b"answer = 42\n", mode="0640")
LOOK = File(  # what only the guest can see
    path="/etc/flyinglow/roles/looker",
    mode="755",
    content=b"""#!/bin/sh
exec > /dev/console 2>&1
while read -r device place form rest; do echo "LOOK mount $device $place $form"; done < /proc/mounts
while read -r device kind size rest; do echo "LOOK swap $device $kind"; done < /proc/swaps
[ -d /data ] || exit 0
echo "LOOK data $(cat /data/known)"
echo changed > /data/known && echo "LOOK data written"
echo kept > /scratch/file && sync && echo "LOOK scratch $(cat /scratch/file)"
""",
)
BOTH: dict[str, Any] = {
    "memory_mb": GUEST_MB,
    "nics": (Nic(network="public"), Nic(network="private")),
    "provides": ("looker",),
    "user_data": b"five!",
    "files": (FILE, LOOK),
}
DATA = Disk(name="data", partition="reference", mount="/data", read_only=True)
SCRATCH, SWAP = Disk(name="scratch", blank_mb=32, mount="/scratch"), Disk(name="swap", blank_mb=16, file_system="swap")
# two of them: Xen gives the scripts of all disks 40 seconds together, and an emulated processor needs most of that
PARTS = [
    Part(name="se", disks=(Disk(image="guest"), DATA, SCRATCH), **BOTH),
    Part(name="wn", disks=(Disk(image="guest"), SWAP), **BOTH),
]
TOLD = {
    "se": (("data", "ext4", "/data", "ro", 4, 8), ("scratch", "ext4", "/scratch", "rw", 24, 32)),
    "wn": (("swap", "swap", "-", "rw", 15, 16),),
}
LOOKED = {
    "se": {"data as it was", "scratch kept", "mount /dev/xvdb /data ext4", "mount /dev/xvdc /scratch ext4"},
    "wn": {"swap /dev/xvdb partition"},
}


@contextmanager
def served(world: XenWorld, folder: Path) -> Iterator[str]:
    """Serve a partition from the head; yield what its catalogue entry says."""
    (folder / "tree").mkdir(parents=True)
    (folder / "tree/known").write_text("as it was\n")
    path = folder / "data.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder / "tree", path, "8M"], check=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    argv = [sys.executable, "-m", "http.server", "--bind", HEAD_ADDRESS, "--directory", str(folder), str(PORT)]
    with (folder / "asked").open("wb") as output:
        server = world.spawn_in_head(argv, stdout=output, stderr=output)
    try:
        yield f'[image.reference]\npath = "{SERVED}{path.name}"\nsha256 = "{digest}"\nsize_mb = 8\npartition = true\n'
    finally:
        server.kill()
        server.wait(120)


def test_pv_guests_have_their_disks_their_nics_and_their_context(
    world: XenWorld, guest_image: Guest, tmp_path: Path
) -> None:
    node = {**NODE, "image_sources": [SERVED]}
    with (
        served(world, tmp_path / "served") as more,
        service_on(world, guest_image, lrm=False, more=more, nodectl=node) as service,
        telling(service, PARTS, name="two", duration=1800) as story,
    ):
        watch, lease = Stopwatch(), story.lease
        lease.whole.wait("Running", timeout=WAIT)
        members = {one.name: one for one in lease.resources.values() if one.kind == "workspace"}
        assert set(members) == set(TOLD)
        for name, member in members.items():
            text, found = said(service, member), member.properties()
            check_nics(found, text)
            check_disks(text, TOLD[name], LOOKED[name])
            check_context(found, text)
        watch.lap("lease of two PV guests with disks of each kind and two NICs, until they have told of them")
        nodes = {name: Control(world.node(str(one.properties().node))) for name, one in members.items()}
        check_node(nodes["se"], str(re.search(r'sha256 = "(\w+)"', more)[1]))  # type: ignore[index]
        asked = (tmp_path / "served/asked").read_text()
        assert asked.count('"GET /data.ext4') == 1, asked
        lease.whole.destroy()
        service.wait(lambda: not service.admin("workspace.list"), "the end of all rows", WAIT)
        watch.lap("destroyed")
        assert [one.domains() for one in nodes.values()] == [{}, {}]
        service.stop()


def check_node(control: Control, digest: str) -> None:
    """The seed is ISO 9660, as cloud-init reads it, and the partition is in the cache."""
    (tag,) = (name.removeprefix("fl-") for name in control.domains())
    words = ["dd", f"if={STATE}/vms/{tag}/seed.img", "bs=1", "skip=32769", "count=5"]
    assert control.node.run(words).stdout == ISO_MARK
    assert digest in control.node.run(["sh", "-c", f"cd {STATE}/cache && sha256sum *"]).stdout.split()


def said(service: LrmService, workspace: Any) -> str:
    """Wait until the guest has said all it has to say, and return it."""

    def heard() -> str:
        text = str(workspace.console(max=1 << 20).data.decode(errors="replace"))
        return text if "GUEST-READY" in text else ""

    text: str = service.wait(heard, "the guest's word", WAIT)
    return text


def check_nics(found: Any, text: str) -> None:
    """Both came by DHCP, and are what the lease says."""
    assert [nic.network for nic in found.nics] == ["public", "private"]
    for number, nic in enumerate(found.nics):
        assert f"GUEST-IP eth{number} {nic.ip}/{nic.prefix} mac={nic.mac}" in text, text
        assert f"GUEST-NET eth{number} dhcp" in text, text


def check_disks(text: str, wanted: Any, seen: set[str]) -> None:
    """Each is what was ordered, is mounted where it was to be, and holds what it was to hold."""
    told = [line.split() for line in text.splitlines() if line.startswith("GUEST-DISK")]
    assert [(*words[1:5], words[-1]) for words in told] == [(*one[:4], "ok") for one in wanted], text
    for words, (*_, least, most) in zip(told, wanted, strict=True):
        assert least <= int(words[5].removeprefix("mb=")) <= most, text
    looked = {line.partition("LOOK ")[2].strip() for line in text.splitlines() if "LOOK " in line}
    assert seen <= looked, text
    assert "data written" not in looked


def check_context(found: Any, text: str) -> None:
    """It has the name that it was given, its files with their rights, and its user data."""
    digest = hashlib.sha256(FILE.content).hexdigest()
    for line in (
        f"GUEST-HOSTNAME {found.nics[0].hostname}",
        "GUEST-CONTEXT from=volume",
        "GUEST-USERDATA bytes=5",
        f"GUEST-FILE {FILE.path} 640 {digest}",
        "GUEST-ROLE provides looker ok",
    ):
        assert line in text, text
