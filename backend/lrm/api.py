"""The seam to a batch scheduler: what the back-end asks of any of them, and what it is told.

An adapter (``slurm``, ``gridengine``, ``pbs``) is pure: it gives ``Call``s, argument lists with a function that reads
what comes of them. ``shell.CommandLrm`` carries them out and is a ``Lrm``; ``simulated.SimulatedLrm`` is one, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flyinglow.backend.lrm.model import Component
    from flyinglow.backend.lrm.states import LrmSays

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Output:
    """What a command left behind; ``at`` is when it ended, in seconds since 1970, 0 when nobody looked."""

    code: int
    out: str
    err: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One command, never through a shell, and how its output is read; ``read`` raises a FlyingLowError."""

    argv: tuple[str, ...]
    read: Callable[[Output], T]
    stdin: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A pilot job as the LRM is asked for it. ``program`` is the pilot, ``settings`` its JSON (with the job's key)."""

    tag: str
    components: tuple[Component, ...]
    seconds: int
    program: bytes = field(default=b"", repr=False)
    settings: bytes = field(default=b"", repr=False)
    reservation: str | None = None

    @property
    def nodes(self) -> int:
        """How many nodes, that is slots."""
        return sum(component.nodes for component in self.components)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job in a listing. ``tag`` is None when it is not one of ours by name. Times are seconds from the listing."""

    lrm_id: str
    tag: str | None
    says: LrmSays
    native: str  # the LRM's own word
    reason: str = ""  # why it waits, or how it ended, in the LRM's words
    nodes: tuple[str, ...] = ()
    starts_in: float | None = None
    left: float | None = None  # until its limit is up
    restarts: int = 0  # how often the LRM started it anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A queue or partition as a job of ours would see it; None: no limit known."""

    name: str
    nodes: int
    memory_mb: int | None  # of the largest node
    cpus: int | None
    max_seconds: int | None
    default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the LRM says of itself: version, queues, and what is amiss for our purpose, each with what to do.

    ``notice``: seconds from its signal to SIGKILL when a job is cancelled, as configured; None when it does not tell.
    """

    version: str
    queues: tuple[Queue, ...] = ()
    findings: tuple[str, ...] = ()
    notice: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a dry run said; ``starts_in`` None: it has no estimate."""

    starts_in: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTerms:
    """What the site's configuration says for every job; checked, so that nothing in it is an option or a command."""

    queue: str | None = None
    account: str | None = None
    extra: tuple[str, ...] = ()  # further words of the submit command, the administrator's own
    parallel_environment: str | None = None  # Grid Engine
    interpreter: str = "/usr/bin/python3"
    directory: str = "/tmp"  # noqa: S108 - where a job starts and writes its log; the site says where
    shared_directory: str | None = None  # seen by all nodes; needed where a launcher cannot carry a program's input
    heterogeneous: bool = True  # one job for several sizes, where the LRM can
    commands: Mapping[str, str] = field(default_factory=dict)  # full paths by name, where PATH does not do
    environment: Mapping[str, str] = field(default_factory=dict)  # for the LRM's commands, e.g. SLURM_CONF


class Adapter(Protocol):
    """One kind of LRM: argument lists out, text in; no process, no clock, no state.

    Raises InvalidError when a request cannot be said to this LRM.
    """

    def submit(self, job: JobRequest) -> Call[str]:
        """Submit: returns the LRM's id. Never re-queued, exactly these resources, named ``fl-<tag>``."""

    def list(self) -> Call[tuple[JobView, ...]]:
        """List all jobs of our user in one call; TransientError when the answer is not complete."""

    def cancel(self, lrm_id: str) -> Call[None]:
        """Cancel, with the LRM's grace; a job that is not there (any more) is no error."""

    def rehearse(self, job: JobRequest) -> Call[Rehearsal]:
        """Dry run. Raises NeverError, InvalidError or DeniedError when it would be refused."""

    def extend(self, lrm_id: str, seconds: int) -> Call[None]:
        """Set the time limit, counted from the job's start. Raises DeniedError when our user may not."""

    def survey(self) -> Sequence[Call[Survey]]:
        """Look at the LRM itself; the answers are laid together."""

    def splits(self, components: tuple[Component, ...]) -> tuple[tuple[Component, ...], ...]:
        """Divide sizes into jobs: all in one where this LRM can ask for different ones, else one job for each."""


class Lrm(Protocol):
    """A batch scheduler. Every verb raises TransientError when it does not answer in time."""

    async def submit(self, job: JobRequest) -> str:
        """See ``Adapter.submit``. After a TransientError the job may have been accepted: look for its name."""

    async def list(self) -> tuple[JobView, ...]:
        """See ``Adapter.list``."""

    async def cancel(self, lrm_id: str) -> None:
        """See ``Adapter.cancel``."""

    async def rehearse(self, job: JobRequest) -> Rehearsal:
        """See ``Adapter.rehearse``."""

    async def extend(self, lrm_id: str, seconds: int) -> None:
        """See ``Adapter.extend``."""

    async def survey(self) -> Survey:
        """See ``Adapter.survey``."""

    def splits(self, components: tuple[Component, ...]) -> tuple[tuple[Component, ...], ...]:
        """See ``Adapter.splits``."""
