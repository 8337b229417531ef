"""Policies: what the members of a group may lease, and how much of it at a time and in a day or a month.

None is no limit. Where several policies are a caller's, the most generous word of each counts: the largest figure, and
every name that any of them allows. The figures are of one caller, not of all members of the group together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any

from flyinglow.access.decision import Allow, Deny
from flyinglow.access.identity import Identity


class Period(StrEnum):
    """Over what time minutes are counted: the calendar's, in UTC."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy. Names may have * and ? in them, where they are of offers, networks, images and consumers' hosts.

    ``running`` are workspaces at a time, those that wait included; ``cpus`` and ``memory_mb`` are theirs together.
    ``minutes`` are of all workspaces in a ``period``, those used and those reserved. ``members`` are of one request,
    ``duration`` is a lease's longest, in seconds. ``consumers`` are judged by ``access.consumers``.
    """

    names: tuple[str, ...] = ()
    offers: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    images: tuple[str, ...] | None = None
    consumers: tuple[str, ...] | None = None
    running: int | None = None
    cpus: int | None = None
    memory_mb: int | None = None
    members: int | None = None
    duration: int | None = None
    minutes: int | None = None
    period: Period = Period.MONTH

    def joined(self, other: Policy) -> Policy:
        """Return the most generous words of both; minutes are compared for a month of thirty days."""
        words: dict[str, Any] = {name: _more(getattr(self, name), getattr(other, name)) for name in _WORDS}
        longer = self if _monthly(self) >= _monthly(other) else other
        return replace(self, names=(*self.names, *other.names), minutes=longer.minutes, period=longer.period, **words)


_WORDS = tuple(field.name for field in fields(Policy) if field.name not in {"names", "minutes", "period"})
_DAYS = {Period.DAY: 30, Period.MONTH: 1}
NOTHING = Policy(names=("none",), running=0)
"""The policy of who has none, where there are policies and no default."""


def _monthly(policy: Policy) -> float:
    return float("inf") if policy.minutes is None else policy.minutes * _DAYS[policy.period]


def _more(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return None
    if isinstance(one, tuple):
        return (*one, *(name for name in other if name not in one))
    return max(one, other)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBook:
    """Every policy of a site by its name, the names of the groups and identities that have it, and the default's."""

    policies: Mapping[str, Policy]
    groups: Mapping[str, frozenset[str]]
    identities: Mapping[str, frozenset[str]]
    default: str = ""

    def of(self, caller: Identity) -> Policy | None:
        """Return what counts for ``caller``; None: nothing limits him, as for administrators."""
        if caller.admin or not self.policies:
            return None
        mine = [
            name
            for name in self.policies
            if caller.name in self.identities.get(name, ()) or caller.groups & self.groups.get(name, frozenset())
        ]
        return self.named(mine or ([self.default] if self.default else []))

    def named(self, names: Iterable[str]) -> Policy:
        """Return these policies joined; those that are no longer there say nothing."""
        found = [self.policies[name] for name in names if name in self.policies]
        return reduce(Policy.joined, found) if found else NOTHING


OPEN = PolicyBook(policies={}, groups={}, identities={})
"""A site without policies: its terms are all that limits anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a request asks for, as far as policies look at it; ``duration`` is seconds."""

    offers: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    members: int = 0
    cpus: int = 0
    memory_mb: int = 0
    duration: int = 0


def permits(policy: Policy, wish: Wish) -> Allow | Deny:
    """Say whether ``policy`` lets one have this at all, whatever one has already."""
    named = " and ".join(policy.names) or "none"
    for what in ("offers", "networks", "images"):
        allowed: Sequence[str] | None = getattr(policy, what)
        for name in sorted(getattr(wish, what)):
            if allowed is not None and not any(fnmatchcase(name, pattern) for pattern in allowed):
                there = ", ".join(allowed) or "none"
                return Deny(f"the policy {named} does not allow {name} of the site's {what} (it allows: {there})")
    for what in ("members", "duration"):
        limit, asked = getattr(policy, what), getattr(wish, what)
        if limit is not None and asked > limit:
            figures = {f"{what}.limit": limit, f"{what}.asked": asked}
            return Deny(f"the policy {named} allows {limit} {_UNITS[what]}; {asked} were asked for", figures)
    return Allow()


_UNITS = {"members": "workspaces in a request", "duration": "s for a lease"}
