"""The commands of the pretended Torque. They say and refuse what the real ones do, as far as an adapter can tell."""

from __future__ import annotations

import functools
import getopt
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rigs.torque.books import (
    DENIED,
    DIR,
    NO_MOM,
    REJECTED,
    RESOURCES,
    SELF,
    TIMED_OUT,
    UNKNOWN_JOB,
    UNKNOWN_QUEUE,
    fail,
    known,
    layout,
    proc,
    say,
    server,
    setting,
    state,
)
from rigs.torque.running import task

QSUB_OPTIONS = "a:A:c:C:d:D:e:EfFhIj:J:k:l:m:M:nN:o:p:P:q:r:S:t:T:u:v:VW:xXz"


def qsub(argv: list[str]) -> None:
    try:
        opts, words = getopt.gnu_getopt(argv, QSUB_OPTIONS)
        script = Path(words[0]).read_text() if words else sys.stdin.read()
        lines = [shlex.split(x[4:], True) for x in script.splitlines() if x.startswith("#PBS")]
        opts = [o for x in lines for o in getopt.gnu_getopt(x, QSUB_OPTIONS)[0]] + opts
        o = {k[1]: v for k, v in opts}  # the last one counts, but -l adds up
        res = {"nodes": "1", **dict(i.split("=", 1) for k, v in opts if k == "-l" for i in v.split(","))}
        wall = functools.reduce(lambda t, part: 60 * t + int(part), res.get("walltime", "-1").split(":"), 0)
        first, *props = res["nodes"].split(":")
        count, ppn = int(first), ([int(p[4:]) for p in props if p.startswith("ppn=")] or [1])[0]
    except (getopt.GetoptError, OSError) as e:
        fail(e, 2)
    except ValueError:
        fail("illegal -l value", 2)
    if not re.fullmatch(r"[A-Za-z][!-~]{0,14}", o.get("N", "x")):
        fail("illegal -N value", 2)
    server()
    with state() as st:
        if st["fault"].get("reject"):
            st["fault"]["reject"] -= 1
            fail("Job rejected by all possible destinations", REJECTED)
        offered = setting(st, "props").split(",") + [f"ppn={i + 1}" for i in range(int(setting(st, "np")))]
        if 0 < setting(st, "longest") < wall:
            fail("Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement", RESOURCES)
        if o.get("q", setting(st, "queue")) != setting(st, "queue"):
            fail("Unknown queue MSG=requested queue not found", UNKNOWN_QUEUE)
        if count > setting(st, "nodes") or set(props) - set(offered):
            fail("Job exceeds queue resource limits MSG=cannot locate feasible nodes", RESOURCES)
        seq, st["next"] = str(st["next"]), st["next"] + 1
        name = o.get("N") or (Path(words[0]).name[:15] if words else "STDIN")
        out, err = (Path.cwd() / (o.get(k, "").rpartition(":")[2] or f"{name}.{k}{seq}") for k in "oe")
        file = Path(f"{DIR}/jobs/{seq}.SC")
        file.touch(0o700)
        file.write_text(script)
        if user := os.environ.get("FAKE_TORQUE_USER"):
            shutil.chown(file, user)
        env = {k: v for k, v in os.environ.items() if "V" in o or k.startswith("FAKE_TORQUE_")}
        pairs = [i.partition("=") for i in o.get("v", "").split(",") if i]
        env.update({k: v if eq else os.environ.get(k, "") for k, eq, v in pairs})
        run = subprocess.Popen(
            [sys.executable, "-ES", SELF, "runner", seq],
            start_new_session=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        st["jobs"][seq] = job = {
            "id": f"{seq}.{setting(st, 'server')}",
            "name": name,
            "state": "H" if "h" in o else "Q",
            "owner": os.environ.get("USER") or f"uid{os.getuid()}",
            "path": os.environ.get("PATH", ""),
            "queue": o.get("q", setting(st, "queue")),
            "res": res,
            "wall": wall,
            "submitted": time.time(),
            "account": o.get("A", ""),
            "rerun": o.get("r", "y"),
            "join": o.get("j", "n"),
            "count": count,
            "ppn": ppn,
            "nodes": [],
            "tasks": [],
            "env": env,
            "workdir": str(Path.cwd()),
            "args": shlex.join(argv),
            "out": str(out / f"{seq}.OU" if out.is_dir() else out),
            "err": str(err),
            "runner": [run.pid, proc(run.pid)[2]],
        }
        hang = st["fault"].pop("submit", None)
    if hang is not None:
        time.sleep(min(hang, 600))
        fail(f"cannot connect to server {setting(st, 'server')} (errno=110) Connection timed out", TIMED_OUT)
    say(job["id"])


def qdel(argv: list[str]) -> None:
    opts, jids = getopt.gnu_getopt(argv, "apm:W:")
    server()
    with state() as st:
        found = [known(st, jid) for jid in jids]
        for job in (j for jobs in found for j in jobs):
            if job.get("cut_off") and ("-p", "") not in opts:
                fail(f"Server could not connect to MOM {job['id']}", NO_MOM)
            job.setdefault("purge" if ("-p", "") in opts else "delete", time.time())
    sys.exit(UNKNOWN_JOB if [] in found else 0)


def used(job: Any) -> str:
    """Return for how long the job has run."""
    return time.strftime("%H:%M:%S", time.gmtime(job.get("ended", time.time()) - job["started"]))


def full(st: Any, job: Any) -> None:
    def when(key: str) -> str:
        return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(job[key])) if key in job else ""

    host = setting(st, "server")
    origin = {"QUEUE": job["queue"], "LOGNAME": job["owner"], "WORKDIR": job["workdir"], "HOST": host}
    at = {
        "Job_Name": job["name"],
        "Job_Owner": f"{job['owner']}@{host}",
        "job_state": job["state"],
        "queue": job["queue"],
        "server": host,
        "Account_Name": job["account"],
        "ctime": when("submitted"),
        "exec_host": "+".join(f"{n}/{c}" for n in job["nodes"] for c in reversed(range(job["ppn"]))),
        "Hold_Types": "u" if job["state"] == "H" else "n",
        "Join_Path": job["join"],
        "Output_Path": f"{host}:{job['out']}",
        "Error_Path": f"{host}:{job['err']}",
        "qtime": when("submitted"),
        "Rerunable": job["rerun"] == "y",
        **{"Resource_List." + k: v for k, v in {"nodect": job["count"], **job["res"]}.items()},
        **({"resources_used.walltime": used(job)} if "started" in job else {}),
        "session_id": job["tasks"][0]["pid"] if job["tasks"] else "",
        "Variable_List": ",".join(f"PBS_O_{k}={v}" for k, v in origin.items()),
        "etime": when("submitted"),
        "exit_status": job.get("exit", ""),
        "submit_args": job["args"],
        "start_time": when("started"),
        "comp_time": when("ended"),
    }
    say(f"Job Id: {job['id']}")
    for key, value in at.items():
        line = f"    {key} = {value}" * (value != "")
        while line:  # long values go on after a tab
            cut = (len(line) > 79 and line.rfind(",", 0, 79) + 1) or 79
            say(line[:cut])
            line = line[cut:] and "\t" + line[cut:]
    say()


