"""Runs ``flyinglow doctor`` on the head of a private cluster."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rigs.lrm_service import LrmService
from rigs.unprivileged import wrapped

Findings = Mapping[str, Mapping[str, Any]]


def doctor(service: LrmService, *words: str, config: Path | None = None) -> Findings:
    """Run the doctor on the head, as root; its commands become the service's user. Return its findings by name."""
    site = service.lrm_site
    argv = [sys.executable, "-m", "flyinglow.cli", "doctor", "--json", "--config", str(config or site.config)]
    coverage = os.environ.get("COVERAGE_FILE")
    exposed = [site.root, *([Path(coverage).parent] if coverage else [])]
    env = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    world: Any = service.world
    done = world.run_in_head(wrapped([*argv, *words], *exposed), env=env, check=False, seconds=120)
    assert done.stdout, done.stderr
    return {each["name"]: each for each in json.loads(done.stdout)}


def wrong(found: Findings) -> list[str]:
    """Return the names of what is not as it should be."""
    return [name for name, each in found.items() if not each["ok"]]
