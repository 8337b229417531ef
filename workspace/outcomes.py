"""What a lessee's request does to a workspace, as one table over (verb, status).

The code, the tests and the documentation read the same one.

``Do`` begins a task, ``NoOp`` answers as if it had just been done (so a repeated request is harmless), ``Refuse`` is a
ConflictError with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flyinglow.workspace.states import FINAL, NEXT, State, Status, Task


class Verb(StrEnum):
    """What a lessee can ask of one workspace."""

    START = "Start"
    NORMAL = "Shutdown Normal"
    PAUSE = "Shutdown Pause"
    REBOOT = "Shutdown Reboot"
    TRASH = "Shutdown Trash"
    SAVE = "Shutdown Save"
    DESTROY = "Destroy"


class ShutdownMode(StrEnum):
    """How a workspace is shut down (design, section 3)."""

    NORMAL = "Normal"  # the guest goes down, its disks and its place stay
    PAUSE = "Pause"  # it stays in memory and does not execute
    REBOOT = "Reboot"
    TRASH = "Trash"  # it goes down, nothing of it stays; the lease is over
    SAVE = "Save"  # it goes down, a copy of its first disk is sent to where it is to be saved


@dataclass(frozen=True, slots=True)
class Do:
    """Begin this task, heading for this state."""

    task: Task
    target: State


@dataclass(frozen=True, slots=True)
class NoOp:
    """It is so already, or on its way."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot be done in this status."""

    reason: str


Outcome = Do | NoOp | Refuse

_BUSY = Refuse("something else is being done to it: wait for that and ask again")
_CREATING = Refuse("it is not on its node yet: wait for Propagated")
_DOWN = Refuse("it is not running")
_GOING = Refuse("it is being given back")
_OVER = Refuse("its lease is over")
_SAVED = Refuse("it is shut down and saved: a new one can be made from what was saved")
_U, _P, _R, _Z = State.UNPROPAGATED, State.PROPAGATED, State.RUNNING, State.PAUSED
_T = State.TRANSPORT_READY

_GIVE_BACK = Do(Task.RECLAIMING, State.ENDED)
_PAUSED_ELSE = {Status(_Z): Refuse("it is paused: start it first"), Status(_P): _DOWN}

_OWN: dict[Verb, dict[Status, Outcome]] = {
    Verb.START: {
        Status(_P): Do(Task.STARTING, _R),
        Status(_P, Task.STARTING): NoOp(),
        Status(_R): NoOp(),
        Status(_R, Task.REBOOTING): NoOp(),
        Status(_Z): Do(Task.RESUMING, _R),
        Status(_Z, Task.RESUMING): NoOp(),
    },
    Verb.NORMAL: {
        Status(_P): NoOp(),
        Status(_R): Do(Task.SHUTTING_DOWN, _P),
        Status(_R, Task.SHUTTING_DOWN): NoOp(),
        Status(_Z): Do(Task.SHUTTING_DOWN, _P),
        Status(_Z, Task.SHUTTING_DOWN): NoOp(),
        Status(_T): NoOp(),
    },
    Verb.SAVE: {
        Status(_P): Do(Task.SAVING, _T),
        Status(_P, Task.SAVING): NoOp(),
        Status(_R): Do(Task.SHUTTING_DOWN, _T),
        Status(_R, Task.SHUTTING_DOWN): NoOp(),
        Status(_Z): Do(Task.SHUTTING_DOWN, _T),
        Status(_Z, Task.SHUTTING_DOWN): NoOp(),
        Status(_T): NoOp(),
    },
    Verb.PAUSE: {
        Status(_P): _DOWN,
        Status(_R): Do(Task.PAUSING, _Z),
        Status(_R, Task.PAUSING): NoOp(),
        Status(_Z): NoOp(),
    },
    Verb.REBOOT: {
        **_PAUSED_ELSE,
        Status(_R): Do(Task.REBOOTING, _R),
        Status(_R, Task.REBOOTING): NoOp(),
    },
}


def _outcome(verb: Verb, status: Status) -> Outcome:
    own = _OWN.get(verb, {}).get(status)
    if own is not None:
        return own
    if verb in {Verb.TRASH, Verb.DESTROY}:
        return _end(verb, status)
    if status.state in FINAL:
        return _OVER
    if status.task is Task.RECLAIMING:
        return _GOING
    if status.state is _T:
        return _SAVED
    return _CREATING if status.state is _U else _BUSY


def _end(verb: Verb, status: Status) -> Outcome:
    if status.task is Task.RECLAIMING or status.state is State.ENDED:
        return NoOp()
    if status.state in FINAL:
        return NoOp() if verb is Verb.DESTROY else _OVER
    return _GIVE_BACK


OUTCOMES: dict[tuple[Verb, Status], Outcome] = {
    (verb, status): _outcome(verb, status) for verb in Verb for status in NEXT
}
"""Every verb in every status. A shutdown under way is saved only if it was asked for so: see ``service.apply``."""

SHUTDOWN_VERBS: dict[ShutdownMode, Verb] = {
    ShutdownMode.NORMAL: Verb.NORMAL,
    ShutdownMode.PAUSE: Verb.PAUSE,
    ShutdownMode.REBOOT: Verb.REBOOT,
    ShutdownMode.TRASH: Verb.TRASH,
    ShutdownMode.SAVE: Verb.SAVE,
}
"""The verb of each mode that is offered."""
