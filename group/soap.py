"""The Group's own operations on the wire: Start and Shutdown of all members, and Report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flyinglow.group.members_xml import report, results
from flyinglow.workspace.shutdown_xml import shutdown_mode
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, qname, text_of

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.group.service import GroupService
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
