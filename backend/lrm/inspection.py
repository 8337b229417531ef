"""What the back-end shows the site's administrator: jobs, slots, the guard, and when the LRM was last asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flyinglow.backend.lrm.states import JOB_OVER

if TYPE_CHECKING:
    from datetime import datetime

    from flyinglow.backend.lrm.claims.offers import Offers
    from flyinglow.backend.lrm.desk import Desk
    from flyinglow.backend.lrm.jobs.watch import Watch
    from flyinglow.backend.lrm.model import PilotJob, Slot
    from flyinglow.backend.lrm.ports import LrmTx


async def inspect(desk: Desk, watch: Watch, offers: Offers, survey_failure: str) -> Mapping[str, Any]:
    """See ``Operated.inspect``."""
    await desk.loaded()
    trails = await desk.ledger.read(lambda tx: _trails(tx, sorted(desk.mirror.slots)))
    survey, held = offers.survey, watch.guard.held
    return {
        "lrm": desk.options.lrm,
        "version": survey.version if survey else None,
        "findings": list(survey.findings) if survey else [],
        "failure": watch.failure or survey_failure or None,
        "listings": watch.listings,
        "poll": watch.interval(),
        "guard": held.plain() if held else None,
        "strays": watch.strays.plain(),
        "jobs": [_job(desk, watch, job, trails) for job in desk.mirror.jobs.values()],
    }


def _trails(tx: LrmTx, slots: list[str]) -> dict[str, int]:
    return {slot: len(tx.trails.of(slot)) for slot in slots}


def _job(desk: Desk, watch: Watch, job: PilotJob, trails: Mapping[str, int]) -> dict[str, Any]:
    return {
        "job": f"fl-{job.tag}",
        "id": job.lrm_id,
        "state": job.state.value,
        "native": job.native,
        "reason": job.reason,
        "unwanted": job.unwanted,
        "over": job.state in JOB_OVER,
        "epoch": job.epoch,
        "claims": desk.mirror.users_of_job(job.tag),
        "seconds": job.seconds,
        "attempts": job.attempts,
        "cancel_failure": watch.jobs.failures.get(job.tag),
        "requested_at": _at(job.requested_at),
        "started_at": _at(job.started_at),
        "ends_at": _at(job.ends_at),
        "slots": [_slot(slot, trails.get(slot.id, 0)) for slot in desk.mirror.slots_of(job.tag)],
    }


def _slot(slot: Slot, reports: int) -> dict[str, Any]:
    return {
        "slot": slot.id,
        "node": slot.node,
        "state": slot.state.value,
        "reason": slot.reason,
        "memory_mb": slot.memory_mb,
        "cpus": slot.cpus,
        "reports": reports,
        "heard_at": _at(slot.heard_at),
        "ready_at": _at(slot.ready_at),
        "deadline": _at(slot.deadline),
    }


def _at(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
