"""Pull points, broker and delivery log of real services: over kill -9, between services, from another stack."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flyinglow.client import Disk, Notification, Part, PullPoint, Site, connect
from flyinglow.client.watch import Watch
from rigs.daemon import Daemon, environment
from rigs.waiting import eventually

PART = Part(name="wn", memory_mb=64, disks=(Disk(image="guest"),))


@contextmanager
def sink() -> Iterator[tuple[str, list[int]]]:
    """Give the address of a consumer, and the numbers of the messages that it has taken."""
    taken: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.extend(int(number) for number in re.findall(rb'sequence="(\d+)"', body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/in", taken
        finally:
            server.shutdown()
            thread.join(120)


def until(point: PullPoint, wanted: Callable[[Notification], bool]) -> list[Notification]:
    """Fetch until what is wanted has come, and return all that came."""
    found: list[Notification] = []

    def come() -> bool:
        found.extend(point.fetch(5))
        return any(map(wanted, found))

    eventually(come, 120)
    return found


def in_order(found: list[Notification]) -> bool:
    """Say whether every resource's messages came in their order and once."""
    last: dict[str, int] = {}
    for news in found:
        if news.sequence <= last.get(news.producer, 0):
            return False
        last[news.producer] = news.sequence
    return True


def test_what_happens_is_fetched_across_a_crash_and_nothing_is_lost(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory(toml="")  # which sends to nobody on this machine
    site = connect(daemon.url)
    with site.pull_point() as point:
        point.watch_all()
        whole = site.create([PART], name="wn").whole
        before = until(point, lambda news: news.state == "Running")
        daemon.kill()
        daemon.start()
        whole.pause()
        whole.wait("Paused", timeout=120)
        whole.destroy()
        found = before + until(point, lambda news: news.topic == "termination")
        assert in_order(found)
        assert [news.sequence for news in found] == list(range(1, len(found) + 1))
        assert {"Unpropagated", "Running", "Paused"} <= {news.state for news in found}
        assert point.missed == 0


def test_one_service_sends_to_a_pull_point_of_another(daemon_factory: Callable[..., Daemon]) -> None:
    producer, consumer = daemon_factory(), daemon_factory()
    with connect(consumer.url).pull_point() as point:
        whole = connect(producer.url).create([PART], name="wn").whole
        Watch(whole, point.url).subscribe()
        whole.wait("Running", timeout=120)
        whole.destroy()
        found = until(point, lambda news: news.topic == "termination")
    assert in_order(found)
    assert {news.producer for news in found} == {whole.url}


def test_a_consumers_owner_reads_the_log_and_has_it_sent_again(daemon_factory: Callable[..., Daemon]) -> None:
    daemon = daemon_factory()
    site: Site = connect(daemon.url)

    def cli(*arguments: str) -> list[dict[str, object]]:
        argv = [sys.executable, "-m", "flyinglow.cli", "--service", daemon.url, "--json", "deliveries", *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=180, env=environment())
        return [json.loads(line) for line in done.stdout.splitlines()]

    with sink() as (address, taken):
        whole = site.create([PART], name="wn", initial_state="Propagated").whole
        watch = Watch(whole, address)
        watch.subscribe()
        assert watch.subscription is not None
        subscription = watch.subscription.address
        whole.wait("Propagated", timeout=120)
        whole.start()
        whole.wait("Running", timeout=120)
        eventually(lambda: len(cli(subscription)) >= 2, 120)
        log = cli(subscription)
        sent = list(taken)
        assert cli(subscription, "--resend", str(log[-2]["number"])) == [{"messages": 2}]
        eventually(lambda: len(taken) >= len(sent) + 2, 120)
        assert taken[len(sent) :] == [entry["sequence"] for entry in log[-2:]]
        eventually(lambda: [entry["message_id"] for entry in cli(subscription)] == [e["message_id"] for e in log], 120)


def test_another_stack_pulls_by_the_standard_alone(daemon_factory: Callable[..., Daemon]) -> None:
    import zeep

    daemon = daemon_factory()
    whole = connect(daemon.url).create([PART], name="wn").whole
    factory = zeep.Client(f"{daemon.url}/pullpoints?wsdl").service
    address = factory.CreatePullPoint().PullPoint.Address._value_1
    Watch(whole, address).subscribe()
    whole.destroy()
    client = zeep.Client(f"{address}?wsdl")
    assert address.startswith(f"{daemon.url}/pullpoint/")
    taken: list[Any] = []

    def come() -> bool:
        answer = client.service.GetMessages(MaximumNumber=10)
        taken.extend(answer.NotificationMessage or [])
        return any("termination" in str(message.Topic._value_1) for message in taken)

    eventually(come, 120)
    client.service.DestroyPullPoint()
    with pytest.raises(zeep.exceptions.Fault, match="no such pull point"):
        client.service.GetMessages(MaximumNumber=10)
