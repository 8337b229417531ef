"""A batch scheduler that exists in memory: what tests, and who tries policies out, have in the place of a real one.

It is driven by a clock (a reactor or Twisted's ``Clock``) and only obeys; who holds it makes nodes fail, jobs vanish
and commands time out. Hooks tell when its pilots would start, hear a signal and be killed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from flyinglow.backend.lrm.api import JobView, Queue, Rehearsal, Survey
from flyinglow.backend.lrm.settings.terms import job_name
from flyinglow.backend.lrm.simulated.nodes import Machine, fitting, ready_in
from flyinglow.backend.lrm.slurm.listing import STATES
from flyinglow.nodectl.errors import DeniedError, NeverError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flyinglow.backend.lrm.api import JobRequest
    from flyinglow.backend.lrm.model import Component
    from flyinglow.nodectl.errors import FlyingLowError


def _nothing(*_: Any) -> None:
    """Be the hook of who does not care."""


@dataclass(slots=True, kw_only=True)
class Hooks:
    """What happens on the nodes; all are given the LRM's id, ``start`` also the request and (rank, node) pairs."""

    start: Callable[[JobRequest, str, Sequence[tuple[int, str]]], None] = _nothing
    notice: Callable[[str, float], None] = _nothing  # seconds until the kill
    kill: Callable[[str], None] = _nothing


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What is wrong with it; set by whoever holds it."""

    down: bool = False  # no verb is answered
    slow: float = 0.0  # seconds before each answer
    refuse: FlyingLowError | None = None  # what submits are refused with
    forgets_to_answer: bool = False  # submits are accepted, and time out all the same
    grants_extension: bool = False  # our user is an operator


@dataclass(slots=True, kw_only=True)
class _Job:
    id: str
    request: JobRequest
    seconds: int
    native: str = "PENDING"
    nodes: tuple[str, ...] = ()
    started: float | None = None
    restarts: int = 0
    timers: list[Any] = field(default_factory=list)


class SimulatedLrm:
    """See ``api.Lrm``. ``machines`` are its nodes by name; a job's notice of its end comes ``grace`` seconds before."""

    def __init__(
        self, clock: Any, machines: Mapping[str, Machine], *, grace: float = 30.0, start_delay: float = 0.0
    ) -> None:
        """Be a scheduler without jobs."""
        self.hooks = Hooks()
        self.trouble = Trouble()
        self._clock = clock
        self._machines = dict(machines)
        self._failed: set[str] = set()
        self._grace = grace
        self._start_delay = start_delay
        self._jobs: dict[str, _Job] = {}
        self._next = 1

    async def submit(self, job: JobRequest) -> str:
        """See ``api.Lrm.submit``."""
        job_name(job.tag)
        await self._answer()
        if self.trouble.refuse is not None:
            raise self.trouble.refuse
        self._fits_ever(job)
        made = _Job(id=str(self._next), request=job, seconds=job.seconds)
        self._next += 1
        self._jobs[made.id] = made
        self._clock.callLater(self._start_delay, self._schedule)
        if self.trouble.forgets_to_answer:
            raise TransientError("the simulated scheduler did not answer in time")
        return made.id

    async def list(self) -> tuple[JobView, ...]:
        """See ``api.Lrm.list``."""
        await self._answer()
        return tuple(self._view(job) for job in self._jobs.values())

    async def cancel(self, lrm_id: str) -> None:
        """See ``api.Lrm.cancel``."""
        await self._answer()
        self.end(lrm_id, "CANCELLED")

    async def rehearse(self, job: JobRequest) -> Rehearsal:
        """See ``api.Lrm.rehearse``."""
        await self._answer()
        self._fits_ever(job)
        free = fitting(job.components, self._free()) and not self._waiting()
        return Rehearsal(starts_in=0.0 if free else None)

    async def extend(self, lrm_id: str, seconds: int) -> None:
        """See ``api.Lrm.extend``."""
        await self._answer()
        job = self._jobs.get(lrm_id)
        if not self.trouble.grants_extension or job is None:
            raise DeniedError("only an operator of the simulated scheduler may change a job's limit")
        job.seconds = seconds
        if job.native == "RUNNING":
            self._limit(job)

    async def survey(self) -> Survey:
        """See ``api.Lrm.survey``."""
        await self._answer()
        sizes = self._machines.values()
        memory, cpus = max(size.memory_mb for size in sizes), max(size.cpus for size in sizes)
        queue = Queue(name="batch", nodes=len(sizes), memory_mb=memory, cpus=cpus, max_seconds=None, default=True)
        return Survey(version="simulated", queues=(queue,), notice=int(self._grace))

    def splits(self, components: tuple[Component, ...]) -> tuple[tuple[Component, ...], ...]:
        """See ``api.Lrm.splits``: it has jobs of several sizes."""
        return (components,)

    def end(self, lrm_id: str, native: str) -> None:
        """End a job with notice and grace, so that it is listed as ``native`` afterwards (a word of Slurm's)."""
        job = self._jobs.get(lrm_id)
        if job is None or job.native not in {"PENDING", "RUNNING"}:
            return
        if job.native == "PENDING":
            self._over(job, native)
            return
        job.native = "COMPLETING"
        _stop(job)
        job.timers.append(self._clock.callLater(self._grace, self.kill, lrm_id, native))
        self.hooks.notice(lrm_id, self._grace)

    def kill(self, lrm_id: str, native: str = "FAILED") -> None:
        """End a job's pilots at once."""
        job = self._jobs.get(lrm_id)
        if job is not None and job.started is not None and job.native in {"RUNNING", "COMPLETING"}:
            self._over(job, native)
            self.hooks.kill(lrm_id)

    def finish(self, lrm_id: str, native: str = "COMPLETED") -> None:
        """Let a job's pilots have ended by themselves."""
        job = self._jobs.get(lrm_id)
        if job is not None and job.native in {"RUNNING", "COMPLETING"}:
            self._over(job, "CANCELLED" if job.native == "COMPLETING" else native)

    def requeue(self, lrm_id: str) -> None:
        """Kill a job's pilots and let it wait again, under its old id."""
        job = self._jobs[lrm_id]
        self.hooks.kill(lrm_id)
        job.restarts += 1
        self._over(job, "PENDING")
        job.nodes, job.started = (), None

    def vanish(self, lrm_id: str) -> None:
        """Forget a job; its pilots, if it has any, are killed."""
        self.kill(lrm_id)
        self._jobs.pop(lrm_id, None)
        self._schedule()

    def fail_node(self, node: str) -> None:
        """Take a node away; jobs on it are killed."""
        self._failed.add(node)
        for job in list(self._jobs.values()):
            if node in job.nodes:
                self.kill(job.id, "NODE_FAIL")

    def restore_node(self, node: str) -> None:
        """Give a node back."""
        self._failed.discard(node)
        self._schedule()

    async def _answer(self) -> None:
        if self.trouble.slow:
            done: Deferred[None] = Deferred()
            self._clock.callLater(self.trouble.slow, done.callback, None)
            await done
        if self.trouble.down:
            raise TransientError("the simulated scheduler does not answer")

    def _fits_ever(self, job: JobRequest) -> None:
        if not fitting(job.components, self._machines):
            raise NeverError("the simulated scheduler has no such nodes")

    def _waiting(self) -> Sequence[_Job]:
        return [job for job in self._jobs.values() if job.native == "PENDING"]

    def _free(self) -> dict[str, Machine]:
        used = {node for job in self._jobs.values() if job.native in {"RUNNING", "COMPLETING"} for node in job.nodes}
        return {name: size for name, size in self._machines.items() if name not in used | self._failed}

    def _schedule(self) -> None:
        for job in self._waiting():
            nodes = fitting(job.request.components, self._free())
            if not nodes:
                return  # first come, first served
            job.native, job.nodes, job.started = "RUNNING", nodes, self._clock.seconds()
            self._limit(job)
            self.hooks.start(job.request, job.id, list(enumerate(nodes)))

    def _limit(self, job: _Job) -> None:
        _stop(job)
        left = (job.started or 0.0) + job.seconds - self._clock.seconds()
        job.timers.append(self._clock.callLater(max(0.0, left), self.end, job.id, "TIMEOUT"))

    def _over(self, job: _Job, native: str) -> None:
        job.native = native
        _stop(job)
        self._clock.callLater(self._start_delay, self._schedule)

    def _view(self, job: _Job) -> JobView:
        waits = job.native == "PENDING"
        first = waits and self._waiting()[0] is job
        left = None if job.started is None else job.started + job.seconds - self._clock.seconds()
        return JobView(
            lrm_id=job.id,
            tag=job.request.tag,
            says=STATES[job.native],
            native=job.native,
            reason=("Resources" if first else "Priority") if waits else "",
            nodes=job.nodes,
            starts_in=self._estimate(job) if first else None,
            left=left,
            restarts=job.restarts,
        )

    def _estimate(self, job: _Job) -> float | None:
        ends = [
            ((other.started or 0.0) + other.seconds - self._clock.seconds(), other.nodes)
            for other in self._jobs.values()
            if other.native == "RUNNING"
        ]
        return ready_in(job.request.components, self._free(), self._machines, ends)


def _stop(job: _Job) -> None:
    for timer in job.timers:
        if timer.active():
            timer.cancel()
    job.timers.clear()


__all__ = ["Hooks", "Machine", "SimulatedLrm", "Trouble"]
