"""What guards guests on a node lasts: through crashes, beside others, for DHCP, and it is told when it was needed."""

import base64
import contextlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from flyinglow.nodectl import processes
from rigs import frames
from rigs.dhcp_client import discover, read
from rigs.guarded import IP, MAC, PEER_IP, PEER_MAC, RULES, Site, spec
from rigs.guest import IMAGES, Guest
from rigs.node_agent import AgentProcess
from rigs.waiting import eventually
from rigs.wire import Wire

pytestmark = [pytest.mark.root]

TRANSACTION = b"ours"
FOREIGN = "02:00:00:00:00:77"
SPOOF = frames.datagram(MAC, "10.78.0.60", "10.78.0.63", b"not mine")
HONEST = frames.datagram(MAC, IP, "10.78.0.63", b"mine")


def _asks(seen: bytes) -> bool:
    return seen[12:14] == b"\x08\x00" and seen[23] == 17 and seen[36:38] == b"\x00\x43"


def _answered(wire: Wire, mac: str, seconds: float) -> dict[str, str]:
    wire.send(discover(frames.mac(mac), TRANSACTION))
    return wire.hears(lambda seen: read(seen, TRANSACTION), seconds) or {}


def _foreign_server(mac: str) -> bytes:
    """An offer as the site's own DHCP server, or another guest, might send to everybody."""
    body = bytes([2, 1, 6, 0]) + TRANSACTION + bytes(8) + frames.ip("10.78.0.50") + bytes(8) + frames.mac(mac)
    message = body.ljust(236, b"\0") + b"\x63\x82\x53\x63\x35\x01\x02\xff"
    return frames.datagram(FOREIGN, "10.78.0.2", "255.255.255.255", message, (67, 68))


@pytest.mark.parametrize("rules", [*RULES, "off"])
def test_dhcp_is_between_a_guest_and_its_node_and_never_on_the_sites_wire(guarded: Site, rules: str) -> None:
    guarded.create(rules)
    guarded.create(rules, "b2", PEER_MAC, PEER_IP)
    with guarded.guest() as guest, guarded.guest("b2") as peer, Wire(guarded.outside.argv, "priv") as outside:
        found: dict[str, str] = {}
        for _ in range(240):
            found = found or _answered(guest, MAC, 0.5)
        assert (found["ip"], found["server"], found["hostname"]) == (IP, "10.78.0.1", "a1")
        heard: list[list[bytes]] = []
        for _ in range(120):  # the kernel may take a second to let a new port forward
            _answered(guest, MAC, 0.5)
            guest.send(HONEST)
            heard = [wire.until(b"mine", 0.5) for wire in (peer, outside)]
            if all(seen and b"mine" in seen[-1] for seen in heard):
                break
        for seen in heard:
            assert b"mine" in seen[-1]
            assert any(map(_asks, seen)) is (rules == "off")
        outside.send(_foreign_server(MAC), frames.datagram(FOREIGN, "10.78.0.2", "10.78.0.63", b"from the site"))
        seen = guest.until(b"from the site", 60)
        assert any(read(frame, TRANSACTION).get("ip") == "10.78.0.50" for frame in seen) is (rules == "off")
        assert _answered(outside, FOREIGN, 1) == {}
        if rules == "off":
            assert any(_answered(outside, MAC, 1) for _ in range(120))
        else:
            assert _answered(outside, MAC, 1) == {}


@pytest.mark.parametrize("rules", RULES)
def test_what_a_crash_left_is_replaced(guarded: Site, rules: str) -> None:
    guarded.create(rules)
    state = guarded.folder / "node/vms/a1"
    (state / "vm.json").unlink()
    (state / "spec.json").unlink()
    new = spec("a1", PEER_MAC, PEER_IP)
    guarded.control(rules, "create", given=new)
    with guarded.guest() as guest, Wire(guarded.outside.argv, "priv") as outside:
        end = frames.datagram(PEER_MAC, PEER_IP, "10.78.0.63", b"end")
        for _ in range(300):
            guest.send(HONEST, end)
            seen = outside.until(b"end", 0.2)
            if seen:
                break
        assert seen
        assert not any(b"mine" in frame for frame in seen)
    assert guarded.dropped(rules)["mac"] >= 1


