"""Every step that the back-end commits on its own account, and what a start makes of each state that it finds.

The crash tests stop the daemon after each step of ``STEPS``. ``RECOVERY`` has no path of its own: it names the pass
that takes a slot up again, which is the one that the timer runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from flyinglow.backend.lrm.states import JOB_OVER, SLOT_OVER, JobState, SlotState

STEPS: Mapping[str, str] = {
    "lrm.request": "jobs, their slots and who is to use them are written; the scheduler is asked next",
    "lrm.submitted": "the scheduler took a job: its id is kept",
    "lrm.unsure": "the scheduler did not answer a submit: the job is looked for by its name",
    "lrm.refused": "the scheduler refused a job: Lost, with its words",
    "lrm.resubmit": "a job that two full listings do not show is about to be submitted again",
    "lrm.listed": "what a listing says of jobs, and what becomes of their slots",
    "lrm.reports": "what pilots reported is stored, and not yet acknowledged",
    "lrm.spool": "how far the spool of reports was read",
    "lrm.started": "a pilot's first report shows that its job runs",
    "lrm.over": "all slots of a job are over: the job is not wanted any more",
    "lrm.release": "a claim is given back; jobs that nobody needs are not wanted any more",
    "lrm.queue_again": "a younger claim gives back what it holds for an older one",
    "lrm.renew": "nodes that were free, and aged too much while others were waited for, are replaced",
    "lrm.ask_ahead": "jobs are asked for ahead of need",
    "lrm.give_back": "jobs that are kept for nobody are not wanted any more",
    "lrm.extend": "the time limit of a claim's jobs was raised",
    "lrm.purge": "what was over long ago is forgotten",
}


class Recovery(StrEnum):
    """What takes a slot up again after a start."""

    SUBMIT = "the job is looked for by its name, and submitted when two full listings do not show it"
    WAIT = "the listing or the pilot's own report says how it goes on"
    SERVE = "the pilot polls, is told the new session, and its VMs are listed"
    WARN = "the others of its job are warned of what is left of the grace"
    CANCEL = "the pilot is told to end; a job that stays is cancelled until the scheduler lists it no more"
    LOSE = "the job is over: what no pilot reported as given back is Lost, and its claims are told"
    NOTHING = "it is over; a late word is written down"


def recovery(slot: SlotState, job: JobState) -> Recovery:
    """Say what becomes of a slot in this state whose job is in that one."""
    if slot in SLOT_OVER:
        return Recovery.NOTHING
    if job in JOB_OVER:
        return Recovery.LOSE
    if job is JobState.ENDING:
        return Recovery.CANCEL
    if slot is SlotState.UNBOUND:
        return Recovery.SUBMIT if job is JobState.REQUESTED else Recovery.WAIT
    if slot is SlotState.PREEMPTING:
        return Recovery.WARN
    return Recovery.SERVE if slot is SlotState.READY else Recovery.WAIT


RECOVERY: Mapping[SlotState, Mapping[JobState, Recovery]] = {
    slot: {job: recovery(slot, job) for job in JobState} for slot in SlotState
}
"""The whole table: every state of a slot with every state of its job."""
