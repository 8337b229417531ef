"""The disks of Xen's VMs: raw files only, which domain 0's own block back-end serves without any QEMU.

An image is copied, with its holes, and a read-only one is used where it lies. Context and user data go onto a small
volume of their own, the last disk, labelled as stock images look for it (``cidata``): a paravirtualized guest has no
other way to be handed a file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.images.disks import DiskFile, Images, source_path
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.vmdir import VmDir

MIB = 1 << 20
LABEL = "cidata"
SEED_MB = 4  # context and user data have 1 MiB each at most
COPY_SECONDS = 3600.0
PARTS = (("context", "lease/context"), ("user-data", "user-data"))


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
        copied = [path for path, disk in zip(sources, spec.disks) if path is not None and _is_own(disk)]
        self._images.check_space(spec, sum(path.stat().st_size for path in copied) // MIB)
        for number, (disk, source) in enumerate(zip(spec.disks, sources)):
            if _is_own(disk):
                self._make(_path(vm, number), disk, source)
        self._make_seed(vm, spec)

    def _make(self, target: Path, disk: DiskSpec, source: Path | None) -> None:
        if source is None:
            self._images.make_blank(target, disk)
        elif disk.format == "raw":
            words = ["cp", "--sparse=always", "--reflink=auto", "--no-preserve=mode", str(source), str(target)]
            tools.run(words, seconds=COPY_SECONDS)
        else:
            words = [self._config.qemu_img, "convert", "-f", disk.format, "-O", "raw", str(source), str(target)]
            tools.run(words, seconds=COPY_SECONDS)

    def _make_seed(self, vm: VmDir, spec: VmSpec) -> None:
        found = [(vm.path / name, place) for name, place in PARTS if (vm.path / name).is_file()]
        if not found:
            return
        with tempfile.TemporaryDirectory(dir=vm.path, prefix="seed") as folder:
            texts: dict[str, Callable[[], bytes]] = {place: path.read_bytes for path, place in found}
            texts["meta-data"] = f"instance-id: {spec.tag}\n".encode
            for place, text in texts.items():
                target = Path(folder) / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(text())
            features = ["-O", "^has_journal,^metadata_csum", "-E", "root_owner=0:0", "-m", "0", "-L", LABEL]
            words = [self._config.mke2fs, "-q", "-F", "-t", "ext4", *features, "-d", folder]
            tools.run([*words, str(_seed(vm)), f"{SEED_MB}M"])


def raw_files(vm: VmDir, spec: VmSpec) -> list[DiskFile]:
    """Return the disks of a prepared VM in their order, the seed last. Raises BrokenError when one is gone."""
    files = []
    for number, disk in enumerate(spec.disks):
        path = _path(vm, number) if _is_own(disk) else source_path(vm, number, disk)
        if not path.is_file():
            raise BrokenError(f"disk {disk.name!r} of VM {vm.tag} is gone: {path}")
        files.append(DiskFile(path, "raw", disk.read_only))
    seed = _seed(vm)
    return [*files, DiskFile(seed, "raw", read_only=True)] if seed.is_file() else files


def _is_own(disk: DiskSpec) -> bool:
    """Tell whether a VM has a file of its own for this disk; Xen can read no other format than raw as it is."""
    return disk.source is None or not disk.read_only or disk.format != "raw"


def _path(vm: VmDir, number: int) -> Path:
    return vm.path / f"disk{number}.raw"


def _seed(vm: VmDir) -> Path:
    return vm.path / "seed.ext4"
