"""Images from a store that is a directory, of this node or of a file system that the site's nodes share."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from flyinglow.nodectl.errors import DeniedError, InvalidError
from flyinglow.nodectl.images.meter import MIB, Meter


@dataclass(frozen=True)
class Shared:
    """One file below the store's directory ``root``; what leads out of it by links is not taken."""

    path: Path
    root: Path
    behind = None

    def fetch(self, part: Path, meter: Meter) -> None:
        """Append to ``part`` what it lacks. Raises InvalidError, or DeniedError for what leads out of the store."""
        have = part.stat().st_size if part.exists() else 0
        with os.fdopen(self._open(), "rb") as source, part.open("ab") as target:
            total = os.fstat(source.fileno()).st_size
            if have > total:
                target.truncate(0)
                have = 0
            meter.expect(total)
            source.seek(have)
            while chunk := source.read(MIB):
                have += len(chunk)
                meter.at(have, total)
                target.write(chunk)

    def _open(self) -> int:
        try:
            if self.root.resolve() not in self.path.resolve().parents:
                raise DeniedError(f"file://{self.path} leads out of the store: not followed")
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, RuntimeError) as error:
            raise InvalidError(
                f"file://{self.path} is not in the store: {getattr(error, 'strerror', error)}"
            ) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise InvalidError(f"file://{self.path} is not a regular file")
        return handle
