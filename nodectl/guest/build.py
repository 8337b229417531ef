"""Put the guest together: kernel, initramfs, root disk, and the catalogue entry that names them."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.guest import initramfs, packages, scripts, ssh
from flyinglow.nodectl.guest.context_script import CONTEXT_SCRIPT
from flyinglow.nodectl.guest.network_script import DHCP_SCRIPT

NAME = "flyinglow-guest"
HOME = "root"
ROOT_DEVICE = "/dev/vda"
ROOT_SIZE = "16M"
APPEND = f"{scripts.ROOT_PARAMETER}={ROOT_DEVICE} console=ttyS0 quiet panic=-1 no_timer_check"
EARLY_MODULES = ("virtio_pci", "virtio_blk", "xen_blkfront", "ext4")
MODULES = ("virtio_net", "xen_netfront", "virtio_balloon", "qemu_fw_cfg", "af_packet", "button", "evdev", "isofs")
PREFIXES = ("boot/vmlinuz-", "lib/modules/", "usr/lib/modules/", "bin/busybox", "usr/bin/busybox")
FOLDERS = ("bin", "dev", "proc", "sys", "run", "disk", "root", "tmp", "etc", "modules")
TOOLS_BESIDE_PATH = "/usr/sbin:/sbin"  # where mke2fs is, which not every user has in PATH


def build(out: Path, cache: Path | None = None) -> dict[str, Any]:
    """Build the guest below ``out`` and return its catalogue entry, which ``out/image.json`` holds too.

    Packages are kept in ``cache`` (default: ``out/cache``). Raises BrokenError when one cannot be had or a tool fails.
    """
    out = out.absolute()
    cache = (cache or out / "cache").absolute()
    for folder in (out, cache):
        folder.mkdir(parents=True, exist_ok=True)
    kernel = packages.fetch(packages.kernel_package(cache), cache)
    busybox = packages.fetch(packages.BUSYBOX, cache)
    with tempfile.TemporaryDirectory(dir=out, prefix="work") as work:
        _assemble(Path(work), cache, (kernel, busybox), out)
    entry = _entry(out)
    (out / "image.json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    return entry


def _assemble(work: Path, cache: Path, found: Sequence[Path], out: Path) -> None:
    for package in found:
        packages.unpack(package, work / "files", PREFIXES)
    shutil.copy(_one(work / "files", "boot/vmlinuz-*"), out / "kernel")
    program = _one(work / "files", "**/bin/busybox")
    modules = _modules(work / "files")
    early, root = work / "early", work / "root"
    _tree(early, program, scripts.EARLY_INIT, _in_order(modules, EARLY_MODULES))
    _tree(root, program, scripts.INIT, _in_order(modules, MODULES))
    _complete(root)
    ssh.add(root, cache, work / "ssh")
    initramfs.write(early, out / "initrd")
    _file_system(root, out / "root.ext4")


def _tree(root: Path, busybox: Path, init: str, modules: Sequence[Path]) -> None:
    """Make what both trees have: busybox, the modules with the order to load them in, and the first program."""
    for name in FOLDERS:
        (root / name).mkdir(parents=True, mode=0o755)
    shutil.copy(busybox, root / "bin/busybox")
    (root / "bin/busybox").chmod(0o755)
    _program(root / "init", init)
    names = []
    for module in modules:
        names.append(module.name.split(".ko")[0] + ".ko")
        (root / "modules" / names[-1]).write_bytes(_content(module))
    (root / "modules/order").write_text("".join(f"{name}\n" for name in names), encoding="ascii")


def _complete(root: Path) -> None:
    """Add what only the root disk has: all of busybox's names, and the DHCP client's script."""
    for name in tools.run([str(root / "bin/busybox"), "--list"]).split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    _program(root / "etc/udhcpc.script", DHCP_SCRIPT)
    (root / "etc/context.sh").write_text(CONTEXT_SCRIPT, encoding="ascii")
    (root / "etc/passwd").write_text(f"root::0:0:root:/{HOME}:/bin/sh\n", encoding="ascii")
    (root / "etc/resolv.conf").symlink_to("/run/resolv.conf")
    (root / "sbin").symlink_to("bin")  # where a kernel that Xen tells to end looks for poweroff and reboot


def _program(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")
    path.chmod(0o755)


def _file_system(root: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    program = shutil.which("mke2fs", path=f"{os.environ.get('PATH', os.defpath)}:{TOOLS_BESIDE_PATH}")
    if program is None:
        raise BrokenError("mke2fs is missing: install it (Debian: apt-get install e2fsprogs)")
    features = ["-O", "^has_journal,^metadata_csum", "-E", "root_owner=0:0"]
    tools.run([program, "-q", "-F", "-t", "ext4", *features, "-d", str(root), str(target), ROOT_SIZE])


def _modules(files: Path) -> dict[str, Path]:
    """Return the kernel's modules by name; the kernel takes ``-`` and ``_`` in a name for the same."""
    found = files.rglob("*.ko*")
    return {path.name.split(".ko")[0].replace("-", "_"): path for path in found}


def _in_order(modules: dict[str, Path], wanted: Sequence[str]) -> list[Path]:
    """Return the modules with all they need, each behind what it needs; what is built into the kernel is left out."""
    order: list[Path] = []

    def add(name: str) -> None:
        path = modules.get(name)
        if path is None or path in order:
            return
        for other in _needs(_content(path)):
            add(other)
        order.append(path)

    for name in wanted:
        add(name)
    return order


def _needs(content: bytes) -> list[str]:
    found = re.search(rb"\0depends=([^\0]*)\0", content)
    return [name.replace("-", "_") for name in found.group(1).decode().split(",") if name] if found else []


def _content(module: Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise BrokenError(f"the packages hold no {pattern}")
    return found[-1]


def _entry(out: Path) -> dict[str, Any]:
    root = out / "root.ext4"
    return {
        "name": NAME,
        "path": str(root),
        "sha256": hashlib.sha256(root.read_bytes()).hexdigest(),
        "format": "raw",
        "architecture": "x86_64",
        "kernel": str(out / "kernel"),
        "initrd": str(out / "initrd"),
        "append": APPEND,
        "ready_mark": scripts.READY_MARK,
        "reports": True,
    }
