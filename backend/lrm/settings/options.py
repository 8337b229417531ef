"""The configuration table of the LRM back-end: what the site says of its scheduler, its nodes and its grace periods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from flyinglow.backend.lrm.api import SiteTerms
from flyinglow.backend.options import Fault, OptionError, out_of_range, read
from flyinglow.nodectl.slots.wanted import MemoryPolicy

WHERE = "the table [backend.options]"
LRMS = ("slurm", "gridengine", "pbs")


@dataclass(frozen=True, slots=True, kw_only=True)
class LrmOptions:
    """Times are seconds, memory MB. What is None is as the scheduler itself says, or has no limit."""

    lrm: str  # slurm, gridengine or pbs
    dialect: str = "openpbs"  # of pbs: torque or openpbs
    queue: str | None = None  # or partition; None: the scheduler's default
    account: str | None = None  # whom the scheduler is to charge
    extra: tuple[Any, ...] = ()  # further words of the submit command
    parallel_environment: str | None = None  # Grid Engine: one slot a host
    interpreter: str = "/usr/bin/python3"  # on the nodes, 3.9 or later
    directory: str = "/tmp"  # noqa: S108 - where jobs start and write their logs, on the nodes
    shared_directory: str | None = None  # seen by head and nodes: for the pilots' input, with the job's key
    heterogeneous: bool = True  # one job for several sizes, where the scheduler can
    commands: Mapping[str, Any] = field(default_factory=dict)  # full paths of the scheduler's commands by name
    environment: Mapping[str, Any] = field(default_factory=dict)  # for the scheduler's commands
    command_timeout: float = 30.0  # for one command of the scheduler
    reservation: str | None = None  # an advance reservation that the site granted
    poll: float = 30.0  # at most one listing in this time; the notice of an end and an operator may call for one more
    submit_grace: float = 60.0  # how long a submit whose outcome is unknown may take to show
    stray_grace: float = 120.0  # how long a job with our name and without a row is left alone
    grace: float = 30.0  # from the scheduler's notice to its SIGKILL: the site's figure
    share: float = 0.5  # the part of the grace that is the service's
    start_delay: float = 60.0  # from a job's start to its VMs' start: pilots, memory, images, at the slowest
    end_delay: float = 30.0  # from a lease's end until its VMs are gone and the memory is given back
    margin: int | None = None  # how much longer than the lease a job's limit is; None: start_delay + grace + end_delay
    release_patience: float = 60.0  # how long pilots may take to give back before their job is cancelled
    hold_limit: float = 300.0  # how long a claim may hold some nodes while an older one waits for them
    policy: str = "exact"  # how claims become slots
    policy_options: Mapping[str, Any] = field(default_factory=dict)  # its own keys
    memory_policy: str = "exact"  # what a slot takes of its node: exact, margin or all
    margin_mb: int = 0  # of the memory policy margin
    vm_overhead_mb: int = 96  # the hypervisor's own memory for one VM
    slot_overhead_mb: int = 64  # the pilot's and the agent's
    networks: Mapping[str, Any] = field(default_factory=dict)  # network -> bridge on every node; false: user mode
    node_minimum_mb: int = 256  # what a node keeps for itself: minimum_node_mb of its flyinglow-nodectl
    node_memory_mb: int | None = None  # the largest slot; None: the scheduler's largest node without that minimum
    node_cpus: int | None = None  # and its CPUs
    node_disk_mb: int = 1_000_000  # what VMs of one slot may take together
    longest: int | None = None  # the longest job
    max_members: int | None = None  # of one request
    agent: tuple[Any, ...] = ("sudo", "-n", "flyinglow-nodectl", "agent", "--stdio")  # on the nodes
    url: str | None = None  # what pilots are told; None: the node listener's
    ticket_key: str | None = None  # OpenSSH key that signs tickets for slots, made when not there; None: none is signed
    certificate: str | None = None  # PEM file of the authority behind the node listener's certificate
    ssh: Mapping[str, Any] = field(default_factory=dict)  # the second way of reports; empty: none
    spool: str | None = None  # the file that it appends to
    guard_share: float = 0.5  # more than this part of the live slots lost at once waits for the operator's word
    guard_least: int = 3  # up to so many are lost without it
    extend: str = "held"  # extensions: within the time held, or "operator": our user may raise limits
    list_timeout: float = 10.0  # how long a reconcile pass waits for a node
    retain: float = 604800.0  # how long jobs that are over are kept for the record

    @property
    def beyond(self) -> int:
        """Return how many seconds a job's limit is longer than its lease."""
        return ceil(self.start_delay + self.grace + self.end_delay) if self.margin is None else self.margin

    def terms(self) -> SiteTerms:
        """Return what adapters are told."""
        return SiteTerms(
            queue=self.queue,
            account=self.account,
            extra=tuple(map(str, self.extra)),
            parallel_environment=self.parallel_environment,
            interpreter=self.interpreter,
            directory=self.directory,
            shared_directory=self.shared_directory,
            heterogeneous=self.heterogeneous,
            commands={name: str(path) for name, path in self.commands.items()},
            environment={name: str(value) for name, value in self.environment.items()},
        )

    def bridges(self) -> Mapping[str, str | None]:
        """Return each network's bridge; None: user-mode network."""
        return {name: str(bridge) if bridge else None for name, bridge in self.networks.items()}

    def authority(self) -> str:
        """Read the certificate file. Raises OptionError."""
        if not self.certificate:
            return ""
        try:
            return Path(self.certificate).read_text("ascii")
        except (OSError, ValueError) as error:
            message = f"'certificate' of {WHERE}: {self.certificate!r} cannot be read: {error}"
            raise OptionError(message, "certificate") from error


