"""Grid Engine's and the pretended Torque's own lists of jobs, asked as their users and operators ask: not by us."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from rigs.lrm_service import LrmService

_LINE = re.compile(r"^\s*(\d+)\S*\s", re.MULTILINE)


class Queue(Protocol):
    """The scheduler's list of jobs."""

    def mine(self, user: str = "lease") -> dict[str, str]:
        """Return the state of every job of a user that has not ended, by the job's number."""

    def hog(self, seconds: int, nodes: int) -> str:
        """Let another user's job have nodes for so long; return its number."""

    def delete(self, job: str) -> None:
        """End a job as the operator does."""


@dataclass(frozen=True)
class GridEngineQueue:
    """See ``Queue``."""

    service: LrmService

    def mine(self, user: str = "lease") -> dict[str, str]:
        """See ``Queue.mine``."""
        out = self.service.world.run_in_head(["qstat", "-u", user]).stdout
        rows = [line.split() for line in out.splitlines() if _LINE.match(line)]
        return {row[0]: row[4] for row in rows}

    def hog(self, seconds: int, nodes: int) -> str:
        """See ``Queue.hog``."""
        argv = ["qsub", "-terse", "-pe", "spread", str(nodes), "-wd", "/tmp", "-j", "y", "-o", "/dev/null", "-N", "hog"]
        script = f"#!/bin/sh\nsleep {seconds}\n"
        number: str = self.service.world.run_in_head(argv, user="other", text=script).stdout.strip()
        self.service.wait(lambda: self.mine("other").get(number) == "r", "the other user's job")
        return number

    def delete(self, job: str) -> None:
        """See ``Queue.delete``."""
        self.service.world.run_in_head(["qdel", job])


@dataclass(frozen=True)
class TorqueQueue:
    """See ``Queue``."""

    service: LrmService

    def mine(self, user: str = "lease") -> dict[str, str]:
        """See ``Queue.mine``."""
        out = self.service.world.run_in_head(["qstat"]).stdout
        rows = [line.split() for line in out.splitlines()[2:]]
        return {row[0]: row[4] for row in rows if row[2] == user and row[4] != "C"}

    def hog(self, seconds: int, nodes: int) -> str:
        """See ``Queue.hog``."""
        argv = ["qsub", "-l", f"nodes={nodes}", "-N", "hog", "-j", "oe", "-o", str(self.service.world.jobs)]
        script = f"#!/bin/sh\nsleep {seconds}\n"
        number: str = self.service.world.run_in_head(argv, user="other", text=script).stdout.strip()
        self.service.wait(lambda: self.mine("other").get(number) == "R", "the other user's job")
        return number

    def delete(self, job: str) -> None:
        """See ``Queue.delete``."""
        self.service.world.run_in_head(["qdel", job])


def calm(service: LrmService, queue: Queue, seconds: float = 180.0) -> None:
    """Wait until nothing is left of any lease, and fail when a node is not as it should be."""
    service.wait(lambda: not service.admin("workspace.list"), "the end of all rows", seconds)
    service.wait(lambda: all(job["over"] for job in service.jobs()), "the end of all jobs", seconds)
    service.wait(lambda: not queue.mine(), "the end of all jobs of ours in the scheduler's own list", seconds)
    left = service.clean_nodes()
    assert not left, left


def tidy(service: LrmService, queue: Queue) -> None:
    """End whatever a test that failed left behind, so that the next one has its nodes."""
    for user in ("other", "lease"):
        for job in queue.mine(user):
            service.world.run_in_head(["qdel", job], check=False)


def restarted(service: LrmService, **how: Any) -> None:
    """Kill the service, and start it again."""
    service.kill()
    service.start(**how)


__all__ = ["GridEngineQueue", "Queue", "TorqueQueue", "calm", "restarted", "tidy"]
