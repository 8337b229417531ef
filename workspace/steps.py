"""Which step carries a status on, and how it is taken up again after a restart.

The same steps are taken when an event tells of a new task and when a reconcile pass finds an old one (design, section
6): there is no separate path for recovery.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from flyinglow.workspace.model import InitialState, Stamp, Workspace
from flyinglow.workspace.states import State, Status, Task


class Step(StrEnum):
    """Who carries it on."""

    LAUNCH = "launch"  # with its whole launch set
    AWAIT = "await"  # the guests of its whole launch set, at the ready barrier
    OPERATE = "operate"  # a request of the lessee
    RECLAIM = "reclaim"


class Recovery(StrEnum):
    """How a task found after a restart is taken up."""

    RESUME = "resume"  # the order is sent again; a repeated one finds its work done
    OBSERVE = "observe"  # the node is asked first: the order would not be harmless twice


class Line(NamedTuple):
    """One line of the recovery table."""

    how: Recovery
    why: str


_U, _P, _R, _Z = State.UNPROPAGATED, State.PROPAGATED, State.RUNNING, State.PAUSED
_T = State.TRANSPORT_READY

RECOVERY: dict[Status, Line] = {
    Status(_U, Task.QUEUED): Line(Recovery.RESUME, "nothing was sent; acquire is idempotent by the launch set"),
    Status(_U, Task.PROPAGATING): Line(Recovery.RESUME, "create finds what is there and makes the rest"),
    Status(_P, Task.STARTING): Line(Recovery.RESUME, "start finds a VM that runs; guests are counted anew"),
    Status(_R, Task.PAUSING): Line(Recovery.RESUME, "pause finds a paused VM"),
    Status(_R, Task.REBOOTING): Line(Recovery.OBSERVE, "a guest is not rebooted twice: where it runs, it is done"),
    Status(_R, Task.SHUTTING_DOWN): Line(Recovery.RESUME, "shutdown finds a stopped VM"),
    Status(_Z, Task.RESUMING): Line(Recovery.RESUME, "resume finds a VM that runs"),
    Status(_Z, Task.SHUTTING_DOWN): Line(Recovery.RESUME, "shutdown finds a stopped VM"),
    Status(_P, Task.SAVING): Line(Recovery.RESUME, "save finds what it has saved"),
    Status(_U, Task.RECLAIMING): Line(Recovery.RESUME, "destroy finds nothing, or what a launch left"),
    Status(_P, Task.RECLAIMING): Line(Recovery.RESUME, "destroy finds what is left"),
    Status(_R, Task.RECLAIMING): Line(Recovery.RESUME, "destroy finds what is left"),
    Status(_Z, Task.RECLAIMING): Line(Recovery.RESUME, "destroy finds what is left"),
    Status(_T, Task.RECLAIMING): Line(Recovery.RESUME, "destroy finds what is left"),
}
"""One line for every status that is not at rest."""


TOGETHER = frozenset({Step.LAUNCH, Step.AWAIT})
"""The steps in which what befalls one befalls its whole launch set."""


def step_of(row: Workspace) -> Step | None:
    """Return the step that carries this workspace on, or None when it is at rest.

    A workspace is started with its launch set once; every later start is a request of its own.
    """
    if row.task is None:
        return None
    if row.task is Task.RECLAIMING:
        return Step.RECLAIM
    if row.task in {Task.QUEUED, Task.PROPAGATING}:
        return Step.LAUNCH
    if row.task is Task.STARTING and row.ready_by is not None:
        return Step.AWAIT
    if row.task is Task.STARTING and Stamp.STARTED not in row.stamps:
        return Step.OPERATE if row.initial_state is InitialState.PROPAGATED else Step.LAUNCH
    return Step.OPERATE
