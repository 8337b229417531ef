"""The roles that a site's configuration gives: who are its administrators and observers, by name or by group."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from flyinglow.access.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Identities by their names, and groups."""

    identities: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()

    def __contains__(self, caller: Identity) -> bool:
        """Say whether ``caller`` is one of these, or in one of the groups."""
        return caller.name in self.identities or not self.groups.isdisjoint(caller.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleBook:
    """Who has which role. A caller with a limited proxy is no administrator, whoever it is."""

    administrators: Named = field(default_factory=Named)
    observers: Named = field(default_factory=Named)

    def known(self, caller: Identity) -> Identity:
        """Return ``caller`` with the roles that the configuration gives, beside those that he came with."""
        admin = caller.admin or (caller in self.administrators and not caller.limited)
        return replace(caller, admin=admin, observer=caller.observer or caller in self.observers)
