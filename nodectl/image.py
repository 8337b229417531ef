"""Give a VM its disks: thin overlays on the site's images, and blank ones.

An image is never written to and never copied: every VM gets a qcow2 overlay of its own, so that a disk is there in
milliseconds whatever its size. Formats are always stated, never guessed from what a tenant may have written to a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, DeniedError, ExhaustedError, InvalidError
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.trust import is_root, weak_spot
from flyinglow.nodectl.vmdir import VmDir, read_json, write_json

CHUNK = 1 << 20
MIB = 1 << 20


@dataclass(frozen=True)
class DiskFile:
    """A disk as the hypervisor is to open it."""

    path: Path
    format: str
    read_only: bool


class Disks(Protocol):
    """What prepares the disks of a VM."""

    def prepare(self, vm: VmDir, spec: VmSpec) -> None:
        """Make every disk of ``spec``. May be repeated. Raises InvalidError, ExhaustedError or BrokenError."""


class Images:
    """Disks from image files that this node can read."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._facts = config.state / "images.json"
        self._lock = threading.Lock()

    def prepare(self, vm: VmDir, spec: VmSpec) -> None:
        """Make every disk of ``spec``. May be repeated.

        Raises InvalidError, DeniedError, ExhaustedError or BrokenError.
        """
        for path in (spec.kernel, spec.initrd):
            if path is not None:
                self.locate(path)
        self._check_space(spec)
        for number, disk in enumerate(spec.disks):
            self._prepare(vm, number, disk)

    def locate(self, source: str) -> Path:
        """Return the file that ``source`` names, behind all links.

        Raises DeniedError when it lies where the site offers nothing, whether it is there or not; InvalidError when it
        is not there or no file.
        """
        path = path_of(source)
        roots = self._config.image_directories
        try:
            real = path.resolve()
            if roots and not any(_below(real, Path(root)) for root in roots):
                raise DeniedError(
                    f"image {source} lies outside the directories this node takes images from: "
                    f"{', '.join(roots)} (configuration key images)"
                )
            kind = real.stat().st_mode
        except (OSError, RuntimeError) as error:
            raise InvalidError(f"image {source} is not on this node: {error}") from error
        if not stat.S_ISREG(kind):
            raise InvalidError(f"image {source} is not a regular file")
        return real

    def _prepare(self, vm: VmDir, number: int, disk: DiskSpec) -> None:
        target = disk_path(vm, number, disk)
        if disk.source is None:
            with target.open("wb") as file:
                file.truncate((disk.blank_mb or 0) * MIB)
            return
        source = self.locate(disk.source)
        self._verify(source, disk)
        if not disk.read_only:
            argv = [self._config.qemu_img, "create", "-q", "-f", "qcow2", "-F", disk.format, "-b", str(source)]
            tools.run([*argv, str(target)])

    def _verify(self, source: Path, disk: DiskSpec) -> None:
        """Check an image once for every state of its file: that reading it takes long is paid once a node."""
        status = source.stat()
        key = f"{source}:{disk.format}"
        facts = {"mtime": status.st_mtime_ns, "size": status.st_size, "inode": status.st_ino}
        with self._lock:
            known = (read_json(self._facts) or {}).get(key)
            if known is None or any(known.get(name) != value for name, value in facts.items()):
                if disk.format == "qcow2":
                    self._refuse_references(source)
                known = {**facts, "sha256": _sha256(source) if disk.sha256 else None}
                self._remember(key, known)
            elif disk.sha256 and known["sha256"] is None:
                known = {**facts, "sha256": _sha256(source)}
                self._remember(key, known)
        if disk.sha256 and known["sha256"] != disk.sha256.lower():
            raise InvalidError(f"image {source} has checksum {known['sha256']}, not {disk.sha256}")

    def _remember(self, key: str, known: dict[str, object]) -> None:
        write_json(self._facts, {**(read_json(self._facts) or {}), key: known})

    def _refuse_references(self, source: Path) -> None:
        """Refuse an image that would make the hypervisor open another file of this node."""
        text = tools.run([self._config.qemu_img, "info", "--output=json", "-f", "qcow2", str(source)])
        info = json.loads(text)
        details = info.get("format-specific", {}).get("data", {})
        if info.get("backing-filename") or info.get("full-backing-filename") or details.get("data-file"):
            raise InvalidError(f"image {source} refers to another file, which is not allowed")

    def _check_space(self, spec: VmSpec) -> None:
        """Refuse blank disks that could not be filled now. An overlay is small until its guest has written to it."""
        where, kept = self._config.state, self._config.minimum_free_disk_mb
        asked = sum(disk.blank_mb or 0 for disk in spec.disks)
        status = os.statvfs(where)
        free = status.f_bavail * status.f_frsize // MIB
        if free < asked + kept:
            raise ExhaustedError(
                f"too little disk left at {where}: {free} MiB free, {asked} MiB asked for, {kept} MiB kept back",
                {"disk_mb.asked": asked, "disk_mb.free": free, "disk_mb.kept": kept},
            )


def disk_path(vm: VmDir, number: int, disk: DiskSpec) -> Path:
    """Return where the VM's own file for a disk lies."""
    return vm.path / (f"disk{number}.raw" if disk.source is None else f"disk{number}.qcow2")


def disk_files(vm: VmDir, spec: VmSpec) -> list[DiskFile]:
    """Return the disks of a prepared VM in their order. Raises BrokenError when one is gone."""
    files = []
    for number, disk in enumerate(spec.disks):
        own = disk.source is None or not disk.read_only
        path = disk_path(vm, number, disk) if own else path_of(disk.source or "").resolve()
        if not path.is_file():
            raise BrokenError(f"disk {disk.name!r} of VM {vm.tag} is gone: {path}")
        form = disk.format if not own else ("raw" if disk.source is None else "qcow2")
        files.append(DiskFile(path, form, disk.read_only))
    return files


def path_of(source: str) -> Path:
    """Return the absolute path that a path or a file: URI names. Raises InvalidError for anything else."""
    parts = urlsplit(source)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise InvalidError(f"this node takes images from its own files only, not from a {parts.scheme or 'host'}: URI")
    path = Path(unquote(parts.path) if parts.scheme else source)
    if not path.is_absolute() or ".." in path.parts:
        raise InvalidError(f"an image is named by an absolute path or a file: URI, not by {source!r}")
    return path


def _below(path: Path, root: Path) -> bool:
    """Tell whether a path lies below a directory. Raises DeniedError when root cannot rely on where that is."""
    if root.resolve() not in path.parents:
        return False
    found = weak_spot(root) if is_root() else None
    if found is not None:
        raise DeniedError(
            f"images below {root} are not taken by root: {found} belongs to, or is writable by, another user "
            f"(configuration key images)"
        )
    return True


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()
