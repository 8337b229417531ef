"""The disks of Xen's VMs: raw files only, which domain 0's own block back-end serves without any QEMU.

An image is copied, with its holes, and a read-only one is used where it lies.
"""

from __future__ import annotations

from pathlib import Path

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.images import copying, notes
from flyinglow.nodectl.images.disks import DiskFile, Images, source_path
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import VmDir

MIB = 1 << 20


class RawDisks:
    """Disks from image files that this node can read."""

    def __init__(self, config: Config, images: Images) -> None:
        self._config = config
        self._images = images

    def prepare(self, vm: VmDir, spec: VmSpec) -> None:
        """Make every disk of ``spec``. May be repeated.

        Raises InvalidError, DeniedError, ExhaustedError or BrokenError.
        """
        for path in (spec.kernel, spec.initrd):
            if path is not None:
                self._images.locate(path)
        sources = [
            None if disk.source is None else self._images.verified(disk, vm, number)
            for number, disk in enumerate(spec.disks)
        ]
        copied = [(disk, path) for path, disk in zip(sources, spec.disks) if path is not None and _is_own(disk)]
        self._images.check_space(spec, sum(self._images.length(disk, path) for disk, path in copied) // MIB)
        for number, (disk, source) in enumerate(zip(spec.disks, sources)):
            if _is_own(disk):
                self._make(vm, _path(vm, number), disk, source)

    def _make(self, vm: VmDir, target: Path, disk: DiskSpec, source: Path | None) -> None:
        if source is None:
            self._images.make_blank(target, disk)
            return
        words = [self._config.qemu_img, "convert", "-f", disk.format, "-O", "raw", str(source), str(target)]
        if disk.format == "raw":
            words = ["cp", "--sparse=always", "--reflink=auto", "--no-preserve=mode", str(source), str(target)]
        meter = self._images.meter(f"copying {disk.name}", vm.path)
        try:
            copying.copy(words, target, meter, self._images.length(disk, source))
        finally:
            notes.tell(vm.path, "")


def raw_files(vm: VmDir, spec: VmSpec) -> list[DiskFile]:
    """Return the disks of a prepared VM in their order, without its seed. Raises BrokenError when one is gone."""
    files = []
    for number, disk in enumerate(spec.disks):
        path = _path(vm, number) if _is_own(disk) else source_path(vm, number, disk)
        if not path.is_file():
            raise BrokenError(f"disk {disk.name!r} of VM {vm.tag} is gone: {path}")
        files.append(DiskFile(path, "raw", disk.read_only))
    return files


def _is_own(disk: DiskSpec) -> bool:
    """Tell whether a VM has a file of its own for this disk; Xen can read no other format than raw as it is."""
    return disk.source is None or not disk.read_only or disk.format != "raw"


def _path(vm: VmDir, number: int) -> Path:
    return vm.path / f"disk{number}.raw"
