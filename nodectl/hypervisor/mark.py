"""How the domain of a VM is called where a hypervisor keeps domains of others, too.

A domain is known by its name and its UUID together. Both follow from the VM's tag and the state directory, so that a
program that knows nothing but these two finds every domain of theirs, and takes nobody else's for one of them.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

PREFIX = "fl-"
OURS = uuid.UUID("5b0f6b1e-52a7-4f0e-9d86-0d0c7f3a2c11")  # the root of all names of domains of this program


class Named(Protocol):
    """A domain as its hypervisor lists it."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def uuid(self) -> str:
        """Return its UUID."""


@dataclass(frozen=True)
class Mark:
    """How the domain of a VM is called."""

    name: str
    uuid: str

    def fits(self, domain: Named) -> bool:
        """Tell whether this is the domain."""
        return (domain.name, domain.uuid) == (self.name, self.uuid)


def mark_of(state: Path, tag: str) -> Mark:
    """Return the mark of a VM of this state directory."""
    return Mark(f"{PREFIX}{tag}", str(uuid.uuid5(OURS, os.fsencode(state.absolute() / tag).hex())))


def is_ours(state: Path, domain: Named) -> bool:
    """Tell whether a domain is that of a VM of this state directory, whether this has a directory or not."""
    return domain.name.startswith(PREFIX) and mark_of(state, domain.name[len(PREFIX) :]).fits(domain)
