"""Two nodes in namespaces of their own: what guests say of their addresses, names and neighbours, and what is left."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl.network.ports import tap_name
from rigs import frames
from rigs.dhcp_client import discover, read
from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space, link
from rigs.node_agent import AgentProcess
from rigs.wire import Wire

pytestmark = pytest.mark.root

CLIENT = Path(__file__).parents[2] / "rigs/dhcp_client.py"
CONTEXT = """name ce
member ce head 10.77.0.11,10.78.0.11
member wn - 10.78.0.12
member away - 192.0.2.1
"""
PUBLIC = {"network": "public", "mac": "02:00:0a:4d:00:0b", "ip": "10.77.0.11", "prefix": 24, "bridge": "pub"}
PRIVATE = {"network": "private", "mac": "02:00:0a:4e:00:0b", "ip": "10.78.0.11", "prefix": 26, "bridge": "priv"}
TRANSACTION = b"ours"
OTHER = {"network": "private", "mac": "02:00:0a:4e:00:0c", "ip": "10.78.0.12", "prefix": 26, "bridge": "priv"}


@pytest.fixture
def run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        Path(folder).chmod(0o755)  # dnsmasq looks into it as nobody
        yield Path(folder)


def _config(folder: Path, run: Path, name: str, **settings: Any) -> Path:
    path = folder / f"{name}.json"
    plain = {"state": str(folder / name), "run": str(run / name), "node": name, "watch_seconds": 0.1}
    plain.update(images=[str(IMAGES)], bridges=["pub", "priv"])
    path.write_text(json.dumps({**plain, **settings}))
    return path


def _console(agent: AgentProcess, tag: str) -> list[str]:
    return base64.b64decode(agent.order("console", tag)["data"]).decode(errors="replace").splitlines()


def _says(agent: AgentProcess, tag: str, line: str, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while line not in (lines := _console(agent, tag)):
        assert time.monotonic() < deadline, f"{line!r} is not in {lines}"
        time.sleep(0.1)


def _node(new_space: Callable[[str], Space], label: str, last: int) -> Space:
    space = new_space(label)
    space.bridge("pub", f"10.77.0.{last}/24")
    space.bridge("priv", f"10.78.0.{last}/26")
    return space


def test_guests_on_two_nodes_get_what_was_leased_and_find_each_other(
    guest_image: Guest, new_space: Callable[[str], Space], tmp_path: Path, run_folder: Path
) -> None:
    one, two = _node(new_space, "one", 1), _node(new_space, "two", 2)
    link(one, two, "priv")
    first = AgentProcess(_config(tmp_path, run_folder, "one"), one.argv())
    with AgentProcess(_config(tmp_path, run_folder, "two"), two.argv()) as second:
        nics = [{**PUBLIC, "hostname": "ce-pub", "gateway": "10.77.0.1", "dns": ["10.77.0.1"]}]
        nics.append({**PRIVATE, "hostname": "ce-priv"})
        head = guest_image.spec("head", nics=nics, hostname="ce", context=CONTEXT, user_data="s3cret")
        worker = guest_image.spec("worker", nics=[{**OTHER, "hostname": "wn"}], context=CONTEXT)
        first.order("create", "head", **head)
        second.order("create", "worker", **worker)
        assert tap_name("head", 1) in one.interfaces()
        first.order("start", "head")
        pid = second.order("start", "worker")["pid"]

        words = Path(f"/proc/{pid}/cmdline").read_bytes() + b"".join(
            Path(f"/proc/{number}/cmdline").read_bytes() for number in one.processes()
        )
        assert b"s3cret" not in words
        first.news("head", ready=True)
        second.news("worker", ready=True)
        lines = _console(first, "head")
        assert "GUEST-IP eth0 10.77.0.11/24 mac=02:00:0a:4d:00:0b" in lines
        assert "GUEST-IP eth1 10.78.0.11/26 mac=02:00:0a:4e:00:0b" in lines
        assert "GUEST-HOSTNAME ce" in lines
        assert [line for line in lines if line.startswith("GUEST-CTX| ")] == [
            f"GUEST-CTX| {line}" for line in CONTEXT.splitlines()
        ]
        assert "GUEST-USERDATA bytes=6" in lines
        assert "GUEST-IP eth0 10.78.0.12/26 mac=02:00:0a:4e:00:0c" in _console(second, "worker")
        assert "GUEST-HOSTNAME wn" in _console(second, "worker")
        _says(first, "head", "GUEST-PEER wn 10.78.0.12 ok")
        _says(second, "worker", "GUEST-PEER ce 10.78.0.11 ok")
        one.run("ping", "-c", "1", "-w", "120", "10.77.0.11")

        first.kill()
        with AgentProcess(_config(tmp_path, run_folder, "one"), one.argv()) as third:
            assert [(vm["status"], vm["ready"]) for vm in third.order("list")["vms"]] == [("running", True)]
            os.kill(pid, signal.SIGKILL)
            assert "bad way" in second.news("worker", status="broken")["reason"]
            third.order("destroy", "head")
        second.order("destroy", "worker")
    for space in (one, two):
        assert [name for name in space.interfaces() if name.startswith("fl")] == []
        assert space.processes() == []
    assert list((tmp_path / "one/vms").iterdir()) == list((tmp_path / "two/vms").iterdir()) == []
    assert list(run_folder.iterdir()) == []


def test_a_bridge_that_cannot_serve_is_refused_and_nothing_stays(
    guest_image: Guest, new_space: Callable[[str], Space], tmp_path: Path, run_folder: Path
) -> None:
    space = _node(new_space, "node", 1)
    space.run("ip", "address", "flush", "dev", "priv")
    config = _config(tmp_path, run_folder, "node", bridges=["priv", "nobridge", "lo"])
    with AgentProcess(config, space.argv()) as agent:
        for bridge, kind, words in (
            ("priv", "broken", "no address in 10.78.0.0/26"),
            ("nobridge", "broken", "no bridge nobridge"),
            ("lo", "broken", "not a bridge"),
            ("pub", "denied", "may not use bridge pub"),
        ):
            spec = guest_image.spec("a1", nics=[{**OTHER, "hostname": "wn", "bridge": bridge}])
            answer = agent.answer(agent.send("create", "a1", **spec))
            assert answer["error"]["kind"] == kind
            assert words in answer["error"]["message"]
        assert agent.order("list") == {"vms": []}
    assert space.processes() == []
    assert [name for name in space.interfaces() if name.startswith("fl")] == []


def test_a_mac_is_answered_from_its_vms_creation_to_its_destruction_and_no_other_ever(
    guest_image: Guest, new_space: Callable[[str], Space], tmp_path: Path, run_folder: Path
) -> None:
    space = _node(new_space, "node", 1)
    space.run("ip", "link", "add", "probe", "type", "veth", "peer", "name", "port")
    space.run("ip", "link", "set", "port", "master", "priv", "up")
    space.run("ip", "link", "set", "probe", "up")

    def asked(tag: str, mac: str) -> dict[str, str]:
        """Ask as the guest itself would."""
        with Wire(space.argv, tap_name(tag, 0)) as guest:
            found: dict[str, str] | None = None
            for _ in range(240):
                guest.send(discover(frames.mac(mac), TRANSACTION))
                found = found or guest.hears(lambda seen: read(seen, TRANSACTION), 0.5)
                if found:
                    return found
        return {}

    def offered(mac: str, seconds: float = 1.2) -> dict[str, str]:
        words = space.run(sys.executable, str(CLIENT), "probe", mac, str(seconds))
        found: dict[str, str] = json.loads(words)
        return found

    with AgentProcess(_config(tmp_path, run_folder, "node"), space.argv()) as agent:
        gateway = {**OTHER, "hostname": "wn", "gateway": "10.78.0.62", "dns": ["10.78.0.61"]}
        agent.order("create", "a1", **guest_image.spec("a1", nics=[gateway]))
        agent.order("create", "b2", **guest_image.spec("b2", nics=[{**PRIVATE, "hostname": "x"}]))
        first = {"ip": OTHER["ip"], "mask": "255.255.255.192", "server": "10.78.0.1", "hostname": "wn"}
        assert asked("a1", str(OTHER["mac"])) == {**first, "router": "10.78.0.62", "dns": "10.78.0.61"}
        second = asked("b2", str(PRIVATE["mac"]))
        assert (second["ip"], second["hostname"]) == ("10.78.0.11", "x")
        assert not {"router", "dns"} & set(second)
        assert offered("02:00:00:00:00:99") == {}
        assert offered(str(PRIVATE["mac"])) == {}  # it does not come from the guest
        agent.order("destroy", "a1")
        assert offered(str(OTHER["mac"])) == {}
        assert asked("b2", str(PRIVATE["mac"]))["ip"] == "10.78.0.11"
        agent.order("destroy", "b2")


def test_kill_all_ends_guests_taps_and_dhcp(
    guest_image: Guest, new_space: Callable[[str], Space], tmp_path: Path, run_folder: Path
) -> None:
    space = _node(new_space, "node", 1)
    config = _config(tmp_path, run_folder, "node")
    with AgentProcess(config, space.argv()) as agent:
        agent.order("create", "a1", **guest_image.spec("a1", nics=[{**OTHER, "hostname": "wn"}]))
        agent.order("start", "a1", paused=True)
        agent.order("create", "b2", **guest_image.spec("b2", nics=[{**PRIVATE, "hostname": "x"}]))
    assert len(space.processes()) == 2  # QEMU and dnsmasq
    python = shutil.which("python3") or "python3"
    program = space.argv(python, "-m", "flyinglow.nodectl", "--config", str(config), "--json", "kill-all")
    for expected in (["a1", "b2"], []):
        done = subprocess.run(program, check=True, capture_output=True, env=_environment(), timeout=180)
        answer = json.loads(done.stdout)
        assert (answer["destroyed"], answer["failed"]) == (expected, [])
    assert space.processes() == []
    assert [name for name in space.interfaces() if name.startswith("fl")] == []


def _environment() -> dict[str, str]:
    source = Path(__file__).parents[3] / "src"
    return {**os.environ, "PYTHONPATH": str(source)}