@pytest.mark.parametrize("rules", RULES)
def test_vms_that_are_made_at_once_are_all_guarded_and_all_forgotten(guarded: Site, rules: str) -> None:
    specs = [spec(f"v{n}", f"02:00:0a:4e:00:{n:02x}", f"10.78.0.{n}") for n in range(11, 19)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda one: guarded.result(rules, "create", given=one), specs))
    assert [done.returncode for done in made] == [0] * 8, [done.stdout for done in made]
    listing = ["nft", "list", "ruleset"] if rules == "nft" else ["ebtables", "-t", "nat", "-L"]
    rulesets = guarded.node.run(*listing)
    assert all(f"flv{n}.0" in rulesets for n in range(11, 19))
    with ThreadPoolExecutor(8) as pool:
        gone = list(pool.map(lambda one: guarded.result(rules, "destroy", one["tag"]), specs))
    assert [done.returncode for done in gone] == [0] * 8, [done.stdout for done in gone]
    assert "flv" not in guarded.node.run(*listing)
    assert not [name for name in guarded.node.interfaces() if name.startswith("fl")]


def _begun(guarded: Site) -> list[str]:
    """Return the programs that run on the node but for its DHCP servers."""
    words = [" ".join(processes.arguments(pid)) for pid in guarded.node.processes()]
    return [word for word in words if word and "dnsmasq" not in word]


def _taps(guarded: Site) -> list[str]:
    return [name for name in guarded.node.interfaces() if name.startswith("fl")]


@pytest.mark.parametrize("rules", ["nft", pytest.param("ebtables", marks=pytest.mark.full)])
def test_killed_at_any_moment_it_leaves_what_the_next_command_removes(guarded: Site, rules: str) -> None:
    for order, given in (("create", spec("a1", MAC, IP)), ("destroy", None)):
        words = ["a1"] if given is None else []
        for step in range(6):
            if given is None:
                guarded.create(rules)
            argv, environment = guarded.argv(rules, order, *words)
            child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
            assert child.stdin is not None
            child.stdin.write(json.dumps(given))
            child.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.08 + 0.04 * step)
            child.kill()
            child.wait()
            eventually(lambda: _begun(guarded) == [])  # what it began goes on to its own end
            if step % 2:
                guarded.create(rules)
                with guarded.guest() as guest:
                    assert any(_answered(guest, MAC, 0.5) for _ in range(240))
            guarded.control(rules, "destroy", "a1")
            assert not _taps(guarded)
            assert "fla1" not in guarded.node.run("nft", "list", "ruleset")
            assert guarded.node.processes() == []


def test_a_mac_that_is_there_already_is_refused_and_its_owner_unharmed(guarded: Site) -> None:
    guarded.create("nft")
    for ip in (IP, PEER_IP):
        done = guarded.result("nft", "create", given=spec("b2", MAC.upper(), ip))
        assert (done.returncode, json.loads(done.stdout)["error"]["kind"]) == (4, "conflict")
        assert "flA1.0".lower() in done.stdout
    guarded.create("nft")  # the same again is no duplicate
    assert [vm["tag"] for vm in guarded.control("nft", "list")["vms"]] == ["a1"]
    with guarded.guest() as guest:
        assert any(_answered(guest, MAC, 0.5) for _ in range(240))


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"bridge": "b" * 16}, "invalid", "no bridge"),
        ({"bridge": "../x"}, "invalid", "no bridge"),
        ({"bridge": "other"}, "broken", "no bridge other"),
        ({"mac": "03:00:00:00:00:01"}, "invalid", "one of a group"),
        ({"ip": "10.99.0.1"}, "broken", "no address in 10.99.0.0/26"),
    ],
)
def test_a_nic_that_cannot_be_is_refused_and_nothing_stays(
    guarded: Site, changes: dict[str, Any], kind: str, words: str
) -> None:
    given = spec("a1", MAC, IP)
    given["nics"][0].update(changes)
    done = guarded.result("nft", "create", given=given)
    assert json.loads(done.stdout)["error"]["kind"] == kind
    assert words in json.loads(done.stdout)["error"]["message"]
    assert guarded.control("nft", "list") == {"vms": [], "strangers": []}
    assert guarded.node.processes() == []


def test_without_the_program_of_the_rules_no_vm_is_connected_and_the_doctor_says_why(guarded: Site) -> None:
    guarded.settings = {"nft": "/nonexistent/nft"}
    done = guarded.result("nft", "create", given=spec("a1", MAC, IP))
    assert "/nonexistent/nft is not installed" in done.stdout
    assert guarded.control("nft", "list") == {"vms": [], "strangers": []}
    findings = json.loads(guarded.result("nft", "doctor").stdout)["findings"]
    (found,) = [one for one in findings if one["name"] == "spoofing rules"]
    assert (found["ok"], "/nonexistent/nft" in found["text"]) == (False, True)
    guarded.settings = {}
    for rules in (*RULES, "off"):
        findings = json.loads(guarded.result(rules, "doctor").stdout)["findings"]
        assert [one["ok"] for one in findings if one["name"] == "spoofing rules"] == [True]


