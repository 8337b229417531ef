"""A Debian of packages alone, with its own cloud-init as it comes: a disk image for the packaged guest's kernel.

It is built once, below the system's temporary directory, as root and with ``mmdebstrap``; about a minute.
"""

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.guest import packages
from rigs.guest import IMAGES, Guest

SIZE = "700M"
INCLUDE = "systemd-sysv,cloud-init,iproute2,udev,kmod,ifupdown,isc-dhcp-client,netbase"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
APPEND = "lease.root=/dev/vda console=ttyS0 quiet panic=-1 no_timer_check net.ifnames=0"
OFF = ("systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer")


@dataclass(frozen=True)
class Debian:
    """The image, and VM specifications that boot it."""

    guest: Guest
    image: Path

    def spec(self, tag: str, **changes: Any) -> dict[str, Any]:
        """Return a VmSpec in its JSON form; ``changes`` win."""
        disk = {"name": "root", "source": str(self.image)}
        plain = {"memory_mb": 512, "disks": [disk], "append": APPEND, "ready_mark": "SAYS done"}
        return self.guest.spec(tag, **{**plain, **changes})


@pytest.fixture(scope="session")
def debian(guest_image: Guest) -> Debian:
    """Return the image; skip where it cannot be built."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("building a Debian needs root and mmdebstrap")
    out = IMAGES / "debian-cloud.ext4"
    with (IMAGES / "debian-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            _build(out)
    return Debian(guest_image, out)


def _build(out: Path) -> None:
    work = out.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    tree = work / "tree"
    work.mkdir()
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={INCLUDE}", *options, "bookworm", str(tree)]
    subprocess.run(words, check=True, timeout=1200)
    cache = IMAGES / "cache"
    packages.unpack(packages.fetch(packages.kernel_package(cache), cache), tree, ("lib/modules/",))
    (modules,) = (tree / "lib/modules").iterdir()
    subprocess.run(["chroot", str(tree), "depmod", modules.name], check=True)
    (tree / "init").symlink_to("/sbin/init")  # which the packaged guest's initial RAM disk goes on with
    (tree / "etc/machine-id").write_text("")
    for unit in OFF:
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")
    made = work / "made"
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", str(tree), str(made), SIZE], check=True
    )
    made.replace(out)
    shutil.rmtree(work)
