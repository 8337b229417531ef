"""What Torque and OpenPBS print in full form, read: jobs, queues and nodes, and the letters of a job's state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.api import JobView
from flyinglow.backend.lrm.settings.terms import tag_of
from flyinglow.backend.lrm.states import LrmSays
from flyinglow.nodectl.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

_L = LrmSays

STATES: dict[str, LrmSays] = {
    "Q": _L.WAITING,
    "H": _L.WAITING,
    "W": _L.WAITING,  # for a point in time
    "T": _L.WAITING,  # on its way between queues
    "R": _L.RUNNING,
    "B": _L.RUNNING,  # an array of which some run
    "S": _L.RUNNING,  # suspended: it keeps its nodes
    "U": _L.RUNNING,  # suspended while the node's user is there
    "E": _L.ENDING,
    "C": _L.ENDED,
    "F": _L.ENDED,
    "X": _L.ENDED,
}
"""Every state of qstat(1) that means something here; M (moved to another server) is UNKNOWN like any other letter."""

_WORDS = {
    "H": "the job is held",
    "W": "the job waits for its start time",
    "T": "the job is on its way to another queue",
    "S": "the job is suspended",
    "U": "the job is suspended while its node is used",
}
_HEAD = re.compile(r"(Job Id|Queue|Server):[ \t]*(\S+)[ \t]*$")
_VALUE = re.compile(r"[ \t]+([\w.]+) = ?(.*)$")
_HOST = re.compile(r"([A-Za-z0-9_.-]+)/")


def blocks(out: str, kind: str) -> dict[str, dict[str, str]]:
    """Return the values of every ``kind`` ("Job Id", "Queue", "Server") in full output, by its name.

    A long value goes on after a tab. Lines before the first head, and what is no value, are warnings, and passed over.
    """
    found: dict[str, dict[str, str]] = {}
    values: dict[str, str] | None = None
    key = ""
    for line in out.splitlines():
        if head := _HEAD.match(line):
            values = found.setdefault(head[2], {}) if head[1] == kind else None
            key = ""
        elif values is not None and line.startswith("\t") and key:
            values[key] += line[1:]
        elif values is not None and (pair := _VALUE.match(line)):
            key = pair[1]
            values[key] = pair[2]
        else:
            key = ""
    return found


def jobs(out: str, user: str) -> tuple[JobView, ...]:
    """Read ``qstat -f``; other users' jobs are left out. Raises TransientError for an answer that was cut off."""
    found = blocks(out, "Job Id")
    if not found and out.strip() and "Job Id" in out:
        raise TransientError(f"the answer of qstat cannot be read: {out[:200]!r}")
    for number, values in found.items():
        if not {"job_state", "Job_Name", "Job_Owner"} <= values.keys():
            raise TransientError(f"qstat told only a part of job {number}")
    return tuple(
        _view(number, values) for number, values in found.items() if values["Job_Owner"].partition("@")[0] == user
    )


def _view(number: str, values: Mapping[str, str]) -> JobView:
    native = values["job_state"].strip()
    says = STATES.get(native, LrmSays.UNKNOWN)
    return JobView(
        lrm_id=number,
        tag=tag_of(values["Job_Name"].strip()),
        says=says,
        native=native,
        reason=_reason(native, says, values),
        nodes=tuple(dict.fromkeys(_HOST.findall(values.get("exec_host", "")))),
        left=_left(values) if says is LrmSays.RUNNING else None,
        restarts=_restarts(values),
    )


def _reason(native: str, says: LrmSays, values: Mapping[str, str]) -> str:
    comment = values.get("comment", "").strip()
    status = values.get("exit_status", values.get("Exit_status", "")).strip()
    if says is LrmSays.ENDED and status:
        return f"exit status {status}" + (f", {comment}" if comment else "")
    if says is LrmSays.WAITING:
        return comment or _WORDS.get(native, "it waits for its nodes to be free")
    return _WORDS.get(native, comment)


def _left(values: Mapping[str, str]) -> float | None:
    try:
        limit = seconds(values["Resource_List.walltime"])
        return limit - seconds(values.get("resources_used.walltime", "0"))
    except (KeyError, ValueError):
        return None


def _restarts(values: Mapping[str, str]) -> int:
    """Return how often it was started anew: OpenPBS's ``run_count``, Torque's ``start_count`` count every start."""
    count = values.get("run_count", values.get("start_count", "1")).strip()
    return max(0, int(count) - 1) if count.isdigit() else 0


def seconds(text: str) -> float:
    """Read a time span, ``300`` or ``01:30:00``. Raises ValueError."""
    total = 0.0
    for part in text.strip().split(":"):
        total = total * 60 + float(part)
    return total


def nodes(out: str) -> list[dict[str, str]]:
    """Read ``pbsnodes -a``: the values of each node."""
    found: list[dict[str, str]] = []
    for line in out.splitlines():
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", line.rstrip()):
            found.append({"name": line.strip()})
        elif found and (pair := _VALUE.match(line)):
            found[-1][pair[1]] = pair[2].strip()
    return found
