"""The back-end itself: implements the verbs of ``backend/api.py`` over the parts, and brings them up and down."""

from __future__ import annotations

import secrets
import string
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from flyinglow.backend.abilities import Reply
from flyinglow.backend.lrm import adapters, inspection, policy
from flyinglow.backend.lrm.bulletin import Bulletin
from flyinglow.backend.lrm.claims import extension, offers
from flyinglow.backend.lrm.claims.free import Figures, free_slots
from flyinglow.backend.lrm.claims.planning import Planner
from flyinglow.backend.lrm.claims.waiting import Claims
from flyinglow.backend.lrm.desk import Closed, Desk
from flyinglow.backend.lrm.hearing import Hearing
from flyinglow.backend.lrm.intake.door import Intake
from flyinglow.backend.lrm.intake.spool_reader import SpoolReader
from flyinglow.backend.lrm.intake.tickets import Tickets
from flyinglow.backend.lrm.jobs.pilots import Pilots
from flyinglow.backend.lrm.jobs.watch import Watch
from flyinglow.backend.lrm.lines.channel import Lines
from flyinglow.backend.lrm.mirror import everything, history
from flyinglow.backend.lrm.observing import Observing
from flyinglow.backend.lrm.rounds import Rounds
from flyinglow.backend.lrm.settings import options
from flyinglow.backend.lrm.settings.check import check
from flyinglow.backend.lrm.states import SLOT_LIVE, SlotState
from flyinglow.nodectl.errors import InvalidError, TransientError
from flyinglow.pilot.bundle import bundle

__all__ = ["LrmBackend", "check", "create"]

if TYPE_CHECKING:
    from flyinglow.backend.abilities import Estimate
    from flyinglow.backend.api import Claim, Decision, Grant, Limits, NodeChannel, Observation, Request, Settings, View
    from flyinglow.backend.lrm.api import Lrm

log = structlog.get_logger(__name__)
T = TypeVar("T")
_RETRY = 5.0  # seconds until a ledger is read again that did not answer at the start
_LETTERS = string.ascii_lowercase
_CLOSING = Reply(503, b"The service is going down; send it again.\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How new names and keys are made; tests make them to measure."""

    tag: Any
    key: Any


def tag() -> str:
    """Return a new tag: a letter and seven letters or digits."""
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_LETTERS + string.digits) for _ in range(7))


def key() -> str:
    """Return a new key, in hex."""
    return secrets.token_hex(32)


