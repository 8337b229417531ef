"""The resource properties of an ensemble: a group's, and whether it still takes further parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.group.properties_xml import NAMES, CollectionDirectory
from flyinglow.workspace.makers import FL
from flyinglow.wsrf.xml import qname

if TYPE_CHECKING:
    from collections.abc import Callable

    from lxml.etree import _Element

    from flyinglow.group.members import Whole
    from flyinglow.wsrf.ports import QName

DOCUMENT: Final = qname("fl", "EnsembleProperties")
_OPEN: Final = qname("fl", "Open")
_AT: Final = NAMES.index(qname("fl", "Census"))


class EnsembleDirectory(CollectionDirectory):
    """The ensembles behind the Ensemble endpoint."""

    names = (*NAMES[:_AT], _OPEN, *NAMES[_AT:])

    def render(self, whole: Whole) -> dict[QName, Callable[[], list[_Element]]]:
        """Return what makes each of an ensemble's own properties."""
        return {**super().render(whole), _OPEN: lambda: [FL.Open("true" if whole.row.open else "false")]}
