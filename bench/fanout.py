"""A thousand subscribers to one topic, some dead, some slow; and ten thousand messages for a consumer that is away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import messages
from consumers import Consumers
from messages import Caller
from rows import Row, at_most, out_of_order, percentile
from service import Service, free_port
from tls import Grid

from bench import Bench, until

SUBSCRIBERS = 1000
DEAD = 10
SLOW = 10
APART = 3.0
"""Seconds between two events: each is a message to every subscriber."""

AWAY = 10_000
"""Messages that are due while the consumer is away."""


def measure(bench: Bench) -> list[Row]:
    """Tell a thousand subscribers of one workspace, ten of them dead and ten slow."""
    return _measure(bench, "fanout")


def measure_tls(bench: Bench) -> list[Row]:
    """Tell as many over TLS, on connections that are kept."""
    return _measure(bench, "fanout-tls", Grid(bench.directory / "consumers-grid"))


def _measure(bench: Bench, name: str, grid: Grid | None = None) -> list[Row]:
    keys = () if grid is None else (grid.directory / "host.pem", grid.directory / "host.key")
    trust = "" if grid is None else f'ca_directory = "{grid.authorities}"'
    subscribers = 200 if bench.quick else SUBSCRIBERS
    events = 3 if bench.quick else 20
    consumers = Consumers(subscribers - DEAD, SLOW, keys)
    try:
        with bench.service(name, backend='kind = "simulated"', notification=trust) as service:
            url = _workspace(service)
            dead = [f"http://127.0.0.1:{free_port()}/dead" for _ in range(DEAD)]
            before = service.memory_mb()
            caller = Caller(service.url)
            for consumer in (*consumers.urls, *dead):
                caller.post(url, messages.subscribe(url, consumer, "schedule"))
            worked = -service.cpu_seconds()
            late, wrong = _told(bench, url, consumers, subscribers - DEAD - SLOW, events)
            memory, worked = service.memory_mb(), worked + service.cpu_seconds()
    finally:
        consumers.close()
    how = "" if grid is None else ", over TLS"
    who = f"{subscribers} subscribers{how}, {DEAD} of them dead and {SLOW} answering after 5 s"
    return [
        Row(
            part="Delivery",
            name=f"Commit to receipt{how}, p99 of the healthy",
            value=percentile(late, 0.99),
            unit="s",
            p50=percentile(late, 0.5) * 1000,
            p99=percentile(late, 0.99) * 1000,
            target=at_most(1.0),
            beside=f"{who}; an event every {APART:g} s, {events} events; from the request that makes it; "
            f"{worked / len(late) * 1000:.2f} ms of the service's processor time a message",
        ),
        Row(part="Delivery", name=f"Lost, twice or out of order{how}", value=wrong, unit="", target=at_most(0)),
        Row(
            part="Delivery",
            name=f"Memory of the service{how}",
            value=memory,
            unit="MB",
            beside=f"{before:.0f} MB before",
        ),
    ]


def _workspace(service: Service) -> str:
    caller = Caller(service.url)
    key = messages.resources(caller.post(service.factory, messages.create(service.factory)))[0][1]
    url = service.resource("workspace", key)
    until(lambda: b"Running" in caller.post(url, messages.get_state(url)), 20, "a running workspace")
    return url


def _told(bench: Bench, url: str, consumers: Consumers, healthy: int, events: int) -> tuple[list[float], int]:
    """Return the seconds from each event to each healthy consumer's receipt, and how many messages came wrong."""
    caller, sent = Caller(url), []
    caller.post(url, messages.set_end(url, 3500))  # so that every connection is there, and the dead are known
    time.sleep(APART)
    consumers.ask("clear")
    began = time.monotonic()
    for at in range(events):
        time.sleep(max(began + at * APART - time.monotonic(), 0))
        sent.append(time.monotonic())
        caller.post(url, messages.set_end(url, 3600 + at))
    deadline = time.monotonic() + 60
    while len(seen := _of_healthy(consumers, healthy)) < events * healthy and time.monotonic() < deadline:
        time.sleep(APART)
    first = max(number for _, _, number, *_ in seen) - events + 1
    late = [at - sent[number - first] for _, _, number, _, at in seen if number >= first]
    bench.say(f"{len(late)} messages, p50 {percentile(late, 0.5):.3f} s, p99 {percentile(late, 0.99):.3f} s")
    lines = [(f"{consumer}", number) for consumer, _, number, *_ in seen if number >= first]
    return late, out_of_order(lines) + abs(events * healthy - len(lines))


def _of_healthy(consumers: Consumers, healthy: int) -> list[Any]:
    return [each for each in consumers.ask("report")["seen"] if each[0] < healthy]


def measure_away(bench: Bench) -> list[Row]:
    """Make ten thousand messages for a consumer that is away, and see it get them all when it is back."""
    wanted = 300 if bench.quick else AWAY
    consumers = Consumers(1)
    try:
        with bench.service("away", backend='kind = "simulated"') as service:
            url = _workspace(service)
            caller = Caller(service.url)
            caller.post(url, messages.subscribe(url, consumers.urls[0], "schedule"))
            consumers.ask("down", 0)
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda first: _extend(url, range(first, wanted, 2)), (0, 1)))
            bench.say(f"{wanted} messages wait")
            consumers.ask("up", 0)
            back = time.monotonic()
            came = consumers.ask("wait", wanted, 300)
            report: Any = consumers.ask("report")
    finally:
        consumers.close()
    seen = [(str(consumer), number) for consumer, _, number, *_ in report["seen"]]
    arrivals = [at for *_, at in report["seen"]]
    span = max(arrivals) - min(arrivals) if arrivals else 0.0
    return [
        Row(
            part="Delivery",
            name=f"{wanted:,} messages to a consumer that was away, lost, twice or out of order",
            value=out_of_order(seen) + wanted - came,
            unit="",
            target=at_most(0),
            beside=f"in {report['requests']} requests; the first came {min(arrivals, default=0) - back:.1f} s after "
            f"it was back, the last {span:.1f} s later",
        ),
    ]


def _extend(url: str, numbers: range) -> None:
    caller = Caller(url)
    for at in numbers:
        caller.post(url, messages.set_end(url, 3600 + at))
    caller.close()
