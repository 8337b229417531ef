"""Installs, uses and removes the Debian package on a machine that is this one, seen through name spaces.

Usage: deb_site.py PACKAGE WORK GROUP: started by ``unshare --mount --net --pid --fork --mount-proc``; whatever is
written below /etc, /usr, /var and /run goes to memory and is gone with the process. Prints one JSON object: what the
node looked like before, while a guest ran, and after, and what commands answered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PLACES = ("/etc", "/usr/sbin", "/usr/share/man/man8", "/usr/share/doc", "/var/lib", "/srv", "/run")
IGNORED = ("/var/lib/dpkg", "/run/over", "/etc/ld.so.cache", "/run/lock", "/run/netns")
CONFIG = "/etc/flyinglow/nodectl.json"
PROGRAM = "/usr/sbin/flyinglow-nodectl"


def main() -> None:
    """Do it all."""
    package, work, group = sys.argv[1:]
    enter()
    told: dict[str, Any] = {"before": look(group)}
    told["install"] = run("dpkg", "--no-triggers", "-i", package)
    told["sudoers"] = run("visudo", "-c")
    Path(CONFIG).write_text((Path(work) / "nodectl.json").read_text())
    told["doctor"] = run(PROGRAM, "doctor")
    pipe = subprocess.PIPE
    with subprocess.Popen([PROGRAM, "agent", "--stdio"], stdin=pipe, stdout=pipe, text=True) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        orders = json.loads((Path(work) / "orders.json").read_text())
        for number, order in enumerate(orders):
            agent.stdin.write(json.dumps({"v": 1, "id": number, **order}) + "\n")
            agent.stdin.flush()
            while (answer := json.loads(agent.stdout.readline())).get("id") != number:
                continue
            told.setdefault("answers", []).append(answer)
        told["during"] = look(group)
        told["upgrade"] = run("dpkg", "--no-triggers", "-i", package)
        told["remove"] = run("dpkg", "--no-triggers", "-r", "flyinglow-node")
        agent.stdin.close()
    told["removed"] = look(group)
    told["purge"] = run("dpkg", "--no-triggers", "-P", "flyinglow-node")
    told["after"] = look(group)
    print(json.dumps(told))  # noqa: T201 - this is what it is for


def by_hand(steps: list[list[str]], work: str, group: str) -> None:
    """Run shells' lines in turn, and look before and after."""
    enter()
    os.environ["PATH"] = f"{work}:{os.environ['PATH']}"
    os.chdir(work)
    told: dict[str, Any] = {"looks": [look(group)], "answers": []}
    for lines in steps:
        told["answers"] += [run("sh", "-c", line) for line in lines]
        told["looks"].append(look(group))
    print(json.dumps(told))  # noqa: T201 - see above


def enter() -> None:
    """Let nothing that is written here reach the machine, and make the bridge of a site."""
    shell = """set -e
    mount -t tmpfs -o mode=0755 tmpfs /run; mkdir /run/over
    for d in etc usr var; do
        mkdir -p /run/over/$d/up /run/over/$d/work
        mount -t overlay overlay -o lowerdir=/$d,upperdir=/run/over/$d/up,workdir=/run/over/$d/work /$d
    done
    ip link set lo up; ip link add br-site type bridge; ip address add 10.79.0.1/24 dev br-site; ip link set br-site up
    nft add table inet site; nft add chain inet site rules"""
    subprocess.run(["sh", "-c", shell], check=True)


def look(group: str) -> dict[str, Any]:
    """Return what there is: files with mode and size, links of the network, rules, processes, memory of the jobs."""
    own = os.getpid()
    return {
        "files": dict(sorted(files())),
        "links": [line.split(": ")[1] for line in run("ip", "-o", "link")["said"].splitlines()],
        "rules": run("nft", "list", "ruleset")["said"],
        "processes": sorted(name for pid, name in processes() if pid != own),
        "memory": (Path(group) / "memory.limit_in_bytes").read_text().strip() if group else "",
    }


def files() -> list[tuple[str, str]]:
    found = []
    for place in PLACES:
        for folder, _, names in os.walk(place):
            if folder.startswith(IGNORED):
                continue
            for path in (folder, *(f"{folder}/{name}" for name in names)):
                if not path.startswith(IGNORED):
                    status = os.lstat(path)
                    size = 0 if path == folder else status.st_size
                    found.append((path, f"{status.st_mode:o} {status.st_uid} {size}"))
    return found


def processes() -> list[tuple[int, str]]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            words = (path / "cmdline").read_bytes().split(b"\0")
            if words[0]:  # what has ended is waited for by the machine's first process, which we are here
                found.append((int(path.name), Path(words[0].decode(errors="replace")).name))
    return found


def run(*argv: str) -> dict[str, Any]:
    """Run a command; return its exit code and all that it said."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return {"code": done.returncode, "said": done.stdout}


if __name__ == "__main__":
    if sys.argv[1] == "by-hand":
        by_hand(json.loads(sys.argv[2]), *sys.argv[3:])
    else:
        main()
