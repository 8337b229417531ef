"""Give a VM its disks: thin overlays on images, partitions that the node keeps, and blank ones.

An image is never written to and never copied: every VM gets a qcow2 overlay of its own, so that a disk is there in
milliseconds whatever its size. What lies on another machine is fetched into the node's cache first, once. Formats are
always stated, never guessed from what a tenant may have written to a file, and no file system of a tenant is mounted.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, DeniedError, ExhaustedError, InvalidError
from flyinglow.nodectl.images import address, blank, notes, qcow2
from flyinglow.nodectl.images.address import Address
from flyinglow.nodectl.images.cache import Bounds, Cache, Source
from flyinglow.nodectl.images.facts import Facts
from flyinglow.nodectl.images.http import Web
from flyinglow.nodectl.images.meter import Meter
from flyinglow.nodectl.images.peers import Peers
from flyinglow.nodectl.images.sftp import Ssh
from flyinglow.nodectl.images.shared import Shared
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.trust import is_root, weak_spot
from flyinglow.nodectl.vmdir import StateDir, VmDir

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
    """Disks from images that this node can read or fetch."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic, peers: Peers | None = None) -> None:
        self._config = config
        self._clock = clock
        self._peers = peers
        self._facts = Facts(config.state / "images.json", config.image_max_mb * MIB)
        bounds = Bounds(config.cache_max_mb, config.minimum_free_disk_mb, config.image_tries)
        self._cache = Cache(StateDir(config.state, config.run), bounds)
        self._makers = blank.Makers(config.mke2fs, config.mkswap)

    def prepare(self, vm: VmDir, spec: VmSpec) -> None:
        """Make every disk of ``spec``. May be repeated.

        Raises InvalidError, DeniedError, ExhaustedError, TransientError, BrokenError, or Cancelled when the VM is not
        wanted any more.
        """
        for path in (spec.kernel, spec.initrd):
            if path is not None:
                self.locate(path)
        self.check_space(spec)
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
        except (OSError, RuntimeError, ValueError) as error:
            raise InvalidError(f"image {source!r} is not on this node: {error}") from error
        if not stat.S_ISREG(kind):
            raise InvalidError(f"image {source} is not a regular file")
        return real

    def verified(self, disk: DiskSpec, vm: VmDir | None = None, number: int = 0) -> Path:
        """Return the file a disk is made of, once it is what it is said to be. Raises as ``prepare`` does.

        What has to be fetched gets a place in the directory of ``vm``, where ``source_path`` finds it.
        """
        path = self._found(disk, vm, number)
        length, most = self.length(disk, path), disk.most_mb
        if most is not None and length > most * MIB:
            figures = {"image_mb.declared": most, "image_mb.found": -(-length // MIB)}
            raise InvalidError(
                f"image {address.redacted(disk.source or '')} has {-(-length // MIB)} MiB for its guest, "
                f"where {most} were declared: say how large it is",
                figures,
            )
        return path

    def _found(self, disk: DiskSpec, vm: VmDir | None, number: int) -> Path:
        source, digest = disk.source or "", disk.sha256.lower() if disk.sha256 else None
        if not is_remote(source):
            path = self.locate(source)
            self._facts.check(path, disk.format, digest, str(path))
            return path
        if vm is None or digest is None:
            raise InvalidError(f"image {address.redacted(source)} needs a checksum: it comes over a network")
        path = source_path(vm, number, disk)
        self._fetch(disk, digest, vm.path, path)
        self._facts.check(path, disk.format, None, digest)
        return path

    def meter(self, what: str, folder: Path) -> Meter:
        """Return what watches a transfer for the VM of a directory: its length, and whether it is still wanted."""
        return Meter(
            what,
            self._config.image_max_mb * MIB,
            self._clock,
            cancelled=partial(notes.is_cut_short, folder),
            tell=partial(notes.tell, folder),
        )

    def length(self, disk: DiskSpec, path: Path) -> int:
        """Return how many bytes a guest sees in an image, and a raw copy may have, whatever its file's length."""
        return (
            qcow2.check(path, self._config.image_max_mb * MIB).size if disk.format == "qcow2" else path.stat().st_size
        )

    def make_blank(self, target: Path, disk: DiskSpec) -> None:
        """Make an empty disk, with the file system that is ordered."""
        blank.make(target, disk, self._makers)

    def check_space(self, spec: VmSpec, copies_mb: int = 0) -> None:
        """Refuse disks that could not be filled now, and so many MiB of copies. An overlay is small at first."""
        where, kept = self._config.state, self._config.minimum_free_disk_mb
        asked = sum(disk.blank_mb or 0 for disk in spec.disks) + copies_mb
        status = os.statvfs(where)
        free = status.f_bavail * status.f_frsize // MIB
        if free < asked + kept:
            raise ExhaustedError(
                f"too little disk left at {where}: {free} MiB free, {asked} MiB asked for, {kept} MiB kept back",
                {"disk_mb.asked": asked, "disk_mb.free": free, "disk_mb.kept": kept},
            )

    def _prepare(self, vm: VmDir, number: int, disk: DiskSpec) -> None:
        target = disk_path(vm, number, disk)
        if disk.source is None:
            self.make_blank(target, disk)
            return
        source = self.verified(disk, vm, number)
        if not disk.read_only:
            argv = [self._config.qemu_img, "create", "-q", "-f", "qcow2", "-F", disk.format, "-b", str(source)]
            tools.run([*argv, str(target)])

    def _fetch(self, disk: DiskSpec, digest: str, folder: Path, target: Path) -> None:
        there = address.read(disk.source or "", self._config.image_store)
        store = (self._config.image_store,) if self._config.image_store else ()
        listed = (*self._config.image_sources, *store)
        address.check_allowed(there, listed, "image_sources", default=not is_root())
        meter = self.meter(f"image {there}", folder)
        if disk.most_mb is not None and disk.format == "raw":
            meter.limit = min(meter.limit, disk.most_mb * MIB)  # of a raw image the file is what its guest sees
        try:
            origin = self._source(there, public=disk.public)
            self._cache.link(digest, self._peers.ahead_of(origin, digest) if self._peers else origin, meter, target)
        finally:
            notes.tell(folder, "")

    def _source(self, there: Address, *, public: bool) -> Source:
        config = self._config
        if there.scheme == "file":
            return Shared(Path(there.path), Path(address.read(config.image_store).path))
        if there.scheme == "scp":
            known = config.image_known_hosts
            return Ssh(there, config.sftp, config.image_identity, known, config.image_timeout, public=public)
        return Web(there, config.image_timeout, config.image_authorities, public=public)


def disk_path(vm: VmDir, number: int, disk: DiskSpec) -> Path:
    """Return where the VM's own file for a disk lies."""
    return vm.path / (f"disk{number}.raw" if disk.source is None else f"disk{number}.qcow2")


def source_path(vm: VmDir, number: int, disk: DiskSpec) -> Path:
    """Return the file of a disk's image: where it lies on this node, or the VM's own link to what was fetched."""
    source = disk.source or ""
    return vm.path / f"disk{number}.base" if is_remote(source) else path_of(source).resolve()


def is_remote(source: str) -> bool:
    """Tell whether an image has to be fetched."""
    return not source.startswith("/") and urlsplit(source).scheme not in ("", "file")


def disk_files(vm: VmDir, spec: VmSpec) -> list[DiskFile]:
    """Return the disks of a prepared VM in their order. Raises BrokenError when one is gone."""
    files = []
    for number, disk in enumerate(spec.disks):
        own = disk.source is None or not disk.read_only
        path = disk_path(vm, number, disk) if own else source_path(vm, number, disk)
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
