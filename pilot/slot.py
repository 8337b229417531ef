"""What the steps of one slot share, and the main thread's only way to wait: every wait looks at signals and standings.

Other threads never touch the slot: they leave word in its mailbox and ring.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.pilot.agent import Agents
from flyinglow.pilot.bell import Waits
from flyinglow.pilot.clock import Clock
from flyinglow.pilot.log import Log
from flyinglow.pilot.messages import Answer, Kind, Settings, Standing
from flyinglow.pilot.relay import Relay
from flyinglow.pilot.reports import Reports
from flyinglow.pilot.signals import name_of
from flyinglow.pilot.term import Term
from flyinglow.pilot.tickets import Asks

LEAVING = 0.25  # seconds of the grace in which the program itself ends
_POSTS = 4  # posts that fit into the service's share of the grace, when each takes as long as it may


class Ending(Exception):
    """Giving back is due."""


class Mailbox:
    """Where other threads leave word for the main one."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self.standings: deque[tuple[Standing, float]] = deque()
        self.fates: deque[FlyingLowError] = deque()

    def heard(self, answer: Answer) -> None:
        """Take an answer's standing; one that says nothing wakes nobody."""
        if answer.standing != Standing():
            self.standings.append((answer.standing, self._clock.monotonic()))
            self._ring()

    def fate(self, error: FlyingLowError) -> None:
        """Take what makes going on useless."""
        self.fates.append(error)
        self._ring()


@dataclass
class Undone:
    """What giving back came to."""

    since: float = 0.0
    destroyed: list[str] = field(default_factory=list)
    restored_mb: int = 0
    failed: bool = False


class Slot:
    """One slot of the node, from the pilot's start to its end."""

    def __init__(
        self,
        settings: Settings,
        rank: int,
        *,
        clock: Clock,
        bell: Waits,
        mailbox: Mailbox,
        term: Term,
        agent: Agents,
        relay: Relay,
        reports: Reports,
        log: Log,
        tickets: Asks | None = None,
    ) -> None:
        self.tickets = tickets
        self.settings = settings
        self.id = f"{settings.job}.{rank}"
        self.size = settings.slots[rank]
        self.clock = clock
        self.term = term
        self.agent = agent
        self.relay = relay
        self.reports = reports
        self.log = log
        self.undoing: str | None = None  # why, once giving back has begun
        self.undone = Undone()
        self.held: dict[str, Any] = {}  # the agent's SlotInfo, once it is reserved
        self.started = clock.monotonic()
        self._told = False
        self._bell = bell
        self._mailbox = mailbox

    def wait(self, done: Callable[[], bool], seconds: float | None = None, *, patient: bool = False) -> bool:
        """Wait until it is done or the time is over, and return whether it is done.

        Raises Ending when giving back is due, and what makes going on useless, unless giving back has begun. A
        ``patient`` wait goes on after the LRM's notice as long as the service's share of the grace would. None goes on
        beyond the grace.
        """
        until = None if seconds is None else self.clock.monotonic() + seconds
        while True:
            self.attend(patient=patient)
            if done():
                return True
            now = self.clock.monotonic()
            moments = [until, self._last_moment if self.undoing is not None else None]
            ends = min((moment for moment in moments if moment is not None), default=None)
            if ends is not None and now >= ends:
                return False
            if self.undoing is None:
                due = self.term.release_at(now, patient=patient)
                ends = due if ends is None else min(ends, due)
            for number in self._bell.wait(None if ends is None else ends - now):
                self._signalled(number)

    @property
    def _last_moment(self) -> float | None:
        limit = self.term.limit
        return None if limit is None else limit - LEAVING

    def attend(self, *, patient: bool = False) -> None:
        """Look at what has come. Raises as ``wait`` does."""
        for number in self._bell.wait(0.0):
            self._signalled(number)
        while self._mailbox.standings:
            self._hear(*self._mailbox.standings.popleft())
        if self.undoing is not None:
            return
        if self._mailbox.fates:
            raise self._mailbox.fates.popleft()
        now = self.clock.monotonic()
        if self.term.release_at(now, patient=patient) <= now:
            raise Ending

    def _hear(self, standing: Standing, moment: float) -> None:
        before = self.term.signalled
        self.term.hear(standing, moment)
        if self.term.signalled and not before:
            self.log.say("warned", seconds=float(standing.warned or 0.0))
            self._hurry()

    def _signalled(self, number: int) -> None:
        name, now = name_of(number), self.clock.monotonic()
        first = self.term.notice(name, now)
        if self._told:
            self.log.say("signal-again", signal=name)
            return
        self._told = True
        left = round(self.term.left(now), 3)
        self.reports.add(Kind.SIGNALLED, signal=name, grace=self.settings.grace, left=left)
        if first:
            self._hurry()

    def _hurry(self) -> None:
        self.reports.hurry(self.settings.grace * self.settings.share / _POSTS)

    def time_left(self, longest: float, keep: float = 0.0) -> float:
        """Return how long something may take, so that ``keep`` seconds of the grace are left."""
        limit = self.term.limit
        return longest if limit is None else max(0.0, min(longest, limit - keep - self.clock.monotonic()))
