"""A small cluster under a first-come batch scheduler, and traces of leases to try policies with."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from flyinglow.backend.api import Demand, Request
from flyinglow.backend.lrm.model import Component
from flyinglow.backend.lrm.policy.api import FreeSlot, Holdings, Policy, Sizes, Wanted

SIZES = Sizes(vm_overhead_mb=96, slot_overhead_mb=64, margin=120, node_memory_mb=4096, node_cpus=4, longest=24 * 3600)
JOB_START = 20.0  # seconds from a job's start to its last pilot being ready
POLL = 30.0


def demand(name: str, memory_mb: int = 512, cpus: int = 1) -> Demand:
    return Demand(member=name, name=name, memory_mb=memory_mb, cpus=cpus, disk_mb=0)


def request(*demands: Demand, duration: int = 3600, preemptable: bool = False) -> Request:
    return Request(demands=demands, duration=duration, preemptable=preemptable)


@dataclass
class Claimed:
    """One lease of a trace, and what became of it."""

    key: str
    request: Request
    asked_at: float
    places: dict[str, str] = field(default_factory=dict)
    began_at: float | None = None
    over: bool = False

    @property
    def waited(self) -> float:
        assert self.began_at is not None
        return self.began_at - self.asked_at


@dataclass
class Held:
    """A slot of a job that was asked for."""

    id: str
    job: str
    size: Component
    claims: dict[str, list[Demand]] = field(default_factory=dict)
    ready: bool = False
    ends_at: float = 0.0
    unused_since: float = 0.0
    node: int | None = None

    def room(self) -> tuple[int, int]:
        """Return the memory and CPUs nobody uses."""
        on_it = [demand for demands in self.claims.values() for demand in demands]
        memory = sum(demand.memory_mb + SIZES.vm_overhead_mb for demand in on_it)
        return (
            self.size.memory_mb - SIZES.slot_overhead_mb - memory,
            self.size.cpus - sum(demand.cpus for demand in on_it),
        )


@dataclass
class AskedJob:
    tag: str
    wanted: Wanted
    slots: list[Held]
    asked_at: float
    ahead: bool
    started: bool = False
    over: bool = False


class Cluster:
    """Nodes, each of which carries one slot at a time; jobs start in the order in which they were asked for."""

    def __init__(self, policy: Policy, nodes: int) -> None:
        self.policy, self.now = policy, 0.0
        self.free_nodes = set(range(nodes))
        self.jobs: dict[str, AskedJob] = {}  # those that are not over
        self.slots: dict[str, Held] = {}
        self.claims: dict[str, Claimed] = {}
        self.most_nodes = self.jobs_asked = 0
        self.node_seconds = 0.0
        self.ready_ahead: list[tuple[float, int]] = []
        self._events: list[tuple[float, int, Any, tuple[Any, ...]]] = []
        self._order = count()
        self._nodes = nodes

    def at(self, when: float, what: Any, *arguments: Any) -> None:
        heappush(self._events, (when, next(self._order), what, arguments))

    def run(self, trace: Sequence[Claimed], until: float) -> "Cluster":
        """Play a trace to its end; every step is checked."""
        for claim in trace:
            self.at(claim.asked_at, self._ask, claim)
        for tick in range(int(until / POLL)):
            self.at(tick * POLL, self._upkeep)
        while self._events and self._events[0][0] <= until:
            when, _, what, arguments = heappop(self._events)
            self.node_seconds += (when - self.now) * (self._nodes - len(self.free_nodes))
            self.now = when
            what(*arguments)
            self._start_jobs()
            self._check()
        return self

    def _free(self) -> tuple[FreeSlot, ...]:
        complete = [job for job in self.jobs.values() if all(slot.ready for slot in job.slots)]
        return tuple(
            FreeSlot(
                slot=slot.id,
                job=slot.job,
                memory_mb=slot.room()[0],
                cpus=slot.room()[1],
                left=slot.ends_at - self.now,
                claims=len(slot.claims),
                idle=0 if slot.claims else self.now - slot.unused_since,
            )
            for job in complete
            for slot in job.slots
        )

    def _ask(self, claim: Claimed) -> None:
        self.claims[claim.key] = claim
        self._place(claim, claim.request.demands)
        assert set(claim.places) == {demand.member for demand in claim.request.demands}
        self._begin(claim)

    def _place(self, claim: Claimed, demands: tuple[Demand, ...]) -> None:
        layout = self.policy.layout(replace(claim.request, demands=demands), self._free(), SIZES)
        places = dict(layout.uses)
        for wanted in layout.jobs:
            job = self._submit(wanted, ahead=False)
            places |= {member: job.slots[rank].id for member, rank in wanted.members.items()}
        for demand_ in demands:
            self.slots[places[demand_.member]].claims.setdefault(claim.key, []).append(demand_)
        claim.places |= places

    def _submit(self, wanted: Wanted, *, ahead: bool) -> AskedJob:
        tag = f"j{self.jobs_asked}"
        sizes = [replace(part, nodes=1) for part in wanted.components for _ in range(part.nodes)]
        slots = [Held(f"{tag}.{rank}", tag, size) for rank, size in enumerate(sizes)]
        assert all(size.memory_mb <= (SIZES.node_memory_mb or 0) and size.cpus <= 4 for size in sizes)
        assert wanted.seconds <= (SIZES.longest or 0)
        self.slots |= {slot.id: slot for slot in slots}
        self.jobs[tag] = AskedJob(tag, wanted, slots, self.now, ahead)
        self.jobs_asked += 1
        return self.jobs[tag]

    def _start_jobs(self) -> None:
        for job in self.jobs.values():
            if job.started:
                continue
            if len(job.slots) > len(self.free_nodes):
                return  # first come, first served
            job.started = True
            for slot in job.slots:
                slot.node = self.free_nodes.pop()
                slot.ends_at = self.now + job.wanted.seconds
            self.at(self.now + JOB_START, self._ready, job)
            self.at(self.now + job.wanted.seconds, self._end, job)

    def _ready(self, job: AskedJob) -> None:
        for slot in job.slots:
            slot.ready, slot.unused_since = True, self.now
        for claim in list(self.claims.values()):
            self._begin(claim)

    def _begin(self, claim: Claimed) -> None:
        places = [self.slots[place] for place in claim.places.values()]
        if claim.began_at is not None or not all(slot.ready for slot in places):
            return
        assert min(slot.ends_at for slot in places) >= self.now + claim.request.duration
        claim.began_at = self.now
        self.at(self.now + claim.request.duration, self._finish, claim)

    def _finish(self, claim: Claimed) -> None:
        claim.over = True
        self._leave(claim)
        del self.claims[claim.key]
        self._upkeep()

    def _replace_worn(self) -> None:
        """Lay out anew those members of waiting leases whose slots ran out of time while others were waited for."""
        for claim in self.claims.values():
            worn = {
                demand_.member
                for demand_ in claim.request.demands
                if (slot := self.slots[claim.places[demand_.member]]).ready
                and slot.ends_at < self.now + claim.request.duration + POLL
            }
            if worn and claim.began_at is None:
                for place in {claim.places[member] for member in worn}:
                    del self.slots[place].claims[claim.key]
                self._place(claim, tuple(demand_ for demand_ in claim.request.demands if demand_.member in worn))

    def _leave(self, claim: Claimed) -> None:
        for place in set(claim.places.values()):
            slot = self.slots[place]
            del slot.claims[claim.key]
            if not slot.claims:
                slot.unused_since = self.now

    def _upkeep(self) -> None:
        self._replace_worn()
        coming = tuple(
            part
            for job in self.jobs.values()
            if job.ahead and not all(slot.ready for slot in job.slots)
            for part in job.wanted.components
        )
        free = self._free()
        self.ready_ahead.append((self.now, sum(not slot.claims for slot in free)))
        upkeep = self.policy.upkeep(Holdings(free=free, coming=coming), SIZES)
        for tag in upkeep.give_back:
            assert not any(slot.claims for slot in self.jobs[tag].slots), "a slot was given back while it was used"
            self._end(self.jobs[tag])
        for wanted in upkeep.ask:
            self._submit(wanted, ahead=True)

    def _end(self, job: AskedJob) -> None:
        if job.over:
            return
        assert not any(slot.claims for slot in job.slots), "a job ended under a lease"
        job.over = True
        del self.jobs[job.tag]
        self.free_nodes |= {slot.node for slot in job.slots if slot.node is not None}

    def _check(self) -> None:
        self.most_nodes = max(self.most_nodes, self._nodes - len(self.free_nodes))
        used = [slot.node for job in self.jobs.values() if job.started for slot in job.slots]
        assert len(used) == len(set(used)) == self._nodes - len(self.free_nodes)
        for job in self.jobs.values():
            assert all(min(slot.room()) >= 0 for slot in job.slots), "a slot is overfull"
        for claim in self.claims.values():
            assert all(self.slots[place].job in self.jobs for place in claim.places.values()), "a slot is gone"


def trace(seed: int, *, leases: int = 40, every: float = 600.0, members: int = 3, mixed: bool = False) -> list[Claimed]:
    """Make leases that come at random (Poisson), of a few sizes each; the same seed makes the same trace."""
    random, now, made = Random(seed), 0.0, []
    for number in range(leases):
        now += random.expovariate(1 / every)
        sizes = [(random.choice((512, 1024)), random.choice((1, 1, 2))) for _ in range(random.randint(1, members))]
        demands = tuple(demand(f"m{rank}", *size) for rank, size in enumerate(sizes))
        duration = random.choice((600, 1200, 3600))
        preemptable = mixed and random.random() < 0.4
        wanted = request(*demands, duration=duration, preemptable=preemptable)
        made.append(Claimed(f"c{number}", wanted, now))
    return made


def play(policy: Policy, claims: Sequence[Claimed], *, nodes: int = 64) -> Cluster:
    """Play a trace until all its leases are over, and return the cluster as it is then."""
    cluster = Cluster(policy, nodes).run(claims, claims[-1].asked_at + 100_000)
    assert all(claim.over for claim in claims)
    return cluster
