"""A real guest with every kind of disk and two NICs: saved before its lease's end, and booted again from that.

The service is killed while the disk is being saved, and goes on when it is started again.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyinglow.client import Disk, Nic, Part, Resource, connect
from flyinglow.nodectl.errors import FlyingLowError
from rigs.daemon import Daemon
from rigs.guest import Guest
from rigs.image_server import image_server

pytestmark = [
    pytest.mark.xdist_group("real-guest"),
    pytest.mark.skipif(shutil.which("mke2fs") is None, reason="mke2fs is not installed"),
]

BOOT_SECONDS = 120  # emulated, on a machine that has other work
LEAD = 600  # so that saving is done long before the end on any machine
Eventually = Callable[..., Any]

TERMS = f"""[notification]
allow_loopback = true
[lease]
warn_before = {LEAD + 300}
save_margin = {LEAD}
save_rate = 1e6
[image.reference]
path = "URL"
sha256 = "SHA256"
size_mb = 8
partition = true
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reference(folder: Path) -> Path:
    """Make a partition with a file."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    (tree / "known").write_text("as it was\n")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, folder / "reference.ext4", "8M"], check=True)
    return folder / "reference.ext4"


def console(resource: Resource, *words: str) -> Callable[[], str | None]:
    """Return a question: has the guest said all these? The answer is its console."""

    def heard() -> str | None:
        text = resource.console(max=1 << 20).data.decode(errors="replace")
        return text if all(word in text for word in words) else None

    return heard


def test_a_guest_with_every_kind_of_disk_is_saved_at_the_end_and_booted_again(
    daemon_factory: Callable[..., Daemon],
    guest_image: Guest,
    eventually: Eventually,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("fl")
    store = root / "store"
    store.mkdir()
    data = reference(tmp_path / "served")
    with image_server(data.parent) as server:
        toml = TERMS.replace("URL", server.url(data.name)).replace("SHA256", digest(data))
        place = f"file://{store}"
        node = {"image_store": place, "save_targets": [place], "image_sources": [server.url("")]}
        daemon = daemon_factory(driver="qemu", image=guest_image.entry, toml=toml, nodectl=node, root=root)
        site = connect(daemon.url)
        one = _lease(site, eventually)
        assert server.gets() == 1
        _save_at_the_end(daemon, one, eventually)
        saved = one.properties().saved
        assert saved is not None
        path = store / "ce.qcow2"
        assert (saved.target, saved.format, saved.disk) == (f"file://{path}", "qcow2", "disk0")
        assert (saved.sha256, saved.bytes) == (digest(path), path.stat().st_size)
        assert "/kept" in _folders(path, tmp_path)  # which the guest made on its root disk
        _boot_again(site, str(saved.sha256), guest_image, eventually)


def _lease(site: Any, eventually: Eventually) -> Resource:
    disks = (
        Disk(image="guest"),
        Disk(name="data", partition="reference", mount="/data", read_only=True),
        Disk(name="scratch", blank_mb=32, mount="/kept"),
    )
    nics = (Nic(network="public"), Nic(network="private"))
    part = Part(name="ce", memory_mb=128, disks=disks, nics=nics)
    one: Resource = site.create([part], name="ce", duration=7200, end_action="Save", save_to="store:{name}.qcow2").whole
    found = one.wait("Running", timeout=BOOT_SECONDS)
    assert found.saves_at is not None
    assert found.ends_at is not None
    assert LEAD <= (found.ends_at - found.saves_at).total_seconds() <= LEAD + 2
    assert [(disk.name, disk.image or disk.partition or disk.blank_mb) for disk in found.disks] == [
        ("disk0", "guest"),
        ("data", "reference"),
        ("scratch", 32),
    ]
    text = eventually(console(one, "GUEST-READY"), BOOT_SECONDS)
    told = [line.split() for line in text.splitlines() if line.startswith("GUEST-DISK")]
    assert [(words[1], *words[2:5], words[-1]) for words in told] == [
        ("data", "ext4", "/data", "ro", "ok"),
        ("scratch", "ext4", "/kept", "rw", "ok"),
    ]
    for number, nic in enumerate(found.nics):
        assert f"GUEST-IP eth{number} {nic.ip}/{nic.prefix}" in text
    assert len(found.nics) == 2
    return one


def _save_at_the_end(daemon: Daemon, one: Resource, eventually: Eventually) -> None:
    """Move the end so near that saving begins, and kill the service while that is going on."""
    found = one.properties()
    assert found.ends_at is not None
    assert found.current_time is not None
    one.extend(LEAD + 5 - int((found.ends_at - found.current_time).total_seconds()))
    eventually(lambda: one.properties().task in {"ShuttingDown", "Saving"}, 60)
    daemon.kill()
    daemon.start()

    def saved() -> bool:
        try:
            return one.properties().state == "TransportReady"
        except FlyingLowError:
            return False

    eventually(saved, 120)
    found = one.properties()
    assert found.reason == f"saved to {found.saved.target}, sha256 {found.saved.sha256}"  # type: ignore[union-attr]


def _folders(image: Path, folder: Path) -> list[str]:
    """Return the directories at the root of an image's file system."""
    raw = folder / "saved.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    listed = subprocess.run(["debugfs", "-R", "ls -p /", raw], capture_output=True, text=True, check=True).stdout
    return [f"/{line.split('/')[5]}" for line in listed.splitlines() if line.count("/") >= 5]


def _boot_again(site: Any, sha256: str, guest_image: Guest, eventually: Eventually) -> None:
    disk = Disk(image="store:ce.qcow2", sha256=sha256, format="qcow2", size_mb=64, kernel_from="guest")
    part = Part(name="again", memory_mb=128, disks=(disk,))
    again = site.create([part], name="again", duration=600).whole
    again.wait("Running", timeout=BOOT_SECONDS)
    eventually(console(again, "GUEST-READY"), BOOT_SECONDS)
    again.destroy()
