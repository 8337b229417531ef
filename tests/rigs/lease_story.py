"""What scenarios on a private batch scheduler have in common: a lease, what is told of it, how the site ends up."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flyinglow.cli.demo.slurm_world import SlurmWorld
from flyinglow.client import Consumer, Disk, Lease, Nic, Part
from flyinglow.client.lease_watch import LeaseWatch
from flyinglow.client.notification import Notification
from rigs.lrm_service import LrmService


def part(count: int = 1, memory_mb: int = 128, name: str = "wn") -> Part:
    """Return a part of simple workspaces."""
    return Part(
        name=name, count=count, memory_mb=memory_mb, disks=(Disk(image="guest"),), nics=(Nic(network="private"),)
    )


@dataclass
class Story:
    """A lease and all that was told of it. ``received`` is in the order of arrival."""

    service: LrmService
    lease: Lease
    watch: LeaseWatch
    received: list[Notification] = field(default_factory=list)

    def hear(self, wanted: Callable[[Notification], Any], what: str, seconds: float = 180.0) -> Notification:
        """Return the first notification of such a kind, waiting for it; fails with the service's log."""
        deadline = time.monotonic() + seconds
        for news in self.received:
            if wanted(news):
                return news
        while True:
            found = self._next(deadline)
            if found is None:
                told = [(one.name, one.topic, one.state, one.task, one.reason) for one in self.received]
                pytest.fail(f"{what} was not told within {seconds:g} s: {told}\n{state(self.service)}")
            self.received.append(found)
            if wanted(found):
                return found

    def _next(self, deadline: float) -> Notification | None:
        try:
            return self.watch.queue.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None

    def running(self, seconds: float = 180.0) -> list[str]:
        """Wait until all of it runs; return the members' nodes in their order."""
        try:
            found = self.lease.whole.wait("Running", timeout=seconds)
        except TimeoutError as error:
            pytest.fail(f"{error}: {state(self.service)}")
        return [str(member.node) for member in found.members] or [str(found.node)]

    def cancelled(self, seconds: float = 180.0) -> str:
        """Wait until the whole lease has ended as Cancelled; return the reason that the client is told."""
        names = {resource.name for resource in self.lease.resources.values() if resource.kind == "workspace"}
        reasons = [self.state(name, "Cancelled", seconds).reason for name in sorted(names)]
        return reasons[0]

    def state(self, name: str, state: str, seconds: float = 180.0) -> Notification:
        """Wait until the client is told that a workspace is in this state."""
        return self.hear(
            lambda news: (news.name, news.topic, news.state) == (name, "state", state), f"{name} {state}", seconds
        )

    def warning(self, seconds: float = 180.0) -> Notification:
        """Wait until the client is warned that the end is near."""
        return self.hear(lambda news: news.topic == "warning", "a warning", seconds)

    def waits(self, *words: str, seconds: float = 180.0) -> Notification:
        """Wait until the client is told why the lease waits, in words that hold all of these."""
        return self.hear(
            lambda news: news.topic == "schedule" and all(word in news.reason for word in words),
            f"waiting because of {words}",
            seconds,
        )

    @property
    def job(self) -> dict[str, Any]:
        """The one job of the lease that is not over."""
        return only(self.service, over=False)


def slurm(service: LrmService) -> SlurmWorld:
    """Return the service's cluster."""
    assert isinstance(service.world, SlurmWorld)
    return service.world


def state(service: LrmService) -> str:
    """Return all that may tell why something did not happen."""
    ask = (["squeue", "--states=all"], ["sinfo"]) if isinstance(service.world, SlurmWorld) else (["qstat"],)
    listed = [service.world.run_in_head(argv, check=False).stdout for argv in ask]
    told = [str(service.admin(verb)) for verb in ("backend.inspect", "workspace.list", "status")]
    return "\n".join([*told, *listed, service.log])


def only(service: LrmService, **wanted: Any) -> dict[str, Any]:
    """Return the one job whose entries are these; waits until there is exactly one."""

    def look() -> dict[str, Any] | None:
        found = [job for job in service.jobs() if all(job[key] == value for key, value in wanted.items())]
        return found[0] if len(found) == 1 else None

    found: dict[str, Any] = service.wait(look, f"one job with {wanted}")
    return found


@contextlib.contextmanager
def telling(
    service: LrmService, parts: Sequence[Part] | Part, *, name: str, duration: int = 600, **more: Any
) -> Iterator[Story]:
    """Create a lease, its client subscribed from the first event on."""
    with Consumer() as consumer:
        watch = consumer.expect()
        wanted = [parts] if isinstance(parts, Part) else list(parts)
        lease = service.site.create(wanted, name=name, duration=duration, watch=watch, **more)
        yield Story(service, lease, watch)


def listed(service: LrmService, job: Mapping[str, Any]) -> str:
    """Return Slurm's own word for a job; empty when it does not know it (any more)."""
    argv = ["squeue", "-h", "--states=all", "-j", str(job["id"]), "-o", "%T"]
    words: list[str] = slurm(service).run_in_head(argv, check=False).stdout.split()
    return words[0] if words else ""


def calm(service: LrmService, seconds: float = 180.0) -> None:
    """Wait until nothing is left of any lease, and fail when a node is not as it should be."""
    service.wait(lambda: not service.admin("workspace.list"), "the end of all rows", seconds)
    service.wait(lambda: all(job["over"] for job in service.jobs()), "the end of all jobs", seconds)
    service.wait(lambda: not mine(service), "the end of all jobs of ours in Slurm's own list", seconds)
    left = service.clean_nodes()
    assert not left, left


def mine(service: LrmService, user: str = "lease") -> list[str]:
    """Return the jobs of a user that Slurm has, in any state before their end."""
    listed = slurm(service).run_in_head(["squeue", "-h", "-u", user, "-o", "%i %T"]).stdout
    return [line for line in listed.splitlines() if line.strip()]


@contextlib.contextmanager
def for_all() -> Iterator[Path]:
    """Give a directory that every user can read; pytest's own are root's alone."""
    with tempfile.TemporaryDirectory(prefix="fl-commands-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def tidy(service: LrmService) -> None:
    """End whatever a test that failed left behind, so that the next one has its nodes."""
    for user in ("other", "lease"):
        slurm(service).run_in_head(["scancel", "-u", user], check=False)


def dismiss(service: LrmService) -> None:
    """End pilots that have given everything back, and would tell a service that is gone until their grace is over."""
    service.wait(lambda: not service.clean_nodes(), "the nodes as they were")
    slurm(service).run_in_head(["scancel", "--signal=KILL", "-u", "lease"], check=False)
    service.wait(lambda: not mine(service), "the end of all jobs in Slurm")


def hog(service: LrmService, seconds: int, *options: str) -> str:
    """Let another user's job have nodes for so long; return its number once it runs."""
    argv = ["sbatch", "--parsable", "--chdir=/tmp", "--output=/dev/null", *options]
    script = f"#!/bin/sh\nsleep {seconds}\n"
    job: str = slurm(service).run_in_head(argv, user="other", text=script).stdout.strip()
    return job


__all__ = [
    "Story",
    "calm",
    "dismiss",
    "for_all",
    "hog",
    "listed",
    "mine",
    "only",
    "part",
    "slurm",
    "state",
    "telling",
    "tidy",
]
