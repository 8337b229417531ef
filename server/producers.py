"""The property documents of what notifies, read in a transaction that is open: for filters over them.

They are made by the same directories that answer GetResourcePropertyDocument, as the resource's owner would see them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from lxml import etree

from flyinglow.access.identity import Identity
from flyinglow.ensemble import properties_xml as ensemble_xml
from flyinglow.ensemble.service import EnsembleService
from flyinglow.group import properties_xml as group_xml
from flyinglow.group.service import GroupService
from flyinglow.nodectl.errors import UnknownError
from flyinglow.workspace import properties_xml as workspace_xml
from flyinglow.workspace.model import Kind
from flyinglow.workspace.service import WorkspaceService

if TYPE_CHECKING:
    from collections.abc import Callable

    from flyinglow.notification.ports import NotificationTx
    from flyinglow.workspace.model import Event
    from flyinglow.workspace.ports import Now
    from flyinglow.workspace.terms import Terms
    from flyinglow.wsrf.addresses import Addresses
    from flyinglow.wsrf.ports import ResourceDirectory

T = TypeVar("T")


class _Open:
    """A store whose every transaction is the one that is open already."""

    def __init__(self, tx: NotificationTx) -> None:
        self._tx = tx

    def view(self, fn: Callable[[Any], T]) -> T:
        """Run it now."""
        return fn(self._tx)


class Producers:
    """Makes the documents. ``backend`` is what the services have; nothing is asked of it here."""

    def __init__(self, *, addresses: Addresses, now: Now, terms: Terms, backend: Any) -> None:
        self._addresses = addresses
        self._now = now
        self._terms = terms
        self._backend = backend

    def document(self, tx: NotificationTx, event: Event) -> bytes | None:
        """Return the property document of what an event is from; None when it is gone."""
        directory, name = self._directory(event.key.kind, _Open(tx))
        try:
            found = directory.properties(Identity(event.owner), event.key.id, None)
        except UnknownError:
            return None
        root = etree.Element(name)
        for elements in found.values():
            root.extend(elements)
        return etree.tostring(root)

    def _directory(self, kind: Kind, store: Any) -> tuple[ResourceDirectory, str]:
        now, terms = self._now, self._terms
        if kind is Kind.WORKSPACE:
            workspaces = WorkspaceService(store, now, terms, self._backend)
            return workspace_xml.WorkspaceDirectory(workspaces, now), workspace_xml.DOCUMENT
        if kind is Kind.GROUP:
            groups = GroupService(store, now, terms, self._backend)
            return group_xml.GroupDirectory(groups, self._addresses, now), group_xml.DOCUMENT
        ensembles = EnsembleService(store, now, terms, self._backend)
        return ensemble_xml.EnsembleDirectory(ensembles, self._addresses, now), ensemble_xml.DOCUMENT
