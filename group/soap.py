"""The Group's own operations on the wire: Start, Shutdown and Report; and those by which any lease is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flyinglow.access.shares import Level
from flyinglow.group.members_xml import report, results
from flyinglow.group.shares_xml import grantee_of
from flyinglow.workspace.makers import FL
from flyinglow.workspace.model import ResourceKey
from flyinglow.workspace.shutdown_xml import shutdown_mode
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, qname, text_of

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.group.service import GroupService
    from flyinglow.group.sharing import SharingService
    from flyinglow.workspace.model import Kind
    from flyinglow.wsrf.addresses import Addresses

_STEM: Final = f"{NS['flg']}/Group/"


def port(service: GroupService, addresses: Addresses) -> type[ServiceBase]:
    """Return the operations that Group adds to the standards' ones."""

    class GroupPort(ServiceBase):
        @operation(qname("flg", "Start"), action=f"{_STEM}Start")
        def start(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            rows = service.start(call.caller, call.resource)
            return results("flg", "StartResponse", rows, addresses, call.received_at)

        @operation(qname("flg", "Shutdown"), action=f"{_STEM}Shutdown")
        def shutdown(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            rows = service.shutdown(
                call.caller, call.resource, shutdown_mode(body, "flg"), text_of(body, qname("flg", "SaveTo"))
            )
            return results("flg", "ShutdownResponse", rows, addresses, call.received_at)

        @operation(qname("flg", "Report"), action=f"{_STEM}Report")
        def report_members(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            whole = service.get(call.caller, call.resource)
            return report("flg", whole, addresses, show_node=service.terms.show_node)

    return GroupPort


def sharing_port(service: SharingService, kind: Kind) -> type[ServiceBase]:
    """Return the operations by which an owner shares a resource of this kind."""

    class SharingPort(ServiceBase):
        @operation(qname("fl", "Delegate"), action=f"{NS['fl']}/Lease/Delegate")
        def delegate(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            level = Level(text_of(body, qname("fl", "Level")))
            service.delegate(call.caller, ResourceKey(kind, call.resource), grantee_of(body), level)
            return FL.DelegateResponse()

        @operation(qname("fl", "Revoke"), action=f"{NS['fl']}/Lease/Revoke")
        def revoke(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            service.revoke(call.caller, ResourceKey(kind, call.resource), grantee_of(body))
            return FL.RevokeResponse()

    return SharingPort