class LrmBackend:
    """Implements ``Backend``, ``Estimates``, ``Extends``, ``Doorway`` and ``Operated``."""

    def __init__(self, settings: Settings, lrm: Lrm, made: options.LrmOptions, program: bytes, making: Making) -> None:
        if settings.ledger is None or settings.now is None:
            raise InvalidError("the LRM back-end needs a ledger and a clock")
        self._making = making
        self._offers = offers.Offers(made)
        self._heard: dict[str, float] = {}
        self._extended: set[str] = set()
        self._idle: dict[str, float] = {}
        software = _software()
        self._lines = Lines(settings.reactor, settings.news)
        self._desk = Desk(
            reactor=settings.reactor,
            ledger=settings.ledger,
            now=settings.now,
            options=made,
            lrm=lrm,
            policy=policy.load(made.policy, made.policy_options),
            sizes=self._offers.sizes,
            pilots=Pilots(made, made.url or settings.urls.get("node", ""), program, software),
            lines=self._lines,
            wake=lambda ids: self._intake.wake(ids),  # noqa: PLW0108 - it is made further down
        )
        self._watch = Watch(self._desk, self._heard, self._after_listing)
        self._claims = Claims(self._desk, self._watch.jobs, self._planner, self._queued)
        self._bulletin = Bulletin(self._desk, self._watch, settings.claims, self._claims.waits, self._claims.doom)
        self._hearing = Hearing(self._desk, self._watch, self._bulletin, self._heard, self._extended)
        self._tickets = Tickets(
            made.ticket_key,
            (made.memory_policy, made.margin_mb),
            reactor=settings.reactor,
            now=settings.now,
            serial=making.key,
        )
        self._intake = Intake(
            settings.ledger,
            settings.reactor,
            settings.now,
            self._hearing.changes,
            self._hearing.standing,
            software,
            lines=self._lines,
            ticket=self._tickets.ticket,
        )
        self._spool = (
            SpoolReader(Path(made.spool), settings.ledger, settings.reactor, self._intake) if made.spool else None
        )
        self._rounds = Rounds(self._desk, self._watch.jobs, self._claims, self._offers, self._planner, self._forget)
        self._observing = Observing(self._desk, self._claims)
        self._extension = extension.Extension(self._desk, self._extended)
        self._desk.heed += [self._bulletin.heed, self._claims.heed, self._hearing.heed]
        self._desk.later(0, self._start)

    # start and end

    def _start(self) -> None:
        self._desk.spawn(self._load(), "reading the ledger")

    async def _load(self) -> None:
        try:
            rows = await self._desk.ledger.read(history)
            if self._desk.closed:
                return
            self._desk.load(rows)
        except Exception:  # whatever it was: everybody waits for this
            self._desk.later(_RETRY, self._start)
            raise
        await self._desk.attempt(self._tickets.prepare(), "making the key for tickets")
        if self._spool is not None:
            # what pilots sent meanwhile goes before what the listing makes of their jobs
            await self._desk.attempt(self._spool.look(), "the first look at the spool")
        self._begin()

    def _begin(self) -> None:
        if self._desk.closed:
            return
        if self._spool is not None:
            self._spool.start()
        self._watch.soon()
        self._rounds.start()
        self._take_up()

    def _take_up(self) -> None:
        """Go on where the last run ended; everything else is the first listing's and the pilots' to say."""
        desk = self._desk
        for slot in desk.mirror.slots.values():
            if slot.state in SLOT_LIVE:
                self._extended.add(slot.id)
            if slot.state is SlotState.PREEMPTING and slot.heard_at is not None:
                gone = max(0.0, (desk.now() - slot.heard_at).total_seconds())
                self._bulletin.signalled(slot, max(0.0, desk.options.grace - gone), slot.reason)
        self._watch.jobs.tend()

    async def close(self) -> None:
        """Take no further step; jobs, pilots and VMs are left as they are."""
        self._desk.close()
        self._intake.stop()
        if self._spool is not None:
            await self._spool.stop()
        self._lines.close()

    # what a listing leads to

    def _after_listing(self) -> None:
        self._hearing.tend()
        self._watch.jobs.tend()

    def _forget(self, slots: Sequence[str]) -> None:
        self._intake.wake(slots)
        self._bulletin.forget()
        for slot in slots:
            self._heard.pop(slot, None)
            self._extended.discard(slot)

    def _queued(self, claim: str, reason: str) -> None:
        self._bulletin.say_waiting(claim, reason)

    def _planner(self) -> Planner:
        desk, now = self._desk, self._desk.reactor.seconds()
        idle = [one.id for one in desk.mirror.slots.values() if one.state is SlotState.READY]
        self._idle = {one: self._idle.get(one, now) for one in idle if not desk.mirror.users(one)}
        figures = Figures(
            sizes=desk.sizes(), now=desk.now(), idle={one: now - since for one, since in self._idle.items()}
        )
        return Planner(
            policy=desk.policy,
            figures=figures,
            hold=ceil(desk.options.hold_limit),
            splits=desk.lrm.splits,
            tag=self._making.tag,
            key=self._making.key,
        )

    # Backend

    def limits(self, view: View) -> Limits:
        """See ``Backend.limits``."""
        return self._offers.limits()

    def admit(self, request: Request, view: View) -> Decision:
        """See ``Backend.admit``: Queued, or Never with the figures of what stands in the way."""
        return offers.admit(request, view, self._desk, self._offers)

    async def acquire(self, claim: Claim) -> Mapping[str, Grant]:
        """See ``Backend.acquire``."""
        return await _open(self._claims.acquire(claim))

    async def release(self, key: str) -> None:
        """See ``Backend.release``."""
        await _open(self._claims.release(key))

    async def reconcile(self, keys: Sequence[str]) -> Observation:
        """See ``Backend.reconcile``."""
        return await _open(self._observing.reconcile(keys))

    def channel(self, node: str) -> NodeChannel:
        """See ``Backend.channel``."""
        return self._observing.channel(node)

    # Estimates, Extends, Doorway, Operated

    async def rehearse(self, request: Request) -> Estimate:
        """See ``Estimates.rehearse``."""
        rows = await self._desk.ledger.read(everything)
        return await offers.rehearse(request, self._desk, free_slots(rows, self._planner().figures))

    async def extend(self, key: str, seconds: float) -> float:
        """See ``Extends.extend``."""
        return await _open(self._extension.extend(key, seconds))

    async def answer(self, body: bytes, peer: str) -> Reply:
        """See ``Doorway.answer``."""
        try:
            await self._desk.loaded()
        except Closed:
            return _CLOSING
        return await self._intake.answer(body, peer)

    async def inspect(self) -> Mapping[str, Any]:
        """See ``Operated.inspect``."""
        return await inspection.inspect(self._desk, self._watch, self._offers, self._rounds.survey_failure)

    async def confirm(self) -> Mapping[str, Any]:
        """See ``Operated.confirm``: what is held goes with the listing that is made now."""
        held = self._watch.guard.confirm()
        if held is not None:
            await self._watch.look(self._desk.options.command_timeout)
        return held.plain() if held else {"held": {}, "lost": 0, "live": 0}


async def _open(work: Coroutine[Any, Any, T]) -> T:
    """Do what needs an open back-end. Raises TransientError when it is closed."""
    try:
        return await work
    except Closed:
        raise TransientError("the service is going down") from None


def _software() -> str:
    try:
        return f"flyinglow {version('flyinglow')}"
    except PackageNotFoundError:
        return "flyinglow"


def create(settings: Settings) -> LrmBackend:
    """Make the back-end; the entry point ``lrm``. Raises InvalidError for options that make no sense."""
    made = options.options(settings.options)
    lrm = adapters.lrm(made, settings.reactor)
    return LrmBackend(settings, lrm, made, bundle(), Making(tag=tag, key=key))
