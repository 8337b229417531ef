"""Stop what nodes fetch for workspaces that are not wanted any more, before the order to create them is answered.

An order to destroy, sent beside the one to create, makes a node's agent drop the transfer. It ends nothing here: the
workspace is given back as ever, by an order to destroy that is sent when the node has answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from flyinglow.backend.api import Order
from flyinglow.nodectl.messages import OrderName, VmSpec
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
