"""The seed volume: a small read-only disk, the last one, labelled ``cidata``, made without root or a mount.

It is ISO 9660, which is what cloud-init's NoCloud takes (FAT and ISO 9660 only). Where no program is there to write
that, and the image does not insist, it is ext4 with the same label, which the packaged guest reads as well.
``lease/`` on it is for guests that know Flying Low: ``context``, ``user-data``, ``files.tar``.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.context import cloud_init, files
from flyinglow.nodectl.context.ways import AUTO
from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.images.disks import DiskFile
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.vmdir import VmDir

LABEL = "cidata"
EXT4_MB = 8  # context and user data have 1 MiB each at most, files twice (in the archive and for cloud-init)
NAME = "seed.img"


@dataclass(frozen=True)
class Makers:
    """The programs that write volumes."""

    xorrisofs: str = "xorrisofs"
    mke2fs: str = "mke2fs"


def make(vm: VmDir, spec: VmSpec, makers: Makers) -> None:
    """Make a VM's seed, anew when it is there. Raises BrokenError when a program is missing or fails."""
    target = path(vm)
    iso = shutil.which(makers.xorrisofs)
    if iso is None and spec.delivery != AUTO:
        raise BrokenError(
            f"{makers.xorrisofs} is not on this node, which makes the volume that cloud-init looks for: "
            "install it (Debian: apt-get install xorriso)"
        )
    with tempfile.TemporaryDirectory(dir=vm.path, prefix="seed") as folder:
        for name, data in _tree(spec).items():
            place = Path(folder) / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(data)
        target.unlink(missing_ok=True)
        _write(Path(folder), target, iso, makers)
        target.chmod(0o600)  # a guest's token is on it


def path(vm: VmDir) -> Path:
    """Return where a VM's seed lies, if it has one."""
    return vm.path / NAME


def volumes(vm: VmDir) -> list[DiskFile]:
    """Return the seed as the last of a VM's disks, or nothing."""
    return [DiskFile(path(vm), "raw", read_only=True)] if path(vm).is_file() else []


def _tree(spec: VmSpec) -> dict[str, bytes]:
    found = cloud_init.seed(spec)
    if spec.context:
        found["lease/context"] = spec.context.encode("utf-8", "surrogatepass")
    if spec.user_data:
        found["lease/user-data"] = spec.user_data.encode("utf-8", "surrogatepass")
    if spec.files:
        found["lease/files.tar"] = files.archive(spec.files)
    return found


def _write(folder: Path, target: Path, iso: str | None, makers: Makers) -> None:
    if iso is not None:
        tools.run([iso, "-quiet", "-V", LABEL, "-J", "-r", "-o", str(target), str(folder)])
        return
    features = ["-O", "^has_journal,^metadata_csum", "-E", "root_owner=0:0", "-m", "0", "-L", LABEL]
    tools.run([makers.mke2fs, "-q", "-F", "-t", "ext4", *features, "-d", str(folder), str(target), f"{EXT4_MB}M"])
