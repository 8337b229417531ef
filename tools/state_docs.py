#!/usr/bin/env python3
"""Writes the tables and the diagram of states into docs/developers/states.md, from the tables the service runs on."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from doc_blocks import main, table

from flyinglow.group import fold as folding
from flyinglow.workspace.lifecycle import STEPS
from flyinglow.workspace.observe import VIA
from flyinglow.workspace.operation import ORDERS, SEEN
from flyinglow.workspace.outcomes import OUTCOMES, Do, NoOp, Outcome, Verb
from flyinglow.workspace.states import FINAL, NEXT, State, Status, Task
from flyinglow.workspace.steps import RECOVERY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import Enum

_COMMENTED = re.compile(r'^\s+\w+ = "([^"]+)"\s+# (.*)$', re.MULTILINE)
_LIVING = (
    (("a", "Running", None), ("b", "Running", None)),
    (("a", "Running", None), ("b", "Propagated", "Starting")),
    (("a", "Running", "Rebooting"), ("b", "Paused", None)),
    (("a", "Running", None), ("b", "Running", "Reclaiming")),
)
_OVER = (
    (("a", "Running", None), ("b", "Ended", None)),
    (("a", "Running", "Reclaiming"), ("b", "Corrupted", None)),
    (("a", "Cancelled", None), ("b", "Corrupted", None)),
    (("a", "Ended", None), ("b", "Ended", None)),
)


def words(status: Status) -> str:
    """Return a status as the documentation writes it."""
    return f"{status.state}, {status.task}" if status.task else str(status.state)


def states() -> str:
    """Return every state with the comment that stands beside it."""
    return table(("state", "meaning"), [(f"`{value}`", text) for value, text in _comments(State)])


def _comments(enum: type[Enum]) -> list[tuple[str, str]]:
    found = _COMMENTED.findall(inspect.getsource(enum))
    missing = {str(member.value) for member in enum} - {value for value, _ in found}
    if missing:
        raise SystemExit(f"{enum.__name__}: no comment beside {', '.join(sorted(missing))}")
    return found


def following() -> str:
    """Return what may follow each status."""
    rows = [(words(old), "; ".join(sorted(map(words, new))) or "nothing") for old, new in NEXT.items()]
    return table(("state, task", "may be followed by"), rows)


def diagram() -> str:
    """Return a diagram of the same. Giving back is drawn once, whatever was given back."""
    nodes = list(dict.fromkeys((_node(status), _label(status)) for status in NEXT))
    edges = dict.fromkeys((_node(old), _node(new)) for old in NEXT for new in sorted(NEXT[old], key=words))
    lines = [f'    state "{label}" as {node}' for node, label in nodes]
    lines += [f"    [*] --> {_node(Status(State.UNPROPAGATED, Task.QUEUED))}"]
    lines += [f"    {old} --> {new}" for old, new in edges]
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def _node(status: Status) -> str:
    if status.task is Task.RECLAIMING:
        return str(Task.RECLAIMING)
    return f"{status.state}_{status.task}" if status.task else str(status.state)


def _label(status: Status) -> str:
    return f"any, {Task.RECLAIMING}" if status.task is Task.RECLAIMING else words(status)


def outcomes() -> str:
    """Return what each request does in each status, with the reasons of refusals below."""
    reasons: dict[str, int] = {}

    def cell(outcome: Outcome) -> str:
        if isinstance(outcome, Do):
            return f"{outcome.task} → {outcome.target}"
        if isinstance(outcome, NoOp):
            return "no-op"
        return f"no ({reasons.setdefault(outcome.reason, len(reasons) + 1)})"

    rows = [(words(status), *(cell(OUTCOMES[verb, status]) for verb in Verb)) for status in NEXT]
    found = table(("state, task", *map(str, Verb)), rows)
    return found + "\n\n" + "\n".join(f"{number}. {reason}" for reason, number in reasons.items())


def recovery() -> str:
    """Return how each task is taken up after a restart, and by which order."""
    others = {Task.QUEUED: "create", Task.PROPAGATING: "create", Task.RECLAIMING: "destroy"}
    orders = others | {task: order.value for task, order in ORDERS.items()}
    rows = [
        (words(status), f"`{orders[status.task]}`", str(line.how), line.why)
        for status, line in RECOVERY.items()
        if status.task
    ]
    return table(("state, task", "order", "after a restart", "because"), rows)


def steps() -> str:
    """Return the steps that the service commits on its own account."""
    return table(("step", "what is committed"), [(f"`{name}`", text) for name, text in STEPS.items()])


def sights() -> str:
    """Return what a VM's status on its node makes of a workspace at rest."""
    living = list(dict.fromkeys(SEEN.values()))
    rows = [(f"`{seen.value}`", str(state)) for seen, state in SEEN.items()]
    rows += [("`broken`", "Reclaiming → Corrupted"), ("not in the node's list", "Reclaiming → Corrupted")]
    rows += [("the node does not answer", "as it was: silence proves nothing")]
    led = [f"{old} to {new} by {task}" for (old, new), task in VIA.items() if old in living]
    return table(("on the node", "becomes"), rows) + "\n\nWhere no direct step is allowed: " + ", ".join(led) + "."


def fold() -> str:
    """Return the rules of a group's or ensemble's state, and some folds as the code makes them."""
    text = inspect.getdoc(folding) or ""
    rules = text[text.index("The rules") :]
    rows = [(", ".join(_member(*each) for each in members), *_folded(members)) for members in (*_LIVING, *_OVER)]
    return rules + "\n\n" + table(("members", "state", "task", "reason"), rows)


def _member(name: str, state: str, task: str | None) -> str:
    return f"{name} {state} ({task})" if task else f"{name} {state}"


def _folded(members: tuple[tuple[str, str, str | None], ...]) -> Iterator[str]:
    rows: Any = [
        SimpleNamespace(
            name=name, state=State(state), task=Task(task) if task else None, reason=f"{name}'s" if _lost(state) else ""
        )
        for name, state, task in members
    ]
    found = folding.fold(rows)
    yield from (found.state, found.task or "-", found.reason or "-")


def _lost(state: str) -> bool:
    return state in {State.CORRUPTED, State.CANCELLED}


if __name__ == "__main__":
    makers = (states, following, diagram, outcomes, recovery, steps, sights, fold)
    main("state_docs", "developers/states.md", {make.__name__: f"\n{make()}\n" for make in makers})
