"""Carry out orders on this node: the one place that knows what every order means and in which steps it is done.

Every order may be repeated. A VM is made in steps (directory, disks, network, record), and each step may have been cut
short by a crash: what a second order finds half done it does anew, and ``destroy`` removes whatever there is.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from flyinglow.nodectl import tools
from flyinglow.nodectl.console import Console
from flyinglow.nodectl.context.delivery import Contexts, Items
from flyinglow.nodectl.errors import BrokenError, ConflictError, FlyingLowError, InvalidError, UnknownError
from flyinglow.nodectl.hypervisor.api import Hypervisor
from flyinglow.nodectl.hypervisor.hardware import Hardware
from flyinglow.nodectl.images import notes, saving
from flyinglow.nodectl.images.disks import Disks
from flyinglow.nodectl.images.meter import Cancelled
from flyinglow.nodectl.images.saving import Saver
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, VmStatus, encode
from flyinglow.nodectl.network.bridges import Networks
from flyinglow.nodectl.removal import Removal
from flyinglow.nodectl.slots.scope import Scope
from flyinglow.nodectl.spec import GRACE, check_tag, read, seconds_of
from flyinglow.nodectl.view import UP, View
from flyinglow.nodectl.vmdir import Record, StateDir, VmDir


@dataclass(frozen=True)
class Node:
    """All VMs of one node. Orders for different VMs may be carried out at once."""

    state: StateDir
    hypervisor: Hypervisor
    disks: Disks
    networks: Networks
    scope: Scope = field(default_factory=Scope)
    contexts: Contexts = field(default_factory=Items)
    clock: Callable[[], float] = time.monotonic
    console_max: int = 8 << 20
    saver: Saver | None = None
    hardware: Hardware | None = None  # None: there is none to be given out
    unwanted: set[str] = field(default_factory=set)  # VMs that an order to destroy waits for

    @property
    def _view(self) -> View:
        return View(self.hypervisor, self.networks)

    @property
    def _removal(self) -> Removal:
        return Removal(self.state, self.hypervisor, self.networks)

    def carry_out(self, name: OrderName, tag: str | None, body: dict[str, Any]) -> dict[str, Any]:
        """Do what an order says and return the answer's body. Raises a FlyingLowError of the kind to be answered."""
        if name is OrderName.LIST:
            return {"vms": [encode(info) for info in self.list()]}
        tag = check_tag(tag)
        if name is OrderName.CREATE:
            return encode(self.create(tag, body))
        if name is OrderName.CONSOLE:
            return self.read_console(tag, body)
        if name is OrderName.DESTROY:
            self.destroy(tag)
            return {}
        if name is OrderName.SAVE:
            return encode(self.save(tag, body))
        if name is OrderName.START:
            return encode(self.start(tag, paused=bool(body.get("paused", False))))
        if name is OrderName.SHUTDOWN:
            return encode(self.shutdown(tag, seconds_of(body)))
        plain = {
            OrderName.INFO: self.info,
            OrderName.PAUSE: self.pause,
            OrderName.RESUME: self.resume,
            OrderName.REBOOT: self.reboot,
        }
        return encode(plain[name](tag))

    def create(self, tag: str, body: dict[str, Any]) -> VmInfo:
        """Make a VM: directory, disks, network. Raises ConflictError when there is another one by this tag."""
        spec = read(body)
        if spec.tag != tag:
            raise InvalidError(f"the order is for VM {tag}, its specification for VM {spec.tag}")
        with self.state.locked(tag):
            vm = self.state.vm(tag)
            if vm.exists() and not self._is_new(vm, spec):
                return self._view.look(vm)
            with self._undoing(vm), tools.os_errors(f"VM {tag} could not be created"):
                with self.scope.admitted(vm, spec, self.state.vms) as slot:
                    vm.create(spec, slot)
                self._make(vm, spec)
            return self._view.look(vm)

    def start(self, tag: str, *, paused: bool = False) -> VmInfo:
        """Run a VM; one that pauses goes on."""
        with self._vm(tag) as vm:
            status = self._view.made(vm).status
            if status is VmStatus.PAUSED and not paused:
                self.hypervisor.resume(vm)
            elif status is VmStatus.RUNNING and paused:
                raise ConflictError(f"VM {tag} runs already: pause it")
            elif status not in UP:
                self._start(vm, paused=paused)
            return self._view.look(vm)

    def pause(self, tag: str) -> VmInfo:
        """Stop a running VM's processors."""
        with self._vm(tag) as vm:
            if self._view.up(vm, "pause").status is VmStatus.RUNNING:
                self.hypervisor.pause(vm)
            return self._view.look(vm)

    def resume(self, tag: str) -> VmInfo:
        """Let a paused VM go on."""
        with self._vm(tag) as vm:
            if self._view.up(vm, "resume").status is VmStatus.PAUSED:
                self.hypervisor.resume(vm)
            return self._view.look(vm)

    def reboot(self, tag: str) -> VmInfo:
        """Reset a running VM; it is ready when its guest says so again."""
        with self._vm(tag) as vm:
            if self._view.up(vm, "reboot").status is not VmStatus.RUNNING:
                raise ConflictError(f"VM {tag} is paused: resume it before a reboot")
            vm.update(ready=False, ready_from=Console(vm).size())
            self.hypervisor.reboot(vm)
            return self._view.look(vm)

    def shutdown(self, tag: str, seconds: float = GRACE) -> VmInfo:
        """Ask the guest to end, end it when it does not within ``seconds``; its disks stay."""
        with self._vm(tag) as vm:
            if self._view.made(vm).status in (*UP, VmStatus.BROKEN):
                self.hypervisor.shutdown(vm, seconds)
                vm.update(ready=False)
            return self._view.look(vm)

    def save(self, tag: str, body: dict[str, Any]) -> VmInfo:
        """Send a copy of a disk away; the VM must be down. Raises ConflictError when it is not."""
        with self._vm(tag) as vm, tools.os_errors(f"VM {tag} could not be saved"):
            if self.saver is None or self._view.made(vm).status in UP:
                raise ConflictError(
                    f"VM {tag} cannot be saved: {'it runs' if self.saver else 'its disks are pretended'}"
                )
            self._begin(vm)
            return replace(self._view.look(vm), saved=self.saver.save(vm, vm.spec(), body))

    def destroy(self, tag: str) -> None:
        """Remove all that is a VM's, in whatever state it is; done when there is none. A transfer for it is stopped."""
        self.cut_short(tag)
        self.unwanted.discard(tag)  # what is created after this is wanted
        with self.state.locked(tag), tools.os_errors(f"VM {tag} could not be removed"):
            vm = self.state.vm(tag)
            if self.scope.sees(vm):  # also when its directory is gone: what runs for it is known by its mark
                self._removal.remove(vm)

    def cut_short(self, tag: str) -> None:
        """Let a creation of this VM stop that is under way, or about to be, for it will be destroyed."""
        vm = self.state.vm(tag)
        if not vm.exists() or self.scope.sees(vm):
            self.unwanted.add(tag)
            notes.cut_short(vm.path)

    def end(self, vms: list[VmDir]) -> tuple[list[str], list[str]]:
        """Remove these VMs side by side, whatever else is being done with them: it is cut short.

        Returns the tags of those that are gone, and a sentence for each that resists.
        """
        return self._removal.end(vms)

    def slots(self) -> set[str]:
        """Return the slots that VMs are in, whether anybody holds these slots or not."""
        return {slot for slot in (vm.slot for vm in self.state.vms()) if slot is not None}

    def end_slot(self, slot: str) -> list[str]:
        """Remove all VMs of a slot and return their tags. Raises BrokenError when one of them resists."""
        ended, failed = self.end([vm for vm in self.state.vms() if vm.slot == slot])
        if failed:
            raise BrokenError(f"slot {slot} is not given back over a VM that cannot be ended: {'; '.join(failed)}")
        return ended

    def info(self, tag: str) -> VmInfo:
        """Look at one VM. Raises UnknownError when there is none."""
        return self._view.look(self._there(check_tag(tag)))

    def list(self) -> list[VmInfo]:
        """Look at all VMs, the half-made ones too."""
        seen = filter(self.scope.sees, self.state.vms())
        return [info for info in map(self._view.look_if_there, seen) if info is not None]

    def read_console(self, tag: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return a stretch of the console: bytes in base64, where it begins, and how long the console is."""
        return Console(self._there(tag)).answer(body)

    def heard(self, tag: str) -> bool:
        """Tell from the console alone whether a guest has said that it is ready."""
        vm = self.state.vm(tag)
        record = vm.record() if vm.exists() else None
        return record is not None and (record.ready or self._view.said(vm, record))

    def tend(self, tag: str) -> None:
        """Note that a guest is ready, cut its console when too long, restore lost rules; not while it is worked on."""
        with contextlib.suppress(BlockingIOError), self.state.locked(tag, wait=False):
            vm = self.state.vm(tag)
            record = vm.record() if vm.exists() else None
            if record is not None:
                if not record.ready and self._view.look(vm).ready:
                    record = vm.update(record, ready=True)
                Console(vm).cut(self.console_max)
                self.networks.guard(vm.spec())

    def _is_new(self, vm: VmDir, spec: VmSpec) -> bool:
        """Tell whether a VM is still to be made. Raises ConflictError when the directory is another VM's."""
        if not self.scope.sees(vm):
            raise ConflictError(f"there is another VM {vm.tag} on this node, in another slot")
        return self._view.is_new(vm, spec)

    def _begin(self, vm: VmDir) -> None:
        notes.clear(vm.path)  # first: what is noted from now on is about this order
        if vm.tag in self.unwanted:
            raise Cancelled(f"VM {vm.tag} is to be destroyed")

    def _make(self, vm: VmDir, spec: VmSpec) -> None:
        self._begin(vm)
        if self.hardware is not None:
            self.hardware.give(vm, spec)
        seconds: dict[str, float] = {}
        with self._timed(seconds, "image"):
            self.disks.prepare(vm, spec)
            self.contexts.deliver(vm, spec)
        with self._timed(seconds, "network"):
            self.networks.attach(spec)
        vm.update(Record(seconds=seconds))

    def _start(self, vm: VmDir, *, paused: bool) -> None:
        spec = vm.spec()
        saving.forget(vm)
        vm.memory_state.unlink(missing_ok=True)  # its disks will no longer be as they were
        self.networks.attach(spec)  # taps do not survive a start of the node
        record = vm.record() or Record()
        if record.started:
            record = vm.update(record, ready=False, ready_from=Console(vm).size())
        seconds = dict(record.seconds)
        with self._timed(seconds, "started"), tools.os_errors(f"VM {vm.tag} could not be started"):
            self.hypervisor.start(vm, spec, paused=paused)
        vm.update(seconds=seconds)

    @contextlib.contextmanager
    def _undoing(self, vm: VmDir) -> Iterator[None]:
        """Remove what there is when a creation fails; what cannot be removed stays visible as broken."""
        try:
            yield
        except Exception:
            with contextlib.suppress(FlyingLowError):
                self.networks.detach(vm.tag)
            vm.remove()
            raise

    @contextlib.contextmanager
    def _vm(self, tag: str) -> Iterator[VmDir]:
        with self.state.locked(tag):
            yield self._there(tag)

    def _there(self, tag: str) -> VmDir:
        vm = self.state.vm(tag)
        if not vm.exists() or not self.scope.sees(vm):
            raise UnknownError(f"there is no VM {tag} on this node")
        return vm

    @contextlib.contextmanager
    def _timed(self, seconds: dict[str, float], stamp: str) -> Iterator[None]:
        begin = self.clock()
        yield
        seconds[stamp] = round(self.clock() - begin, 4)
