"""One slot's life: the steps done, then undone backwards, and how it went as the program's exit code."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from flyinglow.nodectl.errors import BrokenError, FlyingLowError
from flyinglow.pilot.line import RefusedError, VersionError
from flyinglow.pilot.messages import Kind
from flyinglow.pilot.slot import Ending, Slot
from flyinglow.pilot.steps import CheckNode, Step


class Exit(IntEnum):
    """The program's exit codes."""

    DONE = 0  # all was given back
    USAGE = 2  # wrong arguments or settings
    NODE = 3  # this node cannot be what is asked for; nothing was changed
    FAILED = 4  # a step failed, and all was given back
    HELD = 5  # something could not be given back; the agent still tries to, at the end of its input
    VERSION = 6  # pilot and service, or agent, are of different versions
    REFUSED = 7  # the service will have nothing to do with this pilot


def live(slot: Slot, steps: Sequence[Step]) -> Exit:
    """Do the steps until giving back is due or one fails, then undo them."""
    begun: list[Step] = []
    code = Exit.DONE
    reason = ""
    try:
        for step in steps:
            begun.append(step)
            slot.log.say("step", name=step.name)
            step.do()
    except Ending:
        reason = slot.term.reason
    except Exception as error:  # noqa: BLE001 - whatever it was, the node is to be given back
        code = _failed(slot, begun[-1], error)
        reason = f"failed: {begun[-1].name}"
    slot.undoing = reason
    slot.undone.since = slot.clock.monotonic()
    slot.log.say("undo", reason=reason)
    for step in reversed(begun):
        _undo(slot, step)
    return Exit.HELD if slot.undone.failed else code


def _undo(slot: Slot, step: Step) -> None:
    slot.log.say("undo-step", name=step.name)
    try:
        step.undo()
    except Exception as error:  # noqa: BLE001 - the steps before it are to be undone all the same
        slot.undone.failed = True
        _report(slot, f"undo {step.name}", error)


def _failed(slot: Slot, step: Step, error: Exception) -> Exit:
    _report(slot, step.name, error)
    if isinstance(error, VersionError):
        return Exit.VERSION
    if isinstance(error, RefusedError):
        return Exit.REFUSED
    return Exit.NODE if isinstance(step, CheckNode) else Exit.FAILED


def _report(slot: Slot, step: str, error: Exception) -> None:
    ours = error if isinstance(error, FlyingLowError) else BrokenError(f"{type(error).__name__}: {error}")
    wrong = {"kind": ours.kind, "message": ours.message, "figures": ours.figures}
    slot.reports.add(Kind.FAILED, step=step, error=wrong)
