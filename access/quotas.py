"""Quotas: whether what is asked for fits into what is left, with the figures that say why not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flyinglow.access.decision import Allow, Deny
from flyinglow.access.policy import Period, Policy, Wish

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One workspace that is not over: since when it has had its place (None: it waits), and for how long in all (s)."""

    cpus: int
    memory_mb: int
    begun_at: datetime | None
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a caller has: workspaces that are not over, and seconds used and reserved in the period of his policy."""

    running: int = 0
    cpus: int = 0
    memory_mb: int = 0
    used: int = 0
    reserved: int = 0


def use_of(held: Iterable[Held], spent: int, now: datetime) -> Use:
    """Add up what is held, and ``spent``, the seconds of what is over.

    A lease that runs counts as a whole in every period that it touches: what has passed of it as used, the rest as
    reserved. When it is given back early, only what it was held for stays counted.
    """
    rows = list(held)
    passed = [_passed(row, now) for row in rows]
    return Use(
        running=len(rows),
        cpus=sum(row.cpus for row in rows),
        memory_mb=sum(row.memory_mb for row in rows),
        used=spent + sum(passed),
        reserved=sum(row.seconds - gone for row, gone in zip(rows, passed, strict=True)),
    )


def _passed(row: Held, now: datetime) -> int:
    if row.begun_at is None:
        return 0
    return min(max(int((now - row.begun_at).total_seconds()), 0), row.seconds)


def fits(policy: Policy, use: Use, wish: Wish) -> Allow | Deny:
    """Say whether ``wish`` goes into what ``policy`` leaves beside ``use``, and give the figures when not."""
    for what, unit in (("running", "workspaces at a time"), ("cpus", "CPUs"), ("memory_mb", "MB of memory")):
        limit: int | None = getattr(policy, what)
        asked = wish.members if what == "running" else getattr(wish, what)
        held: int = getattr(use, what)
        if limit is not None and asked and held + asked > limit:
            figures = {f"{what}.limit": limit, f"{what}.used": held, f"{what}.asked": asked}
            return Deny(_words(policy, f"{limit} {unit}", f"{held} are in use, {asked} more were asked for"), figures)
    return _minutes(policy, use, wish.members * wish.duration)


def extends(policy: Policy, use: Use, seconds: int) -> Allow | Deny:
    """Say whether so many seconds more, of all workspaces together, go into what is left."""
    return _minutes(policy, use, seconds)


def _minutes(policy: Policy, use: Use, seconds: int) -> Allow | Deny:
    if policy.minutes is None or seconds <= 0 or use.used + use.reserved + seconds <= policy.minutes * 60:
        return Allow()
    used, reserved, asked = (-(-amount // 60) for amount in (use.used, use.reserved, seconds))
    figures = {
        "minutes.limit": policy.minutes,
        "minutes.used": used,
        "minutes.reserved": reserved,
        "minutes.asked": asked,
    }
    sum_ = f"{used} are used and {reserved} reserved, {asked} more were asked for"
    return Deny(_words(policy, f"{policy.minutes} minutes a {policy.period}", sum_), figures)


def _words(policy: Policy, limit: str, sum_: str) -> str:
    return f"the policy {' and '.join(policy.names)} allows {limit}: {sum_}"


def first_day(period: Period, now: datetime) -> int:
    """Return the number of the period's first day (days since 1970, UTC)."""
    start = now.replace(day=1) if period is Period.MONTH else now
    return day_of(start)


def day_of(at: datetime) -> int:
    """Return a time's day, as days since 1970 (UTC)."""
    return (at - EPOCH) // timedelta(days=1)


def days(begun_at: datetime, ended_at: datetime) -> Mapping[int, int]:
    """Return how many seconds of each day lie between two times."""
    found: dict[int, int] = {}
    at = begun_at
    while at < ended_at:
        day = day_of(at)
        until = min(EPOCH + timedelta(days=day + 1), ended_at)
        found[day] = round((until - begun_at).total_seconds()) - sum(found.values())
        at = until
    return {day: seconds for day, seconds in found.items() if seconds}
