"""The resource properties that make a resource a notification producer, put on top of any resource directory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from flyinglow.access.identity import Identity
from flyinglow.notification.topics import producer_properties
from flyinglow.wsrf.ports import QName, ResourceDirectory

if TYPE_CHECKING:
    from lxml.etree import _Element

_NAMES = tuple(producer_properties())


class Producing:
    """A ResourceDirectory whose resources also tell their topics (WS-BaseNotification 1.3, section 4.1)."""

    def __init__(self, directory: ResourceDirectory) -> None:
        self._directory = directory

    def property_names(self) -> tuple[QName, ...]:
        """Return the resources' own names, then the producer's."""
        return (*self._directory.property_names(), *_NAMES)

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return these properties; raises UnknownError even when only the producer's are asked for."""
        own = None if names is None else tuple(name for name in names if name not in _NAMES)
        found = dict(self._directory.properties(caller, resource, own))
        added = producer_properties()
        return found | {name: added[name] for name in _NAMES if names is None or name in names}

    def destroy(self, caller: Identity, resource: str) -> None:
        """Destroy the resource."""
        self._directory.destroy(caller, resource)

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime:
        """Set the resource's scheduled end."""
        return self._directory.set_termination_time(caller, resource, at)
