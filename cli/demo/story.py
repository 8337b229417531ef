"""What the demo does as a client: leases the OSG cluster of the paper's section 2.3 and shows what becomes of it."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

from rich.table import Table

from flyinglow.cli.demo.site import MEMBER_MB
from flyinglow.cli.plain import plain
from flyinglow.client import Consumer, Disk, Nic, Part
from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rich.console import Console as Screen

    from flyinglow.client import Lease, Member, Notification, Resource, Site

_HEADINGS = {"scheduled": "placed"}
_GUEST_SAYS = re.compile(r"GUEST-(HOSTNAME|IP|CTX\||PEER)\s?(.*)")
_SETTLE = 3.0


def cluster() -> list[Part]:
    """Return the parts: a compute element, a storage element, two worker nodes."""
    both, inside = (Nic(network="public"), Nic(network="private")), (Nic(network="private"),)
    disk = (Disk(image="guest"),)
    return [
        Part(name="ce", memory_mb=MEMBER_MB, disks=disk, nics=both, provides=("compute-element",)),
        Part(name="se", memory_mb=MEMBER_MB, disks=disk, nics=both, provides=("storage-element",)),
        Part(
            name="wn",
            count=2,
            memory_mb=MEMBER_MB,
            disks=disk,
            nics=inside,
            provides=("worker-node",),
            requires=("compute-element", "storage-element"),
        ),
    ]


def _told(news: Notification) -> str:
    """Return in one line what a notification tells."""
    reason = f": {news.reason}" if news.reason else ""
    if news.topic == "networking":
        return "networking: " + ", ".join(f"{nic.network} {nic.ip}" for nic in news.nics)
    if news.state is None:
        left = f" ({news.seconds} s left)" if news.seconds is not None else ""
        return f"{news.topic}{left}{reason}"
    task = f" ({news.task})" if news.task else ""
    counts = ", ".join(f"{count} {state}" for state, count in (news.census or {}).items())
    return f"{news.state}{task}{reason}" + (f" [{counts}]" if counts else "")


def _links_to_others(member: Member, members: tuple[Member, ...]) -> int:
    """Return how many addresses of other members are on the networks of this one."""
    own = {nic.network for nic in member.nics}
    return sum(nic.network in own for other in members if other.name != member.name for nic in other.nics)


class Story:
    """One lease from request to destroy, told on a screen. Raises FlyingLowError or TimeoutError when it goes wrong."""

    stamps: tuple[str, ...] = ("accepted", "scheduled", "image", "network", "started", "ready", "notified")
    patience = 55.0  # seconds for whatever is waited for

    def __init__(self, site: Site, screen: Screen, *, guests: bool, peers: bool) -> None:
        self._site, self._screen, self._guests, self._peers = site, screen, guests, peers
        self._began = time.monotonic()
        self._over: set[str] = set()
        self._news = threading.Condition()

    def lease(self, consumer: Consumer) -> Lease:
        """Create the ensemble in one request, which also subscribes the consumer to everything that it makes."""
        self._screen.print("One request for a compute element, a storage element and two worker nodes:")
        watch = consumer.expect(callback=self._heard)
        self._began = time.monotonic()
        return self._site.create(cluster(), name="osg", duration=1800, watch=watch)

    def _heard(self, news: Notification) -> None:
        seconds = time.monotonic() - self._began
        line = f"  {seconds:6.2f} s  {news.kind:<9} {news.name:<5} #{news.sequence:<2} {_told(news)}"
        self._screen.print(line, highlight=False, markup=False)
        with self._news:
            if news.topic == "termination":
                self._over.add(news.name)
            self._news.notify_all()

    def members(self, lease: Lease) -> tuple[Member, ...]:
        """Wait until the whole runs, then show who is where."""
        properties = lease.whole.wait("Running", timeout=self.patience)
        table = Table("name", "state", "node", "addresses", title="Members")
        for member in properties.members:
            addresses = ", ".join(f"{nic.network} {nic.ip}" for nic in member.nics)
            table.add_row(member.name, member.state, member.node, addresses)
        self._screen.print(table)
        return properties.members

    def guests_say(self, members: tuple[Member, ...]) -> None:
        """Show what each guest says of itself on its console, and hold it against what the service says."""
        if not self._guests:
            self._screen.print("No guest lines: the hypervisor is simulated.")
            return
        for member in members:
            answers = _links_to_others(member, members) if self._peers else 0
            lines = self._console(member.resource, member.name, answers)
            self._screen.print(f"{member.name} says on its console:", style="bold")
            for line in lines:
                self._screen.print(f"  {line}", highlight=False, markup=False)
            self._check(member, lines)

    def _console(self, resource: Resource, name: str, answers: int) -> list[str]:
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            text = resource.console().data.decode(errors="replace")
            lines = [plain(line.strip()) for line in text.splitlines() if _GUEST_SAYS.search(line)]
            if "GUEST-READY" in text and sum("GUEST-PEER" in line for line in lines) >= answers:
                return lines
            time.sleep(0.3)
        message = f"the guest {name} did not say within {self.patience:.0f} s that it is ready and reaches the others"
        raise BrokenError(message)

    def _check(self, member: Member, lines: list[str]) -> None:
        said = "\n".join(lines)
        for fact in [nic.ip for nic in member.nics] + [member.nics[0].hostname]:
            if fact not in said:
                message = f"the guest {member.name} was leased {fact} but does not say so"
                raise BrokenError(message)
        if "failed" in "".join(line for line in lines if "GUEST-PEER" in line):
            message = f"the guest {member.name} cannot reach every member it is told of"
            raise BrokenError(message)

    def receipt(self, members: tuple[Member, ...]) -> None:
        """Show when each step of each member was reached, in seconds after the request was accepted."""
        table = Table("step", *(member.name for member in members), title="Timing receipt (s)")
        timings = [self._complete(member) for member in members]
        for stamp in self.stamps:
            cells = [f"{(t[stamp] - t['accepted']).total_seconds():.2f}" if stamp in t else "-" for t in timings]
            table.add_row(_HEADINGS.get(stamp, stamp), *cells)
        self._screen.print(table)

    def _complete(self, member: Member) -> Mapping[str, datetime]:
        """Return a member's stamps; the last two are written a moment after what they tell of."""
        deadline = time.monotonic() + _SETTLE
        while True:
            timing = member.resource.properties().timing
            if set(self.stamps) <= set(timing) or time.monotonic() > deadline:
                return timing
            time.sleep(0.1)

    def destroy(self, lease: Lease, members: tuple[Member, ...]) -> None:
        """Destroy the whole and wait until every resource told of its end: workspaces, the groups, the whole."""
        lease.whole.destroy()
        expected = {member.name for member in members} | set(lease.resources)
        with self._news:
            if not self._news.wait_for(lambda: expected <= self._over, timeout=self.patience):
                message = f"no termination notice came for {', '.join(sorted(expected - self._over))}"
                raise BrokenError(message)
