"""Starts the node's agent. The pilot does so before it has read the rest of itself, so that the two start side by side.

What was begun too early does no harm: until it is told to take a slot, an agent holds nothing, and it ends with its
input.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from flyinglow.pilot.probe import memory_mb


def spawned(argv: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start it in a session of its own, so that no terminal's or group's signal means it. Raises OSError."""
    pipe = subprocess.PIPE
    return subprocess.Popen(list(argv), stdin=pipe, stdout=pipe, bufsize=0, start_new_session=True, cwd="/")


def ahead(line: bytes, rank: int) -> subprocess.Popen[bytes] | None:
    """Start the agent that the settings in ``line`` name; None where anything is to be looked at first, and refused."""
    try:
        told = json.loads(line)
        return spawned(told["agent"]) if _plain(told, told["slots"][rank]) else None
    except (OSError, ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
        return None


def _plain(told: dict[str, Any], size: dict[str, Any]) -> bool:
    """Whether nothing speaks against these settings; whatever does is found, and told, by the checks that follow."""
    there = memory_mb()
    bytes.fromhex(told["key"])
    fits = isinstance(size["cpus"], int) and (there is None or size["memory_mb"] < there)
    known = told["url"].startswith(("http://", "https://")) and not told.get("ssh")
    words = isinstance(told["agent"], list) and all(isinstance(word, str) for word in told["agent"])
    return fits and known and words and told["seconds"] > 0 and told["grace"] >= 0
