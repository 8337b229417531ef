"""One line a fault: found again by its incident id, bounded, and harmless whatever the caller wrote."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Final

from flyinglow.wsrf.xml import local_name

if TYPE_CHECKING:
    from flyinglow.wsrf.faults import Rendered
    from flyinglow.wsrf.operation import Exchange

log = logging.getLogger("flyinglow.wsrf")

_LONGEST: Final = {"message": 160, "error": 160}
_FRAMES: Final = 6
_LEVELS: Final = {"bug": logging.ERROR, "broken": logging.ERROR, "transient": logging.WARNING}


def shown(text: str, limit: int) -> str:
    """Return text on one line, with everything but printable ASCII escaped, cut to ``limit`` characters."""
    safe = ascii(text[:limit])[1:-1]
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def log_fault(endpoint: str, exchange: Exchange, fault: Rendered, incident: str) -> None:
    """Write the line. Only what is shown bounded and escaped comes from the caller."""
    resource = exchange.call.resource if exchange.call else ""  # an id by its form, so short and plain
    fields = {
        "incident": incident,
        "endpoint": endpoint,
        "operation": local_name(exchange.route.element) if exchange.route else "",
        "kind": fault.kind,
        "code": fault.subsubcode or fault.subcode or fault.code,
        "caller": shown(exchange.inbound.caller.name, 64),
        "peer": exchange.inbound.peer,
        "resource": resource,
        "reason": shown(fault.message, _LONGEST["message"]),
    }
    if fault.unexpected is not None:
        fields["error"] = f"{type(fault.unexpected).__name__}: {shown(str(fault.unexpected), _LONGEST['error'])}"
        fields["where"] = _where(fault.unexpected)
    # in fields only: whatever writes the log shows them, and what comes from the caller stands there once
    log.log(_LEVELS.get(fault.kind, logging.INFO), "soap fault", extra=fields)


def _where(error: Exception) -> str:
    """Return the innermost frames as file:line:function; a whole traceback would show the exception's text, too."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}:{frame.name}" for frame in reversed(frames))
