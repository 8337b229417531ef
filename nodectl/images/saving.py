"""Send a VM's disk away: flattened, so that it needs no other file, with its checksum, to where the site allows.

The copy is made beside the VM's disks, which stay as they are whatever happens; what had been sent before a failure is
taken back where that can be done. A repeated order finds what it has done.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from flyinglow.nodectl import tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.errors import BrokenError, ConflictError, DeniedError, FlyingLowError, InvalidError
from flyinglow.nodectl.images import address, copying, notes
from flyinglow.nodectl.images.address import Address
from flyinglow.nodectl.images.cache import sha256
from flyinglow.nodectl.images.http import Web
from flyinglow.nodectl.images.meter import MIB, Meter
from flyinglow.nodectl.images.sftp import Ssh
from flyinglow.nodectl.messages import DiskSpec, VmSpec
from flyinglow.nodectl.trust import is_root, weak_spot
from flyinglow.nodectl.vmdir import VmDir, read_json, write_json

FORMATS = ("qcow2", "raw")
COPY = "saved"
RECORD = "saved.json"


class Target(Protocol):
    """One place to send a file to."""

    def send(self, file: Path, meter: Meter) -> None:
        """Put the file there as a whole."""

    def remove(self) -> None:
        """Take back what was sent; done when it is not there."""


@dataclass(frozen=True)
class Place:
    """A file of this node, or of a file system that it shares."""

    path: Path

    def send(self, file: Path, meter: Meter) -> None:
        """Put a file there, which has its name when it is whole. Raises ConflictError when the name is taken."""
        self._check()
        half = self.path.with_name(f".{self.path.name}.part")
        half.unlink(missing_ok=True)
        try:
            with file.open("rb") as source, _made(half) as target:
                while chunk := source.read(MIB):
                    target.write(chunk)
                    meter.at(target.tell(), file.stat().st_size)
                os.fsync(target.fileno())
            os.link(half, self.path)  # a link replaces nothing
        except FileExistsError as error:
            raise ConflictError(f"{self.path} is there already, and is not replaced") from error
        finally:
            half.unlink(missing_ok=True)

    def remove(self) -> None:
        """Nothing to be done: what is there is whole, or was there before."""

    def _check(self) -> None:
        if not self.path.parent.is_dir():
            raise InvalidError(f"there is no directory {self.path.parent} to save to")
        if self.path.parent.resolve() != self.path.parent:
            raise DeniedError(f"{self.path.parent} leads elsewhere: images are not saved behind links")
        found = weak_spot(self.path.parent) if is_root() else None
        if found is not None:
            raise DeniedError(f"root saves nothing in {self.path.parent}: {found} is writable by another user")


class Saver:
    """Saves disks as a node's configuration allows."""

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock

    def save(self, vm: VmDir, spec: VmSpec, body: dict[str, Any]) -> dict[str, Any]:
        """Save a disk of a VM that is down; return ``{"target", "format", "sha256", "bytes"}``.

        ``body`` has ``target``, and may have ``disk`` (a name; else the first that the VM can write to and that was
        made from an image) and ``format``. Raises InvalidError, DeniedError, ConflictError, ExhaustedError,
        TransientError, BrokenError, or Cancelled.
        """
        there, form = self._target(body.get("target")), body.get("format", FORMATS[0])
        if form not in FORMATS:
            raise InvalidError(f"disks are saved as {' or '.join(FORMATS)}, not as {form!r}")
        number, disk = _chosen(spec, body.get("disk"))
        wanted = {"target": str(there), "format": form, "disk": disk.name}
        known = read_json(vm.path / RECORD)
        if known is not None and wanted.items() <= known.items():
            return dict(known)
        meter = Meter(
            f"saving {disk.name} to {there}",
            1 << 62,
            self._clock,
            cancelled=partial(notes.is_cut_short, vm.path),
            tell=partial(notes.tell, vm.path),
        )
        try:
            copy = self._flattened(vm, number, form, meter)
            done = {**wanted, "sha256": sha256(copy, meter), "bytes": copy.stat().st_size}
            self._send(copy, self._sender(there), meter)
            write_json(vm.path / RECORD, done, durable=True)
        finally:
            notes.tell(vm.path, "")
            (vm.path / COPY).unlink(missing_ok=True)
        return done

    def _target(self, text: object) -> Address:
        if not isinstance(text, str):
            raise InvalidError("an order to save names its target")
        there = address.read(text, self._config.image_store)
        address.check_allowed(there, self._config.save_targets, "save_targets", default=not is_root())
        if there.path.endswith("/"):
            raise InvalidError(f"{there} names no file to save to")
        return there

    def _flattened(self, vm: VmDir, number: int, form: str, meter: Meter) -> Path:
        """Copy a disk together with what it lies on into one file."""
        thin, copy = vm.path / f"disk{number}.qcow2", vm.path / COPY
        source, own = (thin, "qcow2") if thin.is_file() else (vm.path / f"disk{number}.raw", "raw")
        if not source.is_file():
            raise BrokenError(f"disk {number} of VM {vm.tag} is gone: {source}")
        words = [self._config.qemu_img, "convert", "-f", own, "-O", form, str(source), str(copy)]
        self._make_sure_of_room(source, own, form)
        copying.copy(words, copy, meter)
        return copy

    def _make_sure_of_room(self, source: Path, own: str, form: str) -> None:
        words = [self._config.qemu_img, "measure", "-f", own, "-O", form, str(source)]
        lines = tools.run(words).splitlines()
        asked = next((int(line.split(":")[1]) for line in lines if line.startswith("required size")), 0)
        status = os.statvfs(source)
        free = status.f_bavail * status.f_frsize - self._config.minimum_free_disk_mb * MIB
        if free < asked:
            raise tools.no_room(f"a copy of {source.name} to be saved", asked // MIB, max(free, 0) // MIB)

    def _sender(self, there: Address) -> Target:
        config = self._config
        if there.scheme == "file":
            return Place(Path(there.path))
        if there.scheme == "scp":
            return Ssh(there, config.sftp, config.image_identity, config.image_known_hosts, config.image_timeout)
        return Web(there, config.image_timeout, config.image_authorities)

    def _send(self, copy: Path, target: Target, meter: Meter) -> None:
        try:
            target.send(copy, meter)
        except FlyingLowError:
            with contextlib.suppress(FlyingLowError):
                target.remove()
            raise


def forget(vm: VmDir) -> None:
    """Forget what was saved: the VM is about to write to its disks again."""
    (vm.path / RECORD).unlink(missing_ok=True)


def _chosen(spec: VmSpec, name: object) -> tuple[int, DiskSpec]:
    for number, disk in enumerate(spec.disks):
        if (disk.name == name) if name is not None else (disk.source is not None and not disk.read_only):
            if disk.read_only:
                break
            return number, disk
    raise InvalidError(
        "a VM without a disk of its own has nothing to be saved" if name is None else f"no disk {name!r}"
    )


@contextlib.contextmanager
def _made(path: Path) -> Iterator[Any]:
    """Open a file that was not there before, whatever somebody puts in its place meanwhile."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "wb") as file:
        yield file
