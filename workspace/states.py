"""The states of a workspace, as data: a stable state, a current task, and which pair may follow which.

Three facts stand in three columns: what the lessee has (``State``), what is being done to it now (``Task`` or None),
and why (a sentence). A task under way also names its ``target``, the stable state it heads for. Sources: design,
section 4; the state names are those of the workspace service of the paper's section 2.1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """What the lessee has."""

    UNPROPAGATED = "Unpropagated"  # accepted, not on a node yet
    PROPAGATED = "Propagated"  # its image is on its node; not running
    RUNNING = "Running"  # the hypervisor runs it
    PAUSED = "Paused"  # in memory on its node, not executing
    TRANSPORT_READY = "TransportReady"  # shut down, image saved
    ENDED = "Ended"  # normal end; nothing is held
    CORRUPTED = "Corrupted"  # failed; nothing is held; the reason says why
    CANCELLED = "Cancelled"  # taken back by the site; nothing is held; the reason says why


class Task(StrEnum):
    """What is being done to it now."""

    QUEUED = "Queued"
    PROPAGATING = "Propagating"
    STARTING = "Starting"
    PAUSING = "Pausing"
    RESUMING = "Resuming"
    REBOOTING = "Rebooting"
    SHUTTING_DOWN = "ShuttingDown"
    SAVING = "Saving"
    RECLAIMING = "Reclaiming"


class Status(NamedTuple):
    """The pair that ``advance`` compares and sets."""

    state: State
    task: Task | None = None


_U, _P, _R, _Z = State.UNPROPAGATED, State.PROPAGATED, State.RUNNING, State.PAUSED
_T, _E, _C, _X = State.TRANSPORT_READY, State.ENDED, State.CORRUPTED, State.CANCELLED
_GIVE_BACK = Task.RECLAIMING

NEXT: dict[Status, frozenset[Status]] = {
    # a launch set under way
    Status(_U, Task.QUEUED): frozenset({Status(_U, Task.PROPAGATING), Status(_U, _GIVE_BACK)}),
    Status(_U, Task.PROPAGATING): frozenset({Status(_P, Task.STARTING), Status(_P), Status(_U, _GIVE_BACK)}),
    Status(_P, Task.STARTING): frozenset(
        {
            Status(_P, Task.STARTING),  # it runs, and its launch set waits for the guests
            Status(_R),
            Status(_Z),
            Status(_P),
            Status(_P, _GIVE_BACK),
        },
    ),
    # at rest
    Status(_P): frozenset({Status(_P, Task.STARTING), Status(_P, Task.SAVING), Status(_P, _GIVE_BACK)}),
    Status(_R): frozenset(
        {
            Status(_R, Task.PAUSING),
            Status(_R, Task.REBOOTING),
            Status(_R, Task.SHUTTING_DOWN),
            Status(_P),  # the guest turned itself off
            Status(_R, _GIVE_BACK),
        },
    ),
    Status(_T): frozenset({Status(_T, _GIVE_BACK)}),
    Status(_Z): frozenset({Status(_Z, Task.RESUMING), Status(_Z, Task.SHUTTING_DOWN), Status(_Z, _GIVE_BACK)}),
    # a request of the lessee under way; it falls back to rest when the node refuses it
    Status(_R, Task.PAUSING): frozenset({Status(_Z), Status(_R), Status(_P), Status(_R, _GIVE_BACK)}),
    Status(_R, Task.REBOOTING): frozenset({Status(_R), Status(_P), Status(_R, _GIVE_BACK)}),
    Status(_R, Task.SHUTTING_DOWN): frozenset(
        {Status(_P), Status(_P, Task.SAVING), Status(_R), Status(_R, _GIVE_BACK)},
    ),
    Status(_Z, Task.RESUMING): frozenset({Status(_R), Status(_Z), Status(_P), Status(_Z, _GIVE_BACK)}),
    Status(_Z, Task.SHUTTING_DOWN): frozenset(
        {Status(_P), Status(_P, Task.SAVING), Status(_Z), Status(_Z, _GIVE_BACK)},
    ),
    Status(_P, Task.SAVING): frozenset({Status(_T), Status(_P), Status(_P, _GIVE_BACK)}),
    # giving back: only a node's confirmation leads out
    Status(_U, _GIVE_BACK): frozenset({Status(_E), Status(_C), Status(_X)}),
    Status(_P, _GIVE_BACK): frozenset({Status(_E), Status(_C), Status(_X)}),
    Status(_R, _GIVE_BACK): frozenset({Status(_E), Status(_C), Status(_X)}),
    Status(_Z, _GIVE_BACK): frozenset({Status(_E), Status(_C), Status(_X)}),
    Status(_T, _GIVE_BACK): frozenset({Status(_E), Status(_C), Status(_X)}),
    # over
    Status(_E): frozenset(),
    Status(_C): frozenset(),
    Status(_X): frozenset(),
}

FINAL: frozenset[State] = frozenset({State.ENDED, State.CORRUPTED, State.CANCELLED})
STABLE: frozenset[Status] = frozenset(status for status in NEXT if status.task is None)


def may_follow(old: Status, new: Status) -> bool:
    """Say whether ``new`` may directly follow ``old``."""
    return new in NEXT[old]
