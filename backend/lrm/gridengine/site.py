"""What Grid Engine says of itself and why it refuses, read: queues, parallel environments, the words of its errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import Queue, Survey
from flyinglow.backend.lrm.gridengine.listing import document, seconds
from flyinglow.nodectl.errors import DeniedError, ExhaustedError, InvalidError, NeverError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.backend.lrm.api import Output
    from flyinglow.nodectl.errors import FlyingLowError

_SETTING = re.compile(r"^(\w+)[ \t]+(.*?)[ \t]*$", re.MULTILINE)
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTkmgt]?)")
_SHORT_NOTICE = 10  # seconds; less hardly lets a VM end by itself
_NEEDS = (
    "a parallel environment that gives one slot per host and lets jobs start their own processes on it: "
    'one with "allocation_rule 1" and "control_slaves TRUE" (qconf -ap NAME), in the queue\'s pe_list'
)

_READABLE = (
    "every user of the cluster can read the script of a job, and in it the job's key; name in shared_directory a "
    "directory that this machine and all hosts see by the same path and that our user may write to"
)

_WORDS: tuple[tuple[str, type[FlyingLowError]], ...] = (
    (r"commlib|unable to (send|contact|receive)|got (send|select|read) error|timeout|try again", TransientError),
    (r"no suitable queues|only offers \d+ slots|cannot run in PE", NeverError),
    (r"job quota|allowed per user|active jobs|too many", ExhaustedError),
    (r"does not exist|unknown (queue|resource|parallel)|invalid|wrong|no such", InvalidError),
    (r"denied|privilege|not allowed|no access|access list|permission|must be|rejected", DeniedError),
)
"""Grid Engine's words, the more telling ones first; what is not among them may be tried again."""


def refusal(output: Output, what: str) -> FlyingLowError:
    """Make an error of a command that failed."""
    lines = [line.strip() for line in f"{output.err}\n{output.out}".splitlines() if line.strip()]
    said = "; ".join(line for line in lines if line not in {"Exiting.", "Exiting"})[:400]
    for pattern, kind in _WORDS:  # in all of it: of a dry run, the last line says what the many before it mean
        if re.search(pattern, f"{output.err}\n{output.out}", re.IGNORECASE):
            return kind(f"Grid Engine refused to {what}: {said}")
    return TransientError(f"Grid Engine failed to {what} (exit code {output.code}): {said or 'it said nothing'}")


def read_version(output: Output, *, shared: bool = True) -> Survey:
    """Read the first line of ``qconf -help``; ``shared``: the site has a directory for what nobody else may read."""
    first = next(iter(output.out.splitlines()), "").strip()
    if not re.fullmatch(r"[\w .+/-]*\d+\.\d+[\w .+/()-]*", first):
        raise refusal(output, "tell its version")
    version = f"Grid Engine {first.removeprefix('SGE ').removeprefix('GE ')}"
    return Survey(version=version, findings=() if shared else (_READABLE,))


def read_instances(output: Output) -> Survey:
    """Read ``qstat -f -xml -F h_rt,mem_total,num_proc``: the queues with their nodes and what these have."""
    if output.code:
        raise refusal(output, "show its queues")
    found: dict[str, list[dict[str, str]]] = {}
    for entry in document(output.out, "job_info").iter("Queue-List"):
        name = (entry.findtext("name") or "").partition("@")[0].strip()
        if name:
            values = {one.get("name", ""): (one.text or "").strip() for one in entry.iter("resource")}
            found.setdefault(name, []).append(values)
    return Survey(version="", queues=tuple(_queue(name, instances) for name, instances in found.items()))


def _queue(name: str, instances: list[dict[str, str]]) -> Queue:
    sizes = [size for one in instances if (size := _bytes(one.get("mem_total", ""))) is not None]
    cpus = [int(float(one["num_proc"])) for one in instances if re.fullmatch(r"\d+(\.\d+)?", one.get("num_proc", ""))]
    limits = [_limit(one.get("h_rt", "")) for one in instances]
    known = [limit for limit in limits if limit is not None]
    return Queue(
        name=name,
        nodes=len(instances),
        memory_mb=max(sizes) >> 20 if sizes else None,
        cpus=max(cpus, default=None),
        max_seconds=max(known) if known and len(known) == len(limits) else None,
    )


def _bytes(text: str) -> int | None:
    found = _SIZE.fullmatch(text)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None


def _limit(text: str) -> int | None:
    try:
        return int(seconds(text))
    except (ValueError, OverflowError):
        return None


def read_queue(output: Output, queue: str, environment: str | None) -> Survey:
    """Read ``qconf -sq``: how long before SIGKILL a job is told, and whether it offers the parallel environment."""
    if "No cluster queue" in output.out + output.err:
        return Survey(version="", findings=(f"there is no queue {queue}: name one of qconf -sql as queue",))
    if output.code:
        raise refusal(output, f"show the queue {queue}")
    values = dict(_SETTING.findall(output.out))
    notice = _limit(values.get("notify", ""))
    findings = list(_notice(queue, notice))
    if environment and environment not in re.split(r"[ ,]+", values.get("pe_list", "")):
        command = f"qconf -aattr queue pe_list {environment} {queue}"
        findings.append(f"the queue {queue} does not offer the parallel environment {environment}: {command}")
    findings += [
        f"the queue {queue} has {key} {values[key]}: pilots are killed at it without notice; use h_rt instead"
        for key in ("s_rt", "s_cpu")
        if values.get(key, "INFINITY") != "INFINITY"
    ]
    return Survey(version="", findings=tuple(findings), notice=notice)


def _notice(queue: str, notice: int | None) -> list[str]:
    if notice is None:
        return [f'the queue {queue} has no time between notice and SIGKILL: set its "notify", for example 0:1:0']
    if notice < _SHORT_NOTICE:
        words = f"{notice} s between notice and SIGKILL: VMs will hardly end in time"
        return [f'the queue {queue} has {words}; set its "notify" to 0:1:0, for example']
    return []


def read_environment(output: Output, environment: str) -> Survey:
    """Read ``qconf -sp``: whether it gives one slot per host and lets the job start processes there."""
    if "not a parallel environment" in output.out + output.err:
        findings = (f"there is no parallel environment {environment}: name in parallel_environment {_NEEDS}",)
        return Survey(version="", findings=findings)
    if output.code:
        raise refusal(output, f"show the parallel environment {environment}")
    return Survey(version="", findings=tuple(_environment(environment, dict(_SETTING.findall(output.out)))))


def _environment(name: str, values: Mapping[str, str]) -> list[str]:
    wanted = {"allocation_rule": "1", "control_slaves": "TRUE"}
    return [
        f"the parallel environment {name} has {key} {values.get(key, '?')}, but pilots need {value}: qconf -mp {name}"
        for key, value in wanted.items()
        if values.get(key, "").upper() != value
    ]


def read_environments(output: Output) -> Survey:
    """Read ``qconf -spl`` for a site that named no parallel environment."""
    names = ", ".join(output.out.split()) or "none"
    return Survey(version="", findings=(f"name in parallel_environment {_NEEDS}; there are: {names}",))
