"""The packaged guest, built once for each state of its builder and kept below the system's temporary directory."""

import fcntl
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import guest
from flyinglow.nodectl.errors import BrokenError

IMAGES = Path(tempfile.gettempdir()) / f"flyinglow-guest-{os.geteuid()}"  # for a node's configuration key images


@dataclass(frozen=True)
class Guest:
    """A catalogue entry, and VM specifications that boot it."""

    entry: dict[str, Any]

    def spec(self, tag: str, **changes: Any) -> dict[str, Any]:
        """Return a VmSpec in its JSON form; ``changes`` win."""
        entry = self.entry
        disk = {"name": "root", "source": entry["path"], "format": entry["format"], "sha256": entry["sha256"]}
        plain = {"tag": tag, "name": tag, "memory_mb": 96, "cpus": 1, "disks": [disk], "nics": []}
        boot = {name: entry[name] for name in ("kernel", "initrd", "append", "ready_mark")}
        return {**plain, **boot, **changes}


def _sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(guest.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@pytest.fixture(scope="session")
def guest_image() -> Guest:
    """Return the guest; skip where no Debian packages are to be had. Its files can be read by every user."""
    IMAGES.mkdir(mode=0o755, exist_ok=True)
    assert IMAGES.stat().st_uid == os.geteuid()
    out = IMAGES / _sources()
    with (IMAGES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "image.json").exists():
            try:
                guest.build(out, IMAGES / "cache")
            except BrokenError as error:
                pytest.skip(f"no guest: {error.message}")
    return Guest(json.loads((out / "image.json").read_text()))
