"""Who may do what: one pure function from (identity, verb, owner) to Allow or Deny."""

from __future__ import annotations

from dataclasses import dataclass, field

from flyinglow.access.identity import Identity


@dataclass(frozen=True, slots=True)
class Allow:
    """The caller may do it."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The caller may not. ``figures`` tells the numbers behind a quota's denial."""

    reason: str
    figures: dict[str, int] = field(default_factory=dict)


def decide(identity: Identity, verb: str, owner: str | None = None) -> Allow | Deny:
    """Say whether ``identity`` may do ``verb`` to what ``owner`` owns (None: to nothing yet, as in Create)."""
    if identity.admin or owner is None or owner == identity.name:
        return Allow()
    return Deny(f"{identity.name} may not {verb} what belongs to another")
