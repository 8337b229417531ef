"""The adapter for Grid Engine: what its commands are told, and how their answers are read. Son of Grid Engine 8.

One job holds slots of one size, in a parallel environment that gives one slot per host. Its script starts one pilot a
host by ``qrsh -inherit``, in the order of the host file, and ignores signals itself; every pilot hears the notice
that ``-notify`` asks for. What else a slot needs of a host, memory above all, each site counts by resources of its
own: words of ``extra`` may hold ``{memory_mb}`` and ``{cpus}``. Everybody can read a job's script, so where the site
names a ``shared_directory``, which the head and the hosts see, the pilots' input with the job's key is laid down there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import Call, Rehearsal
from flyinglow.backend.lrm.gridengine import deposit, site
from flyinglow.backend.lrm.gridengine.listing import jobs
from flyinglow.backend.lrm.jobs import script
from flyinglow.backend.lrm.settings.pairs import extra_pairs
from flyinglow.backend.lrm.settings.terms import checked, job_name, name
from flyinglow.nodectl.errors import DeniedError, InvalidError, TransientError

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import JobRequest, JobView, Output, SiteTerms, Survey
    from flyinglow.backend.lrm.model import Component

_ID = re.compile(r"[0-9]{1,18}")
_SUBMITTED = re.compile(r"^[0-9]{1,18}$", re.MULTILINE)
_NOT_THERE = re.compile(r"job \"?\d+\"? does not exist|already in deletion", re.IGNORECASE)

# options of qsub that a site may add, each with one value; any other word could be a script, or make another job of it
_EXTRA = frozenset({"-l", "-p", "-P", "-A", "-ac", "-ar", "-R", "-binding", "-js", "-m", "-M", "-masterq", "-jc"})

_SCRIPT = """\
qrsh=%(qrsh)s
work=$(mktemp -d "${TMPDIR:-/tmp}/flyinglow.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
rank=0
while read -r node rest; do
    mkfifo "$work/$rank" || exit 1
    {
        # Grid Engine hangs on more than a pipe's fill that comes before the program over there has begun
        while IFS= read -r word && [ "$word" != %(go)s ]; do echo "$word" >&2; done
        feed
        exec >&2
        cat
    } <"$work/$rank" | "$qrsh" -inherit "$node" %(remote)s >"$work/$rank" 2>&1 &
    rank=$((rank + 1))
done <"$PE_HOSTFILE"
wait
"""
_GO = "flyinglow-go"


class GridEngine:
    """See ``api.Adapter``."""

    def __init__(self, terms: SiteTerms) -> None:
        """Take the site's terms. Raises OptionError for what Grid Engine could take for something else than it is."""
        self._terms = checked(terms)
        extra_pairs(terms.extra, _EXTRA, "qsub")

    def submit(self, job: JobRequest) -> Call[str]:
        """See ``api.Adapter.submit``."""
        named, directory = job_name(job.tag), self._terms.directory
        words = ["-terse", "-S", "/bin/sh", "-N", named, "-wd", directory, "-j", "y", "-o", f"{directory}/{named}.log"]
        argv, text, keep = (self._program("qsub"), *words, *self._resources(job)), self._script(job), self._keep
        argv, text = deposit.lay(keep, job, argv, text) if keep else (argv, text)
        return Call(argv, _read_id, text)

    def list(self) -> Call[tuple[JobView, ...]]:
        """See ``api.Adapter.list``; Grid Engine itself puts our user's name for ``$user``."""
        return Call((self._program("qstat"), "-xml", "-g", "t", "-r", "-u", "$user"), _read_jobs)

    def cancel(self, lrm_id: str) -> Call[None]:
        """See ``api.Adapter.cancel``; never with ``-f``, which forgets the job while its processes run on."""
        return Call((self._program("qdel"), _id(lrm_id)), _read_cancelled)

    def rehearse(self, job: JobRequest) -> Call[Rehearsal]:
        """See ``api.Adapter.rehearse``: could it run in an empty cluster? Grid Engine estimates no start."""
        words = (self._program("qsub"), "-w", "v", "-S", "/bin/sh", *self._resources(job))
        return Call(words, _read_rehearsal, b"#!/bin/sh\nexit 0\n")

    def extend(self, lrm_id: str, seconds: int) -> Call[None]:
        """See ``api.Adapter.extend``. Raises DeniedError, always: ``qalter`` leaves the limit of a running job."""
        raise DeniedError(f"Grid Engine cannot change the limit of the running job {_id(lrm_id)}")

    def survey(self) -> Sequence[Call[Survey]]:
        """See ``api.Adapter.survey``."""
        qconf, queue, environment = self._program("qconf"), self._terms.queue, self._terms.parallel_environment
        instances = [self._program("qstat"), "-f", "-xml", "-F", "h_rt,mem_total,num_proc"]
        version = partial(site.read_version, shared=self._keep is not None)
        calls = [Call((qconf, "-help"), version), Call(tuple(instances), site.read_instances)]
        if queue:
            read_queue = partial(site.read_queue, queue=queue, environment=environment)
            calls.append(Call((qconf, "-sq", queue), read_queue))
        if environment:
            calls.append(Call((qconf, "-sp", environment), partial(site.read_environment, environment=environment)))
        else:
            calls.append(Call((qconf, "-spl"), site.read_environments))
        return calls

    def splits(self, components: tuple[Component, ...]) -> tuple[tuple[Component, ...], ...]:
        """See ``api.Adapter.splits``: one job for each size."""
        return tuple((component,) for component in components)

    @property
    def _keep(self) -> str | None:
        return self._terms.shared_directory

    def _program(self, command: str) -> str:
        return self._terms.commands.get(command, command)

    def _resources(self, job: JobRequest) -> Sequence[str]:
        if len(job.components) != 1:
            raise InvalidError("a job of Grid Engine has nodes of one size")
        (size,) = job.components
        if min(size.nodes, size.memory_mb, size.cpus, job.seconds) < 1:
            raise InvalidError("a job's nodes, memory, CPUs and time are at least 1")
        if self._terms.parallel_environment is None:
            raise InvalidError("Grid Engine needs the name of a parallel environment (parallel_environment)")
        words = ["-notify", "-r", "n", "-pe", self._terms.parallel_environment, str(size.nodes)]
        words += ["-l", f"h_rt={job.seconds}"]
        for option, value in (("-q", self._terms.queue), ("-P", self._terms.account)):
            words += [option, value] if value else []
        if job.reservation:
            words += ["-ar", name(job.reservation, "reservation")]
        figures = {"{memory_mb}": str(size.memory_mb), "{cpus}": str(size.cpus)}
        for word in self._terms.extra:
            for mark, figure in figures.items():
                word = word.replace(mark, figure)  # noqa: PLW2901 - one word, filled in
            words.append(word)
        return words

    def _script(self, job: JobRequest) -> bytes:
        become = script.pilot(self._terms.interpreter, "@rank@", "@node@")
        remote = shlex.quote(f"echo {_GO}; {become}")
        for variable in ("rank", "node"):
            remote = remote.replace(f"@{variable}@", f"'\"${variable}\"'")  # known here, not on the node
        given = self._terms.commands.get("qrsh")
        qrsh = shlex.quote(given) if given else '"${SGE_BINARY_PATH:-$SGE_ROOT/bin/$SGE_ARCH}/qrsh"'
        lines = "#!/bin/sh\numask 077\ntrap '' HUP INT TERM USR1 USR2 XCPU\n"
        feed = deposit.take(self._keep, job) if self._keep else script.feed(job)
        return lines.encode() + feed + (_SCRIPT % {"qrsh": qrsh, "go": _GO, "remote": remote}).encode()


def _id(lrm_id: str) -> str:
    if not _ID.fullmatch(lrm_id):
        raise InvalidError(f"{lrm_id!r} is no job of Grid Engine")
    return lrm_id


def _read_id(output: Output) -> str:
    if output.code:
        raise site.refusal(output, "take the job")
    found: list[str] = _SUBMITTED.findall(output.out)
    if not found:
        raise TransientError(f"qsub told no job id: {output.out[:200]!r}")  # it may have taken it all the same
    return found[-1]


def _read_jobs(output: Output) -> tuple[JobView, ...]:
    if output.code:
        raise site.refusal(output, "list jobs")
    return jobs(output.out, output.at)


def _read_cancelled(output: Output) -> None:
    if output.code and not _NOT_THERE.search(output.out + output.err):
        raise site.refusal(output, "cancel the job")


def _read_rehearsal(output: Output) -> Rehearsal:
    if output.code:
        raise site.refusal(output, "take such a job, ever")
    return Rehearsal(starts_in=None, reason="Grid Engine gives no estimate of when a job starts")
