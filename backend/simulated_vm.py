"""What each order does to a VM that exists only in memory: the rules of ``nodectl/messages.py``, nothing else.

A repeated order finds its work done and answers as the first one did. An order that the VM's status does not allow is
a ConflictError; one for a VM that the node does not have is an UnknownError, except destroy.
"""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flyinglow.nodectl.errors import ConflictError, InvalidError, UnknownError
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec, VmStatus, encode, vm_spec

if TYPE_CHECKING:
    from flyinglow.backend.api import Order

_MOST_CONSOLE = 64 * 1024


@dataclass(slots=True)
class Vm:
    """A VM in memory."""

    spec: VmSpec
    info: VmInfo
    console: bytearray = field(default_factory=bytearray)


_CREATED, _RUNNING, _PAUSED, _STOPPED = VmStatus.CREATED, VmStatus.RUNNING, VmStatus.PAUSED, VmStatus.STOPPED
_BROKEN = VmStatus.BROKEN

MOVES: dict[OrderName, dict[VmStatus, VmStatus]] = {
    OrderName.START: {_CREATED: _RUNNING, _STOPPED: _RUNNING, _BROKEN: _RUNNING, _RUNNING: _RUNNING, _PAUSED: _RUNNING},
    OrderName.PAUSE: {_RUNNING: _PAUSED, _PAUSED: _PAUSED},
    OrderName.RESUME: {_PAUSED: _RUNNING, _RUNNING: _RUNNING},
    OrderName.REBOOT: {_RUNNING: _RUNNING},
    OrderName.SHUTDOWN: {_RUNNING: _STOPPED, _PAUSED: _STOPPED, _STOPPED: _STOPPED, _CREATED: _CREATED},
}
"""Order -> status found -> status left; what is missing is not allowed."""


def carry_out(vms: dict[str, Vm], order: Order) -> dict[str, Any]:
    """Carry out one order on the VMs of one node and return the answer's body. Raises FlyingLowError."""
    if order.name is OrderName.LIST:
        return {"vms": [encode(vm.info) for vm in vms.values()]}
    if order.name is OrderName.DESTROY:
        vms.pop(order.tag, None)
        return {}
    if order.name is OrderName.CREATE:
        return encode(_create(vms, order).info)
    vm = vms.get(order.tag)
    if vm is None:
        raise UnknownError(f"this node has no VM {order.tag}")
    if order.name is OrderName.CONSOLE:
        return _console(vm, order)
    if order.name in MOVES:
        _move(vm, order)
    return encode(vm.info)


def _create(vms: dict[str, Vm], order: Order) -> Vm:
    try:
        spec = vm_spec(dict(order.body))
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidError(f"the VM's description cannot be read: {error}") from error
    if spec.tag != order.tag:
        raise InvalidError(f"the order is for VM {order.tag}, its description for {spec.tag}")
    vm = vms.setdefault(order.tag, Vm(spec, VmInfo(order.tag, _CREATED, seconds={"image": 0.0, "network": 0.0})))
    if vm.spec != spec:
        raise ConflictError(f"there is another VM {order.tag} on this node")
    return vm


def _move(vm: Vm, order: Order) -> None:
    found = vm.info.status
    left = MOVES[order.name].get(found)
    paused = order.name is OrderName.START and bool(order.body.get("paused"))
    if left is None or (paused and found is _RUNNING):
        raise ConflictError(f"VM {order.tag} is {found.value}: {order.name.value} is not possible")
    changes: dict[str, Any] = {"status": _PAUSED if paused else left}
    if order.name is OrderName.START and found in {_CREATED, _STOPPED, _BROKEN}:
        changes |= {"ready": False, "reason": "", "seconds": {**vm.info.seconds, "started": 0.0}}
        vm.console += f"[simulated] {vm.spec.name} starts\r\n".encode()
    elif order.name is OrderName.REBOOT:
        changes["ready"] = False
        vm.console += f"[simulated] {vm.spec.name} starts again\r\n".encode()
    elif order.name is OrderName.SHUTDOWN:
        changes["ready"] = False
    vm.info = dataclasses.replace(vm.info, **changes)


def _console(vm: Vm, order: Order) -> dict[str, Any]:
    offset = max(int(order.body.get("offset", 0)), 0)
    most = min(max(int(order.body.get("max", _MOST_CONSOLE)), 0), _MOST_CONSOLE)
    data = bytes(vm.console[offset : offset + most])
    return {"data": base64.b64encode(data).decode(), "offset": offset, "size": len(vm.console)}
