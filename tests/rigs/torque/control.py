"""What a test does to the pretended Torque: settings, faults, nodes that go down, and the end of it all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rigs.torque.books import (
    DIR,
    SETTINGS,
    UNKNOWN_JOB,
    every_pid,
    fail,
    known,
    layout,
    members,
    proc,
    say,
    send,
    state,
)


def fake_torque_ctl(argv: list[str]) -> None:
    what, arg = [*argv, "show"][0], [*argv, "", ""][1]
    number, node = float(arg) if re.fullmatch(r"[0-9.]+", arg) else None, f"node{arg}"
    faults = {
        "fail-next-submit": ("submit", 300),
        "reject": ("reject", 1),
        "die-next": ("die", 1),
        "slow": ("slow", 1),
        "down": ("down", 10),
    }
    if what == "shutdown" and Path(f"{DIR}/state.json").exists():
        with Path(f"{DIR}/state.json").open() as f:  # before the lock, which a stopped runner may hold
            runners = [j["runner"] for j in json.load(f)["jobs"].values()]
        send([pid for pid, born in runners if proc(pid)[::2] == (True, born)], signal.SIGKILL)
    with state() as st:
        jobs = list(st["jobs"].values())
        if what == "set" and all(a.partition("=")[0] in SETTINGS for a in argv[1:]):
            st["set"].update(a.split("=", 1) for a in argv[1:])
        elif what in ("hold", "release") and not arg:
            st["held"] = what == "hold"
        elif what in ("hold", "release", "lose"):
            for job in known(st, arg) or sys.exit(UNKNOWN_JOB):
                job["lost"] = what == "lose"
                job["state"] = {"holdQ": "H", "releaseH": "Q"}.get(what + job["state"], job["state"])
        elif what in faults:
            key, usual = faults[what]
            st["fault"][key] = (usual if number is None else number) + (time.time() if key == "down" else 0)
        elif what in ("crash-node", "boot-node") and node in layout(st):
            st["down"] = [n for n in st["down"] if n != node] + [node] * (what == "crash-node")
            send([pid for j in jobs for pid in members(j, [node]) if node in st["down"]], signal.SIGKILL)
        elif what == "shutdown":
            shutdown(jobs)
        elif what == "show":
            say(json.dumps(st, indent=1))
        else:
            fail("no such command, setting or node: " + " ".join(argv), 2)


def shutdown(jobs: Any) -> None:
    """End every process that this directory's jobs began, also those that left their session."""

    def ours(pid: int) -> bool:
        with contextlib.suppress(OSError), Path(f"/proc/{pid}/environ").open("rb") as f:
            env = f.read()
            return b"FAKE_TORQUE_TASK=" in env and f"FAKE_TORQUE_DIR={DIR}\0".encode() in env and proc(pid)[0]
        return False

    for _ in range(100):
        strays = {pid for pid in every_pid() if ours(pid)}
        left = strays.union(*(members(j) for j in jobs)) - {os.getpid()}
        send(left, signal.SIGKILL)
        time.sleep(0.02)
        if not left:
            break
