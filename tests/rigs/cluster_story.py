"""The cluster of the users' guide, told by real guests: two nodes in network namespaces, the service, its endpoint.

Usage: cluster_story.py REQUEST IMAGE ROOT, inside of new mount, network and process namespaces, as root. REQUEST is a
JSON file with the request's own file, and whether there are workers. It prints one JSON object: what came of it,
and of a second one in which a machine fails.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyinglow.cli import request_file
from flyinglow.cli.demo import exposure, world
from flyinglow.cli.demo.daemon import serving
from flyinglow.cli.demo.kinds import Form
from flyinglow.cli.demo.leftovers import leftovers
from flyinglow.cli.demo.site import DAEMON_USER, Site, build, kill_all
from flyinglow.client import Consumer, File, Lease, Resource, WaitError, connect
from flyinglow.client.notification import Notification

SECONDS = 200.0
ENDPOINT = "http://10.73.0.1:8482"
LISTEN = '[listen.guest]\naddress = "0.0.0.0"\nport = 8482\ninsecure = true\n' + f'base_url = "{ENDPOINT}"'
FAILS = File(
    path="/etc/flyinglow/roles/storage-element", mode="0755", content=b"#!/bin/sh\necho disk quota exceeded\nexit 1\n"
)


def main() -> None:
    """Tell the story."""
    request, image, root = json.loads(Path(sys.argv[1]).read_text()), json.loads(sys.argv[2]), Path(sys.argv[3])
    world.furnish()
    exposure.expose([*exposure.code_directories(), root, Path(image["path"]).parent])
    exposure.check_readable(DAEMON_USER)
    site = build(Form.NAMESPACES, root, image)
    text = site.config.read_text()
    site.config.write_text(text.replace("[listen.guest]\nport = 0", LISTEN))
    try:
        with serving(site):
            sys.stdout.write(json.dumps(_told(site, request)) + "\n")
    finally:
        kill_all(site)


def _told(site: Site, request: Mapping[str, Any]) -> dict[str, Any]:
    service = connect(site.url)
    asked = request_file.read(Path(request["file"]))
    if not request["workers"]:
        asked["parts"] = [each for each in asked["parts"] if each.name != "wn"]
    with Consumer() as consumer:
        events: list[Notification] = []
        lease = service.create(**asked, watch=consumer.expect(callback=events.append))
        try:
            lease.whole.wait("Running", timeout=SECONDS)
        except (TimeoutError, WaitError):
            for name, one in _members(lease).items():
                sys.stderr.write(f"{name}: {one.properties()}\n{_console(one, '')[-3000:]}\n")
            raise
        consoles = {name: _console(one, "GUEST-JOINED") for name, one in _members(lease).items()}
        properties = {name: one.properties() for name, one in _members(lease).items()}
        told = {
            "consoles": consoles,
            "guests": {
                name: [each.guest.status, dict(each.guest.values)] for name, each in properties.items() if each.guest
            },
            "ready": {name: "ready" in each.timing for name, each in properties.items()},
            "events": [
                [each.name, each.state, each.task, each.reason, each.guest.status if each.guest else None]
                for each in events
                if each.kind == "workspace" and each.topic == "state"
            ],
        }
        lease.whole.destroy()
        _until(lambda: sum(each.topic == "termination" for each in events) >= len(lease.resources))
    parts = [replace(part, files=(FAILS,)) for part in asked["parts"] if part.name == "se"]
    failed = service.create(**{**asked, "parts": parts, "name": "bad"})
    try:
        failed.whole.wait("Running", timeout=SECONDS)
    except WaitError:
        told["failed"] = {
            name: [one.properties().state, one.properties().reason] for name, one in _members(failed).items()
        }
    _until(lambda: not leftovers(site))
    return told


def _members(lease: Lease) -> dict[str, Resource]:
    return {name: one for name, one in lease.resources.items() if one.kind == "workspace"}


def _console(one: Resource, mark: str) -> str:
    def said() -> str:
        text = one.console(max=1 << 20).data.decode(errors="replace")
        return text if mark in text else ""

    return str(_until(said))


def _until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (answer := true()):
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come to this")
        time.sleep(0.1)
    return answer


if __name__ == "__main__":
    main()
