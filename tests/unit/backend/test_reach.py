"""What a node's reach may say, and the argument lists that come of it."""

import pytest

from flyinglow.backend.channel import local, ssh
from flyinglow.backend.reach import LocalReach, SshReach, parse
from flyinglow.nodectl.errors import InvalidError

SSH = {"channel": "ssh", "address": "node1.example", "identity": "/etc/fl/id", "known_hosts": "/etc/fl/known"}


def test_an_empty_reach_is_local() -> None:
    assert parse({}, "n1") == LocalReach()
    assert local.argv(LocalReach()) == ["flyinglow-nodectl", "agent", "--stdio"]


def test_under_sudo_only_the_words_that_sudoers_allows() -> None:
    reach = parse({"channel": "local", "agent": "/opt/fl/nodectl", "sudo": True}, "n1")
    assert isinstance(reach, LocalReach)
    assert local.argv(reach) == ["sudo", "-n", "/opt/fl/nodectl", "agent", "--stdio"]


def test_an_agent_with_a_configuration_of_its_own() -> None:
    reach = parse({"agent": "/opt/nodectl", "config": "/etc/n1.json"}, "n1")
    assert isinstance(reach, LocalReach)
    assert local.argv(reach) == ["/opt/nodectl", "--config", "/etc/n1.json", "agent", "--stdio"]


def test_ssh_checks_host_keys_asks_nothing_and_reads_no_configuration() -> None:
    reach = parse({**SSH, "user": "fl", "port": 2222, "sudo": True, "alive_interval": 7}, "n1")
    assert isinstance(reach, SshReach)
    words = ssh.argv(reach)
    options = {words[at + 1] for at, word in enumerate(words) if word == "-o"}
    assert words[:3] == ["ssh", "-F", "none"]
    assert options >= {
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UserKnownHostsFile=/etc/fl/known",
        "ServerAliveInterval=7",
        "ConnectTimeout=10",
    }
    assert words[words.index("-i") + 1] == "/etc/fl/id"
    assert words[words.index("-p") + 1] == "2222"
    tail = words[words.index("--") :]
    assert tail == ["--", "fl@node1.example", "sudo", "-n", "/usr/bin/flyinglow-nodectl", "agent", "--stdio"]


@pytest.mark.parametrize(
    "change",
    [
        {"address": "-oProxyCommand=id"},
        {"address": "host name"},
        {"address": ""},
        {"user": "-l"},
        {"user": "a b"},
        {"agent": "-x"},
        {"agent": "nodectl; id"},
        {"agent": "/opt/$(id)"},
        {"agent": "/opt/a b"},
        {"config": "relative"},
        {"identity": "relative"},
        {"known_hosts": "/etc/x\n"},
        {"port": 0},
        {"port": 65536},
        {"port": "22"},
        {"port": True},
        {"connect_timeout": 0},
        {"sudo": 1},
        {"sudo": True, "config": "/etc/n.json"},
        {"channel": "telnet"},
        {"password": "x"},
    ],
)
def test_what_could_be_taken_for_something_else_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidError, match="node n1"):
        parse({**SSH, **change}, "n1")


@pytest.mark.parametrize("missing", ["address", "identity", "known_hosts"])
def test_what_ssh_cannot_do_without(missing: str) -> None:
    with pytest.raises(InvalidError, match=missing):
        parse({key: value for key, value in SSH.items() if key != missing}, "n1")
