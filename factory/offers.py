"""What a site offers, as a plain value: the resource properties of the factory (the paper, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from flyinglow.backend.api import Limits, NodePolicy, View
from flyinglow.workspace.catalogue import Catalogue, Image
from flyinglow.workspace.terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOffer:
    """One network and how many of its addresses there are and are free."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeNow:
    """What the site's active nodes have free in all, and the largest piece that one node has (MB, CPUs)."""

    nodes: int
    memory_mb: int
    cpus: int
    disk_mb: int
    largest_memory_mb: int
    largest_cpus: int
    largest_disk_mb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """All that the factory publishes. ``schedule`` is "immediate" or "best-effort" (section 2.3); times are seconds."""

    limits: Limits
    default_duration: int
    max_duration: int
    schedule: str
    architectures: tuple[str, ...]
    vmms: tuple[str, ...]
    networks: tuple[NetworkOffer, ...]
    images: tuple[Image, ...]
    free: FreeNow
    image_schemes: tuple[str, ...] = ()  # by which images may be named by URI


def offers(
    view: View, limits: Limits, terms: Terms, catalogue: Catalogue, schedule: str, image_schemes: tuple[str, ...] = ()
) -> Offers:
    """Put together what the site offers now."""
    return Offers(
        limits=limits,
        default_duration=terms.default_duration,
        max_duration=terms.max_duration,
        schedule=schedule,
        architectures=tuple(sorted({image.architecture for image in catalogue.values()})),
        vmms=tuple(sorted({image.vmm for image in catalogue.values()})),
        networks=tuple(NetworkOffer(name=n, total=p.total, free=p.free) for n, p in sorted(view.pools.items())),
        images=tuple(catalogue[name] for name in sorted(catalogue)),
        free=free_now(view),
        image_schemes=image_schemes,
    )


def free_now(view: View) -> FreeNow:
    """Add up what is free on the nodes that take new workspaces."""
    nodes = [node for node in view.nodes if node.node.policy is NodePolicy.ACTIVE]
    memory = [node.free_memory_mb for node in nodes]
    cpus = [node.free_cpus for node in nodes]
    disk = [node.free_disk_mb for node in nodes]
    return FreeNow(
        nodes=len(nodes),
        memory_mb=sum(memory),
        cpus=sum(cpus),
        disk_mb=sum(disk),
        largest_memory_mb=max(memory, default=0),
        largest_cpus=max(cpus, default=0),
        largest_disk_mb=max(disk, default=0),
    )
