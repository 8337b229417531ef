"""Stop what nodes fetch for workspaces that are not wanted any more, and pace what subscribers hear of what is wanted.

An order to destroy, sent beside the one to create, makes a node's agent drop the transfer. It ends nothing here: the
workspace is given back as ever, by an order to destroy that is sent when the node has answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from flyinglow.backend.api import Order
from flyinglow.nodectl.messages import OrderName, VmInfo, VmSpec
from flyinglow.workspace.model import Workspace
from flyinglow.workspace.orders import Ask, Round
from flyinglow.workspace.spreading import is_remote


class Transfers:
    """The creations of one launch that may wait for a transfer."""

    def __init__(self, send: Callable[[Sequence[Ask]], Round], seconds: float) -> None:
        """``send`` sends orders, ``seconds`` is how long a node may take to destroy."""
        self._send = send
        self._seconds = seconds
        self._waiting: dict[str, Workspace] = {}

    def begin(self, members: Iterable[tuple[Workspace, VmSpec]]) -> None:
        """Hear what is to be created."""
        self._waiting = {row.id: row for row, spec in members if any(is_remote(disk.source) for disk in spec.disks)}

    def end(self, ids: Iterable[str]) -> None:
        """Hear whose nodes have answered."""
        for workspace_id in ids:
            self._waiting.pop(workspace_id, None)

    def cut(self, *ids: str) -> None:
        """Stop the transfers for these workspaces, where they still last."""
        rows = [row for one in ids if (row := self._waiting.pop(one, None))]
        self._send([Ask(row, Order(OrderName.DESTROY, row.tag), self._seconds) for row in rows])

    def cut_all(self) -> None:
        """Stop whatever still lasts."""
        self.cut(*list(self._waiting))


EVERY = 5.0
"""Seconds between two notifications of how far one transfer is; its resource property is as new as the node's word."""


class Pace:
    """Whose subscribers are to be told how far a transfer is. ``seconds`` is a monotonic clock."""

    def __init__(self, seconds: Callable[[], float], every: float = EVERY) -> None:
        self._seconds = seconds
        self._every = every
        self._told: dict[str, float] = {}

    def due(self, infos: Iterable[VmInfo]) -> frozenset[str]:
        """Return the tags of the VMs whose progress is to be told of now; it counts as told."""
        now = self._seconds()
        self._told = {tag: at for tag, at in self._told.items() if now - at < self._every}
        due = frozenset(info.tag for info in infos if info.progress and info.tag not in self._told)
        self._told |= dict.fromkeys(due, now)
        return due
