"""How long the slot lasts: its own clock, the LRM's notice, and what the service says, made into two moments.

At ``release_at`` giving back begins; by ``limit`` all must be over. Durations only, on a clock that nobody sets, so
that neither the node's date nor the service's matters. Pure: no time passes in here.
"""

from __future__ import annotations

from flyinglow.pilot.messages import Settings, Standing

RESERVE = 1.0  # seconds of the grace that are never used: the LRM's SIGKILL must find nothing to kill
UNDO = 5.0  # seconds before the slot's end at which giving back begins
LEAST = 3.0  # seconds of the grace that giving back is left, whatever the service's share


class Term:
    """What is known of the slot's end; fed by the main thread only."""

    def __init__(self, settings: Settings, started: float) -> None:
        self._grace = settings.grace
        self._share = settings.share
        self._deadline = started + settings.seconds
        self._undo = min(UNDO, settings.seconds / 10)
        self._notice: float | None = None  # when the first pilot of the job got it, by this clock
        self._ended = False
        self._by = ""
        self.serving = False  # the service may have VMs here

    @property
    def signalled(self) -> bool:
        """Whether the LRM's notice has come, here or to another pilot of the job."""
        return self._notice is not None

    @property
    def reason(self) -> str:
        """Why the slot ends."""
        return self._by or "deadline"

    def left(self, now: float) -> float:
        """Return the seconds until the slot's end."""
        return max(0.0, min(self._deadline, self.limit if self.limit is not None else self._deadline) - now)

    def notice(self, name: str, now: float) -> bool:
        """Take the LRM's notice; return whether it is the first. Later ones change nothing."""
        if self._notice is not None:
            return False
        self._notice = now
        self._by = self._by or f"signal {name}"
        return True

    def hear(self, standing: Standing, now: float) -> None:
        """Take what the service says of the slot, at the moment at which it came; it may say it often."""
        if standing.left is not None and not self.signalled:
            self._deadline = now + standing.left
        if standing.warned is not None:
            self._warn(now + standing.warned - self._grace)
        if standing.end and not self._ended:
            self._ended = True
            self._by = self._by or ": ".join(filter(None, ("ended", standing.reason)))

    def _warn(self, notice: float) -> None:
        if self._notice is None or notice < self._notice - RESERVE:
            self._notice = notice
            self._by = self._by or "warned"

    @property
    def limit(self) -> float | None:
        """When all must be over because the LRM kills then; None as long as it gave no notice."""
        return None if self._notice is None else self._notice + max(self._grace - RESERVE, self._grace / 2)

    def release_at(self, now: float, *, patient: bool = False) -> float:
        """Return when giving back begins; not later than ``now`` when it is due.

        Without VMs that is at once after a notice. Who is ``patient`` has begun what should be finished first, and
        takes the service's share of the grace for it.
        """
        moments = [self._deadline - self._undo]
        if not patient and (self._ended or (self.signalled and not self.serving)):
            moments.append(now)
        if self._notice is not None and self.limit is not None:
            usable = self.limit - self._notice
            moments.append(min(self._notice + self._grace * self._share, self.limit - min(LEAST, usable / 2)))
        return min(moments)
