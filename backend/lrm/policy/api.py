"""The seam of the policies: pure decisions over plain values, no clock, no storage. Times are seconds, memory MB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flyinglow.backend.api import Request
    from flyinglow.backend.lrm.model import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeSlot:
    """A slot that is ready, and what of it nobody uses: the pilot's overhead and that of the VMs on it are taken off.

    ``left``: until its end. ``claims`` use it now. ``idle``: for how long nobody has used it (0 while it is used).
    """

    slot: str
    job: str
    memory_mb: int
    cpus: int
    left: float
    claims: int
    idle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A job to ask the LRM for: sizes by component, and which members go to which rank."""

    components: tuple[Component, ...]
    seconds: int
    members: Mapping[str, int]  # member -> rank; empty when it is asked for ahead of need


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the members of a claim go: to slots that are there, and to slots of jobs to be asked for."""

    uses: Mapping[str, str]  # member -> slot id
    jobs: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The site's figures that every policy counts with."""

    vm_overhead_mb: int  # the hypervisor's own memory for one VM
    slot_overhead_mb: int  # the pilot's and the agent's
    margin: int  # seconds that a job's limit is longer than the lease
    node_memory_mb: int | None = None  # the largest a slot can be; None: unknown
    node_cpus: int | None = None
    longest: int | None = None  # seconds a job may ask for


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """All slots that are ready, used or not, and what is asked for ahead of need and not there yet."""

    free: tuple[FreeSlot, ...]
    coming: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """What to do beside claims: jobs to ask for ahead of need, and jobs whose slots nobody needs any longer."""

    ask: tuple[Wanted, ...] = ()
    give_back: tuple[str, ...] = ()  # job tags


class Policy(Protocol):
    """One way to turn claims into slots. Pure."""

    def layout(self, request: Request, free: Sequence[FreeSlot], sizes: Sizes) -> Layout:
        """Place every member. Raises NeverError with figures when one is larger than any node or longer than any job.

        ``free`` are all slots that are ready, those without any room left, too.
        """

    def upkeep(self, holdings: Holdings, sizes: Sizes) -> Upkeep:
        """Say what to do while no claim asks. A slot that is used is never given back."""
