"""256 pilots that report ready at once: until all reports are stored and acknowledged, and what that costs."""

from __future__ import annotations

import http.client
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rows import Row, at_most

from bench import Bench
from flyinglow.pilot.messages import PATH, Answer, Kind, Message, answer, opened, seal, verify

PILOTS = 256
SERVER = Path(__file__).with_name("intake_server.py")


@dataclass
class Pilot:
    """One pilot's side: a connection that is kept, the key it signs by, its next number."""

    way: http.client.HTTPConnection
    slot: str
    key: str
    epoch: int = 1
    sequence: int = 0

    def sealed(self, kind: Kind) -> bytes:
        """Sign the next report."""
        self.sequence += 1
        made = Message(self.slot, f"n{self.slot}", self.epoch, kind, sequence=self.sequence, incarnation="bench")
        return seal(made, self.key)

    def read(self, sent: bytes, body: bytes) -> Answer:
        """Believe an answer that is signed for what was sent."""
        fields, text, mac = opened(body)
        verify(self.key, text, mac, opened(sent)[2])
        told = answer(fields)
        self.key, self.epoch = told.key or self.key, told.epoch or self.epoch
        return told


def measure(bench: Bench) -> list[Row]:
    """Measure several times over, each with a new store; the median is the figure."""
    found = [once(bench.directory / f"reports{turn}") for turn in range(2 if bench.quick else 7)]
    seconds, cpu = ([each[at] for each in found] for at in (0, 1))
    beside = f"slowest of {len(found)} {max(seconds):.3f} s; all stored before they are acknowledged"
    part = f"{PILOTS} pilots report ready at once"
    middle = statistics.median(seconds)
    return [
        Row(
            part=part, name="first sent to last acknowledged", value=middle, unit="s", target=at_most(1), beside=beside
        ),
        Row(part=part, name="processor time of the service", value=statistics.median(cpu), unit="s"),
    ]


def once(folder: Path) -> tuple[float, float]:
    """Return the seconds from the first report's sending to the last's acknowledgement, and the service's CPU's."""
    folder.mkdir()
    with _served(folder / "store.db") as (server, port, tag, key):
        ways = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(PILOTS)]
        pilots = [Pilot(way, f"{tag}.{rank}", key) for rank, way in enumerate(ways)]
        for way in ways:
            way.connect()
        _burst(pilots, Kind.HELLO)
        before = _cpu(server.pid)
        seconds = _burst(pilots, Kind.READY)
        cpu = _cpu(server.pid) - before
        for way in ways:
            way.close()
        _check(folder / "store.db")
    return seconds, cpu


def _burst(pilots: Sequence[Pilot], kind: Kind) -> float:
    """Have all send, then read all answers; signing before and checking after are not counted."""
    data = [pilot.sealed(kind) for pilot in pilots]
    began = time.perf_counter()
    for pilot, one in zip(pilots, data, strict=True):
        pilot.way.request("POST", PATH, one)
    bodies = [pilot.way.getresponse().read() for pilot in pilots]
    seconds = time.perf_counter() - began
    for pilot, one, body in zip(pilots, data, bodies, strict=True):
        if pilot.read(one, body).ack != pilot.sequence:
            raise RuntimeError(f"{pilot.slot} was not acknowledged")
    return seconds


def _check(database: Path) -> None:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    (ready,) = connection.execute("SELECT count(*) FROM slots WHERE state = 'Ready'").fetchone()
    connection.close()
    if ready != PILOTS:
        raise RuntimeError(f"{ready} of {PILOTS} slots are stored as ready")


@contextmanager
def _served(database: Path) -> Iterator[tuple[subprocess.Popen[str], int, str, str]]:
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(database), str(PILOTS)], stdout=subprocess.PIPE, text=True
    )
    try:
        if server.stdout is None:
            raise RuntimeError("the server's port cannot be read")
        port, tag, key = json.loads(server.stdout.readline())
        yield server, port, tag, key
    finally:
        server.kill()
        server.communicate()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
