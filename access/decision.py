"""Who may do what: one pure function, over one table of roles and one of verbs.

A caller has every role that fits; what any of them grants is allowed. A caller with a limited proxy (RFC 3820) keeps of
that only what ``LIMITED`` names, whoever it is, and an observer who is no administrator only what ``READING`` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flyinglow.access.identity import Identity
from flyinglow.access.shares import Level, Share


class Right(StrEnum):
    """What a role may grant."""

    CREATE = "create"  # lease something new, or ask whether it could be leased
    READ = "read"  # properties, reports, the last messages
    WATCH = "watch"  # subscribe
    CONSOLE = "console"  # what the guest wrote to its console
    ACT = "act"  # start, shut down, finish an ensemble, rename
    JOIN = "join"  # add to an open ensemble
    EXTEND = "extend"  # move the end of a lease
    DESTROY = "destroy"
    SHARE = "share"  # delegate, and revoke
    MANAGE = "manage"  # subscriptions, pull points: what belongs to nobody but its maker


class Role(StrEnum):
    """What a caller is to a resource. ``ANYBODY`` is every caller who is known, to everything."""

    ANYBODY = "anybody"
    OWNER = "owner"
    HOLDER = "holder"  # it is shared with him in full
    READER = "reader"  # it is shared with him for reading
    OBSERVER = "observer"
    ADMINISTRATOR = "administrator"


READING = frozenset({Right.READ, Right.WATCH, Right.MANAGE})
LIMITED = frozenset({Right.READ, Right.WATCH, Right.MANAGE, Right.DESTROY})
_SHARED = frozenset({Right.READ, Right.WATCH})

GRANTS: Mapping[Role, frozenset[Right]] = {
    Role.ANYBODY: frozenset({Right.CREATE}),
    Role.OWNER: frozenset(Right),
    Role.HOLDER: frozenset(Right) - {Right.SHARE, Right.MANAGE},
    Role.READER: _SHARED,
    Role.OBSERVER: _SHARED,
    Role.ADMINISTRATOR: frozenset(Right),
}
"""What each role grants."""

VERBS: Mapping[str, Right] = {
    "create": Right.CREATE,
    "get": Right.READ,
    "current": Right.READ,
    "subscribe": Right.WATCH,
    "console": Right.CONSOLE,
    "Start": Right.ACT,
    "Shutdown Normal": Right.ACT,
    "Shutdown Pause": Right.ACT,
    "Shutdown Reboot": Right.ACT,
    "Shutdown Save": Right.ACT,
    "Shutdown Trash": Right.DESTROY,
    "done": Right.ACT,
    "set": Right.ACT,
    "join": Right.JOIN,
    "add": Right.SHARE,  # of what is added: whoever has the whole has it from then on
    "set_end": Right.EXTEND,
    "Destroy": Right.DESTROY,
    "destroy": Right.DESTROY,
    "delegate": Right.SHARE,
    "revoke": Right.SHARE,
    "manage subscription": Right.MANAGE,
}
"""What a verb needs; one that is not here needs what only its owner and an administrator have."""


@dataclass(frozen=True, slots=True)
class Allow:
    """The caller may do it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The caller may not. ``figures`` tells the numbers behind a quota's denial."""

    reason: str
    figures: dict[str, int] = field(default_factory=dict)


def decide(identity: Identity, verb: str, owner: str | None = None, shares: Iterable[Share] = ()) -> Allow | Deny:
    """Say whether ``identity`` may do ``verb`` to what ``owner`` owns (None: to nothing yet, as in Create).

    ``shares`` are those of the resource and of what it is part of.
    """
    right = VERBS.get(verb, Right.MANAGE)
    granted = {right for role in roles(identity, owner, shares) for right in GRANTS[role]}
    if right not in granted:
        return Deny(f"{identity.name} may not {verb} what belongs to another")
    if identity.limited and right not in LIMITED:
        return Deny(f"{identity.name} came with a limited proxy, by which one may not {verb}")
    if identity.observer and not identity.admin and right not in READING:
        return Deny(f"{identity.name} is an observer, who may not {verb}")
    return Allow()


def roles(identity: Identity, owner: str | None, shares: Iterable[Share] = ()) -> set[Role]:
    """Return what ``identity`` is to a resource of ``owner``; to nothing yet, everybody is its owner."""
    found = {Role.ANYBODY}
    if owner is None or owner == identity.name:
        found.add(Role.OWNER)
    if identity.admin:
        found.add(Role.ADMINISTRATOR)
    if identity.observer:
        found.add(Role.OBSERVER)
    for share in shares:
        if share.grantee.means(identity):
            found.add(Role.HOLDER if share.level is Level.FULL else Role.READER)
    return found
