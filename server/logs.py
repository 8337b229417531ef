"""Sets up the daemon's log: one line a record on standard error, JSON or text, with incident and workspace ids."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, cast

import structlog
from twisted.logger import STDLibLogObserver, globalLogBeginner

if TYPE_CHECKING:
    from structlog.typing import Processor
    from twisted.logger import ILogObserver

# what the twisted logger says at level info is chatter about factories and ports
_QUIET = {"twisted": logging.WARNING, "spyne": logging.CRITICAL, "alembic": logging.WARNING}


def configure(form: str, level: str) -> None:
    """Send every record (structlog's, the standard library's, Twisted's) to standard error in one form."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        ),
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(least)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    globalLogBeginner.beginLoggingTo(
        [cast("ILogObserver", STDLibLogObserver("twisted"))], redirectStandardIO=False, discardBuffer=True
    )
