"""One lease on a cluster, from Create to the end of its slots, and the same path gone by a bare job."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

import messages
from cluster import Cluster
from consumers import RUNNING, Seen
from messages import Caller
from splits import Cycle

from bench import until
from flyinglow.cli.demo.furnishing import HEAD_ADDRESS
from flyinglow.cli.demo.lrm_site import NODE_PORT, USER

WAIT = 120.0
MEMORY_MB = 96
SLOT_MB = 256  # what a slot for one such VM asks the scheduler for: the VM, and the back-end's overheads
INTERPRETER = "/usr/bin/python3"

# what a pilot cannot do without: an interpreter, one step to root, one connection
_BARE = f"""
import os, socket, time
if os.spawnv(os.P_WAIT, "/usr/bin/sudo", ["sudo", "-n", "/usr/bin/true"]):
    raise SystemExit("sudo refused")
socket.create_connection(({HEAD_ADDRESS!r}, {NODE_PORT})).close()
os.write(1, b"%.6f\\n" % time.time())
"""
_JOB = """#!/bin/sh
srun --kill-on-bad-exit=0 --wait=0 --mpi=none {size} {interpreter} -I -S -c '{program}'
"""
_SUBMIT = """
import json, subprocess, sys, time
argv, script = json.load(sys.stdin)
began = time.time()
subprocess.run(argv, input=script, text=True, check=True, stdout=subprocess.DEVNULL)
print(began)
"""


def lease(cluster: Cluster, size: int, while_running: Callable[[], None] = lambda: None) -> Cycle:
    """Lease so many VMs, one a node, wait until all run, destroy them, and wait until the nodes are as they were."""
    cluster.consumers.ask("clear")
    caller = Caller(cluster.site.url)
    body = messages.create(
        cluster.factory, count=size, network="private", consumer=cluster.consumers.urls[0], memory_mb=MEMORY_MB
    )
    sent = time.time()
    answer = caller.post(cluster.factory, body)
    whole, *_ = resources = messages.resources(answer)
    keys = [key for kind, key in resources if kind == "workspace"]
    mine = messages.subscriptions(answer)
    if (running := cluster.consumers.ask("running", size, WAIT, mine)) != size:
        raise RuntimeError(f"{running} of {size} workspaces were reported running")
    seen = cluster.consumers.ask("report")["seen"]
    told = dict(zip(keys, _told(seen, set(mine)), strict=True))
    launch_set = cluster.records.launch_set(keys[0])
    while_running()
    ended = time.time()
    caller.post(cluster.resource(*whole), messages.destroy(cluster.resource(*whole)))
    caller.close()
    until(lambda: cluster.records.slots(launch_set, "released") == size, WAIT, "the slots' being given back")
    records = cluster.records
    cycle = Cycle(
        size=size, sent=sent, told=told, ended=ended, vms=records.vms(keys), pilots=records.pilots(launch_set)
    )
    cluster.rest()
    return cycle


def _told(seen: Sequence[Seen], mine: set[str]) -> list[float]:
    """Return when each workspace was first told to be running, in seconds since 1970, in the order of their coming."""
    offset = time.time() - time.monotonic()
    first: dict[str, float] = {}
    for _, subscription, _, state, at in seen:
        if state == RUNNING and subscription in mine:
            first.setdefault(subscription, at + offset)
    return list(first.values())


def bare(cluster: Cluster, size: int, number: int) -> float:
    """Submit a job of our user that does no more than a pilot must, and return the seconds to its last node's word."""
    log = cluster.world.jobs / f"bare-{number}.log"
    words = [f"--nodes={size}", f"--ntasks={size}", "--ntasks-per-node=1", "--cpus-per-task=1"]
    options = [*words, f"--mem={SLOT_MB}M", "--time=10", "--no-requeue", f"--output={log}", "--chdir=/"]
    script = _JOB.format(size=" ".join(words), interpreter=INTERPRETER, program=_BARE.replace("'", '"'))
    asked = json.dumps([["sbatch", "--parsable", *options], script])
    done = cluster.world.run_in_head([INTERPRETER, "-I", "-S", "-c", _SUBMIT], user=USER, text=asked)
    until(lambda: log.exists() and len(log.read_text().split()) == size, WAIT, f"the bare job of {size} nodes")
    seconds = max(map(float, log.read_text().split())) - float(done.stdout)
    cluster.world.wait_idle(120)
    return seconds
