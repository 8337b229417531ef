"""Put a VM's context where its guest will find it; a part of making the VM, and in the VM's directory only.

What a creation that was cut short has left is made anew, and what there is goes with the directory.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import files, seed
from flyinglow.nodectl.context.ways import PATCHED, Way, chosen
from flyinglow.nodectl.messages import VmSpec
from flyinglow.nodectl.vmdir import VmDir

CONTEXT, USER_DATA, FILES = "context", "user-data", "files.tar"  # what QEMU shows its guest, in the VM's directory
CHUNK = 128 << 10  # bytes of the archive in one item: Linux reads an item a page at a time, each time from its start


class Contexts(Protocol):
    """What delivers context."""

    def deliver(self, vm: VmDir, spec: VmSpec) -> None:
        """Make ready what a guest is to be told; its disks are there. Raises InvalidError or BrokenError."""


class Items:
    """Context as plain files of the VM's directory, which QEMU shows its guest by fw_cfg."""

    def deliver(self, vm: VmDir, spec: VmSpec) -> None:
        """Write them."""
        for name, text in ((CONTEXT, spec.context), (USER_DATA, spec.user_data)):
            if text:
                _write(vm.path / name, text.encode("utf-8", "surrogatepass"))
        archive = files.archive(spec.files) if spec.files else b""
        for number, start in enumerate(range(0, len(archive), CHUNK)):
            _write(vm.path / f"{FILES}.{number:02}", archive[start : start + CHUNK])


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner reads: a guest's token is in it."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def items(vm: VmDir) -> list[tuple[str, Path]]:
    """Return the items that QEMU shows a VM's guest: what each is called there, and its file."""
    plain = [("opt/lease/context", vm.path / CONTEXT), ("opt/flyinglow/user-data", vm.path / USER_DATA)]
    parts = [(f"opt/flyinglow/files/{path.suffix[1:]}", path) for path in sorted(vm.path.glob(f"{FILES}.*"))]
    return [(name, path) for name, path in (*plain, *parts) if path.is_file()]


class Delivery:
    """Context by the way that the image's catalogue entry names."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def deliver(self, vm: VmDir, spec: VmSpec) -> None:
        """Make ready what a guest is to be told. Raises InvalidError, ExhaustedError or BrokenError."""
        way = chosen(spec, self._config.driver)
        _clear(vm)
        if not (spec.context or spec.user_data or spec.files or spec.keys):
            return
        if way is Way.FW_CFG:
            Items().deliver(vm, spec)
        elif way is Way.SEED:
            seed.make(vm, spec, seed.Makers(self._config.xorrisofs, self._config.mke2fs))
        elif way is Way.PATCH:
            from flyinglow.nodectl.context import patch  # noqa: PLC0415 - few nodes ever need it

            patch.make(vm, spec, self._config)


def possible(config: Config) -> str:
    """Say which ways this node has, and what would add the others: no site needs them all."""
    here = [Way.FW_CFG.value] if config.driver == "qemu" else []
    missing = []
    for way, program, package in (
        (Way.SEED, config.xorrisofs, "xorriso"),
        (Way.PATCH, config.debugfs, "e2fsprogs"),
    ):
        if shutil.which(program):
            here.append(way.value)
        else:
            missing.append(f"{way.value} needs {program} (Debian: apt-get install {package})")
    return "; ".join([", ".join(here) or "none", *missing])


def _clear(vm: VmDir) -> None:
    """Remove what an attempt that was cut short has left."""
    for path in (*(path for _, path in items(vm)), vm.path / seed.NAME, vm.path / PATCHED):
        path.unlink(missing_ok=True)
    for left in (*vm.path.glob("seed*"), *vm.path.glob("patch*")):
        shutil.rmtree(left)
