"""Which LRM the configuration means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.gridengine.adapter import GridEngine
from flyinglow.backend.lrm.pbs.adapter import Pbs
from flyinglow.backend.lrm.shell import CommandLrm
from flyinglow.backend.lrm.slurm.adapter import Slurm

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import Adapter, Lrm
    from flyinglow.backend.lrm.settings.options import LrmOptions


def lrm(options: LrmOptions, reactor: Any) -> Lrm:
    """Make the LRM by its commands. Raises InvalidError for terms that it cannot be told."""
    environment = options.terms().environment
    made: Lrm = CommandLrm(adapter(options), reactor, environment=environment, timeout=options.command_timeout)
    return made


def adapter(options: LrmOptions) -> Adapter:
    """Make the adapter. Raises InvalidError for terms that it cannot be told."""
    terms = options.terms()
    made: Adapter
    match options.lrm:
        case "gridengine":
            made = GridEngine(terms)
        case "pbs":
            made = Pbs(terms, options.dialect)
        case _:
            made = Slurm(terms)
    return made
