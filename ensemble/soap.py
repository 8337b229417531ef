"""The Ensemble's own operations on the wire: Start and Shutdown of all members, Report, Done, and Add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flyinglow.ensemble import registration
from flyinglow.group.members_xml import report, results
from flyinglow.workspace.makers import MAKERS
from flyinglow.workspace.shutdown_xml import shutdown_mode
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, qname, text_of

if TYPE_CHECKING:
    from lxml.etree import _Element

    from flyinglow.ensemble.service import EnsembleService
    from flyinglow.wsrf.addresses import Addresses

_STEM: Final = f"{NS['fle']}/Ensemble/"


def port(service: EnsembleService, addresses: Addresses) -> type[ServiceBase]:
    """Return the operations that Ensemble adds to the standards' ones."""

    class EnsemblePort(ServiceBase):
        @operation(qname("fle", "Start"), action=f"{_STEM}Start")
        def start(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            rows = service.start(call.caller, call.resource)
            return results("fle", "StartResponse", rows, addresses, call.received_at)

        @operation(qname("fle", "Shutdown"), action=f"{_STEM}Shutdown")
        def shutdown(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            rows = service.shutdown(
                call.caller, call.resource, shutdown_mode(body, "fle"), text_of(body, qname("fle", "SaveTo"))
            )
            return results("fle", "ShutdownResponse", rows, addresses, call.received_at)

        @operation(qname("fle", "Report"), action=f"{_STEM}Report")
        def report_members(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            whole = service.get(call.caller, call.resource)
            return report("fle", whole, addresses, show_node=service.terms.show_node)

        @operation(qname("fle", "Done"), action=f"{_STEM}Done")
        def done(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            service.done(call.caller, call.resource)
            return MAKERS["fle"].DoneResponse()

        @operation(qname("sg", "Add"), action=registration.ADD)
        def add(ctx: Any, body: _Element) -> _Element:
            return registration.added(service, call_of(ctx), body, addresses)

    return EnsemblePort
