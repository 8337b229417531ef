"""The adapter for PBS, in the dialects of Torque and OpenPBS: what its commands are told, how their answers are read.

``pbsdsh`` starts one pilot a node and carries no input, so the job's script lays program and settings down in a private
directory that all nodes see (``shared_directory``, else the user's home), and takes them away when every pilot has
them. Torque tells the first node of a cancelled job at once and the others seconds later: pilots expect that.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import Call, Rehearsal
from flyinglow.backend.lrm.jobs import script
from flyinglow.backend.lrm.pbs import site
from flyinglow.backend.lrm.pbs.listing import jobs
from flyinglow.backend.lrm.settings.pairs import extra_pairs
from flyinglow.backend.lrm.settings.terms import checked, job_name, name
from flyinglow.backend.options import OptionError
from flyinglow.nodectl.errors import InvalidError, TransientError

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import JobRequest, JobView, Output, SiteTerms, Survey
    from flyinglow.backend.lrm.model import Component

DIALECTS = ("torque", "openpbs")
_ID = re.compile(r"[0-9]{1,18}(\.[A-Za-z0-9][A-Za-z0-9_.-]{0,127})?")
_SUBMITTED = re.compile(r"^[0-9]{1,18}\.[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", re.MULTILINE)
_NOT_THERE = re.compile(r"unknown job id|job has finished|invalid for state of job", re.IGNORECASE)
_EXTRA = frozenset({"-l", "-p", "-P", "-A", "-W", "-m", "-M"})
_BLOCKING = re.compile(r"block=|interactive=|depend=|stagein=")  # values of -W that make another job of it

_START = """\
#!/bin/sh
trap '' HUP INT TERM USR1 USR2 XCPU
rank=$PBS_NODENUM
node=$(sed -n "$((rank + 1))p" "$1/nodes")
{ cat "$1/stream" && : >"$1/got/$rank"; } | (%(become)s)
"""

_SCRIPT = """\
work=$(mktemp -d %(shared)s/.%(name)s.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
mkdir "$work/got"
feed >"$work/stream"
cat >"$work/start" <<'%(end)s'
%(start)s%(end)s
awk '!seen[$0]++' "$PBS_NODEFILE" >"$work/nodes"
# the settings lie there no longer than a pilot needs to read them
(
    while [ -d "$work/got" ] && [ "$(ls "$work/got" | wc -l)" -lt "$(wc -l <"$work/nodes")" ]; do sleep 1; done
    rm -f "$work/stream"
) &
watch=$!
%(pbsdsh)s -- /bin/sh "$work/start" "$work"
kill -KILL "$watch" 2>/dev/null
"""
_END = "FLYINGLOW_END_OF_START"


class Pbs:
    """See ``api.Adapter``. ``user`` is whose jobs are ours: by default the user that this process runs as."""

    def __init__(self, terms: SiteTerms, dialect: str = "torque", user: str | None = None) -> None:
        """Take the site's terms. Raises OptionError for what PBS could take for something else than it is."""
        self._terms = checked(terms)
        if dialect not in DIALECTS:
            raise OptionError(f"there is no dialect {dialect!r} of PBS; there are {', '.join(DIALECTS)}", "dialect")
        extra_pairs(terms.extra, _EXTRA, "qsub")
        for word in terms.extra:
            if _BLOCKING.search(word):
                raise OptionError(f"{word!r} cannot be an 'extra' value of qsub here", "extra")
        self._torque = dialect == "torque"
        self._user = user or pwd.getpwuid(os.geteuid()).pw_name

    def submit(self, job: JobRequest) -> Call[str]:
        """See ``api.Adapter.submit``."""
        named, terms = job_name(job.tag), self._terms
        words = ["-S", "/bin/sh", "-N", named, "-r", "n", "-j", "oe", "-o", f"{terms.directory}/{named}.log"]
        # a reservation of OpenPBS is a queue of its own
        for option, value in (("-q", job.reservation or terms.queue), ("-A", terms.account)):
            words += [option, value] if value else []
        return Call((self._program("qsub"), *words, *self._resources(job), *terms.extra), _read_id, self._script(job))

    def list(self) -> Call[tuple[JobView, ...]]:
        """See ``api.Adapter.list``; PBS shows everybody's jobs in full, of which ours are kept."""
        return Call((self._program("qstat"), "-f"), partial(_read_jobs, user=self._user))

    def cancel(self, lrm_id: str) -> Call[None]:
        """See ``api.Adapter.cancel``; never with ``-p``, which forgets the job while its processes run on."""
        return Call((self._program("qdel"), _id(lrm_id)), _read_cancelled)

    def rehearse(self, job: JobRequest) -> Call[Rehearsal]:
        """See ``api.Adapter.rehearse``: PBS has no dry run, so the job is held against the nodes."""
        self._resources(job)
        return Call((self._program("pbsnodes"), "-a"), partial(_read_rehearsal, job=job))

    def extend(self, lrm_id: str, seconds: int) -> Call[None]:
        """See ``api.Adapter.extend``; only operators may do it to a running job."""
        if seconds < 1:
            raise InvalidError("a job's time limit is at least one second")
        return Call((self._program("qalter"), "-l", f"walltime={seconds}", _id(lrm_id)), _read_extended)

    def survey(self) -> Sequence[Call[Survey]]:
        """See ``api.Adapter.survey``."""
        queue, qstat = self._terms.queue, self._program("qstat")
        calls = [
            Call((qstat, "-B", "-f"), site.read_server),
            Call((self._program("pbsnodes"), "-a"), partial(site.read_nodes, queue=queue)),
        ]
        if queue:
            calls.append(Call((qstat, "-Q", "-f", queue), partial(site.read_queue, queue=queue)))
        return calls

    def splits(self, components: tuple[Component, ...]) -> tuple[tuple[Component, ...], ...]:
        """See ``api.Adapter.splits``: OpenPBS selects chunks of several sizes; Torque counts memory per job."""
        if not self._torque and self._terms.heterogeneous:
            return (components,)
        return tuple((component,) for component in components)

    def _program(self, command: str) -> str:
        return self._terms.commands.get(command, command)

    def _resources(self, job: JobRequest) -> Sequence[str]:
        figures = [job.seconds, *(min(size.nodes, size.memory_mb, size.cpus) for size in job.components)]
        if not job.components or min(figures) < 1:
            raise InvalidError("a job's nodes, memory, CPUs and time are at least 1")
        if job.reservation:
            name(job.reservation, "reservation")
        return self._nodes_of_torque(job) if self._torque else self._chunks(job)

    def _nodes_of_torque(self, job: JobRequest) -> Sequence[str]:
        if len(job.components) != 1:
            raise InvalidError("a job of Torque has nodes of one size")
        (size,) = job.components
        if job.reservation:
            raise InvalidError("Torque itself has no advance reservations")
        memory = size.memory_mb * size.nodes  # of the whole job
        return ["-l", f"nodes={size.nodes}:ppn={size.cpus},walltime={job.seconds},mem={memory}mb"]

    def _chunks(self, job: JobRequest) -> Sequence[str]:
        chunks = [f"{one.nodes}:ncpus={one.cpus}:mem={one.memory_mb}mb:mpiprocs=1" for one in job.components]
        return ["-l", f"select={'+'.join(chunks)}", "-l", "place=scatter", "-l", f"walltime={job.seconds}"]

    def _script(self, job: JobRequest) -> bytes:
        terms = self._terms
        become = script.pilot(terms.interpreter, '"$rank"', '"$node"')
        pbsdsh = shlex.join([self._program("pbsdsh"), *(["-u"] if self._torque else [])])
        text = _SCRIPT % {
            "shared": shlex.quote(terms.shared_directory) if terms.shared_directory else '"$HOME"',
            "name": job_name(job.tag),
            "start": _START % {"become": become},
            "pbsdsh": pbsdsh,
            "end": _END,
        }
        lines = "#!/bin/sh\numask 077\ntrap '' HUP INT TERM USR1 USR2 XCPU\n"
        return lines.encode() + script.feed(job) + text.encode()


def _id(lrm_id: str) -> str:
    if not _ID.fullmatch(lrm_id):
        raise InvalidError(f"{lrm_id!r} is no job of PBS")
    return lrm_id


def _read_id(output: Output) -> str:
    if output.code:
        raise site.refusal(output, "take the job")
    found = [match[0] for match in _SUBMITTED.finditer(output.out)]
    if not found:
        raise TransientError(f"qsub told no job id: {output.out[:200]!r}")  # it may have taken it all the same
    return found[-1]


def _read_jobs(output: Output, user: str) -> tuple[JobView, ...]:
    if output.code:
        raise site.refusal(output, "list jobs")
    return jobs(output.out, user)


def _read_cancelled(output: Output) -> None:
    if output.code and not _NOT_THERE.search(output.out + output.err):
        raise site.refusal(output, "cancel the job")


def _read_extended(output: Output) -> None:
    if output.code:
        raise site.refusal(output, "change the job's time limit")


def _read_rehearsal(output: Output, job: JobRequest) -> Rehearsal:
    site.check_nodes(output, job)
    return Rehearsal(starts_in=None, reason="PBS has no dry run and gives no estimate of when a job starts")
