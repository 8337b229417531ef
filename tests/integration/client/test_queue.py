"""A site that queues and takes places away again, as a lessee sees it: SOAP, notifications and the command line."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from flyinglow.client import Consumer, Disk, LeaseFailed, Nic, Notification, Part, connect
from flyinglow.nodectl.errors import DeniedError, NeverError
from rigs.daemon import Daemon, environment, one_store

PARTS = [Part(name="wn", count=2, memory_mb=16, disks=(Disk(image="guest"),), nics=(Nic(network="private"),))]
TOML = '[notification]\nallow_loopback = true\n[backend]\nkind = "simulated"\n[backend.options]\nqueue = true\n'
WAITS = "waits for its turn in the simulated queue"


def cli(daemon: Daemon, *arguments: str) -> str:
    argv = [sys.executable, "-m", "flyinglow.cli", "--service", daemon.url, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=180, env=environment()).stdout


@one_store
def test_a_request_that_waits_says_why_and_till_when(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml=TOML + "grant_after = 3600.0")
    site = connect(daemon.url)
    valid = site.validate(PARTS, name="wn", duration=600)
    assert (valid.workspaces, valid.duration, valid.waits) == (2, 600, WAITS)
    foreseen = site.estimate(PARTS, name="wn", preemptable=True)
    assert (foreseen.starts_in, foreseen.reason) == (3600, WAITS)
    with pytest.raises(NeverError):
        site.validate([Part(name="huge", memory_mb=10**6, disks=(Disk(image="guest"),))], name="huge")
    with pytest.raises(TypeError):
        site.validate(PARTS, name="wn", token="t", watched=True)
    assert list(site.list()) == []
    lease = site.create(PARTS, name="wn", duration=600)
    seen = lease.resources["wn-1"].properties()
    assert (seen.task, seen.waits) == ("Queued", WAITS)
    deadline = time.monotonic() + 120
    while seen.starts_at is None:
        assert time.monotonic() < deadline
        seen = lease.resources["wn-1"].properties()
    assert seen.accepted_at is not None
    assert abs(seen.starts_at - seen.accepted_at - timedelta(hours=1)) < timedelta(seconds=30)
    assert lease.whole.properties().starts_at == seen.starts_at
    shown = cli(daemon, "show", "wn")
    assert WAITS in shown
    assert "expected" in shown
    said = cli(daemon, "create", "--dry-run", "--image", "guest", "--memory", "16", "--count", "2", "--name", "x")
    assert said == f"It would be granted: 2 workspaces for 1h; it would wait: {WAITS}.\n"
    assert cli(daemon, "list").count("wn") == 3


@one_store
def test_an_extension_is_refused_with_the_longest_possible_end(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml=TOML + "longest = 900.0")
    lease = connect(daemon.url).create(PARTS, name="wn", duration=600)
    before = lease.whole.wait("Running", timeout=120).ends_at
    assert before is not None
    assert lease.whole.set_end(before + timedelta(seconds=100)) == before + timedelta(seconds=100)
    with pytest.raises(DeniedError, match=r"the lease can end at .* at the latest: the simulated queue"):
        lease.resources["wn-1"].set_end(before + timedelta(seconds=3000))
    assert lease.whole.properties().ends_at == before + timedelta(seconds=100)


def test_a_lease_that_is_taken_away_is_warned_of_and_keeps_its_receipt(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml=TOML + "take_after = 3.0\ntake_notice = 20.0")
    told: list[Notification] = []
    over = threading.Event()

    def hear(news: Notification) -> None:
        told.append(news)
        if news.topic == "termination" and news.name == "wn":
            over.set()

    with Consumer() as consumer:
        lease = connect(daemon.url).create(PARTS, name="wn", watch=consumer.expect(callback=hear))
        with pytest.raises(LeaseFailed, match="taken back by the simulated queue"):
            lease.whole.wait("Ended", timeout=120)
        assert over.wait(120)
    for name in ("wn", "wn-1", "wn-2"):
        mine = sorted((news for news in told if news.name == name), key=lambda news: news.sequence)
        (warning,) = (news for news in mine if news.topic == "warning")
        assert (warning.seconds, warning.reason) == (20, "taken back by the simulated queue")
        assert mine[-1].topic == "termination"
        assert mine[-1].reason == "taken back by the simulated queue"
    assert lease.whole.properties().state == "Cancelled"
    shown = json.loads(cli(daemon, "show", "wn", "--timing", "--json"))
    for name in ("wn-1", "wn-2"):
        stamps = list(shown["receipt"][name])
        assert stamps[:4] == ["accepted", "queued", "scheduled", "launched"]
        counted = shown["milliseconds"][name]
        assert list(counted["since_accepted"]) == stamps
        assert sum(counted["since_before"].values()) == pytest.approx(counted["since_accepted"][stamps[-1]], abs=10)
    assert "Milliseconds after the step before" in cli(daemon, "show", "wn", "--timing")
