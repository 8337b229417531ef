"""What would become of a request: the back-end's decision in the caller's terms, and its own dry run where it has one.

Pure but for the back-end's ``rehearse``, which takes and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta

from flyinglow.backend.abilities import Estimates
from flyinglow.backend.api import Decision, Never, NotNow, Placed, Queued, View
from flyinglow.factory.model import Outlook, Valid
from flyinglow.factory.plan import Plan
from flyinglow.nodectl.errors import ExhaustedError, NeverError
from flyinglow.workspace.ports import Now


def granted(decision: Decision) -> tuple[dict[str, str], str]:
    """Return member -> node and why those without one have to wait; raises what a refusal means to the caller."""
    match decision:
        case NotNow(message, figures):
            raise ExhaustedError(message, dict(figures))
        case Never(message, figures):
            raise NeverError(message, dict(figures))
        case Placed(nodes):
            return dict(nodes), ""
        case Queued(reason):
            return {}, reason


def check_addresses(planned: Plan, view: View) -> None:
    """Raise ExhaustedError where a network has fewer free addresses than the plan needs."""
    for network, count in Counter(nic.network for row in planned.workspaces for nic in row.nics).items():
        pool = view.pools[network]
        if pool.free < count:
            figures = {f"network.{network}.total": pool.total, f"network.{network}.free": pool.free}
            raise ExhaustedError(f"network {network} has no free address; try again when a lease has ended", figures)


def validity(backend: object, planned: Plan, decision: Decision) -> Valid | Awaitable[Valid]:
    """Return what would be granted; raises as ``granted``, and the awaitable as ``Estimates.rehearse``."""
    _, waits = granted(decision)
    valid = Valid(workspaces=len(planned.workspaces), duration=planned.ask.duration, waits=waits)
    return _tried(backend, planned, valid) if isinstance(backend, Estimates) else valid


def outlook(backend: object, planned: Plan, decision: Decision, now: Now) -> Outlook | Awaitable[Outlook]:
    """Return when it would start; a "not now" is no refusal here: nobody can say when. Raises NeverError."""
    if isinstance(decision, NotNow):
        return Outlook(starts_in=None, starts_at=None, reason=decision.message)
    _, reason = granted(decision)
    if isinstance(decision, Placed):
        return Outlook(starts_in=0.0, starts_at=now(), reason="")
    if isinstance(backend, Estimates):
        return _foreseen(backend, planned, reason, now)
    return Outlook(starts_in=None, starts_at=None, reason=reason)


async def _tried(backend: Estimates, planned: Plan, valid: Valid) -> Valid:
    estimate = await backend.rehearse(planned.ask)
    return replace(valid, waits=estimate.reason or valid.waits)


async def _foreseen(backend: Estimates, planned: Plan, reason: str, now: Now) -> Outlook:
    estimate = await backend.rehearse(planned.ask)
    seconds = estimate.starts_in
    at = None if seconds is None else now() + timedelta(seconds=seconds)
    return Outlook(starts_in=seconds, starts_at=at, reason=estimate.reason or reason)
