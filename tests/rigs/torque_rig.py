"""A pretended Torque for tests, gone with the test: ``with torque(kill_delay=1) as rig: rig.ctl("hold")``."""

from __future__ import annotations

import contextlib
import getpass
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyinglow.backend.lrm.api import SiteTerms

BIN = Path(__file__).parent / "torque"
COMMANDS = ("qsub", "qstat", "qdel", "qalter", "pbsdsh", "pbsnodes")


@dataclass(frozen=True)
class TorqueRig:
    """Its directory, and what a command needs to find it. Jobs run as the user of this process."""

    directory: Path
    environment: dict[str, str]

    @property
    def jobs(self) -> Path:
        """Where jobs write, and their home."""
        return self.directory / "jobs"

    def run(self, *argv: str, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run one of its commands."""
        words = [str(BIN / argv[0]), *argv[1:]]
        return subprocess.run(
            words,
            env=self.environment,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def ctl(self, *argv: str) -> str:
        """Change a setting or bring about a fault; fails the test when it is not understood."""
        done = self.run("fake-torque-ctl", *argv)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def terms(self, **changes: Any) -> SiteTerms:
        """Return what a site's configuration would say."""
        values = {
            "queue": "batch",
            "directory": str(self.jobs),
            "shared_directory": str(self.jobs),
            "commands": {name: str(BIN / name) for name in COMMANDS},
            "environment": self.environment,
            **changes,
        }
        return SiteTerms(**values)


@contextlib.contextmanager
def torque(**settings: Any) -> Iterator[TorqueRig]:
    """Set it up with its settings (README.md), and end every process of it afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="fl-torque-"))
    (directory / "jobs").mkdir()
    rig = TorqueRig(
        directory,
        {
            "FAKE_TORQUE_DIR": str(directory / "state"),
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(directory / "jobs"),
            "USER": getpass.getuser(),
            **{f"FAKE_TORQUE_{name.upper()}": str(value) for name, value in settings.items()},
        },
    )
    try:
        yield rig
    finally:
        rig.run("fake-torque-ctl", "shutdown")
        shutil.rmtree(directory)
