"""The Debian package for nodes: the same bytes from everywhere, and a node as it was found when it is gone again."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from rigs import deb_site
from rigs.guest import IMAGES, Guest
from rigs.memory import jobs_group

ROOT = Path(__file__).parents[3]
SPACES = ["unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
USERS = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock")
NIC = {"network": "n", "mac": "02:00:0a:4f:00:07", "ip": "10.79.0.7", "prefix": 24, "bridge": "br-site"}


def built(out: Path, **surroundings: Any) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("needs dpkg-deb")
    words = [sys.executable, str(ROOT / "tools/deb.py"), "--user", "fljob", "--out", str(out)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, **surroundings)
    return Path(done.stdout.strip())


def test_the_package_is_the_same_bytes_wherever_it_is_built(tmp_path: Path) -> None:
    first = built(tmp_path / "a", cwd="/")
    strange = {**os.environ, "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "9", "COLUMNS": "200", "SOURCE_DATE_EPOCH": "1"}
    second = built(tmp_path / "b", cwd=tmp_path, env=strange, umask=0o077)
    assert first.read_bytes() == second.read_bytes()
    for what, said_so in (("-c", "root/root"), ("-I", "Depends: python3")):
        said = subprocess.run(["dpkg-deb", what, str(first)], check=True, capture_output=True, text=True).stdout
        assert said_so in said
    subprocess.run(["dpkg-deb", "-x", str(first), str(tmp_path / "tree")], check=True)
    rules = (tmp_path / "tree/etc/sudoers.d/flyinglow-node").read_text()
    assert "fljob ALL=(root) NOPASSWD: /usr/sbin/flyinglow-nodectl agent --stdio\n" in rules
    words = [str(tmp_path / "tree/usr/sbin/flyinglow-nodectl"), "--version"]
    assert subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip() in str(first)
    sums = subprocess.run(["dpkg-deb", "-I", str(first), "md5sums"], check=True, capture_output=True, text=True).stdout
    for line in sums.splitlines():
        digest, path = line.split("  ")
        assert hashlib.md5((tmp_path / "tree" / path).read_bytes(), usedforsecurity=False).hexdigest() == digest


def page_lines(*words: str) -> list[list[str]]:
    """Return the blocks of the administrator's page whose first lines begin so."""
    text = (ROOT / "docs/administration/node.md").read_text()
    blocks = [block.splitlines() for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)]
    return [[line[4:] for line in next(b for b in blocks if b[0][4:].startswith(word))] for word in words]


@pytest.mark.root
@pytest.mark.full
def test_what_the_page_says_sets_a_node_up_and_removes_it_again(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("visudo") is None or shutil.which("nft") is None:
        pytest.skip("needs root, sudo and nft")
    program = tmp_path / "flyinglow-nodectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m flyinglow.nodectl "$@"\n')
    program.chmod(0o755)
    steps = page_lines("flyinglow-nodectl bundle", "flyinglow-nodectl kill-all")
    steps[0] += [
        "id fljob || useradd fljob",
        "/usr/sbin/flyinglow-nodectl status",
        "/usr/sbin/flyinglow-nodectl doctor",
    ]
    steps[0].append("su fljob -c 'sudo -n /usr/sbin/flyinglow-nodectl kill-all'")
    words = [sys.executable, deb_site.__file__, "by-hand", json.dumps(steps), str(tmp_path), ""]
    done = subprocess.run([*SPACES, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    answers = dict(zip(chain(*steps), told["answers"], strict=True))
    doctor = answers.pop("/usr/sbin/flyinglow-nodectl doctor")["said"]
    assert "ok  sudo: /usr/sbin/flyinglow-nodectl agent --stdio" in doctor
    assert "WARNING: none wanted" in doctor
    assert {line: answer for line, answer in answers.items() if answer["code"] != 0} == {}
    before, used, after = told["looks"]
    assert "/etc/sudoers.d/flyinglow" in used["files"]
    left = {
        path for path in {**before["files"], **after["files"]} if before["files"].get(path) != after["files"].get(path)
    }
    assert {path for path in left if not path.startswith(USERS)} == set()
    assert (after["links"], after["rules"], after["processes"]) == (
        before["links"],
        before["rules"],
        before["processes"],
    )


@pytest.mark.root
@pytest.mark.alone
def test_a_node_is_left_as_it_was_found(tmp_path: Path, guest_image: Guest) -> None:
    if os.geteuid() != 0 or shutil.which("visudo") is None or shutil.which("nft") is None:
        pytest.skip("needs root, sudo and nft")
    with jobs_group() as group:
        (group / "memory.limit_in_bytes").write_text(str(1 << 30))
        settings = {"bridges": ["br-site"], "images": [str(IMAGES)], "memory": "cgroup", "memory_cgroup": str(group)}
        (tmp_path / "nodectl.json").write_text(json.dumps({**settings, "memory_mb": 2000, "cpus": 2}))
        body = guest_image.spec("k1", nics=[{**NIC, "hostname": "wn-7"}])
        orders = [
            {"order": "reserve", "tag": None, "body": {"slot": "k.0", "memory_mb": 300, "cpus": 1}},
            {"order": "create", "tag": "k1", "body": body},
            {"order": "start", "tag": "k1", "body": {}},
        ]
        (tmp_path / "orders.json").write_text(json.dumps(orders))
        words = [sys.executable, deb_site.__file__, str(built(tmp_path)), str(tmp_path), str(group)]
        done = subprocess.run([*SPACES, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
    assert [answer["ok"] for answer in told["answers"]] == [True] * 3, told["answers"]
    assert [told[name]["code"] for name in ("install", "sudoers", "remove", "purge")] == [0, 0, 0, 0], told
    assert "BAD" not in told["doctor"]["said"], told["doctor"]["said"]
    during, before = told["during"], told["before"]
    assert "flk1.0" in during["links"]
    assert "02:00:0a:4f:00:07" in during["rules"]
    assert {"qemu-system-x86_64", "dnsmasq"} <= set(during["processes"])
    assert during["memory"] != before["memory"]
    assert told["upgrade"]["code"] != 0
    assert "slots of this node are held" in told["upgrade"]["said"]
    for name in ("links", "rules", "processes", "memory"):
        assert told["removed"][name] == told["after"][name] == before[name], name
    assert told["after"]["files"] == before["files"]
