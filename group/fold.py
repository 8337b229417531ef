"""The state of a group or ensemble: never stored, always folded from its workspaces.

The rules, first match wins:

1. any workspace Corrupted: ``Corrupted``, with the first such one's reason;
2. any workspace Cancelled: ``Cancelled``, likewise;
3. any workspace still living: the state of the least advanced of these, in the order Unpropagated, Propagated, Paused,
   TransportReady, Running, and the task of the least advanced one that has a task;
4. all of them over: ``Ended``. A set without workspaces is ``Ended``, too.

So "Running" means that all that still live are running, and nothing has failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyinglow.workspace.model import Workspace
from flyinglow.workspace.states import FINAL, State

ORDER: tuple[State, ...] = (
    State.UNPROPAGATED,
    State.PROPAGATED,
    State.PAUSED,
    State.TRANSPORT_READY,
    State.RUNNING,
)
"""The living states, the least advanced first."""

_RANK = {state: rank for rank, state in enumerate(ORDER)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A folded state. ``counts`` says how many workspaces are in each state, by the state's name."""

    state: str
    task: str | None
    reason: str
    counts: Mapping[str, int]
    total: int


def fold(members: Sequence[Workspace]) -> Folded:
    """Fold the states of these workspaces by the rules above; pure, in one pass over each state's members."""
    state, task, reason = _word(members)
    counts = Counter(str(member.state) for member in members)
    return Folded(state=state, task=task, reason=reason, counts=dict(sorted(counts.items())), total=len(members))


def _word(members: Sequence[Workspace]) -> tuple[str, str | None, str]:
    living = sorted((m for m in members if m.state not in FINAL), key=lambda m: (_RANK[m.state], m.name))
    task = next((str(member.task) for member in living if member.task), None)
    for failed in (State.CORRUPTED, State.CANCELLED):
        lost = sorted((m for m in members if m.state is failed), key=lambda m: m.name)
        if lost:
            return str(failed), task, next((m.reason for m in lost if m.reason), "")
    if living:
        return str(living[0].state), task, next((m.reason for m in living if m.reason), "")
    return str(State.ENDED), None, next((m.reason for m in members if m.reason), "")