def test_a_vlan_is_the_wire_of_its_bridge_and_goes_with_kill_all(guarded: Site) -> None:
    guarded.node.bridge("other", "10.79.0.1/26")
    guarded.node.run("ip", "link", "add", "trunk", "type", "veth", "peer", "name", "far", "netns", guarded.outside.name)
    guarded.node.run("ip", "link", "set", "trunk", "up")
    try:
        guarded.node.run("ip", "link", "add", "link", "trunk", "name", "trunk.9", "type", "vlan", "id", "9")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel has no VLANs: {error.stderr}")
    guarded.outside.run("ip", "link", "set", "far", "up")
    guarded.settings = {"vlans": {"other": "trunk.42"}}
    guarded.create("nft", ip="10.79.0.11", bridge="other")
    assert "trunk.42" in guarded.node.interfaces()
    guarded.outside.run("ip", "link", "add", "link", "far", "name", "far.42", "type", "vlan", "id", "42")
    guarded.outside.run("ip", "link", "set", "far.42", "up")
    with guarded.guest() as guest, Wire(guarded.outside.argv, "far.42") as outside:
        for _ in range(300):
            guest.send(frames.datagram(MAC, "10.79.0.11", "10.79.0.63", b"in the VLAN"))
            if seen := outside.until(b"in the VLAN", 0.2):
                break
        assert seen
        outside.send(frames.datagram(FOREIGN, "10.79.0.2", "10.79.0.63", b"to the guest"))
        assert guest.hears(lambda frame: b"to the guest" in frame and frame[12:14] == b"\x08\x00", 60)
    guarded.control("nft", "kill-all")
    assert "trunk.42" not in guarded.node.interfaces()
    assert "trunk" in guarded.node.interfaces()


def test_two_state_directories_do_not_touch_each_others_rules(guarded: Site) -> None:
    guarded.create("nft")
    guarded.node.bridge("other", "10.79.0.1/26")
    guarded.settings = {"state": str(guarded.folder / "second"), "run": str(guarded.run / "second")}
    guarded.create("nft", "b2", PEER_MAC, "10.79.0.12", bridge="other")
    assert guarded.node.run("nft", "list", "tables").count("flyinglow") == 2
    guarded.control("nft", "kill-all")
    assert guarded.node.run("nft", "list", "ruleset").count('"fla1.0" . ') > 3
    guarded.settings = {}


def test_rules_that_somebody_flushed_come_back_while_the_guest_runs(guarded: Site, guest_image: Guest) -> None:
    with AgentProcess(guarded.config("nft"), guarded.node.argv()) as agent:
        agent.order("create", "a1", **spec("a1", MAC, IP))
        agent.order("start", "a1", paused=True)
        guarded.node.run("nft", "flush", "ruleset")
        eventually(lambda: '"fla1.0" . 10.78.0.11' in guarded.node.run("nft", "list", "ruleset"))
        agent.order("destroy", "a1")
    assert list((guarded.folder / "node/vms").iterdir()) == []


def test_a_real_guest_gets_through_without_rules_and_is_stopped_counted_and_told_of_with_them(
    guarded: Site, guest_image: Guest
) -> None:
    tricks = ("ip 10.78.0.60", "mac 02:00:4e:00:00:ff")
    context = "".join(f"spoof {trick} 10.78.0.2\n" for trick in tricks) + "peer site 10.78.0.2\n"
    nics = spec("a1", MAC, IP)["nics"]
    guarded.settings = {"images": [str(IMAGES)]}
    for rules, end in (("off", "through"), ("nft", "stopped")):
        with AgentProcess(guarded.config(rules), guarded.node.argv()) as agent:
            agent.order("create", "a1", **guest_image.spec("a1", nics=nics, context=context))
            agent.order("start", "a1")
            agent.news("a1", ready=True)
            lines = eventually(partial(_spoofed, agent))
            assert lines == [f"GUEST-SPOOF {trick} {end}" for trick in tricks]
            eventually(partial(_says, agent, "GUEST-PEER site 10.78.0.2 ok"))
            if rules == "nft":
                alarm = agent.wait(lambda message: bool(message.get("body", {}).get("alarm")), 180)
                assert "another" in alarm["body"]["alarm"]
                dropped = agent.order("info", "a1")["dropped"]
                assert dropped["mac"] >= 1
                assert dropped.get("arp", 0) + dropped.get("ip", 0) >= 1
            agent.order("destroy", "a1")


def _console(agent: AgentProcess) -> list[str]:
    return base64.b64decode(agent.order("console", "a1")["data"]).decode(errors="replace").splitlines()


def _says(agent: AgentProcess, line: str) -> bool:
    return line in _console(agent)


def _spoofed(agent: AgentProcess) -> list[str]:
    """Return what the guest says of its tricks, once it has said it of both."""
    lines = [line for line in _console(agent) if line.startswith("GUEST-SPOOF")]
    return lines if len(lines) == 2 else []
