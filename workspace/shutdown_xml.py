"""The Shutdown message, which workspaces, groups and ensembles have alike, each in its own name space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.outcomes import ShutdownMode
from flyinglow.wsrf.xml import qname, text_of

if TYPE_CHECKING:
    from lxml.etree import _Element


def shutdown_mode(body: _Element, prefix: str) -> ShutdownMode:
    """Read the mode of a validated Shutdown whose elements are in the name space of ``prefix``.

    Raises InvalidError for a place to save to with a mode that saves nothing.
    """
    mode = ShutdownMode(text_of(body, qname(prefix, "Mode")))
    if mode is not ShutdownMode.SAVE and body.find(qname(prefix, "SaveTo")) is not None:
        raise InvalidError(f"SaveTo goes with mode Save, not with {mode}")
    return mode
