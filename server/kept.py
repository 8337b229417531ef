"""What is made from files, and made anew when they change; a faulty change leaves in force what was before."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from flyinglow.nodectl.errors import FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

log = logging.getLogger("flyinglow.server.kept")

T = TypeVar("T")
Mark = tuple[str, int, int, int]


class Kept(Generic[T]):
    """A value and the files (or directories, with all below them) that it is made from.

    ``make`` blocks and raises a FlyingLowError that says what is wrong; the first time, that is the caller's to hear.
    """

    def __init__(self, make: Callable[[], T], paths: Sequence[Path], name: str) -> None:
        self._make, self._paths, self._name = make, paths, name
        self._turns = threading.Lock()
        self._seen = self._marks()
        self.current = make()

    def look(self, *, anyway: bool = False) -> bool:
        """Make the value anew if its files have changed, or ``anyway``; blocks. Says whether it did."""
        with self._turns:
            return self._look(anyway)

    def _look(self, anyway: bool) -> bool:
        marks = self._marks()
        if marks == self._seen and not anyway:
            return False
        self._seen = marks
        try:
            self.current = self._make()
        except FlyingLowError as error:
            log.error(  # noqa: TRY400 - the message says it all
                "changed files are not used, for they are faulty; what was read before stays in force",
                extra={"of": self._name, "reason": error.message},
            )
            return False
        log.info("read anew, for its files have changed", extra={"of": self._name})
        return True

    def _marks(self) -> frozenset[Mark]:
        return frozenset(mark for path in self._paths for mark in _marks(path))


def _marks(path: Path) -> Iterator[Mark]:
    try:
        inner = sorted(path.rglob("*")) if path.is_dir() else []
        for each in (path, *inner):
            found = each.stat()
            yield str(each), found.st_mtime_ns, found.st_size, found.st_ino
    except OSError as error:
        yield str(path), -1, error.errno or 0, 0  # what was there may be gone, and that is a change too
