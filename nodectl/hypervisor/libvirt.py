"""The driver ``libvirt``: every VM is a domain of the site's own libvirtd, which runs it as it runs the site's others.

A domain is defined when its VM starts and undefined when it ends, so that the daemon lists what runs and nothing else,
and a person who looks sees whose it is by name, UUID and metadata. A program that died between a domain's definition
and its own record finds it by its mark. One that ended by itself is left defined until it is started, shut down or
destroyed: only the daemon knows why it ended.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from flyinglow.nodectl import processes, tools
from flyinglow.nodectl.config import Config
from flyinglow.nodectl.context import delivery, seed
from flyinglow.nodectl.context.ways import PATCHED
from flyinglow.nodectl.errors import BrokenError, FlyingLowError
from flyinglow.nodectl.hypervisor.accelerator import Accelerator
from flyinglow.nodectl.hypervisor.api import Sight
from flyinglow.nodectl.hypervisor.hardware import Hardware, given_to
from flyinglow.nodectl.hypervisor.libvirt_domain import Named, begin, ended, seen, take_away
from flyinglow.nodectl.hypervisor.libvirt_link import NO_DOMAIN, NO_SUPPORT, Link, code, module, told
from flyinglow.nodectl.hypervisor.libvirt_xml import Place, domain
from flyinglow.nodectl.hypervisor.mark import Mark, is_ours, mark_of
from flyinglow.nodectl.images.disks import DiskFile, disk_files
from flyinglow.nodectl.messages import VmSpec, VmStatus
from flyinglow.nodectl.vmdir import Record, StateDir, VmDir

POLL = 0.1
PRESS_SECONDS = 5.0  # a guest that is still booting does not feel its power button: press again
TRAVERSE, PRIVATE = 0o710, 0o600  # for the group of a QEMU that is not root: to go through, and to see nothing


class Libvirt:
    """Runs VMs as domains of a libvirtd."""

    def __init__(self, config: Config, accelerator: Accelerator, hardware: Hardware) -> None:
        self._config = config
        self._accelerator = accelerator
        self._hardware = hardware
        self._link = Link(config.libvirt)

    def start(self, vm: VmDir, spec: VmSpec, *, paused: bool) -> None:
        """Run a VM. Raises BrokenError with libvirt's own words, ExhaustedError, TransientError."""
        found = self._defined(vm, spec)
        with self._undoing(vm):
            begin(found, found.createWithFlags, found.create, paused=paused)
            self._note_started(vm)

    def save(self, vm: VmDir, file: Path) -> None:
        """Write a VM's memory to a file; it does not run any more. A file that is not whole is refused by libvirt."""
        found = self._needed(vm)
        with told(f"the state of VM {vm.tag} could not be saved"):
            found.saveFlags(str(file), None, 0)
        if file.exists():
            shutil.chown(file, os.geteuid(), os.getegid())
            file.chmod(0o600)
        self._end(vm)

    def restore(self, vm: VmDir, spec: VmSpec, file: Path, *, paused: bool) -> None:
        """Let a VM go on where ``save`` has left it. Raises as ``start`` does."""
        found = self._defined(vm, spec)
        with self._undoing(vm):
            link = self._link.connection()
            go_on = partial(link.restoreFlags, str(file), None)
            begin(found, go_on, partial(link.restore, str(file)), paused=paused, restored=True)
            self._note_started(vm)

    def shutdown(self, vm: VmDir, seconds: float) -> None:
        """Press the power button, wait for the guest at most so long, then end it all the same."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and self._press(vm):
            if self._went_down(vm, min(left, PRESS_SECONDS)):
                break
        self._end(vm)

    def destroy(self, vm: VmDir) -> None:
        """End a VM at once. Raises BrokenError when its domain does not go."""
        self._end(vm)

    def pause(self, vm: VmDir) -> None:
        """Stop a running VM's processors. Raises BrokenError or TransientError when libvirt does not do it."""
        with told(f"VM {vm.tag} could not be paused"):
            self._needed(vm).suspend()

    def resume(self, vm: VmDir) -> None:
        """Let a paused VM go on. Raises BrokenError or TransientError when libvirt does not do it."""
        with told(f"VM {vm.tag} could not go on"):
            self._needed(vm).resume()

    def reboot(self, vm: VmDir) -> None:
        """Reset a running VM. Raises BrokenError or TransientError when libvirt does not do it."""
        found = self._needed(vm)
        try:
            with told(f"VM {vm.tag} could not be reset"):
                found.reset()
        except BrokenError as error:
            if code(error) != NO_SUPPORT:
                raise
            with told(f"VM {vm.tag} could not be rebooted"):
                found.reboot(0)

    def status(self, vm: VmDir) -> Sight:
        """Look at a VM: at libvirt's list first, then at what was noted of it."""
        found = self._domain(vm)
        boot = _boot(vm)
        if found is not None:
            with told(f"VM {vm.tag} could not be looked at"):
                state, reason = found.state()
            if state != module().VIR_DOMAIN_SHUTOFF:
                running = next(processes.with_argument(self._mark(vm).uuid), None)
                return seen(state, reason, None if running is None else running.pid)
            if boot == processes.boot_id():
                return ended(reason)
        if boot is None:
            return Sight(VmStatus.STOPPED if (vm.record() or Record()).started else VmStatus.CREATED)
        if boot != processes.boot_id():
            return Sight(VmStatus.STOPPED, "the node was started anew")
        return Sight(VmStatus.BROKEN, "its domain is gone: somebody else has undefined it")

    def end_strays(self, state: StateDir) -> list[str]:
        """End all domains of this node's VMs, whether these have directories or not; name those that resist."""
        found = _ours(self._link, state.path)
        resisting = []
        for each in found:
            try:
                take_away(each)
            except FlyingLowError as error:
                resisting.append(f"domain {each.name()} cannot be ended: {error.message}")
        return resisting

    def _defined(self, vm: VmDir, spec: VmSpec) -> Any:
        link = self._link.connection()
        place = Place(self._kind(link, spec), self._mark(vm), vm, given_to(vm), self._hardware.cpus_of(vm, spec))
        disks = [*disk_files(vm, spec), *seed.volumes(vm)]
        text = domain(self._config, place, spec, disks)
        self._end(vm)  # a domain that was made and never came into the record would hold the disks
        self._hand_over(vm, disks)
        with told("VM did not start"):
            return link.defineXML(text)

    def _kind(self, link: Any, spec: VmSpec) -> str:
        with told("libvirt's hypervisor could not be looked at"):
            kind = str(link.getType()).lower()
        if kind != "qemu":
            return kind
        return {"tcg": "qemu"}.get(name := self._accelerator.choose(spec.kernel, spec.initrd), name)

    def _hand_over(self, vm: VmDir, disks: list[DiskFile]) -> None:
        """Let the user of the site's QEMUs reach a VM's files, and nobody else: its command line tells their names."""
        vm.console.touch(mode=PRIVATE)
        if self._config.run_as:
            with tools.os_errors(f"VM {vm.tag} could not be handed to {self._config.run_as}"):
                for path in _own_files(vm, disks):
                    path.chmod(PRIVATE)
                    shutil.chown(path, self._config.run_as)
                group = pwd.getpwnam(self._config.run_as).pw_gid
                for folder in (vm.path, vm.path.parent, self._config.state):
                    shutil.chown(folder, group=group)
                    folder.chmod(TRAVERSE)

    def _note_started(self, vm: VmDir) -> None:
        _note(vm).write_text(processes.boot_id(), encoding="ascii")
        vm.update(started=True)

    @contextlib.contextmanager
    def _undoing(self, vm: VmDir) -> Iterator[None]:
        try:
            yield
        except (FlyingLowError, OSError):
            with contextlib.suppress(FlyingLowError):
                self._end(vm)
            raise

    def _press(self, vm: VmDir) -> bool:
        """Ask a running guest to end; tell whether there is anything to be hoped for."""
        found = self._domain(vm)
        if found is None or self.status(vm).status is not VmStatus.RUNNING:
            return False
        with contextlib.suppress(BrokenError), told("shutdown"):  # it may be on its way out
            found.shutdown()
        return True

    def _went_down(self, vm: VmDir, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (found := self._domain(vm)) is not None:
            with told(f"VM {vm.tag} could not be looked at"):
                if not found.isActive():
                    break
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    def _end(self, vm: VmDir) -> None:
        """Take a VM's domain away, and the note that there is one last."""
        found = self._domain(vm)
        if found is not None:
            take_away(found)
        _note(vm).unlink(missing_ok=True)

    def _needed(self, vm: VmDir) -> Any:
        found = self._domain(vm)
        if found is None:
            raise BrokenError(f"VM {vm.tag} has no domain any more")
        return found

    def _domain(self, vm: VmDir) -> Any:
        mark = self._mark(vm)
        try:
            with told(f"VM {vm.tag} could not be looked for"):
                found = self._link.connection().lookupByUUIDString(mark.uuid)
        except BrokenError as error:
            if code(error) != NO_DOMAIN:
                raise
            return None
        return found if found.name() == mark.name else None

    def _mark(self, vm: VmDir) -> Mark:
        return mark_of(self._config.state, vm.tag)


def domains_of(config: Config) -> list[str]:
    """Return the names of the domains of this node's VMs, whether these have directories or not."""
    return [Named(each).name for each in _ours(Link(config.libvirt), config.state)]


def _ours(link: Link, state: Path) -> list[Any]:
    with told("libvirt's domains could not be listed"):
        return [each for each in link.connection().listAllDomains() if is_ours(state, Named(each))]


def _own_files(vm: VmDir, disks: list[DiskFile]) -> list[Path]:
    """Return the files of a VM's directory that its QEMU opens."""
    own = [disk.path for disk in disks if disk.path.parent == vm.path]
    patched = [path for path in [vm.path / PATCHED] if path.exists()]
    return [vm.console, *(path for _, path in delivery.items(vm)), *own, *patched]


def _boot(vm: VmDir) -> str | None:
    """Return since which start of the node there has been a domain that we did not take away, or None."""
    try:
        return _note(vm).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None


def _note(vm: VmDir) -> Path:
    return vm.path / "domain"
