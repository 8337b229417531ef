"""The Workspace's own operations on the wire: Start, Shutdown and Console."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from flyinglow.workspace.makers import MAKERS
from flyinglow.workspace.shutdown_xml import shutdown_mode
from flyinglow.wsrf.operation import ServiceBase, call_of, operation
from flyinglow.wsrf.xml import NS, qname, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from lxml.etree import _Element

    from flyinglow.workspace.service import ConsoleText, WorkspaceService

_FLW: Final = MAKERS["flw"]
_STEM: Final = f"{NS['flw']}/Workspace/"
CONSOLE_PIECE: Final = 65536
"""Bytes of one Console answer when the client does not say how many."""


def port(service: WorkspaceService) -> type[ServiceBase]:
    """Return the operations that Workspace adds to the standards' ones."""

    class WorkspacePort(ServiceBase):
        @operation(qname("flw", "Start"), action=f"{_STEM}Start")
        def start(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            service.start(call.caller, call.resource)
            return _FLW.StartResponse()

        @operation(qname("flw", "Shutdown"), action=f"{_STEM}Shutdown")
        def shutdown(ctx: Any, body: _Element) -> _Element:
            call = call_of(ctx)
            place = text_of(body, qname("flw", "SaveTo"))
            mode = shutdown_mode(body, "flw")
            service.shutdown(call.caller, call.resource, mode, **({"save_to": place} if place else {}))
            return _FLW.ShutdownResponse()

        @operation(qname("flw", "Console"), action=f"{_STEM}Console")
        def console(ctx: Any, body: _Element) -> Awaitable[_Element]:
            call = call_of(ctx)
            offset = int(text_of(body, qname("flw", "Offset")) or 0)
            limit = int(text_of(body, qname("flw", "Max")) or CONSOLE_PIECE)
            return _console(service.console(call.caller, call.resource, offset, limit))

    return WorkspacePort


async def _console(asked: Awaitable[ConsoleText]) -> _Element:
    text = await asked
    return _FLW.ConsoleResponse(
        _FLW.Data(base64.b64encode(text.data).decode()),
        _FLW.Offset(str(text.offset)),
        _FLW.Size(str(text.size)),
    )
