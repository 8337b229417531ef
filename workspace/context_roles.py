"""Roles: what a part requires, somebody of its launch set provides (section 2.3 of the paper: a cluster's parts)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from flyinglow.nodectl.errors import InvalidError
from flyinglow.workspace.model import Context


class Has(NamedTuple):
    """A part by its name, and its context."""

    part: str
    context: Context


def check_roles(parts: Iterable[Has]) -> None:
    """Raise InvalidError naming the part and the role that nobody provides."""
    everyone = list(parts)
    provided = {role for each in everyone for role in each.context.provides}
    for part, context in everyone:
        for role in context.requires:
            if role not in provided:
                known = ", ".join(sorted(provided)) or "none"
                raise InvalidError(
                    f"part {part} requires the role {role!r}, which no part provides (roles provided: {known})"
                )
