"""A job of the pretended Torque: its runner starts it, and signals it as Torque 2.5.13 with four moms does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from rigs.torque.books import DIR, SELF, end, layout, log, members, proc, send, setting, state


def task(st: Any, job: Any, node: str, command: list[str], vnode: int = 0, **how: Any) -> subprocess.Popen[bytes]:
    """Start a process of the job on a node, in a session of its own, and put it on the books."""
    home, (seq, _, host) = os.environ.get("HOME", "/"), job["id"].partition(".")
    path = "/usr/local/bin:/usr/bin:/bin" + (":" + str(Path(SELF).parent)) * bool(setting(st, "bin_in_path", job))
    pbs = {
        "JOBID": job["id"],
        "JOBNAME": job["name"],
        "ENVIRONMENT": "PBS_BATCH",
        "QUEUE": job["queue"],
        "SERVER": host,
        "VERSION": "TORQUE-2.5.13",
        "NODEFILE": f"{DIR}/jobs/{seq}.nodes",
        "VNODENUM": vnode,
        "NODENUM": job["nodes"].index(node),
        "TASKNUM": len(job["tasks"]) + 1,
        "NUM_NODES": job["count"],
        "NUM_PPN": job["ppn"],
        "O_HOST": host,
        "O_QUEUE": job["queue"],
        "O_WORKDIR": job["workdir"],
        "O_HOME": home,
        "O_LOGNAME": job["owner"],
        "O_PATH": job["path"],
    }
    env = {
        "HOME": home,
        "USER": job["owner"],
        "LOGNAME": job["owner"],
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "PATH": path,
        **job["env"],
        **{"PBS_" + k: str(v) for k, v in pbs.items()},
        "FAKE_TORQUE_DIR": DIR,
        "FAKE_TORQUE_NODE": node,
        "FAKE_TORQUE_TASK": f"{job['id']}/{node}",
    }
    if user := os.environ.get("FAKE_TORQUE_USER"):  # the server is root, as a real one
        command = ["/usr/bin/setpriv", "--reuid", user, "--regid", user, "--init-groups", "--", *command]
    p = subprocess.Popen(command, start_new_session=True, env=env, stdin=subprocess.DEVNULL, **how)
    job["tasks"].append({"node": node, "pid": p.pid, "start": proc(p.pid)[2]})
    return p


def runner(argv: list[str]) -> None:
    born, script, over = time.time(), None, False
    while True:
        with state() as st:  # some 40 times a second
            now, job = time.time(), st["jobs"][argv[0]]
            if now > born + setting(st, "max_life", job) or job.get("purge"):
                send(members(job), signal.SIGKILL)
                return end(job, 271)
            if job["state"] in "QH":
                free = [n for n, here in layout(st).items() if not here and n not in st["down"]]
                due = now > job["submitted"] + setting(st, "queue_wait", job) and not st["held"]
                if job.get("delete"):
                    return end(job, 271)
                if due and job["state"] == "Q" and len(free) >= job["count"]:
                    job.update(state="R", started=now, nodes=free[: job["count"]], plan=[])
                    with Path(f"{DIR}/jobs/{argv[0]}.nodes").open("w") as f:
                        f.write("".join((n + "\n") * job["ppn"] for n in job["nodes"]))
                    if st["fault"].pop("die", None):
                        return end(job, -3)
            elif job["nodes"][0] in st["down"]:
                job["cut_off"] = True  # its first mom is dead: nothing can end the job,
            elif job.get("cut_off"):
                return end(job, -1)  # until that mom is back and knows it no more
            elif script is None:
                if now > job["started"] + setting(st, "start_delay", job):
                    home, path = os.environ.get("HOME", "/"), f"{DIR}/jobs/{argv[0]}.SC"
                    with Path(f"{DIR}/jobs/{argv[0]}.OU").open("w") as out, Path(path).open() as f:
                        command = [path] if f.read(2) == "#!" else ["/bin/sh", path]
                        err = out if job["join"] == "oe" else os.open(job["err"], os.O_WRONLY | os.O_CREAT, 0o644)
                        at = home if os.access(home, os.X_OK) else DIR
                        script = task(st, job, job["nodes"][0], command, stdout=out, stderr=err, cwd=at)
                    log(job["id"], "starts on", *job["nodes"])
            else:
                code = script.poll()
                if code is not None and not members(job):
                    return end(job, code if code >= 0 else 256 - code)
                if code is not None and not over:  # the script ended, and so do its tasks everywhere
                    over, job["state"], job["ending"] = True, "E", "script"
                    job["plan"] = [["tasks", now + 0.1], ["kill", now + 0.1 + setting(st, "kill_after", job)]]
                step(st, job, now)
        time.sleep(0.02)


def step(st: Any, job: Any, now: float) -> None:
    """Plan the signals of a qdel or of the time limit, and send those that are due."""

    def get(name: str) -> Any:
        return setting(st, name, job)

    t, late = job.get("delete"), get("sister_late")
    if t is None and 0 <= job["wall"] < now - job["started"] - get("wall_late"):
        t, late = now, get("wall_sister_late")
    if t and not job.get("ending"):
        d, job["ending"] = t + get("kill_delay"), "signals"
        job["plan"] = [
            ["burst", t + get("first_term")],
            ["again", d],
            ["sisters", d + late],
            ["kill", d + late + get("kill_after")],
        ]
    while job["plan"] and now >= job["plan"][0][1]:
        what, first, rest = job["plan"].pop(0)[0], job["nodes"][:1], job["nodes"][1:]
        where = {"burst": first, "again": first, "sisters": rest}.get(what, job["nodes"])
        pids = members(job, where)
        log(job["id"], what, *where, "pids", *pids)
        for _ in range(int(get("terms")) if what == "burst" else 1):
            send(pids, signal.SIGKILL if what == "kill" else signal.SIGTERM)
            time.sleep(0.036 / get("terms") if what == "burst" else 0)
        if what == "kill" and pids:
            job["plan"] = [["kill", now + 0.2]]
