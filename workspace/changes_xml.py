"""What SetResourceProperties asks for, as the wish that it is: names, and what becomes of the disks at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.changes import Change
from flyinglow.workspace.model import EndAction
from flyinglow.wsrf.xml import qname

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.wsrf.ports import QName

NAME: Final = qname("fl", "Name")
END_ACTION: Final = qname("fl", "EndAction")
SAVE_TO: Final = qname("fl", "SaveTo")
MUTABLE: Final[Mapping[QName, tuple[int, int]]] = {NAME: (1, 1), END_ACTION: (1, 1), SAVE_TO: (0, 1)}
"""The properties that can be changed, with the least and the most elements that each may have."""


def wish(wanted: Mapping[QName, tuple[str, ...]], action: EndAction | None, place: str | None) -> Change:
    """Return the wish for a resource that now ends with ``action`` (None: its members differ) and saves to ``place``.

    EndAction Trash drops the place. Raises InvalidError for a place without an action.
    """
    name = next(iter(wanted.get(NAME, ())), None)
    if END_ACTION not in wanted and SAVE_TO not in wanted:
        return Change(name=name)
    if END_ACTION in wanted:
        action = EndAction(wanted[END_ACTION][0].lower())
    if action is None:
        raise InvalidError("SaveTo goes with EndAction Save")
    if SAVE_TO in wanted:
        place = next(iter(wanted[SAVE_TO]), None)
    elif action is EndAction.TRASH:
        place = None
    return Change(name=name, end_action=action, save_to=place)
