"""Errors that only a client has: a lease that came to its end instead of where it was awaited."""

from __future__ import annotations

from flyinglow.nodectl.errors import FlyingLowError


class WaitError(FlyingLowError):
    """What was waited for will not come."""

    kind = "wait"


class LeaseFailed(WaitError):
    """The resource is Corrupted, Cancelled or Ended; ``state`` and ``reason`` are the service's."""

    kind = "lease failed"

    def __init__(self, name: str, state: str, reason: str) -> None:
        super().__init__(f"{name} is {state}: {reason or 'no reason was given'}")
        self.name, self.state, self.reason = name, state, reason
