"""A lease that waits for its guests, on the whole service: client, command, notifications, context endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable

import pytest

from flyinglow.client import Consumer, Disk, Lease, Nic, Notification, Part, connect
from rigs.daemon import Daemon, environment
from rigs.waiting import eventually

PART = Part(name="wn", count=2, memory_mb=64, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))
SLOW = {"simulated": {"delays": {"ready": 100_000.0}}}


@pytest.fixture
def daemon_store() -> str:
    """One database is enough here."""
    return ""


def report(daemon: Daemon, lease: Lease, name: str, **said: object) -> None:
    headers = {"Authorization": f"Bearer {daemon.guest_token(lease.resources[name].id)}"}
    asked = urllib.request.Request(f"{daemon.guest_url}/report", json.dumps({"status": "ok", **said}).encode(), headers)
    with urllib.request.urlopen(asked, timeout=120) as answer:
        assert answer.status == 200


def command(daemon: Daemon, *words: str) -> str:
    env = {**environment(), "FLYINGLOW_SERVICE": daemon.url}
    argv = [sys.executable, "-m", "flyinglow.cli", *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=120).stdout


def test_a_lease_waits_for_its_guests_and_tells_what_they_said(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(nodectl=SLOW, guests=True)
    heard: list[Notification] = []
    with Consumer() as consumer:
        site = connect(daemon.url)
        lease = site.create([PART], name="wn", ready_barrier=600, watch=consumer.expect(callback=heard.append))
        one, other = lease.resources["wn-1"], lease.resources["wn-2"]
        eventually(lambda: one.properties().reason == "waits for guests: 0 of 2")
        report(daemon, lease, "wn-1", message="up", values={"key": "ssh-ed25519 AAAA"})
        eventually(lambda: other.properties().reason == "waits for guests: 1 of 2")
        assert (one.properties().state, one.properties().task) == ("Propagated", "Starting")
        report(daemon, lease, "wn-2")
        lease.whole.wait("Running", timeout=120)
        guest = one.properties().guest
        assert guest is not None
        assert (guest.status, guest.message, guest.values) == ("ok", "up", {"key": "ssh-ed25519 AAAA"})
        assert "ready" in one.properties().timing
        told = [each.guest for each in heard if each.name == "wn-1" and each.guest]
        assert [(each.status, each.message) for each in told] == [("ok", "up")]
        shown = command(daemon, "show", "wn/wn-1")
        assert "guest     ok: up, reported " in shown
        assert "value     key ssh-ed25519 AAAA" in shown
        assert json.loads(command(daemon, "show", "wn/wn-1", "--json"))["guest"]["status"] == "ok"
    daemon.stop()


def test_a_restart_leaves_who_reported_known(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(nodectl=SLOW, guests=True)
    lease = connect(daemon.url).create([PART], name="wn", ready_barrier=600)
    eventually(lambda: lease.resources["wn-2"].properties().reason == "waits for guests: 0 of 2")
    report(daemon, lease, "wn-1")
    daemon.kill()
    daemon.start()
    report(daemon, lease, "wn-2")
    lease.whole.wait("Running", timeout=120)
    daemon.stop()
