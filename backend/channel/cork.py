"""A cork: while it is in, what is to go out is held back; when it is pulled, all of it goes at once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Cork:
    """Counts who holds things back; ``pulled`` is called when the last of them does no longer."""

    def __init__(self, pulled: Callable[[], object]) -> None:
        self._pulled = pulled
        self._holders = 0

    @property
    def is_in(self) -> bool:
        """Whether what is to go out must wait."""
        return self._holders > 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold back what is given within this context; one within another is part of it."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._pulled()
