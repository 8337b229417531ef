"""What the parts of the back-end share: ledger, clocks, the mirror, and the one place where changes are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog
from twisted.internet.defer import Deferred

from flyinglow.backend.lrm.mirror import JobStep, Mirror, SlotStep, Written, everything
from flyinglow.backend.lrm.steps import STEPS
from flyinglow.nodectl.errors import BrokenError, FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import datetime

    from flyinglow.backend.api import NodeChannel
    from flyinglow.backend.lrm.api import Lrm
    from flyinglow.backend.lrm.jobs.pilots import Pilots
    from flyinglow.backend.lrm.model import Slot
    from flyinglow.backend.lrm.policy.api import Policy, Sizes
    from flyinglow.backend.lrm.ports import Ledger
    from flyinglow.backend.lrm.settings.options import LrmOptions

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Closed(Exception):
    """The back-end is closed: a step leaves everything as it stands in the ledger, and the next start goes on."""


class Timer(Protocol):
    """A call that is to be made later."""

    def active(self) -> bool:
        """Tell whether it is still to be made."""

    def cancel(self) -> None:
        """Have it not made."""


class Lines(Protocol):
    """The channels to slots, by which orders ride in the answers to pilots."""

    def channel(self, slot: Slot) -> NodeChannel:
        """Return the kept channel. Raises UnknownError for a slot that has no pilot, or has none any more."""

    def forget(self, slot_id: str) -> None:
        """Fail what waits for a slot, which is over."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """Handed to every part. ``wake(slot ids)`` has polls answered; ``heed`` are told of every change of a row."""

    reactor: Any
    ledger: Ledger
    now: Callable[[], datetime]
    options: LrmOptions
    lrm: Lrm
    policy: Policy
    sizes: Callable[[], Sizes]
    pilots: Pilots
    lines: Lines
    wake: Callable[[Iterable[str]], None]
    mirror: Mirror = field(default_factory=Mirror)
    heed: list[Callable[[Sequence[JobStep], Sequence[SlotStep]], None]] = field(default_factory=list)
    timers: set[Timer] = field(default_factory=set)
    closed: bool = False
    ready: list[Deferred[None]] | None = field(default_factory=list)  # who waits for the first load; None: loaded

    async def commit(self, step: str, fn: Callable[[Any], Written]) -> Written:
        """Run ``fn`` as one transaction, which is the named step, and tell what it wrote. Raises Closed."""
        if step not in STEPS:
            raise BrokenError(f"there is no step {step!r}")
        if self.closed:
            raise Closed
        written = await self.ledger.run(fn, step=step)
        self.absorb(written)
        return written

    def absorb(self, written: Written) -> None:
        """Take committed rows into the mirror and tell everyone whom they may concern."""
        jobs, slots = self.mirror.put(written)
        touched = {step.now.id for step in slots}
        touched |= {slot.id for step in jobs for slot in self.mirror.slots_of(step.now.tag)}
        if touched:
            self.wake(sorted(touched))
        for hear in self.heed if jobs or slots else ():
            try:
                hear(jobs, slots)
            except Exception:
                log.exception("a change of pilot jobs could not be taken in")

    async def refresh(self) -> Written:
        """Read what matters anew, and take in what was missed: a commit, say, whose outcome was not heard of."""
        pruned = self.mirror.pruned
        rows = await self.ledger.read(everything)
        if pruned == self.mirror.pruned:  # or what was just forgotten would be here again
            self.absorb(Written(jobs=rows.jobs, slots=rows.slots))
        return rows

    async def loaded(self) -> None:
        """Wait until the ledger was read. Raises Closed when the back-end is closed before."""
        if self.ready is not None:
            waiter: Deferred[None] = Deferred()
            self.ready.append(waiter)
            await waiter
        if self.closed:
            raise Closed

    def load(self, written: Written) -> None:
        """Take in what the ledger holds at the start."""
        self.mirror.put(written)
        self.release_waiters()

    def release_waiters(self) -> None:
        """Let all go on who wait for the first load."""
        waiting, self.ready = self.ready or [], None
        for one in waiting:
            one.callback(None)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call after so many seconds, unless the back-end is closed before; return the timer."""

        def due() -> None:
            self.timers.discard(timer)
            call()

        timer: Timer = self.reactor.callLater(seconds, due)
        if self.closed:
            timer.cancel()
        else:
            self.timers.add(timer)
        return timer

    def never_mind(self, timer: Timer | None) -> None:
        """Have a call that ``later`` returned not made, when it was not."""
        if timer is not None and timer.active():
            timer.cancel()
            self.timers.discard(timer)

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """See work through on its own; a failure is logged and left to the next pass."""
        Deferred.fromCoroutine(self.attempt(work, what))

    async def attempt(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """See work through; a failure of whatever kind is logged and left to the next pass."""
        try:
            await work
        except Closed:
            return
        except FlyingLowError as error:
            log.warning("work of the LRM back-end failed and will be tried again", what=what, error=error.message)
        except Exception:
            log.exception("work of the LRM back-end failed unforeseen and will be tried again", what=what)

    def close(self) -> None:
        """Take no further step."""
        self.closed = True
        for timer in list(self.timers):
            if timer.active():
                timer.cancel()
        self.timers.clear()
        self.release_waiters()
