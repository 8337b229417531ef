"""What is known of the image files of a node, so that looking into one is paid once for every state of its file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.images import qcow2
from flyinglow.nodectl.images.cache import sha256
from flyinglow.nodectl.vmdir import read_json, write_json


class Facts:
    """Checks images, and remembers in a file what it found."""

    def __init__(self, file: Path, most: int) -> None:
        """``most`` is how large an image may be, and may seem to its guest, in bytes."""
        self._file = file
        self._most = most
        self._lock = threading.Lock()

    def check(self, source: Path, form: str, digest: str | None, name: str) -> None:
        """Raise InvalidError when a file is not what was ordered, or is too large, or names other files.

        ``digest`` None: its checksum is known to be right, or nobody cares.
        """
        status = source.stat()
        facts = {"mtime": status.st_mtime_ns, "size": status.st_size, "inode": status.st_ino}
        key = f"{name}:{form}"
        with self._lock:
            known = (read_json(self._file) or {}).get(key)
            if known is None or any(known.get(name) != value for name, value in facts.items()):
                self._look(source, form, status.st_size)
                known = {**facts, "sha256": sha256(source) if digest else None}
                self._remember(key, known)
            elif digest and known["sha256"] is None:
                known = {**facts, "sha256": sha256(source)}
                self._remember(key, known)
        if digest and known["sha256"] != digest:
            raise InvalidError(f"image {name} has checksum {known['sha256']}, not {digest}")

    def _look(self, source: Path, form: str, size: int) -> None:
        if size > self._most:
            raise InvalidError(f"image {source} is larger than the {self._most >> 20} MiB that are allowed")
        if form == "qcow2":
            qcow2.check(source, self._most)

    def _remember(self, key: str, known: dict[str, Any]) -> None:
        write_json(self._file, {**(read_json(self._file) or {}), key: known})
