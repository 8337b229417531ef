"""The part of the service that pilots talk to, as a process of its own: store, intake and node listener.

    intake_server.py DATABASE SLOTS

makes one started job with so many slots, prints the port and the job's key as JSON, and serves until it is killed.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.python.threadpool import ThreadPool

from flyinglow.backend.lrm.intake.door import Intake
from flyinglow.backend.lrm.lines.channel import Lines
from flyinglow.backend.lrm.model import Component, PilotJob, Slot
from flyinglow.backend.lrm.states import JobState
from flyinglow.pilot.messages import Standing
from flyinglow.server import listeners
from flyinglow.server.configuration.settings import NodeListener
from flyinglow.server.node_door import node_site
from flyinglow.store import Store

reactor: Any = _reactor
TAG, KEY = "bench000", "5a" * 32


def now() -> datetime:
    return datetime.now(UTC)


def main() -> None:
    """Serve until killed."""
    pool = ThreadPool(1, 4, "store")
    pool.start()
    store = Store(f"sqlite:///{Path(sys.argv[1])}", now=now, reactor=reactor, pool=pool)
    store.migrate()
    store.call(lambda tx: _write(tx, int(sys.argv[2])))
    lines = Lines(reactor, lambda *_: None)
    intake = Intake(store, reactor, now, lambda *_: None, lambda *_: Standing(), "bench", lines=lines)
    listener = NodeListener(port=0)
    bound = listeners.bind(listener)
    port = bound.socket.getsockname()[1]
    bound.serve(reactor, node_site(intake, listener, reactor))  # type: ignore[arg-type]
    print(json.dumps([port, TAG, KEY]), flush=True)
    reactor.run()


def _write(tx: Any, slots: int) -> None:
    size = Component(nodes=slots, memory_mb=256, cpus=1)
    job = PilotJob(
        tag=TAG,
        claim="claim",
        components=(size,),
        seconds=3600,
        secret=KEY,
        requested_at=now(),
        state=JobState.STARTED,
        lrm_id="1",
        started_at=now(),
    )
    tx.jobs.add(job)
    tx.slots.add([Slot(job=TAG, rank=rank, memory_mb=256, cpus=1) for rank in range(slots)])


if __name__ == "__main__":
    main()
