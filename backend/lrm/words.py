"""Why a job waits or ended, and why a slot is gone, in words that a lessee understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyinglow.backend.lrm.states import SlotState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.backend.lrm.api import JobView
    from flyinglow.backend.lrm.model import PilotJob, Slot

# Words of Slurm, Grid Engine and PBS for an end that the scheduler or its operator brought about, in a job's state or
# in the reason beside it. A job that ended by any other word ended by itself: its script or its pilots failed.
_TAKEN: Mapping[str, str] = {
    "PREEMPTED": "was pre-empted: another job took its nodes",
    "NODE_FAIL": "lost a node, which failed or was taken out of service",
    "NODEDOWN": "lost a node, which failed or was taken out of service",
    "TIMEOUT": "reached its time limit",
    "TIMELIMIT": "reached its time limit",
    "DEADLINE": "reached its deadline",
    "CANCELLED": "was cancelled by the operator or by hand",
    "REVOKED": "was revoked",
}
_CANCELLED = frozenset(
    {"COMPLETING"}
)  # Slurm's word for a cancelled job whose grace runs; for other ends it has a reason
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
    fate = _fate(view.native)
    if fate:
        return f"the batch scheduler took the nodes back: job {view.lrm_id} {fate} ({view.native})"
    reason = _shown(view.reason)
    return f"the batch scheduler ended job {view.lrm_id}: {view.native}" + (f" ({reason})" if reason else "")


def ending(job: PilotJob, view: JobView | None, signal: str, node: str) -> str:
    """Say why a slot's nodes are about to go, as far as it can be known while the grace period runs."""
    fate = "was cancelled or pre-empted"
    if view is not None:
        fate = _fate(view.native) or _fate(view.reason) or fate
        if view.left is not None and view.left <= 0:
            fate = _TAKEN["TIMEOUT"]
        elif view.native in _CANCELLED and not _shown(view.reason):
            fate = _TAKEN["CANCELLED"]
    notice = (signal or "a signal") + (f" on {node}" if node else "")
    return f"the batch scheduler takes the nodes back: job {job.lrm_id or job_name(job)} {fate} ({notice})"


def was_taken(job: PilotJob) -> bool:
    """Say whether the scheduler or its operator ended a job that is over; otherwise it failed by itself."""
    native = job.native.upper()
    if _fate(native) or native in _CANCELLED:
        return True
    return job.listed_at is not None and job.started_at is None and native not in _BY_ITSELF


def had_notice(slot: Slot) -> bool:
    """Say whether its pilot was signalled or warned, also when it has given back by now, as a quick one has."""
    return slot.state is SlotState.PREEMPTING or slot.reason == "warned" or slot.reason.startswith("signal ")


def slot_lost(job: PilotJob | None, slot: Slot) -> str:
    """Say why what a slot gave is gone."""
    why = slot.reason or (job.reason if job else "")
    if why.startswith("deadline"):
        why = "its time was over"
    where = f"{slot.node} was lost" if slot.node else "a node was not to be had"
    if slot.state in {SlotState.RELEASING, SlotState.RELEASED}:
        where = f"{slot.node} was given back"
    return f"{where}: {why}" if why else where


def _fate(word: str) -> str:
    return next((meaning for known, meaning in _TAKEN.items() if word.upper().startswith(known)), "")


def _because(reason: str) -> str:
    shown = _shown(reason)
    return f": {shown}" if shown else ""


def _shown(reason: str) -> str:
    return "" if reason.strip().lower() in _PLAIN else reason.strip()
