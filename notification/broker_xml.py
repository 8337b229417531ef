"""The broker as a WS-Resource: the same to everybody, and without an end (WS-BrokeredNotification 1.3, section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import DeniedError
from flyinglow.workspace.producer_xml import WHOLE_PRODUCER
from flyinglow.wsrf.xml import E, qname

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.wsrf.ports import QName

DOCUMENT: Final = qname("fl", "BrokerProperties")
_REQUIRES: Final = qname("wsn-br", "RequiresRegistration")


class BrokerDirectory:
    """The broker behind its endpoint. See ``wsrf.ports.ResourceDirectory``."""

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        return (_REQUIRES, *WHOLE_PRODUCER)

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all)."""
        made = {_REQUIRES: lambda: [E["wsn-br"].RequiresRegistration("true")], **WHOLE_PRODUCER}
        return {name: made[name]() for name in (made if names is None else names) if name in made}

    def destroy(self, caller: Identity, resource: str) -> None:
        """Refuse: it is there as long as the service."""
        raise DeniedError("the broker is there as long as the service")

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime:
        """Refuse: it is there as long as the service."""
        raise DeniedError("the broker is there as long as the service")
