"""By which ``wsrf/`` finds the resources of a service: implemented by each service, composed by ``server/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity

QName = str
"""A name in Clark notation: ``{namespace}local``."""


class ResourceDirectory(Protocol):
    """The resources behind one endpoint. ``resource`` is the id from the EPR; "" for an endpoint that is one resource.

    Every verb raises UnknownError for a resource that is not there or not the caller's: the two look alike.
    Blocking; called on a worker thread.
    """

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all resource properties, in document order."""

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all), read from the store now."""

    def destroy(self, caller: Identity, resource: str) -> None:
        """Commit the intent to destroy the resource (wsrf-rl Destroy)."""

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime | Awaitable[datetime]:
        """Set the scheduled end and return the time granted (wsrf-rl SetTerminationTime).

        It may return an awaitable of the time, to be awaited on the reactor, where somebody else has to be asked.

        Raises DeniedError when policy does not grant it (TerminationTimeChangeRejectedFault) and InvalidError when it
        cannot be (UnableToSetTerminationTimeFault).
        """
