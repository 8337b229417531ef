"""What Torque and OpenPBS say of themselves and why they refuse, read: queues, nodes, and the words of their errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import Queue, Survey
from flyinglow.backend.lrm.pbs.listing import blocks, nodes, seconds
from flyinglow.nodectl.errors import DeniedError, ExhaustedError, InvalidError, NeverError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.backend.lrm.api import JobRequest, Output
    from flyinglow.nodectl.errors import FlyingLowError

_UNITS = {"b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}
_SIZE = re.compile(r"(\d+)([kmgt]?b)", re.IGNORECASE)
_GONE = frozenset({"down", "offline", "unknown", "stale"})

_WORDS: tuple[tuple[str, type[FlyingLowError]], ...] = (
    (r"cannot connect|connection (refused|timed out)|timed out|could not connect|try again|busy", TransientError),
    (r"locate feasible nodes|exceeds? (queue|server) resource|resource.*exceed|never run", NeverError),
    (r"maximum number of jobs|job limit|would exceed .* limit", ExhaustedError),
    (r"unauthori[sz]ed|denied|not permitted|not authorized|permission|access", DeniedError),
    (r"illegal|unknown (queue|resource)|invalid|undefined|usage:|destinations", InvalidError),
)
"""PBS's words, the more telling ones first; what is not among them may be tried again."""


def refusal(output: Output, what: str) -> FlyingLowError:
    """Make an error of a command that failed."""
    said = "; ".join(line.strip() for line in (output.err or output.out).splitlines() if line.strip())[:400]
    for pattern, kind in _WORDS:
        if re.search(pattern, said, re.IGNORECASE):
            return kind(f"PBS refused to {what}: {said}")
    return TransientError(f"PBS failed to {what} (exit code {output.code}): {said or 'it said nothing'}")


def read_server(output: Output) -> Survey:
    """Read ``qstat -B -f``: the version; a server that keeps it to itself is no fault."""
    if output.code:
        raise refusal(output, "show its server")
    versions = [values["pbs_version"] for values in blocks(output.out, "Server").values() if "pbs_version" in values]
    return Survey(version=f"PBS {versions[0].strip()}" if versions else "PBS")


def read_nodes(output: Output, queue: str | None) -> Survey:
    """Read ``pbsnodes -a``: how many nodes there are and what the largest has."""
    found = _up(output)
    if not found:
        return Survey(version="", findings=("pbsnodes shows no node that is up",))
    memory = [size for node in found if (size := _memory(node)) is not None]
    cpus = [count for node in found if (count := _cpus(node)) is not None]
    largest, most = max(memory, default=None), max(cpus, default=None)
    return Survey(
        version="",
        queues=(Queue(name=queue or "", nodes=len(found), memory_mb=largest, cpus=most, max_seconds=None),),
    )


def read_queue(output: Output, queue: str) -> Survey:
    """Read ``qstat -Q -f``: the longest job that the queue takes, and whether it takes any."""
    if output.code:
        error = refusal(output, f"show the queue {queue}")
        if isinstance(error, InvalidError):
            return Survey(version="", findings=(f"there is no queue {queue}: name one of qstat -Q as queue",))
        raise error
    values = blocks(output.out, "Queue").get(queue)
    if values is None:
        raise TransientError(f"qstat told nothing of the queue {queue}")
    closed = [key for key in ("enabled", "started") if values.get(key, "True").strip().lower() == "false"]
    findings = [f"the queue {queue} takes or starts no jobs: {key} = False" for key in closed]
    limit = Queue(name=queue, nodes=0, memory_mb=None, cpus=None, max_seconds=_longest(values))
    return Survey(version="", queues=(limit,), findings=tuple(findings))


def check_nodes(output: Output, job: JobRequest) -> None:
    """Hold a job against ``pbsnodes -a``. Raises NeverError when there are not enough nodes that are large enough."""
    found = _up(output)
    for size in job.components:
        enough = [node for node in found if _is_enough(_memory(node), size.memory_mb)]
        enough = [node for node in enough if _is_enough(_cpus(node), size.cpus)]
        if len(enough) < size.nodes:
            what = f"{size.nodes} nodes with {size.memory_mb} MB and {size.cpus} CPUs each"
            raise NeverError(
                f"PBS has {len(enough)} nodes that are large enough, and the job needs {what}",
                {"nodes.asked": size.nodes, "nodes.large_enough": len(enough)},
            )
    if job.nodes > len(found):
        figures = {"nodes.asked": job.nodes, "nodes.up": len(found)}
        raise NeverError(f"PBS has {len(found)} nodes, and the job needs {job.nodes}", figures)


def _is_enough(has: int | None, needs: int) -> bool:
    return has is None or has >= needs


def _up(output: Output) -> list[dict[str, str]]:
    if output.code:
        raise refusal(output, "show its nodes")
    return [node for node in nodes(output.out) if not _GONE & set(re.split(r"[, ]+", node.get("state", "")))]


def _cpus(node: Mapping[str, str]) -> int | None:
    value = node.get("np") or node.get("resources_available.ncpus", "")
    return int(value) if value.isdigit() else None


def _memory(node: Mapping[str, str]) -> int | None:
    status = dict(part.partition("=")[::2] for part in node.get("status", "").split(","))
    found = _SIZE.fullmatch(node.get("resources_available.mem") or status.get("physmem", ""))
    return int(found[1]) * _UNITS[found[2].lower()] >> 20 if found else None


def _longest(values: Mapping[str, str]) -> int | None:
    try:
        return int(seconds(values["resources_max.walltime"]))
    except (KeyError, ValueError):
        return None
