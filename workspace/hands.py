"""Which workspaces are in the hands of a step now, so that no two steps drive the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Hands:
    """The registry. ``look`` is called with the freed workspaces about which something came in the meantime."""

    def __init__(self, look: Callable[[list[str]], None]) -> None:
        self._look = look
        self._held: dict[str, Grip] = {}
        self._again: set[str] = set()  # something came meanwhile

    def __contains__(self, workspace_id: str) -> bool:
        """Say whether a step has this workspace in its hands."""
        return workspace_id in self._held

    def remind(self, workspace_id: str, *, unwanted: bool = False) -> None:
        """Have a held workspace looked at when it is freed; tell whoever holds it if it is not wanted any more."""
        self._again.add(workspace_id)
        if unwanted:
            self._held[workspace_id].unwanted(workspace_id)

    def take(self, ids: Iterable[str]) -> Grip:
        """Take those of these workspaces that nobody holds."""
        taken = {workspace_id for workspace_id in ids if workspace_id not in self._held}
        grip = Grip(self, taken)
        self._held.update(dict.fromkeys(taken, grip))
        return grip

    def wrest(self, ids: Iterable[str]) -> None:
        """Free workspaces whoever holds them, and have them looked at; the step finds its row changed."""
        held = [workspace_id for workspace_id in ids if self._held.pop(workspace_id, None) is not None]
        self._again.difference_update(held)
        if held:
            self._look(held)

    def give(self, ids: Iterable[str], grip: Grip) -> None:
        """Free workspaces; called by their grip. What was wrested from it meanwhile is not its own any more."""
        freed = [workspace_id for workspace_id in ids if self._held.get(workspace_id) is grip]
        for workspace_id in freed:
            del self._held[workspace_id]
        again = self._again.intersection(freed)
        self._again -= again
        if again:
            self._look(sorted(again))


class Grip:
    """What one step holds. Freeing what it does not hold (any more) does nothing."""

    def __init__(self, hands: Hands, ids: set[str]) -> None:
        self._hands = hands
        self._ids = ids
        self.unwanted: Callable[[str], None] = lambda _: None  # called with what is to be given back meanwhile

    def free(self, ids: Iterable[str]) -> None:
        """Let go of some."""
        mine = self._ids.intersection(ids)
        self._ids -= mine
        self._hands.give(mine, self)

    def free_all(self) -> None:
        """Let go of the rest."""
        self.free(set(self._ids))
