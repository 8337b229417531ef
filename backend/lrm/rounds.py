"""What is done again and again beside the listing: the policy's upkeep, claims that compete, what can be forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flyinglow.backend.lrm.claims.free import holdings
from flyinglow.backend.lrm.claims.holding import giving_way
from flyinglow.backend.lrm.claims.offers import Offers, survey
from flyinglow.backend.lrm.claims.planning import Planner, unwanted
from flyinglow.backend.lrm.claims.waiting import Claims
from flyinglow.backend.lrm.desk import Desk
from flyinglow.backend.lrm.jobs.submitting import Jobs
from flyinglow.backend.lrm.mirror import Written, everything

if TYPE_CHECKING:
    from flyinglow.backend.lrm.ports import LrmTx

_SURVEY = 3600.0  # seconds until the LRM is asked anew what it has; it is asked each round until it has said
_PURGE = 3600.0


class Rounds:
    """One round each interval. ``forget`` hears of slots that nobody will ask for again."""

    def __init__(
        self,
        desk: Desk,
        jobs: Jobs,
        claims: Claims,
        offers: Offers,
        planner: Callable[[], Planner],
        forget: Callable[[Sequence[str]], None],
    ) -> None:
        self._desk = desk
        self._jobs = jobs
        self._claims = claims
        self._offers = offers
        self._planner = planner
        self._drop = forget
        self._survey_due = 0.0
        self._purge_due = 0.0
        self.survey_failure = ""

    def start(self) -> None:
        """Make the first round now."""
        self._desk.spawn(self._round(), "a round of the LRM back-end")

    async def _round(self) -> None:
        attempt = self._desk.attempt
        try:
            await attempt(self._look_at_lrm(), "asking the batch scheduler what it has")
            await attempt(self.keep_up(), "the policy's upkeep")
            await attempt(self._compete(), "seeing to the claims that wait")
            await attempt(self._forget(), "forgetting what is over")
        finally:
            self._desk.later(self._desk.options.poll, self.start)

    async def _look_at_lrm(self) -> None:
        now = self._desk.reactor.seconds()
        if now >= self._survey_due:
            try:
                self.survey_failure = await survey(self._desk, self._offers)
            except Exception as error:
                self.survey_failure = f"{type(error).__name__}: {error}"
                raise
            self._survey_due = now if self.survey_failure else now + _SURVEY

    async def _compete(self) -> None:
        await self._claims.renew()
        self._jobs.tend()
        limit = self._desk.options.hold_limit
        for key in giving_way(self._claims.holdings(), limit):
            await self._desk.attempt(self._claims.queue_again(key, limit), "having a claim give way")

    async def keep_up(self) -> None:
        """Ask for what the policy wants ahead of need, and give back what it keeps for nobody."""
        rows = await self._desk.refresh()
        planner = self._planner()
        upkeep = planner.policy.upkeep(holdings(rows, planner.figures), planner.figures.sizes)
        if upkeep.ask:
            written = await self._desk.commit("lrm.ask_ahead", planner.ahead)
            self._jobs.submit(written.jobs)
        if upkeep.give_back:
            await self._desk.commit("lrm.give_back", lambda tx: _given_back(tx, planner))

    async def _forget(self) -> None:
        """Drop what is over from memory, and from the ledger what was over long ago."""
        self._drop(self._desk.mirror.prune())
        self._jobs.forget()
        now = self._desk.reactor.seconds()
        if now >= self._purge_due:
            self._purge_due = now + _PURGE
            before = self._desk.now() - timedelta(seconds=self._desk.options.retain)
            await self._desk.commit("lrm.purge", lambda tx: _purged(tx, before))


def _purged(tx: LrmTx, before: datetime) -> Written:
    tx.jobs.purge(before)
    return Written()


def _given_back(tx: LrmTx, planner: Planner) -> Written:
    """Look once more, over the rows as they are now: a claim may have taken a slot meanwhile."""
    rows = everything(tx)
    used = {one.slot for of_claim in rows.claims.values() for one in of_claim}
    busy = {slot.job for slot in rows.slots if slot.id in used}
    tags = sorted(planner.needless(rows) - busy)
    return Written(jobs=tuple(unwanted(tx, tags, "nobody needs its nodes")))
