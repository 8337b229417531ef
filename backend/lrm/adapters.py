"""Which LRM the configuration means."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.shell import CommandLrm

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import Adapter, Lrm
    from flyinglow.backend.lrm.options import LrmOptions

_CLASSES = {"slurm": "Slurm", "gridengine": "GridEngine", "pbs": "Pbs"}


def lrm(options: LrmOptions, reactor: Any) -> Lrm:
    """Make the LRM by its commands. Raises InvalidError for terms that it cannot be told."""
    environment = options.terms().environment
    made: Lrm = CommandLrm(adapter(options), reactor, environment=environment, timeout=options.command_timeout)
    return made


def adapter(options: LrmOptions) -> Adapter:
    """Make the adapter. Raises InvalidError for terms that it cannot be told."""
    module = import_module(f"flyinglow.backend.lrm.{options.lrm}")  # only the one that the site has
    dialect = {"dialect": options.dialect} if options.lrm == "pbs" else {}
    made: Adapter = getattr(module, _CLASSES[options.lrm])(options.terms(), **dialect)
    return made
