"""A reconcile pass: every ready place is listed in parallel, and what is gone is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flyinglow.backend.lrm import words
from flyinglow.backend.lrm.claims.waiting import Claims
from flyinglow.backend.lrm.desk import Desk
from flyinglow.backend.lrm.states import SLOT_OVER, SlotState
from flyinglow.backend.static import observe
from flyinglow.nodectl.errors import FlyingLowError, UnknownError

if TYPE_CHECKING:
    from flyinglow.backend.api import NodeChannel, Observation
    from flyinglow.backend.lrm.model import Slot

_ORPHANED = 60.0  # seconds that a claim is without living workspaces before it is given back


class Observing:
    """Keeps since when claims have been without workspaces: one that is just being made must not be taken for such."""

    def __init__(self, desk: Desk, claims: Claims) -> None:
        self._desk = desk
        self._claims = claims
        self._orphans: dict[str, float] = {}

    async def reconcile(self, keys: Sequence[str]) -> Observation:
        """See ``Backend.reconcile``."""
        await self._desk.loaded()
        await self._give_back(set(keys))
        mirror = self._desk.mirror
        places = [slot.place for slot in mirror.slots.values() if slot.state is SlotState.READY]
        seen = await observe(places, self.channel, self._desk.options.list_timeout)
        lost: dict[str, str] = {}
        lost_places: dict[str, str] = {}
        for key in keys:
            slots = mirror.slots_used_by(key)
            if self._claims.waits(key) or any(_never_had(slot) for slot in slots):
                continue  # it was not granted: who asks for it hears by ``acquire``
            gone = {slot.place: self._why(slot) for slot in slots if slot.state in SLOT_OVER}
            lost_places |= gone
            if gone and len(gone) == len(slots):
                lost[key] = next(iter(gone.values()))
        return replace(seen, lost=lost, lost_places=lost_places)

    def _why(self, slot: Slot) -> str:
        return words.slot_lost(self._desk.mirror.jobs.get(slot.job), slot)

    async def _give_back(self, living: set[str]) -> None:
        """Give claims back whose workspaces are over, or never came to be."""
        now = self._desk.reactor.seconds()
        without = {key for key in self._desk.mirror.uses if key not in living and not self._claims.waits(key)}
        self._orphans = {key: self._orphans.get(key, now) for key in without}
        for key in sorted(key for key in without if now - self._orphans[key] >= _ORPHANED):
            try:
                await self._claims.give_back(key, "its workspaces are gone")
            except FlyingLowError:
                continue  # the ledger does not answer; the next pass sees it again

    def channel(self, place: str) -> NodeChannel:
        """See ``Backend.channel``: a place is known as long as its slot is not over."""
        slot = self._desk.mirror.slots.get(place.partition("@")[0])
        if slot is None or slot.place != place or slot.state in SLOT_OVER:
            raise UnknownError(f"the place {place} is not there (any more)")
        return self._desk.lines.channel(slot)


def _never_had(slot: Slot) -> bool:
    return slot.ready_at is None and slot.epoch == 1 and slot.state in SLOT_OVER
