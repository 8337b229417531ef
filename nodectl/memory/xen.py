"""The driver ``xen``: domain 0 is ballooned down and up by ``xl mem-set`` (sections 3.2 and 4 of the paper).

``xl`` answers as soon as a target is accepted, and domain 0 gets there in its own time, or never: what counts is what
``xl list`` says.
"""

from __future__ import annotations

from flyinglow.nodectl import tools
from flyinglow.nodectl.errors import BrokenError, ExhaustedError
from flyinglow.nodectl.memory.api import Reading

DOMAIN = "0"
MEMORY_COLUMN = 2
SECONDS = 20.0


class Xen:
    """The memory of domain 0."""

    def __init__(self, program: str = "xl") -> None:
        self._program = program

    def read(self) -> Reading:
        """Return the memory that domain 0 has."""
        text = tools.run([self._program, "list", DOMAIN], seconds=SECONDS)
        try:
            words = text.strip().splitlines()[-1].rsplit(None, 5)  # the name before may hold anything
            own = int(words[MEMORY_COLUMN])
        except (IndexError, ValueError) as error:
            raise BrokenError(f"{self._program} list {DOMAIN} said what is not understood: {text[:200]!r}") from error
        return Reading(own, str(own))

    def reserve(self, target_mb: int) -> None:
        """Ask domain 0 to become so large. Raises ExhaustedError when Xen refuses."""
        try:
            self._set(str(target_mb))
        except BrokenError as error:
            self.read()  # an xl that does not work at all is broken, and says so here
            figures = {"memory_mb.target": target_mb}
            raise ExhaustedError(f"Xen refuses {target_mb} MiB for domain 0: {error.message}", figures) from error

    def release(self, raw: str) -> None:
        """Ask domain 0 to become as large as it was."""
        self._set(raw)

    def _set(self, size: str) -> None:
        tools.run([self._program, "mem-set", DOMAIN, size], seconds=SECONDS)
