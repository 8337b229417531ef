"""With whom a lease is shared, and what of one's quota is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flyinglow.client.names import clark
from flyinglow.client.reading import elements, moment, text

if TYPE_CHECKING:
    from datetime import datetime

    from lxml.etree import _Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One identity, or one group, with whom something is shared; ``level`` is read or full."""

    identity: str | None = None
    group: str | None = None
    level: str
    granted_by: str = ""
    granted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit of a quota: what it is, and what of it is used and reserved."""

    limit: int
    used: int | None = None
    reserved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one's policies allow, by the name of the limit; ``period`` (day, month) is that of minutes."""

    policies: tuple[str, ...]
    period: str
    limits: Mapping[str, Limit] = field(default_factory=dict)


def share(element: _Element) -> Share:
    """Read fl:Share."""
    return Share(
        identity=text(element, "Identity"),
        group=text(element, "Group"),
        level=text(element, "Level") or "",
        granted_by=text(element, "GrantedBy") or "",
        granted_at=moment(element, "GrantedAt"),
    )


def quota(element: _Element) -> Quota:
    """Read fl:Quota."""
    return Quota(
        policies=tuple(each.text or "" for each in element.iterfind(clark("Policy"))),
        period=text(element, "Period") or "",
        limits={each.get("name", ""): _limit(each) for each in elements(element) if each.tag == clark("Limit")},
    )


def _limit(element: _Element) -> Limit:
    used, reserved = element.get("used"), element.get("reserved")
    return Limit(
        limit=int(element.text or 0),
        used=None if used is None else int(used),
        reserved=None if reserved is None else int(reserved),
    )