def options(table: Mapping[str, Any]) -> LrmOptions:
    """Read the table. Raises OptionError for what it cannot mean."""
    made = read(LrmOptions, table, WHERE)
    for path, what in wrong(made):
        raise OptionError(what, *path)
    return made


def wrong(made: LrmOptions) -> Iterator[Fault]:
    """Return which values make no sense, apart from what the scheduler, the policy and the pilots are told."""
    for name, allowed in (
        ("lrm", LRMS),
        ("dialect", ("torque", "openpbs")),
        ("extend", ("held", "operator")),
        ("memory_policy", tuple(policy.value for policy in MemoryPolicy)),
    ):
        if getattr(made, name) not in allowed:
            yield (name,), f"{name!r} must be one of {', '.join(allowed)}, not {getattr(made, name)!r}"
    for name in ("poll", "command_timeout", "grace", "list_timeout", "submit_grace"):
        if not 0 < getattr(made, name) < float("inf"):
            yield (name,), f"{name!r} must be more than 0 seconds"
    for name in ("share", "guard_share"):
        if not 0 <= getattr(made, name) <= 1:
            yield (name,), f"{name!r} must lie between 0 and 1"
    yield from out_of_range(made, 0, *_NOT_NEGATIVE)
    yield from out_of_range(made, 1, *_AT_LEAST_ONE)
    if made.beyond <= made.grace:
        why = "a slot has to start, to serve the whole lease and to be given back before the scheduler's limit is up"
        yield ("margin",), f"'margin' ({made.beyond} s) must be longer than 'grace' ({made.grace:g} s): {why}"
    if made.longest is not None and made.longest <= made.beyond:
        yield ("longest",), f"'longest' ({made.longest} s) leaves no lease beside the 'margin' of {made.beyond} s"


_NOT_NEGATIVE = (
    "start_delay",
    "end_delay",
    "node_minimum_mb",
    "stray_grace",
    "release_patience",
    "hold_limit",
    "margin_mb",
    "vm_overhead_mb",
    "slot_overhead_mb",
    "guard_least",
    "retain",
)
_AT_LEAST_ONE = ("node_memory_mb", "node_cpus", "node_disk_mb", "longest", "max_members")
