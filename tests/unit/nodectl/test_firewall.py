"""What guards a port, as words for the kernel's programs; what they count, read back."""

import dataclasses
import ipaddress

import pytest

from flyinglow.nodectl import config
from flyinglow.nodectl.agent.watch import Watcher
from flyinglow.nodectl.errors import BrokenError, InvalidError
from flyinglow.nodectl.messages import VmInfo, VmStatus, encode, vm_info
from flyinglow.nodectl.network.firewall import HARMLESS, KINDS, Port, Unguarded, spoofed, total, words
from flyinglow.nodectl.network.firewall_choice import firewall_of
from flyinglow.nodectl.network.firewall_ebtables import Ebtables, guest_rules
from flyinglow.nodectl.network.firewall_nft import CHAINS, SETS, Nft, declaration, elements
from flyinglow.nodectl.network.ports import tap_name
from flyinglow.nodectl.network.vlan import commands

PORT = Port("fla1.0", "52:54:00:12:34:56", "10.0.0.9")


def test_a_link_local_address_follows_from_the_mac() -> None:
    assert PORT.link_local == ipaddress.IPv6Address("fe80::5054:ff:fe12:3456")


def test_the_longest_name_of_a_port_is_one_that_the_kernel_takes() -> None:
    assert len(tap_name("a" * 10, 15)) == 15


def test_a_port_is_in_every_set_and_no_element_names_what_is_not_its_own() -> None:
    made = list(elements(dataclasses.replace(PORT, servers=("10.0.0.1", "fe80::1"))))
    assert {name for name, _ in made} == set(SETS)
    assert [value for name, value in made if name == "sources4"] == ['"fla1.0" . 10.0.0.9']
    assert [value for name, value in made if name == "targets6"] == ['"fla1.0" . 0xfe80000000000000505400fffe123456']
    assert [value for name, value in made if name == "servers6"] == ["fe80::1"]


def test_what_was_leased_besides_may_be_used_by_its_port_alone() -> None:
    more = dataclasses.replace(PORT, more=("fd00::9", "10.0.0.10"))
    made = list(elements(more))
    assert [value for name, value in made if name == "sources4"] == ['"fla1.0" . 10.0.0.9', '"fla1.0" . 10.0.0.10']
    assert [value for name, value in made if name == "sources6"][1:] == ['"fla1.0" . fd00::9']
    assert [value for name, value in made if name == "targets6"][1:] == [
        '"fla1.0" . 0xfd000000000000000000000000000009'
    ]
    assert '"fla1.0" . 52:54:00:12:34:56 . 10.0.0.10' in [value for name, value in made if name == "arps"]
    with pytest.raises(BrokenError, match="IPv6"):
        Ebtables("ebtables", "x").admit("fla1.", [more])


def test_every_rule_leads_somewhere_and_everything_else_is_dropped() -> None:
    targets = {rule.split("goto ")[1] for rule in CHAINS["guest"] if "goto " in rule}
    assert targets <= set(CHAINS)
    assert targets == {f"drop_{kind}" for kind in KINDS}
    assert CHAINS["guest"][-1] == "goto drop_other"
    assert all(CHAINS[name][-1] == "drop" for name in targets)
    assert guest_rules(PORT)[-1] == ("", "other")
    assert {kind for _, kind in guest_rules(PORT) if kind} == set(KINDS)


def test_a_declaration_may_be_repeated() -> None:
    lines = declaration("bridge t").splitlines()
    assert all(line.startswith(("add ", "flush chain ")) for line in lines)
    for chain in CHAINS:
        assert lines.index(f"flush chain bridge t {chain}") < min(
            at for at, line in enumerate(lines) if line.startswith(f"add rule bridge t {chain} ")
        )


@pytest.mark.parametrize(("rules", "kind"), [("nft", Nft), ("ebtables", Ebtables), ("off", Unguarded)])
def test_the_configuration_chooses(rules: str, kind: type) -> None:
    assert isinstance(firewall_of(config.build({"state": "/s", "spoofing_rules": rules})), kind)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"spoofing_rules": "maybe"}, "spoofing_rules"),
        ({"vlans": ["eth0.1"]}, "vlans"),
        ({"vlans": {"b": "eth0"}}, "vlans.b"),
        ({"vlans": {"b": "eth0.0"}}, "vlans.b"),
        ({"vlans": {"b": "eth0.4095"}}, "vlans.b"),
        ({"vlans": {"b": "longinterface.42"}}, "vlans.b"),
        ({"vlans": {"b": "eth0.1\nlink delete"}}, "vlans.b"),
        ({"vlans": {"b": 7}}, "vlans.b"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(given: dict[str, object], what: str) -> None:
    with pytest.raises(InvalidError, match=what):
        config.build({"state": "/s", **given})


def test_a_vlan_is_made_of_its_interface_and_number() -> None:
    assert commands("eth0.1.42", "b").splitlines()[0] == "link add link eth0.1 name eth0.1.42 type vlan id 42"


def test_what_is_dropped_adds_up_and_only_attempts_are_told() -> None:
    found = total([{"mac": 2, "other": 5}, {"mac": 1, "arp": 4}])
    assert found == {"mac": 3, "other": 5, "arp": 4}
    assert spoofed(found) == 7
    assert words(found) == f"3 {KINDS['mac']}, 4 {KINDS['arp']}"
    assert set(KINDS) > HARMLESS
    assert words({"other": 5}) == ""


def test_what_a_node_says_of_drops_is_checked() -> None:
    info = VmInfo("a1", VmStatus.RUNNING, dropped={"mac": 1}, alarm="x")
    assert vm_info(encode(info)) == info
    for wrong in ({"dropped": [1]}, {"dropped": {"mac": -1}}, {"dropped": {"mac": "1"}}, {"alarm": 7}):
        with pytest.raises(TypeError):
            vm_info({**encode(info), **wrong})


class Scene:
    """A node with one VM that runs, whose counters a test sets."""

    def __init__(self) -> None:
        self.dropped: dict[str, int] = {}

    def tend(self, tag: str) -> None:
        """See to nothing."""

    def info(self, tag: str) -> VmInfo:
        return VmInfo(tag, VmStatus.RUNNING, dropped=dict(self.dropped))


def test_an_alarm_is_told_at_first_and_when_it_is_twice_as_much_and_not_during_an_order() -> None:
    scene, told = Scene(), list[VmInfo]()
    watcher = Watcher(scene, told.append, 1)  # type: ignore[arg-type]
    watcher.seen(VmInfo("a1", VmStatus.RUNNING))
    alarms = []
    for count in (0, 1, 1, 2, 3, 4, 5, 8):
        scene.dropped = {"arp": count, "other": 1000} if count else {"other": 1000}
        watcher.look(full=True)
        alarms.append(len(told))
    assert alarms == [0, 1, 1, 2, 2, 3, 3, 4]
    assert told[-1].alarm == f"8 {KINDS['arp']}"
    scene.dropped = {"arp": 100}
    watcher.begin("a1")
    watcher.look(full=True)
    assert len(told) == 4
    watcher.finish("a1", None)
    watcher.look(full=True)
    assert len(told) == 5
