"""What Slurm prints, read: its listing of jobs, its states, its short form of many nodes, its times."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import JobView
from flyinglow.backend.lrm.settings.terms import tag_of
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMAT = "JobArrayID:|,State:|,NodeList:|,TimeLeft:|,StartTime:|,PreemptTime:|,Reason:|,Name:|"
_HEADER = "JOBID|STATE|NODELIST|TIME_LEFT|START_TIME|PREEMPT_TIME|REASON|NAME|"
_FIELDS = _HEADER.count("|")
_ID = re.compile(r"(\d+)(?:\+(\d+))?")
_LIMIT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)")

_L = LrmSays

STATES: dict[str, LrmSays] = {
    "PENDING": _L.WAITING,
    "REQUEUED": _L.WAITING,
    "REQUEUE_FED": _L.WAITING,
    "REQUEUE_HOLD": _L.WAITING,
    "RESV_DEL_HOLD": _L.WAITING,
    "SPECIAL_EXIT": _L.WAITING,  # requeued and held
    "CONFIGURING": _L.WAITING,  # it has its nodes, which are booting
    "POWER_UP_NODE": _L.WAITING,
    "RUNNING": _L.RUNNING,
    "RESIZING": _L.RUNNING,
    "SIGNALING": _L.RUNNING,
    "STOPPED": _L.RUNNING,  # it holds its memory, so its slots are as they were
    "SUSPENDED": _L.RUNNING,
    "COMPLETING": _L.ENDING,
    "STAGE_OUT": _L.ENDING,
    "BOOT_FAIL": _L.ENDED,
    "CANCELLED": _L.ENDED,
    "COMPLETED": _L.ENDED,
    "DEADLINE": _L.ENDED,
    "FAILED": _L.ENDED,
    "LAUNCH_FAILED": _L.ENDED,
    "NODE_FAIL": _L.ENDED,
    "OUT_OF_MEMORY": _L.ENDED,
    "PREEMPTED": _L.ENDED,
    "RECONFIG_FAIL": _L.ENDED,
    "REVOKED": _L.ENDED,  # another cluster of the federation runs it
    "TIMEOUT": _L.ENDED,
}
"""Every state of squeue(1), by its name; a name that is not here is UNKNOWN."""

# of a heterogeneous job's parts the first of these that any part says stands for the whole; ENDED only when all say so
_WHOLE = (_L.UNKNOWN, _L.ENDING, _L.WAITING, _L.RUNNING)


def jobs(out: str, now: float) -> tuple[JobView, ...]:
    """Read a listing in ``FORMAT`` taken at ``now`` (seconds since 1970, 0 when unknown), with its heading.

    What stands before the heading is chatter. Raises TransientError when the listing cannot be told to be whole.
    """
    lines = out.splitlines()
    try:
        start = next(number for number, line in enumerate(lines) if line.strip() == _HEADER)
    except StopIteration:
        raise TransientError("squeue gave no table; is it the squeue of Slurm 20 or later?") from None
    if not out.endswith("\n"):
        raise TransientError("squeue's table breaks off")
    parts: dict[str, list[JobView]] = {}
    for line in lines[start + 1 :]:
        if line.strip():
            view = _job(line, now)
            parts.setdefault(view.lrm_id, []).append(view)
    return tuple(_whole(views) for views in parts.values())


def _job(line: str, now: float) -> JobView:
    fields = line.split("|", _FIELDS - 1)
    known = _ID.fullmatch(fields[0].strip())
    if not known:
        raise TransientError(f"squeue's table has a line that is no job: {line[:80]!r}")
    if len(fields) < _FIELDS:
        return JobView(lrm_id=known[1], tag=None, says=LrmSays.UNKNOWN, native="", reason=line[:80])
    _, state, nodes, left, start, preempted, reason, name = (field.strip() for field in fields)
    says = STATES.get(state, LrmSays.UNKNOWN)
    return JobView(
        lrm_id=known[1],
        tag=tag_of(name.removesuffix("|")),
        says=says,
        native=state,
        reason=_reason(reason, preempted),
        nodes=node_names(nodes),
        starts_in=since(start, now) if says is LrmSays.WAITING else None,
        left=seconds(left),
    )


def _reason(reason: str, preempted: str) -> str:
    """Return why a job waits or ends; that one is pre-empted shows in the time of it alone while its grace runs."""
    known = "" if reason == "None" else reason
    return known or ("Preempted" if preempted != "N/A" else "")


def _whole(views: Sequence[JobView]) -> JobView:
    first = views[0]
    if len(views) == 1:
        return first
    said = {view.says for view in views}
    if len(said) > 1 and LrmSays.ENDED in said:
        said.add(LrmSays.ENDING)  # one part is over, and the others follow
    says = next((word for word in _WHOLE if word in said), LrmSays.ENDED)
    native = next((view.native for view in views if view.says is says), first.native)
    return JobView(
        lrm_id=first.lrm_id,
        tag=next((view.tag for view in views if view.tag), None),
        says=says,
        native=native,
        reason=next((view.reason for view in views if view.reason), ""),
        nodes=tuple(node for view in views for node in view.nodes),
        starts_in=max(_known(view.starts_in for view in views), default=None),
        left=min(_known(view.left for view in views), default=None),
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def since(text: str, now: float) -> float | None:
    """Return the seconds from ``now`` to a time as Slurm prints it in UTC, at least 0; None when there is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return max(0.0, at.replace(tzinfo=UTC).timestamp() - now) if now else None


def seconds(text: str) -> int | None:
    """Return a limit like ``1-02:03:04`` or ``5:00`` in seconds; None for one that is not a number."""
    match = _LIMIT.fullmatch(text)
    if not match:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def node_names(text: str) -> tuple[str, ...]:
    """Write a list like ``a[1-2,07],b`` out. Something that is no such list comes back as it is, as one name."""
    names: list[str] = []
    for item in re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", text):
        names += _spread(item)
    return tuple(names)


def _spread(item: str) -> list[str]:
    head, opened, rest = item.partition("[")
    if not opened:
        return [item]
    inside, _, tail = rest.partition("]")
    numbers: list[str] = []
    for span in inside.split(","):
        low, _, high = span.partition("-")
        if not (low.isdigit() and (high or low).isdigit()):
            return [item]
        numbers += [str(number).zfill(len(low)) for number in range(int(low), int(high or low) + 1)]
    return [f"{head}{number}{end}" for number in numbers for end in _spread(tail)]
