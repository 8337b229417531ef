"""What the demo does as a client of a site that leases its nodes from a batch scheduler, and what an operator does."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flyinglow.cli.admin_socket import ask
from flyinglow.cli.demo.story import Story
from flyinglow.nodectl.errors import BrokenError, FlyingLowError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console as Screen

    from flyinglow.cli.demo.lrm_site import LrmSite
    from flyinglow.cli.demo.schedulers import Scheduler
    from flyinglow.client import Consumer, Lease, Member, Notification, Site

_LOOK_EVERY = 0.2


class LrmStory(Story):
    """One lease from request to pre-emption. Raises FlyingLowError or TimeoutError when it goes wrong."""

    stamps = (
        *("accepted", "queued", "scheduled", "launched", "adapted"),
        *("image", "network", "started", "ready", "notified"),
    )
    patience = 120.0

    def __init__(self, site: Site, screen: Screen, scheduler: Scheduler, lrm_site: LrmSite) -> None:
        super().__init__(site, screen, guests=lrm_site.image is not None, peers=lrm_site.image is not None)
        self._scheduler, self._lrm_site = scheduler, lrm_site
        self._warned: dict[str, Notification] = {}
        self._cancelled: dict[str, str] = {}

    def somebody_else(self) -> None:
        """Let another user's job have all the nodes for a few seconds, so that ours must wait."""
        head = self._lrm_site.world.head
        env = dict(self._lrm_site.world.environment)
        head.run(self._scheduler.busy, user="other", env=env, text=self._scheduler.busy_script)
        self._screen.print("Another user's job has all nodes for a moment.")

    @contextmanager
    def watching(self, state: Path) -> Iterator[None]:
        """Print every change of a pilot job and of a slot while the block runs."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(state, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def show_queue(self) -> None:
        """Show the scheduler's own list of jobs."""
        world = self._lrm_site.world
        listed = world.head.run(self._scheduler.queue, env=dict(world.environment), check=False).stdout
        for line in listed.splitlines():
            self._screen.print(f"    {line}", highlight=False, markup=False)

    def lease(self, consumer: Consumer) -> Lease:
        """Create the cluster, and show that it waits in the scheduler's queue."""
        lease = super().lease(consumer)
        self._await("the pilot job was not submitted", lambda: bool(self._jobs("Pending") or self._jobs("Started")))
        self._screen.print("Level one: the request is an ordinary job in the scheduler's queue:")
        self.show_queue()
        return lease

    def members(self, lease: Lease) -> tuple[Member, ...]:
        """Wait until the whole runs on slots, then show who is where."""
        lease.whole.wait("Running", timeout=self.patience)
        self._screen.print("Level two: pilots have made slots of the nodes, and on each runs a VM:")
        return super().members(lease)

    def preempt(self, lease: Lease) -> None:
        """Cancel the job as the scheduler's operator, and see the lease end."""
        jobs = [job["id"] for job in self._jobs("Started")]
        if not jobs:
            message = "there is no running pilot job to take away"
            raise BrokenError(message)
        world = self._lrm_site.world
        self._screen.print(f"The operator takes the nodes back: {self._scheduler.cancel} {' '.join(jobs)}")
        began = time.monotonic()
        for job in jobs:
            world.head.run([self._scheduler.cancel, job], env=dict(world.environment))
        names = {member.name for member in lease.whole.properties().members}
        self._await("not every member was warned", lambda: names <= set(self._warned))
        self._await("the lease did not end as Cancelled", lambda: names <= set(self._cancelled))
        self._await("the slots were not given back", lambda: not self._slots_left())
        seconds = time.monotonic() - began
        left = min(news.seconds or 0 for news in self._warned.values())
        reason = next(iter(self._cancelled.values()))
        self._screen.print(f"Every member was warned with {left} s left, and ended as Cancelled: {reason}")
        grace = self._lrm_site.options["grace"]
        self._screen.print(f"All was given back {seconds:.1f} s after the notice; the grace period is {grace:g} s.")
        if seconds > grace:
            message = "giving back took longer than the grace period"
            raise BrokenError(message)

    def memory(self, *, leased: bool) -> None:
        """Show how every node's memory stands; fail when it is not as it has to be with a slot, or without one."""
        self._screen.print("What the nodes have of their memory for themselves, by their own word:")
        for node in self._lrm_site.world.names:
            memory = self._lrm_site.status(node)["memory"]
            line = f"  {node}: {memory['actual_mb']} MB of {memory['base_mb']} MB"
            self._screen.print(line, highlight=False)
            if (memory["actual_mb"] < memory["base_mb"]) is not leased:
                message = f"{node} did not {'lend its memory to the slot' if leased else 'get its memory back'}"
                raise BrokenError(message)

    def _heard(self, news: Notification) -> None:
        with self._news:
            if news.topic == "warning":
                self._warned[news.name] = news
            if news.state == "Cancelled" and news.kind == "workspace":
                self._cancelled[news.name] = news.reason
        super()._heard(news)

    def _await(self, complaint: str, done: Any) -> None:
        deadline = time.monotonic() + self.patience
        while not done():
            if time.monotonic() > deadline:
                raise BrokenError(complaint)
            time.sleep(_LOOK_EVERY)

    def _inspect(self) -> dict[str, Any]:
        found: dict[str, Any] = ask(self._lrm_site.state, "backend.inspect", {})
        return found

    def _jobs(self, state: str) -> list[dict[str, Any]]:
        return [job for job in self._inspect()["jobs"] if job["state"] == state]

    def _slots_left(self) -> list[str]:
        slots = [slot for job in self._inspect()["jobs"] for slot in job["slots"]]
        return [slot["slot"] for slot in slots if slot["state"] not in {"Released", "Lost"}]

    def _watch(self, state: Path, over: threading.Event) -> None:
        known: dict[str, str] = {}
        while not over.wait(_LOOK_EVERY):
            try:
                found = ask(state, "backend.inspect", {})
            except (FlyingLowError, OSError):
                continue  # it is being started or stopped
            slots = [slot for job in found["jobs"] for slot in job["slots"]]
            for name, words in [*map(_job_words, found["jobs"]), *map(_slot_words, slots)]:
                if known.get(name) != words:
                    known[name] = words
                    seconds = time.monotonic() - self._began
                    line = f"  {seconds:6.2f} s  {name}: {words}"
                    self._screen.print(line, highlight=False, markup=False, style="cyan")


def _job_words(job: dict[str, Any]) -> tuple[str, str]:
    reason = f" ({job['reason']})" if job.get("reason") else ""
    return f"job {job['job']}", f"{job['state']}{reason}"


def _slot_words(slot: dict[str, Any]) -> tuple[str, str]:
    where = f" on {slot['node']}" if slot.get("node") else ""
    return f"slot {slot['slot']}", f"{slot['state']}{where}"
