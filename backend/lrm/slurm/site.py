"""What Slurm says of itself and why it refuses, read: configuration, partitions, and the words of its errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import Queue, Survey
from flyinglow.backend.lrm.slurm.listing import seconds
from flyinglow.nodectl.errors import DeniedError, InvalidError, NeverError, TransientError

if TYPE_CHECKING:
    from flyinglow.backend.lrm.api import Output
    from flyinglow.nodectl.errors import FlyingLowError

SINFO_FORMAT = "%P|%D|%m|%c|%l|%a"
_SINFO_FIELDS = SINFO_FORMAT.count("|") + 1
_SETTING = re.compile(r"^(\w[\w()]*)\s+=\s*(.*?)\s*$", re.MULTILINE)
_SHORT_NOTICE = 10  # seconds; less hardly lets a VM end by itself

_WORDS: tuple[tuple[str, type[FlyingLowError]], ...] = (
    (r"unable to contact|timed out|connection refused|temporar|try again|not responding|standby", TransientError),
    (r"munge|authentication|credential", TransientError),  # a daemon of the site's is away
    (r"configuration is not available|can not be satisfied|more processors requested", NeverError),
    (r"node count specification|time limit.*(invalid|exceed)|exceeds? .*limit", NeverError),
    (r"permission|denied|not permitted|policy|invalid account|user not in", DeniedError),
    (r"invalid|unrecognized|unknown|bad value|no such", InvalidError),
)
"""Slurm's words, the more telling ones first; what is not among them may be tried again."""


def refusal(output: Output, what: str) -> FlyingLowError:
    """Make an error of a command that failed."""
    lines = [line.strip() for line in (output.err or output.out).splitlines() if line.strip()]
    said = "; ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines[-3:])[:400]
    for pattern, kind in _WORDS:
        if re.search(pattern, said, re.IGNORECASE):
            return kind(f"Slurm refused to {what}: {said}")
    return TransientError(f"Slurm failed to {what} (exit code {output.code}): {said or 'it said nothing'}")


def read_config(output: Output) -> Survey:
    """Read ``scontrol show config``."""
    if output.code:
        raise refusal(output, "show its configuration")
    values = dict(_SETTING.findall(output.out))
    if "SLURM_VERSION" not in values:
        raise TransientError("scontrol showed no configuration")
    return Survey(version=f"Slurm {values['SLURM_VERSION']}", findings=tuple(_findings(values)), notice=_notice(values))


def _notice(values: dict[str, str]) -> int | None:
    words = values.get("KillWait", "").split()
    return int(words[0]) if words and words[0].isdigit() else None


def _findings(values: dict[str, str]) -> list[str]:
    found = []
    notice = _notice(values)
    if notice is not None and notice < _SHORT_NOTICE:
        found.append(f"KillWait is {notice} s: VMs will hardly end in time when a job is cancelled; raise KillWait")
    if values.get("ProctrackType") == "proctrack/pgid":
        found.append("ProctrackType is proctrack/pgid, which loses a job's processes; set proctrack/cgroup")
    if "SUSPEND" in values.get("PreemptMode", ""):
        found.append("PreemptMode may suspend jobs, whose VMs then stand still and keep memory; set CANCEL for ours")
    return found


def read_partitions(output: Output) -> Survey:
    """Read ``sinfo`` in ``SINFO_FORMAT``: one line for each size of node in each partition."""
    if output.code:
        raise refusal(output, "list its partitions")
    queues: dict[str, Queue] = {}
    findings = []
    for line in output.out.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != _SINFO_FIELDS:
            continue  # chatter
        one = _queue(fields)
        before = queues.get(one.name)
        if before is None and fields[-1] != "up":
            findings.append(f"partition {one.name} is {fields[-1]}: jobs in it wait; scontrol update State=UP")
        queues[one.name] = _joined(before, one) if before else one
    return Survey(version="", queues=tuple(queues.values()), findings=tuple(findings))


def _queue(fields: list[str]) -> Queue:
    name, nodes, memory, cpus, limit, _ = fields
    return Queue(
        name=name.removesuffix("*"),
        nodes=_number(nodes) or 0,
        memory_mb=_number(memory),
        cpus=_number(cpus),
        max_seconds=seconds(limit),
        default=name.endswith("*"),
    )


def _joined(one: Queue, other: Queue) -> Queue:
    return Queue(
        name=one.name,
        nodes=one.nodes + other.nodes,
        memory_mb=max(one.memory_mb or 0, other.memory_mb or 0) or None,
        cpus=max(one.cpus or 0, other.cpus or 0) or None,
        max_seconds=one.max_seconds,
        default=one.default,
    )


def _number(text: str) -> int | None:
    digits = text.removesuffix("+")  # the smallest of several
    return int(digits) if digits.isdigit() else None
