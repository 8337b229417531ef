"""What a guest is told of its launch set by ``GET /members``.

One fact a line, words separated by single spaces::

    member ce compute-element 10.1.0.10,192.168.7.2 public=public-10 private=private-2
    value ce ssh-host-key ssh-ed25519 AAAA... root@public-10
    missing se

``member`` lines are those of the context text. A ``value`` is what a member reported: its name, the value's, and the
rest of the line. ``missing`` names those that provide what the guest requires and have not reported yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from flyinglow.workspace.context import members_text
from flyinglow.workspace.model import Selection, Stamp, Workspace
from flyinglow.workspace.ports import Tx
from flyinglow.workspace.states import FINAL, Task


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole text, and the names of those that have to report yet."""

    text: str
    missing: tuple[str, ...]


def answer_to(tx: Tx, row: Workspace) -> Answer:
    """Return what the guest of ``row`` is told now."""
    everyone = tx.workspaces.select(Selection(launch_set=row.launch_set))
    members = sorted((each for each in everyone if Stamp.LAUNCHED in each.stamps), key=lambda each: each.name)
    reports = tx.guests.reports([each.id for each in members])
    values = [
        f"value {each.name} {name} {value}\n"
        for each in members
        if each.id in reports
        for name, value in sorted(reports[each.id].values.items())
    ]
    wanted = frozenset(row.context.requires)
    missing = tuple(
        each.name
        for each in members
        if each.id not in reports and wanted.intersection(each.context.provides) and _may_report(each, row)
    )
    lines = [members_text(members), *values, *(f"missing {name}\n" for name in missing)]
    return Answer("".join(lines), missing)


def _may_report(member: Workspace, asking: Workspace) -> bool:
    """Say whether a report is still to be hoped for; a guest does not wait for itself."""
    return member.id != asking.id and member.state not in FINAL and member.task is not Task.RECLAIMING
