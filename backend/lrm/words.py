"""Why a job waits or ended, and why a slot is gone, in words that a lessee understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.backend.lrm.states import LrmSays, SlotState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from flyinglow.backend.lrm.api import JobView
    from flyinglow.backend.lrm.model import PilotJob, Slot

# Native words of Slurm, Grid Engine and PBS for an end that the scheduler or its operator brought about. A job that
# ended by any other word ended by itself: its script or its pilots failed.
_TAKEN: Mapping[str, str] = {
    "PREEMPTED": "another job took its nodes",
    "NODE_FAIL": "a node failed",
    "TIMEOUT": "its time limit was reached",
    "DEADLINE": "its deadline was reached",
    "CANCELLED": "it was cancelled by the operator or by hand",
    "REVOKED": "it was revoked",
    "COMPLETING": "it is being ended",
}
_BY_ITSELF = frozenset({"COMPLETED", "FAILED", "BOOT_FAIL", "OUT_OF_MEMORY", "EQW"})
_PLAIN = frozenset({"none", "(null)", ""})


def job_name(job: PilotJob) -> str:
    """Return a job's name, and the LRM's id where it has one."""
    return f"pilot job fl-{job.tag}" + (f" ({job.lrm_id})" if job.lrm_id else "")


def waiting(job: PilotJob) -> str:
    """Say why a job has not started."""
    if job.lrm_id is None:
        return f"{job_name(job)} is being handed to the batch scheduler" + _because(job.reason)
    return f"{job_name(job)} waits in the batch scheduler" + _because(job.reason)


def ended(view: JobView | None) -> str:
    """Say how a job ended by what its last listing shows; None: it is not listed any more."""
    if view is None:
        return "the batch scheduler does not list the job any more"
    meaning = next((words for word, words in _TAKEN.items() if view.native.upper().startswith(word)), "")
    details = ", ".join(part for part in (meaning, _shown(view.reason)) if part)
    return f"the batch scheduler ended the job: {view.native}" + (f" ({details})" if details else "")


def ending(job: PilotJob, view: JobView | None, signal: str, node: str) -> str:
    """Say why a slot's nodes are about to go, as far as it can be known while the grace period runs."""
    notice = f"its notice is {signal or 'a signal'}" + (f" on {node}" if node else "")
    if view is not None and view.left is not None and view.left <= 0:
        return f"the batch scheduler ends {job_name(job)}: its time limit was reached; {notice}"
    if view is not None and view.says in {LrmSays.ENDING, LrmSays.ENDED}:
        early = f"{view.native}: cancelled by its operator or by hand, or pre-empted"
        known = next((words for word, words in _TAKEN.items() if word in view.reason.upper()), "")
        return f"the batch scheduler ends {job_name(job)} early ({known or early}); {notice}"
    return f"the batch scheduler takes the nodes of {job_name(job)} back (pre-emption, or its operator); {notice}"


def was_taken(job: PilotJob) -> bool:
    """Say whether the scheduler or its operator ended a job that is over; otherwise it failed by itself."""
    native = job.native.upper()
    if any(native.startswith(word) for word in _TAKEN):
        return True
    return job.listed_at is not None and job.started_at is None and native not in _BY_ITSELF


def slot_lost(job: PilotJob | None, slot: Slot) -> str:
    """Say why what a slot gave is gone."""
    where = f"{slot.node} was lost" if slot.node else "a node was not to be had"
    why = slot.reason or (job.reason if job else "")
    if slot.state in {SlotState.RELEASING, SlotState.RELEASED}:
        where = f"{slot.node} was given back"
    return f"{where}: {why}" if why else where


def failure(body: Mapping[str, Any]) -> str:
    """Say which step of a pilot failed, by its report."""
    error = body.get("error")
    message = error.get("message", "") if isinstance(error, dict) else ""
    return f"step {body.get('step', '?')}: {message or 'no reason was given'}"


def _because(reason: str) -> str:
    shown = _shown(reason)
    return f": {shown}" if shown else ""


def _shown(reason: str) -> str:
    return "" if reason.strip().lower() in _PLAIN else reason.strip()
