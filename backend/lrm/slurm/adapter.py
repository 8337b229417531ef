"""The adapter for Slurm: what its commands are told, and how their answers are read. Slurm 20 or later.

One job holds all slots, as a heterogeneous job where sizes differ. Its script starts one pilot a node by ``srun``, one
step for each size, since Slurm hands a step's input to one component only. The script itself ignores signals and waits,
so that no pilot loses its grace with it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import Call, Rehearsal
from flyinglow.backend.lrm.jobs import script
from flyinglow.backend.lrm.settings.terms import checked, job_name, name
from flyinglow.backend.lrm.slurm.listing import FORMAT, jobs, since
from flyinglow.backend.lrm.slurm.site import SINFO_FORMAT, read_config, read_partitions, refusal
from flyinglow.backend.options import OptionError
from flyinglow.nodectl.errors import InvalidError, TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.backend.lrm.api import JobRequest, JobView, Output, SiteTerms, Survey
    from flyinglow.backend.lrm.model import Component

_ID = re.compile(r"\d{1,18}")
_SUBMITTED = re.compile(r"^(\d{1,18})(?:;[\w.-]+)?$", re.MULTILINE)
_TO_START = re.compile(r"Job \d+ to start at (\S+) using")
_NOT_THERE = re.compile(r"Invalid job id|already completing or completed|Job/step already", re.IGNORECASE)

# options that would turn the job into another one than was asked for
_OURS = re.compile(r"--(wrap|requeue|parsable|test-only|wait|array|hold|job-name|comment|input|nodes|ntasks.*)(=.*)?")
_EXTRA = re.compile(r"--[a-z][a-z0-9-]*(=.+)?|-[A-Z].+")

_WAIT = b"""
for step in $steps; do
    while kill -0 "$step" 2>/dev/null; do wait "$step"; done
done
"""


class Slurm:
    """See ``api.Adapter``."""

    def __init__(self, terms: SiteTerms) -> None:
        """Take the site's terms. Raises OptionError for what Slurm could take for something else than it is."""
        self._terms = checked(terms)
        for word in terms.extra:
            # a word that is no option would be taken for the job's script, and a colon for another component
            if not _EXTRA.fullmatch(word) or _OURS.fullmatch(word):
                raise OptionError(f"{word!r} cannot be an 'extra' option of sbatch here; write --option=value", "extra")

    def submit(self, job: JobRequest) -> Call[str]:
        """See ``api.Adapter.submit``."""
        named = job_name(job.tag)
        log = f"{self._terms.directory}/{named}.log"
        options = ["--parsable", "--no-requeue", f"--job-name={named}", f"--comment={named}"]
        options += [f"--output={log}", f"--chdir={self._terms.directory}", *self._resources(job)]
        return Call((self._program("sbatch"), *options), _read_id, self._script(job))

    def list(self) -> Call[tuple[JobView, ...]]:
        """See ``api.Adapter.list``; other users' jobs are not asked for."""
        return Call((self._program("squeue"), "--me", "--all", "--states=all", f"--Format={FORMAT}"), _read_jobs)

    def cancel(self, lrm_id: str) -> Call[None]:
        """See ``api.Adapter.cancel``; plain, since with ``--full`` the pilots would be killed unheard."""
        return Call((self._program("scancel"), "--", _id(lrm_id)), _read_cancelled)

    def rehearse(self, job: JobRequest) -> Call[Rehearsal]:
        """See ``api.Adapter.rehearse``."""
        argv = (self._program("sbatch"), "--test-only", *self._resources(job))
        return Call(argv, _read_rehearsal, b"#!/bin/sh\nexit 0\n")

    def extend(self, lrm_id: str, seconds: int) -> Call[None]:
        """See ``api.Adapter.extend``."""
        words = ("update", f"JobId={_id(lrm_id)}", f"TimeLimit={_minutes(seconds)}")
        return Call((self._program("scontrol"), *words), _read_extended)

    def survey(self) -> Sequence[Call[Survey]]:
        """See ``api.Adapter.survey``."""
        partitions = (self._program("sinfo"), "--noheader", "--all", "--exact", f"--format={SINFO_FORMAT}")
        return (
            Call((self._program("scontrol"), "show", "config"), read_config),
            Call(partitions, read_partitions),
        )

    def splits(self, components: tuple[Component, ...]) -> tuple[tuple[Component, ...], ...]:
        """See ``api.Adapter.splits``: Slurm has heterogeneous jobs, unless the site does not want them."""
        return (components,) if self._terms.heterogeneous else tuple((component,) for component in components)

    def _program(self, command: str) -> str:
        return self._terms.commands.get(command, command)

    def _resources(self, job: JobRequest) -> Sequence[str]:
        if not job.components:
            raise InvalidError("a job needs at least one node")
        shared = [f"--time={_minutes(job.seconds)}"]
        for option, value in (("partition", self._terms.queue), ("account", self._terms.account)):
            shared += [f"--{option}={value}"] if value else []
        if job.reservation:
            shared.append(f"--reservation={name(job.reservation, 'reservation')}")
        sizes = [[*_size(one), f"--mem={one.memory_mb}M", *shared, *self._terms.extra] for one in job.components]
        return [*sizes[0], *(word for size in sizes[1:] for word in (":", *size))]

    def _script(self, job: JobRequest) -> bytes:
        steps, rank = [], 0
        for number, component in enumerate(job.components):
            group = [f"--het-group={number}"] if len(job.components) > 1 else []
            become = script.pilot(self._terms.interpreter, f'"$(({rank} + SLURM_PROCID))"', '"$SLURMD_NODENAME"')
            steps.append(_step([self._program("srun"), *group, *_size(component), *_STEP], become))
            rank += component.nodes
        lines = b"#!/bin/sh\ntrap : TERM INT HUP USR1 USR2 XCPU\nsteps=\n" + script.feed(job)
        return lines + "".join(steps).encode() + _WAIT


