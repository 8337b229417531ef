"""The disk, kernel and hypervisor of an emulated Xen node, built of Debian packages once for each state of this folder.

A node is Debian's domain 0 without an init system: sshd, xl, Slurm's daemon, dnsmasq, nft. The tree of packages is kept
apart, so that a change here costs seconds, not the half minute that mmdebstrap takes.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyinglow.nodectl.guest import initramfs, packages
from flyinglow.nodectl.guest.build import _in_order, _modules

FILES = Path(__file__).parent / "files"
PLACE = Path(tempfile.gettempdir()) / f"flyinglow-xen-{os.geteuid()}"
XEN = "xen-hypervisor-4.17-amd64"
PROGRAMS = ("mmdebstrap", "qemu-system-x86_64", "qemu-img", "mke2fs", "depmod", "ssh-keygen", "slurmctld", "munged")
PACKAGES = (
    "xen-utils-4.17,openssh-server,sudo,iproute2,iputils-ping,bridge-utils,ebtables,nftables,python3,dnsmasq-base,kmod,"
    "procps,e2fsprogs,qemu-utils,xorriso,slurmd,slurm-client,munge,busybox-static,libgcc-s1"
)
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/lib/udev/hwdb*")
MODULES = (
    *("net", "lib", "crypto", "arch", "drivers/xen", "drivers/virtio", "drivers/block", "drivers/net/xen-netback"),
    *("drivers/net/tun.ko", "drivers/net/veth.ko", "drivers/net/dummy.ko", "drivers/net/virtio_net.ko"),
    *("drivers/net/net_failover.ko", "fs/ext4", "fs/jbd2", "fs/mbcache.ko", "fs/isofs"),
)
EARLY = ("crc32c_generic", "virtio_pci", "virtio_net", "virtio_blk", "ext4")
USELESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/i18n", "usr/lib/xen-4.17/boot/xen-shim")
DISK_MB = 800
APPLETS = ("sh", "mount", "umount", "cat", "insmod", "sleep", "switch_root", "echo", "[")
PAM = "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\nsession sufficient pam_permit.so\n"


@dataclass(frozen=True)
class NodeImage:
    """Where the parts of a node are."""

    folder: Path

    @property
    def xen(self) -> Path:
        """The hypervisor, unpacked."""
        return self.folder / "xen.elf"

    @property
    def kernel(self) -> Path:
        """Domain 0's kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Domain 0's initial RAM disk."""
        return self.folder / "initrd.img"

    @property
    def disk(self) -> Path:
        """Domain 0's disk, which no node writes to."""
        return self.folder / "node.ext4"


def node_image(user: str, number: int) -> NodeImage:
    """Return the image, built if need be, with a user for jobs. Skips the test where it cannot be built."""
    gone = [name for name in PROGRAMS if shutil.which(name) is None]
    if gone or os.geteuid() != 0:
        pytest.skip(f"emulated Xen nodes need root and {', '.join(gone) or 'nothing else'}")
    PLACE.mkdir(mode=0o755, exist_ok=True)
    digest = hashlib.sha256(f"{user}{number}".encode())
    for path in sorted([*FILES.iterdir(), Path(__file__)]):
        digest.update(path.read_bytes())
    image = NodeImage(PLACE / digest.hexdigest()[:12])
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.disk.exists():
            with tempfile.TemporaryDirectory(dir=PLACE, prefix="work") as work:
                _build(Path(work), image.folder, f"{user}:{number}")
    return image


def _build(work: Path, out: Path, user: str) -> None:
    cache = PLACE / "cache"
    cache.mkdir(exist_ok=True)
    kernel, xen = packages.fetch(_kernel_package(), cache), packages.fetch(XEN, cache)
    tree, unpacked = work / "tree", work / "unpacked"
    tree.mkdir()
    run("tar", "-xf", str(_debian(cache)), "-C", str(tree), "--numeric-owner")
    for package in (kernel, xen):
        run("dpkg-deb", "-x", str(package), str(unpacked))
    parts = work / "parts"
    parts.mkdir()
    shutil.copy(next(unpacked.glob("boot/vmlinuz-*")), parts / "vmlinuz")
    (parts / "xen.elf").write_bytes(gzip.decompress((unpacked / "boot/xen-4.17-amd64.gz").read_bytes()))
    modules = next(iter([*unpacked.glob("lib/modules/*"), *unpacked.glob("usr/lib/modules/*")]))
    _copy_modules(modules, tree)
    _furnish(tree, user)
    _initramfs(modules, tree / "bin/busybox", work / "early", parts / "initrd.img")
    features = ["-O", "^has_journal,^metadata_csum", "-m", "0", "-E", "root_owner=0:0"]
    run("mke2fs", "-q", "-t", "ext4", *features, "-d", str(tree), str(parts / "node.ext4"), f"{DISK_MB}M")
    out.mkdir(exist_ok=True)
    for path in sorted(parts.iterdir(), key=lambda part: part.name == "node.ext4"):  # the disk last: then all is there
        path.replace(out / path.name)


