"""The service's own share of a launch: from Create to the last "Running" that a consumer gets, VMs costing nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

import messages
from consumers import RUNNING, Consumers, Seen
from messages import Caller
from rows import Row, Target, at_most, growth, median, number
from service import Service

from bench import Bench, until

SIZES = (1, 16, 64, 256)
LIMITS: dict[int, Target] = {1: at_most(0.15), 16: at_most(0.4), 256: at_most(3.0)}
REPEATS = {1: 9, 16: 7, 64: 5, 256: 5}
BACKENDS = {
    "simulated": 'kind = "simulated"\noptions = {placement = "spread"}',
    "default": 'kind = "default"\noptions = {placement = "spread"}',
}


def measure(bench: Bench, backend: str) -> list[Row]:
    """Measure every size on one back-end; ``default`` drives node agents as processes of their own."""
    consumers = Consumers(1)
    try:
        with bench.service(f"launch-{backend}", backend=BACKENDS[backend]) as service:
            _once(service, consumers, 4)  # agents are started, code is warm
            times = {size: _repeat(bench, service, consumers, size) for size in SIZES}
    finally:
        consumers.close()
    return _rows(backend, times)


def _repeat(bench: Bench, service: Service, consumers: Consumers, size: int) -> list[float]:
    repeats = 2 if bench.quick else REPEATS[size]
    times = [_once(service, consumers, size) for _ in range(repeats)]
    bench.say(f"N={size:3d}  " + "  ".join(f"{seconds:.3f}" for seconds in times) + " s")
    return times


def _once(service: Service, consumers: Consumers, size: int) -> float:
    """Launch, wait for the last notification, give everything back; return the seconds."""
    consumers.ask("clear")
    caller = Caller(service.url)
    body = messages.create(service.factory, count=size, network="private", consumer=consumers.urls[0])
    began = time.monotonic()
    answer = caller.post(service.factory, body)
    mine = messages.subscriptions(answer)  # what is late of the launch before must not count
    if (running := consumers.ask("running", size, 60, mine)) != size:
        raise RuntimeError(f"{running} of {size} workspaces were reported running")
    last = _last_to_run(consumers.ask("report")["seen"], set(mine))
    whole = messages.resources(answer)[0]
    caller.post(service.resource(*whole), messages.destroy(service.resource(*whole)))
    question = messages.list_page(service.factory, None, 1)
    until(lambda: b"<flf:Entry>" not in caller.post(service.factory, question), 60, "an empty list")
    _settle(service)
    return last - began


def _last_to_run(seen: Sequence[Seen], mine: set[str]) -> float:
    """Return when the last workspace was first told to be running; some tell it again when their guest is ready."""
    first: dict[str, float] = {}
    for _, subscription, _, state, at in seen:
        if state == RUNNING and subscription in mine:
            first.setdefault(subscription, at)
    return max(first.values())


def _settle(service: Service) -> None:
    """Wait until the service has cleaned up: until it rests."""
    before = service.cpu_seconds()
    while True:
        time.sleep(0.3)
        now = service.cpu_seconds()
        if now - before < 0.03:
            return
        before = now


def _rows(backend: str, times: dict[int, list[float]]) -> list[Row]:
    middle = {size: median(seconds) for size, seconds in times.items()}
    rows = [
        Row(
            part=f"Launch, back-end {backend}",
            name=f"N = {size}",
            value=middle[size],
            unit="s",
            p50=middle[size] * 1000,
            p99=max(times[size]) * 1000,
            target=LIMITS.get(size),
            beside=f"{number(middle[size] / size * 1000)} ms each; p99 is the slowest of {len(times[size])}",
        )
        for size in SIZES
    ]
    steepest = Row(
        part=f"Launch, back-end {backend}",
        name=f"growth of time over growth of size, {SIZES[1]} to {SIZES[-1]}",
        value=growth(middle),
        unit="",
        target=at_most(1.0),
        beside="1 is linear",
    )
    return [*rows, steepest]
