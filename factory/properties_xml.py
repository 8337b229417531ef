"""The Factory's resource properties: what the site offers, as elements of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import DeniedError
from flyinglow.workspace.makers import FL, RL
from flyinglow.wsrf.xml import clean_text, duration_text, qname, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from lxml.etree import _Element

    from flyinglow.access.identity import Identity
    from flyinglow.factory.offers import FreeNow, NetworkOffer, Offers
    from flyinglow.factory.service import FactoryService
    from flyinglow.workspace.catalogue import Image
    from flyinglow.workspace.ports import Now
    from flyinglow.workspace.quotas import Standing
    from flyinglow.wsrf.ports import QName

DOCUMENT: Final = qname("fl", "FactoryProperties")
IMMEDIATE: Final = "immediate"
"""The schedule of a site that grants or refuses at once (the paper, section 2.3)."""


_QUOTA: Final = qname("fl", "Quota")


class FactoryDirectory:
    """The one resource behind the Factory's endpoint."""

    def __init__(self, service: FactoryService, now: Now) -> None:
        self._service = service
        self._now = now

    def property_names(self) -> tuple[QName, ...]:
        """Return the names of all properties, in document order."""
        return (*_RENDER, _QUOTA, _CURRENT_TIME)

    def properties(
        self, caller: Identity, resource: str, names: tuple[QName, ...] | None
    ) -> Mapping[QName, list[_Element]]:
        """Return the elements of these properties (None: of all)."""
        offers = self._service.offers(caller)
        found = {}
        for name in self.property_names() if names is None else names:
            if name == _CURRENT_TIME:
                found[name] = [RL.CurrentTime(timestamp(self._now()))]
            elif name == _QUOTA:
                found[name] = quota(self._service.standing(caller))
            elif name in _RENDER:
                found[name] = [_RENDER[name](offers)]
        return found

    def destroy(self, caller: Identity, resource: str) -> None:
        """Refuse: the Factory ends with its site."""
        raise DeniedError("the factory cannot be destroyed by a request")

    def set_termination_time(self, caller: Identity, resource: str, at: datetime) -> datetime:
        """Refuse: the Factory ends with its site."""
        raise DeniedError("the factory has no termination time")


def _offers(offers: Offers) -> _Element:
    limits = offers.limits
    return FL.Offers(
        FL.MaximumMemoryMB(str(limits.max_memory_mb)),
        FL.MaximumCPUs(str(limits.max_cpus)),
        FL.MaximumDiskMB(str(limits.max_disk_mb)),
        FL.MaximumMembers(str(limits.max_members)),
        FL.Immediate("true" if offers.schedule == IMMEDIATE else "false"),
        *(FL.Architecture(name) for name in offers.architectures),
        *(FL.VMM(name) for name in offers.vmms),
        *(FL.ImageScheme(name) for name in offers.image_schemes),
    )


def quota(standing: Standing | None) -> list[_Element]:
    """Return the caller's policies and what of their limits is in use; nothing for whom nothing limits."""
    if standing is None:
        return []
    policy, use = standing.policy, standing.use
    minutes = {"used": str(-(-use.used // 60)), "reserved": str(-(-use.reserved // 60))}
    held = {name: {"used": str(getattr(use, name))} for name in ("running", "cpus", "memory_mb")}
    limits = {**held, "members": {}, "duration": {}, "minutes": minutes}
    return [
        FL.Quota(
            *(FL.Policy(clean_text(name)) for name in policy.names),
            FL.Period(str(policy.period)),
            *(
                FL.Limit(str(getattr(policy, name)), name=name, **figures)
                for name, figures in limits.items()
                if getattr(policy, name) is not None
            ),
        )
    ]


def _free(free: FreeNow) -> _Element:
    return FL.FreeNow(
        FL.MemoryMB(str(free.memory_mb)),
        FL.CPUs(str(free.cpus)),
        FL.DiskMB(str(free.disk_mb)),
        FL.Nodes(str(free.nodes)),
        FL.LargestMemoryMB(str(free.largest_memory_mb)),
        FL.LargestCPUs(str(free.largest_cpus)),
        FL.LargestDiskMB(str(free.largest_disk_mb)),
    )


def _network(offer: NetworkOffer) -> _Element:
    return FL.Network(FL.Name(offer.name), FL.Addresses(str(offer.total)), FL.FreeAddresses(str(offer.free)))


def _image(image: Image) -> _Element:
    element = FL.Image(
        FL.Name(image.name), FL.Format(image.format), FL.Architecture(image.architecture), FL.VMM(image.vmm)
    )
    if image.sha256:
        element.append(FL.SHA256(image.sha256))
    element.append(FL.SizeMB(str(image.size_mb)))
    if image.description:
        element.append(FL.Description(clean_text(image.description)))
    if image.partition:
        element.append(FL.Partition("true"))
    return element


_CURRENT_TIME: Final = qname("rl", "CurrentTime")
_RENDER: Final[Mapping[QName, Callable[[Offers], _Element]]] = {
    qname("fl", "Offers"): _offers,
    qname("fl", "DefaultDuration"): lambda offers: FL.DefaultDuration(duration_text(offers.default_duration)),
    qname("fl", "MaximumDuration"): lambda offers: FL.MaximumDuration(duration_text(offers.max_duration)),
    qname("fl", "FreeNow"): lambda offers: _free(offers.free),
    qname("fl", "Networks"): lambda offers: FL.Networks(*(_network(offer) for offer in offers.networks)),
    qname("fl", "Images"): lambda offers: FL.Images(*(_image(image) for image in offers.images)),
}
