"""SOAP requests a second: GetResourceProperty and Create, each in turns with its floor."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import messages
import wrk
from messages import Caller
from rows import Row, at_least, median, number, percentile

from bench import Bench, until

QUEUE = 'kind = "simulated"\noptions = {queue = true, grant_after = "never"}'


@contextmanager
def floor(answer: bytes, directory: Path) -> Iterator[str]:
    """Give the URL of a floor that sends this answer."""
    path = directory / "answer.xml"
    path.write_bytes(answer)
    argv = [sys.executable, str(Path(__file__).with_name("floor.py")), str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the floor's port cannot be read")
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        finally:
            process.kill()


def pairs(bench: Bench, url: str, body: bytes, below: str) -> tuple[list[wrk.Load], list[wrk.Load]]:
    """Load the service and its floor in turns; the first turn of each only warms up."""
    service, floors = [], []
    for turn in range(bench.rounds + 1):
        seconds = bench.seconds if turn else bench.seconds / 3
        service.append(wrk.run(url, body, seconds=seconds, directory=bench.directory))
        floors.append(wrk.run(below, body, seconds=seconds, directory=bench.directory))
        if turn:
            bench.say(f"{service[-1].rate:7.0f}/s  p50 {service[-1].p50:.1f}  p99 {service[-1].p99:.1f} ms; "
                      f"floor {floors[-1].rate:.0f}/s")  # fmt: skip
    return service[1:], floors[1:]


def rows(name: str, service: list[wrk.Load], floors: list[wrk.Load], rate: float, ratio: float | None) -> list[Row]:
    """Return the figures of a pair: the middle rates, and the middle of the rounds' own ratios."""
    below = median([load.rate for load in floors])
    share = median([load.rate / under.rate for load, under in zip(service, floors, strict=True)])
    p50, p99 = median([load.p50 for load in floors]), median([load.p99 for load in floors])
    floor_text = f"floor {number(below)}/s, p50 {number(p50)}, p99 {number(p99)} ms"
    return [
        Row(
            part="SOAP",
            name=name,
            value=median([load.rate for load in service]),
            unit="/s",
            p50=median([load.p50 for load in service]),
            p99=median([load.p99 for load in service]),
            target=at_least(rate),
            beside=floor_text,
        ),
        Row(
            part="SOAP",
            name=f"{name}, share of the floor",
            value=share,
            unit="",
            target=at_least(ratio) if ratio else None,
            beside="median of the rounds",
        ),
    ]


def get_property(bench: Bench) -> list[Row]:
    """Measure GetResourceProperty of a running workspace; the store is read at each request."""
    with bench.service("get", backend='kind = "simulated"') as service:
        caller = Caller(service.url)
        key = messages.resources(caller.post(service.factory, messages.create(service.factory)))[0][1]
        url = service.resource("workspace", key)
        body = messages.get_state(url)
        until(lambda: b"Running" in caller.post(url, body), 20, "a running workspace")
        with floor(caller.post(url, body), bench.directory) as below:
            pair = pairs(bench, url, body, below)
    return rows("GetResourceProperty", *pair, 800, 0.15)


def create(bench: Bench) -> list[Row]:
    """Measure Create of one workspace with one NIC, durable, with a back-end that queues it for ever."""
    with bench.service("create", backend=QUEUE) as service:
        commits = commit_rate(service.state, bench.seconds / 4)
        caller = Caller(service.url)
        body = messages.create(service.factory, network="private")
        with floor(caller.post(service.factory, body), bench.directory) as below:
            made, floors = pairs(bench, service.factory, body, below)
        answers = 1 + sum(load.requests for load in made)
        written = count(service.database)
        if written < answers:
            raise RuntimeError(f"{answers} workspaces were granted and {written} are written down")
        commits = median([commits, commit_rate(service.state, bench.seconds / 4)])
    found = rows("Create", made, floors, 200, None)
    disk = Row(
        part="SOAP",
        name="bare SQLite commit, synchronous=FULL",
        value=commits,
        unit="/s",
        beside="one row a commit, one writer, the same disk",
    )
    return [*found, disk]


def count(database: Path) -> int:
    """Return how many workspaces are written down."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return int(connection.execute("select count(*) from workspaces").fetchone()[0])


def commit_rate(directory: Path, seconds: float) -> float:
    """Return how many transactions of one small row a second SQLite makes durable on the disk of ``directory``."""
    path = directory / "commits.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT)")
    took = []
    end = time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t (text) VALUES (?)", ("x" * 200,))
        connection.execute("COMMIT")
        took.append(time.monotonic() - began)
    connection.close()
    path.unlink()
    return 1 / percentile(took, 0.5)
