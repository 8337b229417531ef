"""What is done with one domain of a libvirtd, and what its states mean for a VM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flyinglow.nodectl.hypervisor.api import Sight
from flyinglow.nodectl.hypervisor.libvirt_link import INVALID_FLAGS, module, told
from flyinglow.nodectl.messages import VmStatus


class Named:
    """A domain of libvirt's as ``mark`` looks at one."""

    def __init__(self, found: Any) -> None:
        self.name = str(found.name())
        self.uuid = str(found.UUIDString())


def begin(
    found: Any, run: Callable[[int], Any], plainly: Callable[[], Any], *, paused: bool, restored: bool = False
) -> None:
    """Start or restore a domain; a libvirt driver that starts none paused is asked to pause it at once.

    Raises BrokenError with libvirt's own words, ExhaustedError, TransientError.
    """
    known = module()
    flags = known.VIR_DOMAIN_START_PAUSED if paused else 0
    if restored:
        flags = known.VIR_DOMAIN_SAVE_PAUSED if paused else known.VIR_DOMAIN_SAVE_RUNNING
    with told("VM did not go on" if restored else "VM did not start"):
        try:
            run(flags)
        except known.libvirtError as error:
            if not flags or error.get_error_code() != INVALID_FLAGS:
                raise
            plainly()
            if paused:
                found.suspend()


def take_away(found: Any) -> None:
    """End a domain and undefine it; it may go by itself meanwhile. Raises BrokenError when it does not."""
    known = module()
    with told(f"domain {found.name()} cannot be ended"):
        try:
            if found.isActive():
                found.destroy()
        except known.libvirtError:
            if found.isActive():
                raise
        if found.isPersistent():
            found.undefineFlags(known.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)


def seen(state: int, reason: int, pid: int | None) -> Sight:
    """Return what is to be said of a domain that is not off."""
    known = module()
    if state == known.VIR_DOMAIN_CRASHED:
        return Sight(VmStatus.BROKEN, "the guest's kernel crashed", pid)
    if state == known.VIR_DOMAIN_PAUSED and reason == known.VIR_DOMAIN_PAUSED_IOERROR:
        words = "it was stopped because a disk could not be read or written (is the node's disk full?)"
        return Sight(VmStatus.BROKEN, words, pid)
    paused = state in (known.VIR_DOMAIN_PAUSED, known.VIR_DOMAIN_PMSUSPENDED)
    return Sight(VmStatus.PAUSED if paused else VmStatus.RUNNING, "", pid)


def ended(reason: int) -> Sight:
    """Return what is to be said of a domain that is off and that we did not end."""
    known = module()
    if reason == known.VIR_DOMAIN_SHUTOFF_SHUTDOWN:
        return Sight(VmStatus.STOPPED, "it ended by itself")
    if reason == known.VIR_DOMAIN_SHUTOFF_SAVED:
        return Sight(VmStatus.STOPPED)
    if reason == known.VIR_DOMAIN_SHUTOFF_DESTROYED:
        return Sight(VmStatus.BROKEN, "somebody else has destroyed its domain")
    return Sight(VmStatus.BROKEN, "its process ended in a bad way")
