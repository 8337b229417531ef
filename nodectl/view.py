"""What can be said of a VM: its record, the hypervisor's sight of it and its console, put together.

Looking changes nothing and needs no lock, so it always answers, also while somebody works on the VM.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyinglow.nodectl.console import Console
from flyinglow.nodectl.errors import BrokenError, ConflictError
from flyinglow.nodectl.hypervisor.api import Hypervisor, Sight
from flyinglow.nodectl.images import notes
from flyinglow.nodectl.messages import VmInfo, VmSpec, VmStatus
from flyinglow.nodectl.network.bridges import Networks
from flyinglow.nodectl.network.firewall import total
from flyinglow.nodectl.vmdir import Record, VmDir

HALF_MADE = "its creation was cut short: create it again or destroy it"
UP = (VmStatus.RUNNING, VmStatus.PAUSED)


KEPT = "its state is kept: restore-state lets it go on"


def _kept(vm: VmDir, sight: Sight) -> str:
    return KEPT if sight.status is VmStatus.STOPPED and vm.memory_state.exists() else ""


@dataclass(frozen=True)
class View:
    """Looks at VMs through one hypervisor driver, and at what their NICs were stopped from sending."""

    hypervisor: Hypervisor
    networks: Networks

    def look(self, vm: VmDir) -> VmInfo:
        """Return what there is to say; a VM that cannot be understood is broken, with the reason."""
        try:
            record = vm.record()
            if record is None:
                return VmInfo(vm.tag, VmStatus.BROKEN, reason=HALF_MADE, progress=notes.told(vm.path))
            sight = self.hypervisor.status(vm)
            dropped = self.networks.dropped(vm.tag)
            return VmInfo(
                tag=vm.tag,
                status=sight.status,
                ready=self._ready(vm, record, sight),
                reason=sight.reason or _kept(vm, sight),
                seconds=record.seconds,
                pid=sight.pid,
                dropped=total(list(dropped.values())),
                dropped_at=dropped,
            )
        except BrokenError as error:
            return VmInfo(vm.tag, VmStatus.BROKEN, reason=error.message)

    def look_if_there(self, vm: VmDir) -> VmInfo | None:
        """Look at a VM that somebody may be destroying; None when it is gone."""
        info = self.look(vm)
        return info if vm.exists() else None

    def made(self, vm: VmDir) -> Sight:
        """Look at a VM that must have been made completely. Raises ConflictError when it was not."""
        if vm.record() is None:
            raise ConflictError(f"VM {vm.tag}: {HALF_MADE}")
        return self.hypervisor.status(vm)

    def up(self, vm: VmDir, order: str) -> Sight:
        """Look at a VM that must be running or paused. Raises ConflictError when it is not."""
        sight = self.made(vm)
        if sight.status not in UP:
            raise ConflictError(f"VM {vm.tag} cannot {order}: it is {sight.status.value}")
        return sight

    def is_new(self, vm: VmDir, spec: VmSpec) -> bool:
        """Tell whether a VM is still to be made. Raises ConflictError when there is another one by its tag."""
        try:
            known = vm.spec()
        except BrokenError:
            known = None
        made = vm.record() is not None
        if known is not None and known != spec:
            raise ConflictError(f"there is another VM {vm.tag} on this node, made from another specification")
        if known is None and made:
            raise ConflictError(f"there is a broken VM {vm.tag} on this node: destroy it first")
        return not made

    def said(self, vm: VmDir, record: Record) -> bool:
        """Tell whether the guest has said on its console that it is ready, since it was started or reset."""
        mark = vm.spec().ready_mark
        return mark is not None and Console(vm).contains(mark, record.ready_from)

    def _ready(self, vm: VmDir, record: Record, sight: Sight) -> bool:
        if sight.status not in UP:
            return False
        if record.ready or sight.ready is not None:
            return record.ready if sight.ready is None else sight.ready
        return self.said(vm, record)
