"""Notes beside a VM that is worked on: how far a transfer for it is, and that it is not wanted any more.

They are files in the VM's directory, so that they pass between programs, and they go with it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

PROGRESS = "progress"
UNWANTED = "unwanted"


def tell(folder: Path, words: str) -> None:
    """Note how far a transfer is; empty words take the note away."""
    note = folder / PROGRESS
    with contextlib.suppress(FileNotFoundError):
        if words:
            half = folder / f".{PROGRESS}"
            half.write_text(words, encoding="utf-8")
            half.replace(note)
        else:
            note.unlink()


def told(folder: Path) -> str:
    """Return how far a transfer is, or nothing."""
    try:
        return (folder / PROGRESS).read_text(encoding="utf-8")
    except OSError:
        return ""


def cut_short(folder: Path) -> None:
    """Let whoever fetches something for this VM stop; nothing happens when there is no such VM."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        (folder / UNWANTED).touch()


def is_cut_short(folder: Path) -> bool:
    """Tell whether a VM is not wanted any more."""
    return (folder / UNWANTED).exists() or not folder.exists()


def clear(folder: Path) -> None:
    """Forget what was noted before."""
    (folder / UNWANTED).unlink(missing_ok=True)
    tell(folder, "")