def _kernel_package() -> str:
    """Return the plain kernel's newest package: the one for clouds is no domain 0."""
    found = [
        line.split()[1] for line in run("apt-cache", "depends", "linux-image-amd64").splitlines() if "Depends:" in line
    ]
    return next(name for name in found if name.startswith("linux-image-"))


def _debian(cache: Path) -> Path:
    """Return a tree of Debian's packages as a tar file, from the sources this machine itself has."""
    sources = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    source = next((path for path in sources if path.exists() and path.stat().st_size), None)
    if source is None:
        pytest.skip("this machine has no Debian sources to build a node from")
    key = hashlib.sha256(f"{PACKAGES}{source.read_text()}".encode()).hexdigest()[:12]
    target, fresh = cache / f"tree-{key}.tar", cache / "fresh.tar"
    if not target.exists():
        proxies = cache / "apt.conf"
        lines = run("apt-config", "dump", "Acquire").splitlines()
        proxies.write_text("".join(f"{line}\n" for line in lines if line.lower().startswith("acquire::http")))
        words = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--aptopt={proxies}", f"--include={PACKAGES}"]
        words += [f"--dpkgopt=path-exclude={path}" for path in EXCLUDED]
        run(*words, "bookworm", str(fresh), str(source))
        fresh.replace(target)
    return target


def _copy_modules(modules: Path, tree: Path) -> None:
    target = tree / "lib/modules" / modules.name
    (target / "kernel").mkdir(parents=True)
    for name in MODULES:
        source = modules / "kernel" / name
        if source.is_dir():
            shutil.copytree(source, target / "kernel" / name)
        elif source.exists():
            (target / "kernel" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target / "kernel" / name)
    for path in modules.glob("modules.[bo]*"):
        shutil.copy(path, target)
    run("depmod", "-b", str(tree), modules.name)


def _furnish(tree: Path, user: str) -> None:
    for name in USELESS:
        shutil.rmtree(tree / name, ignore_errors=True)
    for path in [
        *tree.glob("etc/ssh/ssh_host_*"),
        *tree.glob("etc/munge/munge.key"),
        *tree.glob("var/cache/apt/*.bin"),
    ]:
        path.unlink()
    for name in ("poweroff", "reboot", "halt"):
        (tree / "sbin" / name).unlink(missing_ok=True)
        (tree / "sbin" / name).symlink_to("/bin/busybox")
    for name in ("root/.ssh", "var/log/xen/console", "etc/node", "etc/flyinglow", "srv/flyinglow/images"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "root/.ssh").chmod(0o700)
    (tree / "root/.bashrc").write_text("")  # bash reads it under sshd, which costs time with every command
    (tree / "etc/pam.d/sudo").write_text(PAM)
    name, number = user.split(":")
    run("chroot", str(tree), "useradd", "-M", "-d", "/", "-s", "/bin/sh", "-u", number, name)
    run("chroot", str(tree), "usermod", "-p", "*", name)  # no password, and not locked: sshd would refuse that
    for file, place, mode in (
        ("node-boot", "sbin/node-boot", 0o755),
        ("inittab", "etc/inittab", 0o644),
        ("sshd_config", "etc/ssh/sshd_config", 0o644),
    ):
        shutil.copy(FILES / file, tree / place)
        (tree / place).chmod(mode)


def _initramfs(modules: Path, busybox: Path, tree: Path, target: Path) -> None:
    for name in ("proc", "m", "bin", "lib"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    for name in APPLETS:
        (tree / "bin" / name).symlink_to("busybox")
    shutil.copy(FILES / "init", tree / "init")
    (tree / "init").chmod(0o755)
    order = _in_order(_modules(modules), EARLY)
    for path in order:
        (tree / "lib" / path.name).write_bytes(path.read_bytes())
    (tree / "lib/order").write_text("".join(f"{path.name[:-3]}\n" for path in order))
    initramfs.write(tree, target)


def run(*argv: str) -> str:
    """Run a program and return what it printed; fails with its complaint."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {(done.stderr or done.stdout)[-2000:]}"
    return done.stdout
