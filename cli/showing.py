"""The client library's values as JSON with keys that stay, and as words for people."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flyinglow.cli.complaint import plainly
from flyinglow.cli.durations import words
from flyinglow.client import Resource
from flyinglow.nodectl.errors import FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyinglow.client import Address, Member, Notification, Properties, Result


def as_json(value: Any) -> Any:
    """Return a value as plain JSON: a resource as its id, kind, name and URL, times in ISO 8601 with zone."""
    if isinstance(value, Resource):
        return {"id": value.id, "kind": value.kind, "url": value.url}
    if isinstance(value, FlyingLowError):
        return plainly(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(each) for each in value]
    return value


def state(value: Properties | Member | Notification) -> str:
    """Return state, task and reason in words."""
    task = f" ({value.task})" if value.task else ""
    reason = f": {value.reason}" if value.reason else ""
    return f"{value.state or ''}{task}{reason}"


def clock(at: datetime | None) -> str:
    """Return a time as the user's clock shows it, with the zone."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def left(end: datetime | None, now: datetime | None = None) -> str:
    """Return an end as a time and how far away it is."""
    if end is None:
        return ""
    away = end - (now or datetime.now(UTC))
    return f"{clock(end)} (in {words(away)})" if away.total_seconds() > 0 else f"{clock(end)} (over)"


def addresses(nics: Sequence[Address]) -> str:
    """Return NICs in one cell."""
    return ", ".join(f"{nic.network} {nic.ip}" for nic in nics)


def event(news: Notification) -> str:
    """Return a notification in one line."""
    return f"{clock(news.at)}  {news.kind:<9} {news.name:<12} #{news.sequence:<3} {_what(news)}"


def _what(news: Notification) -> str:
    if news.topic in {"state", "state-value"}:
        counted = news.census or {}
        census = f"  [{', '.join(f'{name} {count}' for name, count in counted.items())}]" if counted else ""
        guest = f"  guest: {news.guest.status} {news.guest.message}".rstrip() if news.guest else ""
        return state(news) + census + guest
    if news.topic == "warning":
        reason = f": {news.reason}" if news.reason else ""
        saving = f", and is shut down to be saved at {clock(news.saves_at)}" if news.saves_at else ""
        return f"ends in {words(news.seconds or 0)}, at {clock(news.ends_at)}{saving}{reason}"
    if news.topic in {"networking", "networking-value"}:
        return f"addresses: {addresses(news.nics)}"
    reason = f": {news.reason}" if news.reason else ""
    if news.topic == "membership":
        return f"{news.member} has {'joined' if news.joined else 'left'}{reason}"
    if news.topic in {"termination", "rl:ResourceTermination"}:
        return f"is no more{reason}"
    if news.ends_at is None:
        return f"waits, expected to start {clock(news.starts_at) or 'at a time nobody knows'}{reason}"
    return f"lease ends {clock(news.ends_at)}{reason}"


def outcome(result: Result) -> str:
    """Return what became of one member."""
    return f"{result.name}: {result.error or 'done as told'}"
