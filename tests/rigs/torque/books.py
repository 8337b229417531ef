"""The books of the pretended Torque: one state file behind a lock, changed by commands and jobs' runners."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

WHO = Path(sys.argv[0]).name
SELF = str(Path(__file__).resolve().with_name("fake_torque.py"))
DIR = os.path.realpath(os.environ.get("FAKE_TORQUE_DIR") or sys.exit("FAKE_TORQUE_DIR is not set"))
SETTINGS: dict[str, Any] = {  # FAKE_TORQUE_<NAME> or "fake-torque-ctl set" changes one
    "nodes": 4,
    "np": 2,
    "props": "",
    "memory_mb": 2000,
    "server": "server",
    "queue": "batch",
    "bin_in_path": 1,
    "queue_wait": 0.2,
    "start_delay": 0.09,
    "keep_completed": 0,
    "max_life": 3600,
    "down_hang": 9,
    "longest": 0,
    "first_term": 0.02,
    "terms": 20,
    "kill_delay": 10,
    "sister_late": 0.4,
    "kill_after": 5,
    "wall_late": 27,
    "wall_sister_late": 2,
}
UNKNOWN_JOB, RESOURCES, REJECTED, NO_MOM, REFUSED, TIMED_OUT = 153, 190, 193, 224, 111, 110  # exit statuses
UNKNOWN_QUEUE, DENIED = 170, 159


def say(*words: object, file: Any = None, sep: str = " ") -> None:
    """Print, to standard output where nothing else is said."""
    print(*words, file=file or sys.stdout, sep=sep, flush=True)


def every_pid() -> list[int]:
    """Return the number of every process."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def fail(text: object, status: int = 1) -> NoReturn:
    say(f"{WHO}: {text}", file=sys.stderr)
    sys.exit(status)


def proc(pid: int) -> tuple[bool, int, int]:
    """(is it alive, its session, its start time); the last tells it from a later process of that pid."""
    try:
        with Path(f"/proc/{pid}/stat").open() as f:
            p = f.read().rpartition(")")[2].split()
        return p[0] not in "ZX", int(p[3]), int(p[19])
    except OSError:
        return False, 0, 0


@contextlib.contextmanager
def state() -> Iterator[Any]:
    """The state, read and written back under the lock."""
    Path(f"{DIR}/jobs").mkdir(parents=True, exist_ok=True)
    with Path(f"{DIR}/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        st: Any = {"next": 1, "jobs": {}, "set": {}, "down": [], "held": False, "fault": {}}
        with contextlib.suppress(FileNotFoundError), Path(f"{DIR}/state.json").open() as f:
            st = json.load(f)
        for job in st["jobs"].values():  # a runner that was killed cannot end its job
            if job["state"] != "C" and proc(job["runner"][0])[::2] != (True, job["runner"][1]):
                end(job, -1)
        try:
            yield st
        finally:
            with Path(f"{DIR}/state.new").open("w") as f:
                json.dump(st, f, indent=1)
            Path(f"{DIR}/state.new").replace(f"{DIR}/state.json")


def setting(st: Any, name: str, job: Any = None) -> Any:
    value = st["set"].get(name, (job["env"] if job else os.environ).get("FAKE_TORQUE_" + name.upper()))
    return SETTINGS[name] if value is None else value if isinstance(SETTINGS[name], str) else float(value)


def log(*words: object) -> None:
    with Path(f"{DIR}/log").open("a") as f:
        say(f"{time.time():.3f}", *words, file=f)


def members(job: Any, nodes: Any = None) -> list[int]:
    """Live pids of the job on these nodes (or all): those in a session that one of its tasks began.
    As with Torque, a process that called setsid by itself is not among them."""
    sids = {t["pid"]: t["start"] for t in job["tasks"] if nodes is None or t["node"] in nodes}
    procs = [(pid, proc(pid)) for pid in every_pid()]
    return [pid for pid, (live, sid, start) in procs if live and sid in sids and (pid != sid or start == sids[pid])]


def send(pids: Any, sig: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


def layout(st: Any) -> dict[str, list[Any]]:
    busy = [j for j in st["jobs"].values() if j["state"] in "RE"]
    return {n: [j for j in busy if n in j["nodes"]] for n in (f"node{i + 1}" for i in range(int(setting(st, "nodes"))))}


def known(st: Any, jid: str | None = None) -> list[Any]:
    """The jobs that qstat would show; with an id just that one, or the error message."""
    seq = jid and jid.split(".")[0]
    show = [
        j
        for n, j in st["jobs"].items()
        if seq in (None, n)
        and not j.get("lost")
        and (j["state"] != "C" or time.time() < j["ended"] + setting(st, "keep_completed", j))
    ]
    if jid and not show:
        say(f"{WHO}: Unknown Job Id {seq}.{setting(st, 'server')}", file=sys.stderr)
    return show


def server() -> None:
    """What a command meets first: perhaps a slow server, or none."""
    with state() as st:
        fault, hang, name = st["fault"], setting(st, "down_hang"), setting(st, "server")
    if time.time() < fault.get("down", 0):
        time.sleep(min(hang, 600))
        fail(f"cannot connect to server {name} (errno=111) Connection refused", REFUSED)
    time.sleep(min(fault.get("slow", 0), 600))


def end(job: Any, status: int) -> None:
    with contextlib.suppress(OSError):  # the output waited in the spool; now the user gets it
        shutil.move(f"{DIR}/jobs/{job['id'].split('.')[0]}.OU", job["out"])
    job.update(state="C", ended=time.time(), exit=status)
    log(job["id"], "ends", status)
