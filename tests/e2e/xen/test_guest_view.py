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
LOOKER = File(  # what only the guest can see
    path="/etc/flyinglow/roles/looker",
    mode="755",
    content=b"""#!/bin/sh
exec > /dev/console 2>&1
echo "LOOK data $(cat /data/known)"
echo changed > /data/known && echo "LOOK data written"
echo kept > /scratch/file && sync && echo "LOOK scratch $(cat /scratch/file)"
while read -r device kind size rest; do echo "LOOK swap $device $kind $size"; done < /proc/swaps
while read -r device place form rest; do echo "LOOK mount $device $place $form"; done < /proc/mounts
echo "LOOK raw $(dd if=/dev/xvde bs=1024 count=64 2>/dev/null | tr -d '\\000' | wc -c)"
""",
)
MEMBER = Part(
    name="wn",
    memory_mb=GUEST_MB,
    disks=(
        Disk(image="guest"),
        Disk(name="data", partition="reference", mount="/data", read_only=True),
        Disk(name="scratch", blank_mb=32, mount="/scratch"),
        Disk(name="swap", blank_mb=16, file_system="swap"),
        Disk(name="raw", blank_mb=4),
    ),
    nics=(Nic(network="public"), Nic(network="private")),
    provides=("looker",),
    user_data=b"five!",
    files=(FILE, LOOKER),
)


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


def test_a_pv_guest_has_its_disks_its_nics_and_its_context(world: XenWorld, guest_image: Guest, tmp_path: Path) -> None:
    node = {**NODE, "image_sources": [SERVED]}
    with (
        served(world, tmp_path / "served") as more,
        service_on(world, guest_image, lrm=False, more=more, nodectl=node) as service,
        telling(service, MEMBER, name="wn", duration=1800) as story,
    ):
        watch, lease = Stopwatch(), story.lease
        found = lease.whole.wait("Running", timeout=WAIT)
        text = said(service, lease.whole)
        watch.lap("lease of one PV guest with five disks and two NICs, until all is told")
        control = Control(world.node(str(found.node)))
        check_nics(found, text)
        check_disks(text)
        check_context(found, text)
        (tag,) = (name.removeprefix("fl-") for name in control.domains())
        seed = control.node.run(["dd", f"if={STATE}/vms/{tag}/seed.img", "bs=1", "skip=32769", "count=5"]).stdout
        assert seed == ISO_MARK  # which cloud-init reads, too
        cached = control.node.run(["sh", "-c", f"cd {STATE}/cache && sha256sum *"]).stdout.split()
        assert re.search(r'sha256 = "(\w+)"', more)[1] in cached  # type: ignore[index]
        asked = (tmp_path / "served/asked").read_text()
        assert asked.count('"GET /data.ext4') == 1, asked
        lease.whole.destroy()
        service.wait(lambda: not service.admin("workspace.list"), "the end of all rows", WAIT)
        watch.lap("destroyed")
        assert control.domains() == {}
        service.stop()


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


def check_disks(text: str) -> None:
    """Each is what was ordered, is mounted where it was to be, and holds what it was to hold."""
    told = [line.split() for line in text.splitlines() if line.startswith("GUEST-DISK")]
    assert [(*words[1:5], words[-1]) for words in told] == [
        ("data", "ext4", "/data", "ro", "ok"),
        ("scratch", "ext4", "/scratch", "rw", "ok"),
        ("swap", "swap", "-", "rw", "ok"),
    ], text
    sizes = [int(words[5].removeprefix("mb=")) for words in told]
    for size, (least, most) in zip(sizes, ((4, 8), (24, 32), (15, 16)), strict=True):
        assert least <= size <= most, sizes
    looked = [line.partition("LOOK ")[2] for line in text.splitlines() if "LOOK " in line]
    for line in (
        "data as it was",
        "scratch kept",
        "mount /dev/xvdb /data ext4",
        "mount /dev/xvdc /scratch ext4",
        "raw 0",
    ):
        assert line in looked, text
    assert any(line.startswith("swap /dev/xvdd partition") for line in looked), text
    assert "data written" not in looked


def check_context(found: Any, text: str) -> None:
    """It has the name that it was given, its files with their rights, and its user data."""
    digest = hashlib.sha256(FILE.content).hexdigest()
    for line in (
        f"GUEST-HOSTNAME {found.nics[0].hostname}",
        "GUEST-CONTEXT from=volume",
        f"GUEST-USERDATA bytes={len(MEMBER.user_data)}",
        f"GUEST-FILE {FILE.path} 640 {digest}",
        "GUEST-ROLE provides looker ok",
    ):
        assert line in text, text
