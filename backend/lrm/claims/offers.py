"""What can be asked for: pure answers from the options, the last survey and the policy, and the LRM's own dry run."""

from __future__ import annotations

from collections import Counter
from math import ceil
from typing import TYPE_CHECKING

from flyinglow.backend.abilities import Estimate
from flyinglow.backend.api import Limits, Never, NotNow, Queued
from flyinglow.backend.lrm.claims.planning import limit
from flyinglow.backend.lrm.model import Component, PilotJob, Slot
from flyinglow.backend.lrm.policy import load
from flyinglow.backend.lrm.policy.api import Sizes
from flyinglow.nodectl.errors import FlyingLowError, NeverError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.api import Decision, Request, View
    from flyinglow.backend.lrm.api import Queue, Survey
    from flyinglow.backend.lrm.desk import Desk
    from flyinglow.backend.lrm.policy.api import FreeSlot
    from flyinglow.backend.lrm.settings.options import LrmOptions

_UNKNOWN = 1 << 30  # where neither the site nor its scheduler names a limit
_REHEARSED = "rehearse"
_NO_KEY = "00"  # it is never submitted


class Offers:
    """``survey`` is what the LRM last said of itself; None: nothing yet."""

    def __init__(self, options: LrmOptions) -> None:
        self._options = options
        self._shared = load(options.policy, options.policy_options).shared
        self.survey: Survey | None = None

    def queue(self) -> Queue | None:
        """Return the queue that jobs go to, when the survey shows it."""
        queues = self.survey.queues if self.survey else ()
        if self._options.queue:
            return next((one for one in queues if one.name == self._options.queue), None)
        return next((one for one in queues if one.default), queues[0] if len(queues) == 1 else None)

    def sizes(self) -> Sizes:
        """Return the figures that policies count with: the site's word goes before the scheduler's."""
        options, queue = self._options, self.queue()
        return Sizes(
            vm_overhead_mb=options.vm_overhead_mb,
            slot_overhead_mb=options.slot_overhead_mb,
            margin=options.beyond,
            node_memory_mb=options.node_memory_mb or _largest(queue, options.node_minimum_mb),
            node_cpus=options.node_cpus or (queue.cpus if queue else None),
            longest=options.longest or (queue.max_seconds if queue else None),
        )

    def limits(self) -> Limits:
        """See ``Backend.limits``."""
        sizes, queue, options = self.sizes(), self.queue(), self._options
        overhead = sizes.vm_overhead_mb + sizes.slot_overhead_mb
        nodes = queue.nodes if queue and not self._shared else None  # one machine a node
        members = [count for count in (options.max_members, nodes) if count]
        return Limits(
            max_memory_mb=max(0, sizes.node_memory_mb - overhead) if sizes.node_memory_mb else _UNKNOWN,
            max_cpus=sizes.node_cpus or _UNKNOWN,
            max_disk_mb=options.node_disk_mb,
            max_members=min(members) if members else _UNKNOWN,
        )


def admit(request: Request, view: View, desk: Desk, offers: Offers) -> Decision:
    """See ``Backend.admit``: everything that could be granted some day waits for the batch scheduler."""
    never = _never(request, view, desk.options, offers)
    if never is not None:
        return never
    try:
        layout = desk.policy.layout(request, (), offers.sizes())
    except NeverError as error:
        return Never(error.message, error.figures)
    asked = sum(component.nodes for wanted in layout.jobs for component in wanted.components)
    queue = offers.queue()
    if queue is not None and asked > queue.nodes:
        return Never(
            f"{asked} nodes are needed, where the queue {queue.name} has {queue.nodes}",
            {"nodes": queue.nodes, "nodes.asked": asked},
        )
    short = _short_addresses(request, view)
    return short or Queued(f"{asked} nodes are asked for of the batch scheduler")


