"""What the provisioner's steps share: the ways to the store, the back-end and the nodes, and the time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flyinglow.backend.api import Backend
from flyinglow.nodectl.errors import BrokenError
from flyinglow.workspace.catalogue import Catalogue
from flyinglow.workspace.context_endpoint import Endpoint
from flyinglow.workspace.hands import Grip
from flyinglow.workspace.lifecycle import STEPS
from flyinglow.workspace.orders import Orders
from flyinglow.workspace.ports import Now, Store
from flyinglow.workspace.timing import Timing

T = TypeVar("T")


class Stopped(Exception):
    """The service is being stopped: a step leaves everything as it stands in the store, and the next start goes on."""


@dataclass(slots=True, kw_only=True)
class Crew:
    """Handed to every step.

    ``later(seconds, ids)`` has these workspaces looked at again, ``take(ids)`` takes them in hand, ``wrest(sets)``
    takes workspaces (id -> launch set) whose places go away from whoever has them in hand, ``committed`` is called
    after each step of ``lifecycle.STEPS`` with its name.
    """

    store: Store
    backend: Backend
    orders: Orders
    now: Now
    timing: Timing
    catalogue: Catalogue
    later: Callable[[float, Iterable[str]], None]
    take: Callable[[Iterable[str]], Grip]
    wrest: Callable[[Mapping[str, str]], None]
    committed: Callable[[str], None]
    endpoint: Endpoint | None = None  # where guests report to
    stopped: bool = False

    async def commit(self, step: str, fn: Callable[[Any], T]) -> T:
        """Run ``fn`` as one transaction, which is the named step. Raises Stopped once the service is being stopped."""
        if step not in STEPS:
            raise BrokenError(f"there is no step {step!r}")
        if self.stopped:
            raise Stopped
        result = await self.store.run(fn)
        self.committed(step)
        return result
