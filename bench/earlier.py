"""The service beside an earlier revision of itself: what the same requests cost now, in turns within one run."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import messages
import wrk
from messages import Caller
from rows import Row, at_least, median, number
from service import Service
from throughput import QUEUE

from bench import Bench, until

REVISION = "e7213ee"
"""The last one at which the service had the default back-end only: no certificates, tokens, quotas or audit log."""
_LEAST = 0.85
_ROUNDS = 9


def measure(bench: Bench) -> list[Row]:
    """Load both revisions by turns with GetResourceProperty and with Create; each pair has its own ratio."""
    sources = _unpack(bench.directory / "earlier")
    asked = _ratio(bench, "get", 'kind = "simulated"', sources, _prepared)
    made = _ratio(bench, "create", QUEUE, sources, _creating)
    return [*_rows("GetResourceProperty", asked), *_rows("Create", made)]


def _unpack(folder: Path) -> Path:
    """Write the earlier revision's files below ``folder``."""
    command = ["git", "-C", str(Path(__file__).resolve().parents[1]), "archive", REVISION]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"revision {REVISION} is not in this clone: {done.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="tar")
    return folder / "src"


@contextmanager
def _both(bench: Bench, name: str, backend: str, sources: Path) -> Iterator[tuple[Service, Service]]:
    with bench.service(f"{name}-now", backend=backend) as present:
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(sources)
        earlier = Service(bench.directory / f"{name}-earlier", backend=backend)
        try:
            earlier.start()
            yield present, earlier
        finally:
            earlier.stop()
            os.environ.pop("PYTHONPATH")
            if before is not None:
                os.environ["PYTHONPATH"] = before


def _ratio(
    bench: Bench, name: str, backend: str, sources: Path, prepare: Callable[[Service], tuple[str, bytes]]
) -> list[tuple[wrk.Load, wrk.Load]]:
    """Return the loads of each round: now, then; a first round only warms up."""
    pairs = []
    with _both(bench, name, backend, sources) as services:
        asks = [prepare(service) for service in services]
        for turn in range((3 if bench.quick else _ROUNDS) + 1):
            now, then = (wrk.run(*ask, seconds=bench.seconds / 2, directory=bench.directory) for ask in asks)
            pairs.append((now, then))
            asks.reverse()  # who goes first has a cooler machine
            if turn % 2:
                pairs[-1] = (then, now)
            bench.say(f"{pairs[-1][0].rate:7.0f}/s now, {pairs[-1][1].rate:7.0f}/s at {REVISION}")
            _refuse_faults(pairs[-1])
    return pairs[1:]


def _refuse_faults(pair: tuple[wrk.Load, wrk.Load]) -> None:
    for load in pair:
        if load.faults or load.broken:
            raise RuntimeError(f"{load.faults} faults and {load.broken} broken connections: these figures mean nothing")


def _prepared(service: Service) -> tuple[str, bytes]:
    caller = Caller(service.url)
    key = messages.resources(caller.post(service.factory, messages.create(service.factory)))[0][1]
    url = service.resource("workspace", key)
    body = messages.get_state(url)
    until(lambda: b"Running" in caller.post(url, body), 60, "a running workspace")
    return url, body


def _creating(service: Service) -> tuple[str, bytes]:
    return service.factory, messages.create(service.factory, network="private")


def _rows(name: str, pairs: list[tuple[wrk.Load, wrk.Load]]) -> list[Row]:
    rates = [median([pair[at].rate for pair in pairs]) for at in (0, 1)]
    ratios = sorted(now.rate / then.rate for now, then in pairs)
    spread = f"{len(ratios)} pairs, {ratios[0]:.2f} to {ratios[-1]:.2f}"
    row = Row(
        part="SOAP",
        name=f"{name}, beside revision {REVISION}",
        value=median(ratios),
        unit="",
        target=at_least(_LEAST),
        beside=f"{number(rates[0])}/s and {number(rates[1])}/s; {spread}",
    )
    return [row]
