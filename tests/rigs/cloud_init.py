"""Debian's own cloud-init, unpacked and not installed: what its data source NoCloud makes of a seed volume.

The packages are fetched once, as the guest's are. Only finding and mounting the volume is not cloud-init's own here,
for both need a machine of its own: how it would find it is asserted by ``blkid``, and the files are read out of it.
"""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.errors import BrokenError
from flyinglow.nodectl.guest import packages
from rigs.guest import IMAGES

PROGRAM = Path(__file__).with_name("cloud_init_reads.py")
PYTHON = (
    *(
        "yaml",
        "jinja2",
        "markupsafe",
        "jsonschema",
        "attr",
        "pyrsistent",
        "configobj",
        "requests",
        "urllib3",
        "certifi",
    ),
    *("chardet", "charset-normalizer", "idna", "oauthlib", "json-pointer", "jsonpatch", "netifaces", "serial", "six"),
)
PREFIX = "usr/lib/python3/dist-packages/"


@dataclass(frozen=True)
class CloudInit:
    """cloud-init's modules in a folder."""

    modules: Path

    def reads(self, seed: Path, work: Path) -> dict[str, Any]:
        """Return what cloud-init understands of a seed volume; what it would write, it writes below ``work``."""
        found = subprocess.run(["blkid", "-p", "-o", "export", seed], capture_output=True, check=True, text=True).stdout
        assert {"LABEL=cidata", "TYPE=iso9660"} <= set(found.splitlines()), found  # how NoCloud looks for it
        files = work / "files"
        words = ["xorriso", "-osirrox", "on", "-indev", str(seed), "-extract", "/", str(files)]
        subprocess.run(words, check=True, capture_output=True)
        environment = {"PYTHONPATH": str(self.modules), "PATH": os.environ["PATH"]}
        words = [sys.executable, str(PROGRAM), str(files), str(work / "root")]
        done = subprocess.run(words, env=environment, capture_output=True, check=False, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-4000:]
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture(scope="session")
def cloud_init() -> CloudInit:
    """Return cloud-init; skip where no Debian packages are to be had, or its compiled parts are for another Python."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("Debian's cloud-init is for Python 3.11")
    IMAGES.mkdir(mode=0o755, exist_ok=True)
    out = IMAGES / "cloud-init"
    with (IMAGES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "done").exists():
            try:
                for package in ("cloud-init", *(f"python3-{name}" for name in PYTHON)):
                    packages.unpack(packages.fetch(package, _cache()), out, (PREFIX,))
            except BrokenError as error:
                pytest.skip(f"no cloud-init: {error.message}")
            (out / "done").touch()
    return CloudInit(out / PREFIX)


def _cache() -> Path:
    cache = IMAGES / "cache"
    cache.mkdir(exist_ok=True)
    return cache