# a site may have other defaults for these, by which one pilot's end would be the end of all
_STEP = ("--kill-on-bad-exit=0", "--wait=0", "--input=all", "--mpi=none")


def _step(srun: Sequence[str], become: str) -> str:
    return f'feed | {script.words(*srun, "/bin/sh", "-c", become)} &\nsteps="$steps $!"\n'


def _size(component: Component) -> list[str]:
    if min(component.nodes, component.memory_mb, component.cpus) < 1:
        raise InvalidError("a job's nodes, memory and CPUs are at least 1")
    nodes = [f"--nodes={component.nodes}", f"--ntasks={component.nodes}", "--ntasks-per-node=1"]
    return [*nodes, f"--cpus-per-task={component.cpus}"]


def _minutes(seconds: int) -> int:
    if seconds < 1:
        raise InvalidError("a job's time limit is at least one second")
    return -(-seconds // 60)


def _id(lrm_id: str) -> str:
    if not _ID.fullmatch(lrm_id):
        raise InvalidError(f"{lrm_id!r} is no job of Slurm")
    return lrm_id


def _read_id(output: Output) -> str:
    if output.code:
        raise refusal(output, "take the job")
    found: list[str] = _SUBMITTED.findall(output.out)
    if not found:
        raise TransientError(f"sbatch told no job id: {output.out[:200]!r}")  # it may have taken it all the same
    return found[-1]


def _read_jobs(output: Output) -> tuple[JobView, ...]:
    if output.code:  # whatever the reason, nothing is known of any job
        raise TransientError(refusal(output, "list jobs").message)
    return jobs(output.out, output.at)


def _read_cancelled(output: Output) -> None:
    if output.code and not _NOT_THERE.search(output.err):
        raise refusal(output, "cancel the job")


def _read_extended(output: Output) -> None:
    if output.code:
        raise refusal(output, "change the job's time limit")


def _read_rehearsal(output: Output) -> Rehearsal:
    if output.code:
        raise refusal(output, "take such a job")
    found = _TO_START.search(output.err + output.out)
    return Rehearsal(starts_in=since(found[1], output.at) if found else None)
