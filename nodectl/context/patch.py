"""The patched image: context is written into the VM's own copy of its image before it boots (the paper's way).

The copy is made here, for no image in the cache or on the site is ever written to. It is a raw file; what is qcow2 is
converted. The VM's disk becomes an overlay on it, so that everything else about the disk is as without a patch.
"""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import cloud_init, files, told
from flyinglow.nodectl.context.debugfs import FileSystem, Programs, Written
from flyinglow.nodectl.context.ways import PATCHED
from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.images import copying, notes, qcow2
from flyinglow.nodectl.images.disks import disk_path, source_path
from flyinglow.nodectl.images.meter import MIB, Meter
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.vmdir import VmDir

RAW = "disk0.raw"  # where Xen's disks are copies already
FOLDER = "/etc/flyinglow"
HOME = "root"  # of its user 0, as every distribution has it
NO_CLOUD = "/var/lib/cloud/seed/nocloud"
PRIVATE = 0o600


def make(vm: VmDir, spec: VmSpec, config: Config) -> None:
    """Write a VM's context into its first disk, which is prepared already. May be repeated.

    Raises InvalidError when the image cannot be written to, ExhaustedError, BrokenError.
    """
    if not spec.disks or spec.disks[0].source is None or spec.disks[0].read_only:
        raise InvalidError("context is written into a first disk of an image's that is not read-only")
    if config.driver == "xen":
        _write(vm, spec, vm.path / RAW, config)
        return
    copy = vm.path / PATCHED
    _copy(vm, spec, copy, config)
    _write(vm, spec, copy, config)
    target = disk_path(vm, 0, spec.disks[0])
    target.unlink(missing_ok=True)
    tools.run([config.qemu_img, "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(copy), str(target)])


def written(spec: VmSpec, *, cloud: bool) -> list[Written]:
    """Return what goes into the image; ``cloud``: it has cloud-init, which looks for its seed there too.

    The lessee's own files win.
    """
    text = spec.context.encode("utf-8", "surrogatepass")
    data = spec.user_data.encode("utf-8", "surrogatepass")
    found = {f"{FOLDER}/context": Written(f"{FOLDER}/context", text, PRIVATE)}
    if data:
        found[f"{FOLDER}/user-data"] = Written(f"{FOLDER}/user-data", data, PRIVATE)
    for name, content in (cloud_init.seed(spec) if cloud else {}).items():
        found[f"{NO_CLOUD}/{name}"] = Written(f"{NO_CLOUD}/{name}", content, PRIVATE)
    if spec.hostname:
        found["/etc/hostname"] = Written("/etc/hostname", f"{spec.hostname}\n".encode())
    if spec.hostname or spec.context:
        found["/etc/hosts"] = Written("/etc/hosts", told.hosts(spec.context, spec.hostname).encode())
    if spec.keys:
        place = f"/{HOME}/.ssh/authorized_keys"
        found[place] = Written(place, "".join(f"{key}\n" for key in spec.keys).encode(), PRIVATE)
    if spec.files:
        names = "".join(f"{file.path}\n" for file in spec.files).encode()
        found[f"{FOLDER}/files"] = Written(f"{FOLDER}/files", names)
    found.update({file.path: Written(file.path, files.content(file), file.mode) for file in spec.files})
    return list(found.values())


def _write(vm: VmDir, spec: VmSpec, image: Path, config: Config) -> None:
    with tempfile.TemporaryDirectory(dir=vm.path, prefix="patch") as scratch:
        system = FileSystem(image, Programs(config.debugfs, config.e2fsck), Path(scratch))
        system.write(written(spec, cloud=system.has("/etc/cloud/cloud.cfg")))


def _copy(vm: VmDir, spec: VmSpec, target: Path, config: Config) -> None:
    disk = spec.disks[0]
    source = source_path(vm, 0, disk)
    most = config.image_max_mb * MIB
    size = qcow2.check(source, most).size if disk.format == "qcow2" else source.stat().st_blocks * copying.BLOCK
    status = os.statvfs(vm.path)
    free = status.f_bavail * status.f_frsize // MIB
    if free < size // MIB + config.minimum_free_disk_mb:
        raise tools.no_room("a copy of the image that its context is written into", size // MIB, free)
    if disk.format == "raw":
        words = ["cp", "--sparse=always", "--reflink=auto", "--no-preserve=mode", str(source), str(target)]
    else:
        words = [config.qemu_img, "convert", "-f", disk.format, "-O", "raw", str(source), str(target)]
    meter = Meter(
        f"copying {disk.name}",
        most,
        time.monotonic,
        cancelled=partial(notes.is_cut_short, vm.path),
        tell=partial(notes.tell, vm.path),
    )
    try:
        copying.copy(words, target, meter, size)
    finally:
        notes.tell(vm.path, "")
