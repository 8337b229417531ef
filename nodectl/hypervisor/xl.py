"""Xen's command ``xl``: what it says of the domains of this machine, and how its failures are told.

Which of them are ours, their names and UUIDs tell (``mark``).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError, ExhaustedError
from flyinglow.nodectl.hypervisor.mark import Mark, is_ours

SECONDS = 120.0  # an xl that waits for another one, or for the scripts of a back-end
POLL = 0.2
ROW = re.compile(
    r"^(?P<name>.*\S)\s+(?P<id>\d+)\s+(?P<memory>\d+)\s+\d+\s+(?P<flags>[rbpscd-]{6})\s+[\d.]+"
    r"\s+(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s+(?P<reason>-|\d+)(?:\s|$)"
)
TOO_SMALL = re.compile(r"not enough (free )?memory|failed to free memory|cannot allocate memory", re.IGNORECASE)
DYING = "d"


@dataclass(frozen=True)
class Domain:
    """One line of ``xl list -v``. ``reason`` says why a domain was shut down: 0 ended, 1 reboot, 2 saved, 3 crashed."""

    name: str
    id: int
    flags: str
    uuid: str
    reason: int | None


class Xl:
    """Runs ``xl``."""

    def __init__(self, program: str) -> None:
        self._program = program

    def run(self, *words: str, seconds: float = SECONDS) -> str:
        """Return what ``xl`` printed.

        Raises BrokenError with its own words, ExhaustedError when the machine has too little memory for a domain,
        TransientError when it was not done in time.
        """
        try:
            return tools.run([self._program, *words], seconds=seconds)
        except BrokenError as error:
            if TOO_SMALL.search(error.message):
                raise ExhaustedError(f"Xen has too little free memory: {error.message}") from error
            raise

    def domains(self) -> list[Domain]:
        """Return all domains, other people's too. Raises BrokenError when ``xl`` says what is not understood."""
        head, *lines = self.run("list", "-v").splitlines() or [""]
        found = [ROW.match(line) for line in lines]
        if "UUID" not in head or None in found:
            raise BrokenError(f"{self._program} list -v said what is not understood: {[head, *lines][-1][:200]!r}")
        return [_domain(match) for match in found if match is not None]

    def find(self, mark: Mark) -> Domain | None:
        """Return the domain with this mark, if there is one that is not on its way out."""
        return next((domain for domain in self.domains() if mark.fits(domain) and DYING not in domain.flags), None)

    def all_of(self, state: Path) -> list[Domain]:
        """Return the domains of a state directory's VMs, whether these have directories or not."""
        return [domain for domain in self.domains() if is_ours(state, domain)]

    def gone(self, identifiers: set[int], seconds: float) -> set[int]:
        """Wait until domains are gone altogether, memory and all; return those that are not."""
        deadline = time.monotonic() + seconds
        while left := identifiers & {domain.id for domain in self.domains()}:
            if time.monotonic() >= deadline:
                return left
            time.sleep(POLL)
        return set()


def _domain(match: re.Match[str]) -> Domain:
    reason = None if match["reason"] == "-" else int(match["reason"])
    return Domain(match["name"], int(match["id"]), match["flags"], match["uuid"], reason)
