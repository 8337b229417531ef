"""What a node's cache has of an image at a moment, whole or on its way, for whoever reads while it still grows.

Looking takes no lock and changes nothing, so readers hold nobody up, and the file may be fetched by another program of
the node.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flyinglow.nodectl.vmdir import StateDir

PART = ".part"  # beside the image's checksum: what has arrived so far
SIZE = ".size"  # beside it: how long the whole will be, in digits, where the source has said so


@dataclass(frozen=True)
class Piece:
    """An opened file of an image, and how many bytes the whole has."""

    file: BinaryIO
    path: Path  # where it is while it is on its way
    total: int

    @property
    def arrived(self) -> int:
        """How many bytes are there now."""
        return min(os.fstat(self.file.fileno()).st_size, self.total)

    @property
    def is_stale(self) -> bool:
        """Whether the rest will not come to this file any more: it was thrown away."""
        return os.fstat(self.file.fileno()).st_nlink == 0


@dataclass(frozen=True)
class Shelf:
    """The cache of a node, to be read from."""

    state: StateDir

    def held(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Return those of these images that are there as a whole."""
        return tuple(digest for digest in digests if (self._folder / digest).is_file())

    def is_fetched(self, digest: str) -> bool:
        """Tell whether somebody on this node is fetching an image, or looking after it, just now."""
        return self.state.is_locked(f"image-{digest}")

    @contextlib.contextmanager
    def piece(self, digest: str) -> Iterator[Piece | None]:
        """Open what is there of an image; None when nothing is, or nobody knows yet how long it will be."""
        with contextlib.ExitStack() as stack:
            yield self._open(digest, stack)

    def _open(self, digest: str, stack: contextlib.ExitStack) -> Piece | None:
        whole, part = self._folder / digest, self._folder / (digest + PART)
        for path in (part, whole):  # in the order in which an image moves
            with contextlib.suppress(FileNotFoundError):
                file = stack.enter_context(path.open("rb"))
                total = os.fstat(file.fileno()).st_size if path is whole else read_size(self._folder, digest)
                if total is not None:
                    return Piece(file, path, total)
        return None

    @property
    def _folder(self) -> Path:
        return self.state.path / "cache"


def note_size(folder: Path, digest: str, total: int | None) -> None:
    """Note how long an image on its way will be; None: nobody knows."""
    note = folder / (digest + SIZE)
    if total is None:
        note.unlink(missing_ok=True)
        return
    half = folder / f"{digest}{SIZE}{PART}"
    half.write_text(str(total), encoding="ascii")
    half.replace(note)


def read_size(folder: Path, digest: str) -> int | None:
    """Return how long an image on its way will be, or None."""
    try:
        return int((folder / (digest + SIZE)).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