def _never(request: Request, view: View, options: LrmOptions, offers: Offers) -> Never | None:
    members = len(request.demands)
    if options.max_members is not None and members > options.max_members:
        figures = {"members.asked": members, "members.most": options.max_members}
        return Never(f"{members} members are asked for, where a request may have {options.max_members}", figures)
    for demand in request.demands:
        if demand.disk_mb > options.node_disk_mb:
            figures = {"disk_mb.asked": demand.disk_mb, "disk_mb.largest_node": options.node_disk_mb}
            return Never(f"{demand.name} asks for more disk than any node has", figures)
        missing = [name for name in demand.networks if name not in options.networks]
        if missing:
            return Never(f"no node of this site carries the network {missing[0]}", {f"nodes.with.{missing[0]}": 0})
    for network, asked in _networks(request).items():
        total = view.pools[network].total if network in view.pools else 0
        if asked > total:
            figures = {f"addresses.{network}.asked": asked, f"addresses.{network}.total": total}
            return Never(f"{asked} addresses on {network} are asked for, where the site has {total}", figures)
    longest = offers.sizes().longest
    if longest is not None and request.duration + options.beyond > longest:
        figures = {"longest": max(0, longest - options.beyond), "asked": request.duration}
        message = f"a lease of {request.duration} s is longer than the batch scheduler's longest job allows"
        return Never(f"{message}; the longest possible is {figures['longest']} s", figures)
    return None


def _largest(queue: Queue | None, minimum_mb: int) -> int | None:
    """Return what a slot can have of the queue's largest node, which keeps some of its memory for itself."""
    return None if queue is None or queue.memory_mb is None else max(0, queue.memory_mb - minimum_mb)


def _networks(request: Request) -> Counter[str]:
    return Counter(network for demand in request.demands for network in demand.networks)


def _short_addresses(request: Request, view: View) -> NotNow | None:
    """Addresses are leased with the request, so those that are not free now cannot be waited for."""
    for network, asked in sorted(_networks(request).items()):
        pool = view.pools[network]
        if asked > pool.free:
            figures = {f"addresses.{network}.asked": asked, f"addresses.{network}.free": pool.free}
            return NotNow(f"{asked} addresses on {network} asked for, {pool.free} free. Retry later.", figures)
    return None


async def rehearse(request: Request, desk: Desk, free: Sequence[FreeSlot]) -> Estimate:
    """See ``Estimates.rehearse``."""
    layout = desk.policy.layout(request, free, desk.sizes())
    if not layout.jobs:
        return Estimate(starts_in=0.0, reason="nodes that the service holds ready will do")
    starts, reasons = [], []
    for wanted in layout.jobs:
        parts = desk.lrm.splits(wanted.components)
        seconds = limit(wanted.seconds, len(parts), ceil(desk.options.hold_limit), desk.sizes().longest)
        for components in parts:
            job, slots = _rehearsed(components, seconds, desk)
            said = await desk.lrm.rehearse(desk.pilots.request(job, slots))
            starts.append(said.starts_in)
            reasons.append(said.reason)
    known = [seconds for seconds in starts if seconds is not None]
    whole = len(known) == len(starts)
    return Estimate(starts_in=max(known) if whole else None, reason="; ".join(dict.fromkeys(filter(None, reasons))))


def _rehearsed(components: Sequence[Component], seconds: int, desk: Desk) -> tuple[PilotJob, list[Slot]]:
    """Return a job that is never written down: it has no key that would open anything."""
    sizes = [component for component in components for _ in range(component.nodes)]
    slots = [Slot(job=_REHEARSED, rank=r, memory_mb=size.memory_mb, cpus=size.cpus) for r, size in enumerate(sizes)]
    job = PilotJob(
        tag=_REHEARSED,
        claim="",
        components=tuple(components),
        seconds=seconds,
        secret=_NO_KEY,
        requested_at=desk.now(),
    )
    return job, slots


async def survey(desk: Desk, offers: Offers) -> str:
    """Have the LRM looked at; return why that failed, or nothing."""
    try:
        offers.survey = await desk.lrm.survey()
    except FlyingLowError as error:
        return error.message
    return ""
