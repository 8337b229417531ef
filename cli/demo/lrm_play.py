"""The demo on a private batch scheduler: starts it, serves on its head, tells the story, looks for what is left."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyinglow.cli.admin_socket import ask
from flyinglow.cli.demo.lrm_site import SUDOERS, LrmSite
from flyinglow.cli.demo.lrm_story import LrmStory
from flyinglow.cli.demo.network import network_of
from flyinglow.cli.demo.schedulers import GRACE, NODES, Scheduler
from flyinglow.client import Consumer, connect
from flyinglow.nodectl.errors import BrokenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console as Screen

_START = 90.0
_STOP = 15.0
_OPTIONS: Mapping[str, Any] = {"poll": 1.0, "grace": GRACE, "margin": 120}


def play(scheduler: Scheduler, directory: Path, image: Mapping[str, Any], screen: Screen) -> None:
    """Play the demo below ``directory``, as root in the demo's own namespaces. Raises FlyingLowError, TimeoutError."""
    began = time.monotonic()
    with scheduler.prepare(directory / "cluster", SUDOERS) as world:
        screen.print(f"A private {scheduler.name} of {NODES} nodes is up ({time.monotonic() - began:.1f} s).")
        site = LrmSite(
            world=world,
            root=directory / "site",
            address=scheduler.address,
            options={**_OPTIONS, **scheduler.options},
            image=image,
        )
        site.build()
        with network_of(world.head.pid), _serving(site), Consumer() as consumer:
            _tell(LrmStory(connect(site.url), screen, scheduler, site), site, consumer)
        if found := [*_left_on_nodes(site)]:
            message = "left behind: " + "; ".join(found)
            raise BrokenError(message)
    screen.print("Nothing is left: no job, no process, no tap, no directory, no row that is not ended.")


def _tell(story: LrmStory, site: LrmSite, consumer: Consumer) -> None:
    with story.watching(site.state):
        story.somebody_else()
        lease = story.lease(consumer)
        members = story.members(lease)
    story.guests_say(members)
    story.receipt(members)
    story.memory(leased=True)
    with story.watching(site.state):
        story.preempt(lease)
    story.memory(leased=False)
    story.destroy(lease, members)
    if rows := ask(site.state, "workspace.list", {}):
        message = "left behind: " + "; ".join(f"workspace {row['name']} is {row['state']}" for row in rows)
        raise BrokenError(message)


@contextmanager
def _serving(site: LrmSite) -> Iterator[None]:
    log = site.root / "serve.log"
    with log.open("wb") as output:
        daemon = site.serve(stdout=output, stderr=output)
        try:
            _await_answer(site, daemon, log)
            yield
        finally:
            daemon.terminate()
            daemon.wait(_STOP)


def _await_answer(site: LrmSite, daemon: Any, log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            ask(site.state, "status", {})
        except BrokenError:
            time.sleep(0.05)
        else:
            return
    message = f"the service did not answer: {log.read_text(errors='replace').strip()[-1500:]}"
    raise BrokenError(message)


def _left_on_nodes(site: LrmSite) -> Iterator[str]:
    for node in site.world.names:
        status = site.status(node)
        yield from (f"VM {vm['tag']} on {node}" for vm in status["vms"])
        yield from (f"slot {slot['slot']} on {node}" for slot in status["slots"])
        links = site.world.run_on(node, ["ip", "-brief", "link"]).stdout.splitlines()
        yield from (f"tap {line.split()[0]} on {node}" for line in links if line.startswith("fl"))
        # every node has process numbers of its own
        listed = site.world.run_on(node, ["ps", "-e", "-o", "comm="]).stdout.split()
        yield from (f"process {name} on {node}" for name in listed if name.startswith(("qemu", "dnsmasq")))