def qstat(argv: list[str]) -> None:
    opts, jids = getopt.gnu_getopt(argv, "afinrsu:1tqQB")
    server()
    if ("-Q", "") in opts or ("-B", "") in opts:
        return queue(jids) if ("-Q", "") in opts else server_itself()
    with state() as st:
        found = [known(st, j) for j in jids] if jids else [known(st)]
    jobs = [j for js in found for j in js]
    if jobs and ("-f", "") not in opts:
        say("Job id                    Name             User            Time Use S Queue")
        say("------------------------- ---------------- --------------- -------- - -----")
    for j in jobs:
        line = j["id"], j["name"], j["owner"], "00:00:00" if j["nodes"] else "0", j["state"], j["queue"]
        full(st, j) if ("-f", "") in opts else say("{:25.25} {:16.16} {:15.15} {:>8} {} {:15.15}".format(*line))
    sys.exit(UNKNOWN_JOB if jids and [] in found else 0)


def queue(names: list[str]) -> None:
    """Show the one queue in full form."""
    with state() as st:
        name, longest = setting(st, "queue"), int(setting(st, "longest"))
    if names not in ([], [name]):
        fail(f"Unknown queue {names[0]}", UNKNOWN_QUEUE)
    limit = time.strftime("%H:%M:%S", time.gmtime(longest))
    say(f"Queue: {name}", "    queue_type = Execution", sep="\n")
    say(*([f"    resources_max.walltime = {limit}"] if longest else []), "    enabled = True", sep="\n")
    say("    started = True\n")


def server_itself() -> None:
    """Show the server in full form."""
    with state() as st:
        say(f"Server: {setting(st, 'server')}", "    server_state = Active", "    pbs_version = 2.5.13\n", sep="\n")


def qalter(argv: list[str]) -> None:
    """Refuse to change a running job's limits, as to everyone who is no operator."""
    _, jids = getopt.gnu_getopt(argv, "a:A:c:h:l:N:o:p:r:W:")
    server()
    with state() as st:
        for job in [job for jid in jids for job in known(st, jid)]:
            if job["state"] == "R":
                fail(f"Unauthorized Request {job['id']}", DENIED)
    sys.exit(0)


def pbsnodes(argv: list[str]) -> None:
    opts, names = getopt.gnu_getopt(argv, "alqsnxc:o:r:")
    server()
    with state() as st:
        for node, here in layout(st).items():
            word = "down" if node in st["down"] else "job-exclusive" if here else "free"
            jobs = ", ".join(f"{c}/{j['id']}" for j in here for c in range(j["ppn"]))
            lines = {
                "state": word,
                "np": int(setting(st, "np")),
                "properties": setting(st, "props"),
                "ntype": "cluster",
                "jobs": jobs,
                "status": f"opsys=linux,ncpus={int(setting(st, 'np'))},physmem={int(setting(st, 'memory_mb')) << 10}kb",
            }
            if names and node not in names:
                continue
            if ("-l", "") not in opts:
                say(node, *(f"     {k} = {v}" for k, v in lines.items() if v), "", sep="\n")
            elif word == "down":
                say(f"{node:<20} {word}")


def pbsdsh(argv: list[str]) -> None:
    given, command = getopt.getopt(argv, "n:osuvV")
    opts, worst = dict(given), 0
    children: list[Any] = []
    jid = os.environ.get("PBS_JOBID") or fail("PBS_JOBID is not set: not in a job")
    signal.signal(signal.SIGTERM, lambda *_: None)  # the real one outlives it as well
    with state() as st:  # locked until every task is on the books
        job = st["jobs"][jid.split(".")[0]]
        vnodes = [n for n in job["nodes"] for _ in range(1 if "-u" in opts else job["ppn"])]
        for i in [int(opts["-n"])] if "-n" in opts else range(len(vnodes)):
            children += [(task(st, job, vnodes[i], command, i), vnodes[i])] if vnodes[i] not in st["down"] else []
    while children:
        time.sleep(0.02)
        for p, node in [c for c in children if c[0].poll() is not None]:
            with state() as st:
                if node in st["down"]:
                    continue  # a dead mom never reports it
            children.remove((p, node))
            worst = max(worst, abs(p.returncode))
    sys.exit(worst)
