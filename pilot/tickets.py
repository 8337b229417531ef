"""The service's signature, which some nodes want to see before they give a slot: asked for when it is needed.

The pilot does not look into a ticket; it hands it to the node's agent. A new one is asked for each time, as each is
good once and not for long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from flyinglow.nodectl.errors import BrokenError, FlyingLowError, TransientError
from flyinglow.pilot.identity import Identity
from flyinglow.pilot.line import Says
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import Kind
from flyinglow.pilot.turns import BackOff


class Asked:
    """What becomes of one request."""

    def __init__(self) -> None:
        self.done = False
        self.ticket: dict[str, Any] = {}
        self.error: FlyingLowError | None = None

    def result(self) -> dict[str, Any]:
        """Return the ticket. Raises what the service said instead."""
        if self.error is not None:
            raise self.error
        return self.ticket


class Asks(Protocol):
    """Where tickets come from; ``Tickets`` is one."""

    def ask(self) -> Asked:
        """Begin to ask."""


class Tickets:
    """Asks until there is an answer; ``ring`` wakes the main thread, which waits for it. See ``turns.Turn``."""

    def __init__(self, line: Says, identity: Identity, patience: float, *, ring: Callable[[], None], log: Log) -> None:
        self._line = line
        self._identity = identity
        self._patience = patience
        self._ring = ring
        self._log = log
        self._lock = threading.Lock()
        self._asked: Asked | None = None
        self._back_off = BackOff()
        self.wake: Callable[[], None] = lambda: None

    def ask(self) -> Asked:
        """Begin to ask; what was asked before is forgotten."""
        with self._lock:
            self._asked = asked = Asked()
        self.wake()
        return asked

    def once(self) -> float | None:
        """Ask once, when there is something to ask for and the slot's key, which signs for it, is there."""
        asked = self._asked
        if asked is None or asked.done or not self._identity.bound.is_set():
            return None
        try:
            asked.ticket = self._line.say(self._identity.message(Kind.TICKET, {}), self._patience).ticket
            if not asked.ticket:
                raise BrokenError("the service gave no ticket, which this node wants")
        except TransientError as error:
            self._log.say("ticket-failed", error=error.message)
            return self._back_off.failed()
        except FlyingLowError as error:
            asked.error = error
        self._back_off.worked()
        asked.done = True
        self._ring()
        return None
