"""What an administrator sees of pilot jobs on a real Slurm, by the command line."""

from __future__ import annotations

import json
import subprocess
import sys

from flyinglow.client import Disk, Part
from rigs.daemon import environment
from rigs.lrm_service import LrmService, slurm_service


def admin(service: LrmService, *words: str) -> str:
    """Run an admin command and return what it prints."""
    argv = [sys.executable, "-m", "flyinglow.cli", "admin", *words, "--state-dir", str(service.lrm_site.state)]
    env = {**environment(), "COLUMNS": "200"}
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=180, env=env).stdout


def test_jobs_and_slots_are_listed_and_nothing_is_held_back() -> None:
    part = Part(name="wn", count=2, memory_mb=128, disks=(Disk(image="guest"),))
    with slurm_service(nodes=2) as service:
        assert "There are no pilot jobs." in admin(service, "jobs")
        service.site.create([part], name="pair", duration=600).whole.wait("Running", timeout=120)
        listed = admin(service, "jobs")
        assert listed.count("Ready") == 2
        assert "node1" in listed
        (job,) = json.loads(admin(service, "jobs", "--json"))["jobs"]
        assert job["state"] == "Started"
        assert [slot["state"] for slot in job["slots"]] == ["Ready", "Ready"]
        assert "nothing was held back" in admin(service, "confirm")
