"""The configuration file: taken at its word, or refused with the line of every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyinglow.factory.uris import UriPolicy
from flyinglow.nodectl.errors import InvalidError
from flyinglow.server.catalogue import uri_policy
from flyinglow.server.composition import timing
from flyinglow.server.configuration.file import load, parse
from flyinglow.server.configuration.lines import line_of
from flyinglow.server.configuration.sample import sample
from flyinglow.server.configuration.settings import Config
from flyinglow.server.services import terms

FAULTY = """\
[server]
thread = 3
user = 5

[network.public]
cidr = "10.0.0.0/24"
ranje = "x"

[node.n1]
memory_mb = "a"
cpus = true
disk_mb = 1
"""

_NETWORK = "[network.a]\ncidr='10.0.0.0/24'\nrange='10.0.0.2-10.0.0.9'\n"
_NODE = "[node.n]\nmemory_mb=1\ncpus=1\ndisk_mb=1\n"
_SECOND = "[network.b]\ncidr='10.1.0.0/24'\nrange='10.1.0.2-10.1.0.9'\n"


def test_an_empty_file_is_the_defaults() -> None:
    assert parse("", "x") == Config()


def test_every_fault_is_named_with_its_line() -> None:
    with pytest.raises(InvalidError) as caught:
        parse(FAULTY, "site.toml")
    assert caught.value.message.splitlines() == [
        "site.toml:2: server.thread: unknown key",
        "site.toml:3: server.user: 5 is not a string",
        "site.toml:5: network.public.range: this key is missing",
        "site.toml:7: network.public.ranje: unknown key",
        "site.toml:10: node.n1.memory_mb: 'a' is not a whole number",
        "site.toml:11: node.n1.cpus: True is not a whole number",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[listen.client]\naddress = '0.0.0.0'", "x:2: listen.client.address: 0.0.0.0 is not loopback"),
        ("[listen.client]\naddress = 'here'", "is not an IP address"),
        ("[network.a]\ncidr = '10.0.0.0/24'\nrange = '10.0.1.1-10.0.1.9'", "x:3: network.a.range"),
        ("[network.a]\ncidr = 'ten'\nrange = '10.0.1.1-10.0.1.9'", "x:2: network.a.cidr"),
        ("[network.a]\ncidr = '10.0.0.0/24'\nrange = '10.0.0.9-10.0.0.1'", "x:3: network.a.range"),
        ("[image.a]\nformat = 'raw'", "either path or file is needed"),
        ("[lease]\nsave_rate = 0", "x:2: lease.save_rate: is less than 0.001"),
        ("[lease]\nsave_rate = nan", "x:2: lease.save_rate: is less than 0.001"),
        ("[lease]\nsave_margin = -1", "x:2: lease.save_margin: is less than 0"),
        ("[lease]\nsave_retry = 0", "x:2: lease.save_retry: is less than 1"),
        (
            "[image_uri]\nschemes = ['ftp']",
            "x:2: image_uri.schemes: 'ftp' is not store, https, http, scp, sftp or file",
        ),
        ("[image_uri]\nhosts = ['https://a/b']", "x:2: image_uri.hosts: 'https://a/b' is not the name or number"),
        ("[image_uri]\nhosts = ['me@a']", "x:2: image_uri.hosts: 'me@a' is not the name or number"),
        ("[image_uri]\ndirectories = ['/']", "x:2: image_uri.directories: '/' is not the absolute path"),
        ("[image_uri]\ndirectories = ['srv']", "x:2: image_uri.directories: 'srv' is not the absolute path"),
        ("[image_uri]\nkernels = {x86_64 = 'debian'}", "x:2: image_uri.kernels: there is no [image.debian]"),
        (
            "[image_uri]\nkernels = {aarch64 = 'debian'}\n[image.debian]\npath = '/x'",
            "x:2: image_uri.kernels: [image.debian] is of architecture x86_64, not aarch64",
        ),
        ("[lease]\ndefault_duration = 10\nmaximum_duration = 5", "x:2: lease.default_duration"),
        ("[node.a]\nmemory_mb=1\ncpus=1\ndisk_mb=1\nnetworks={b=''}", "x:5: node.a.networks: there is no [network.b]"),
        ("[node.a]\nmemory_mb=1\ncpus=1\ndisk_mb=1\nchannel='pigeon'", "x:1: node.a.reach"),
        ("[network.a]\ncidr='10.0.0.0/24'\nrange='10.0.0.2-10.0.0.9'\ngateway='10.0.1.1'", "x:4: network.a.gateway"),
        ("[network.a]\ncidr='10.0.0.0/24'\nrange='10.0.0.2-10.0.0.9'\ndns=['x']", "x:4: network.a.dns"),
        ("[network.a]\ncidr='10.0.0.0/24'\nrange='10.0.0.2-10.0.0.9'\nmac_prefix='53:54:00'", "x:4: network.a.mac"),
        (_NETWORK + "cidr6='10.1.0.0/24'", "x:4: network.a.cidr6"),
        (_NETWORK + _NODE + f"networks={{a='{'b' * 16}'}}", "x:8: node.n.networks: 'bbbbbbbbbbbbbbbb' is no bridge"),
        (_NETWORK + "cidr6='fd00::/97'", "x:4: network.a.cidr6: fd00::/97 leaves fewer than 32 bits"),
        (_NETWORK + "gateway6='fd00::1'", "x:4: network.a.gateway6: there is no cidr6"),
        (_NETWORK + "cidr6='fd00::/64'\ngateway6='fd01::1'", "x:5: network.a.gateway6: 'fd01::1' is not an address"),
        (
            _NETWORK + "cidr6='fd00::/64'\ngateway6='fd00::a00:5'",
            "x:5: network.a.gateway6: fd00::a00:5 would be",
        ),
        (_NETWORK + "cidr6='fd00::/64'\ndns6=['10.0.0.1']", "x:5: network.a.dns6"),
        (_NETWORK + "delivery='pigeon'", "x:4: network.a.delivery: 'pigeon' is not one of dhcp, static"),
        (_NETWORK + "vlan=4095", "x:4: network.a.vlan: 4095 is not a VLAN"),
        (_NETWORK + "vlan=7\n" + _SECOND + "vlan=7", "x:8: network.b.vlan: 7 is that of network a"),
        (_NETWORK + "cidr6='fd00::/48'\n" + _SECOND + "cidr6='fd00::/64'", "x:8: network.b.cidr6: fd00::/64 overlaps"),
        (
            "[network.a]\ncidr='10.0.0.0/8'\nrange='10.0.0.2-10.0.0.9'\n[network.b]\ncidr='11.0.0.0/8'\nrange='11.0.0.9-11.0.0.20'",
            "x:4: network.b.mac_prefix: its MAC addresses would be those of network a",
        ),
        ("[network.a]\ncidr='10.0.0.0/24'\nrange='10.0.0.2-10.0.0.9'\nhostname='h'", "x:4: network.a.hostname"),
        ("[network.a]\ncidr='10.0.0.0/24'\nrange='10.0.0.2-10.0.0.9'\nhostname='{x}'", "x:4: network.a.hostname"),
        ("[notification]\nallow_networks = ['10.0.0.1/8']", "x:2: notification.allow_networks"),
        ("[server]\nstate_dir = 'relative'", "x:2: server.state_dir: 'relative' is not an absolute path"),
        ("[server", "x: not TOML"),
        ("[serves]\na = 1", "x:1: serves: unknown key"),
    ],
)
def test_a_contradiction_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(text, "x")
    assert said in caught.value.message


def test_pilots_may_come_from_elsewhere_over_tls() -> None:
    node = "[listen.node]\naddress = '10.0.0.1'\n"
    assert parse(node + "certificate = '/etc/flyinglow/node.pem'", "x").listen.node.address == "10.0.0.1"
    with pytest.raises(InvalidError, match=r"without TLS .* name certificate and private_key"):
        parse(node, "x")


def test_another_address_than_loopback_needs_the_word_insecure() -> None:
    config = parse("[listen.client]\naddress = '0.0.0.0'\ninsecure = true", "x")
    assert config.listen.client.address == "0.0.0.0"


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="flyinglow init"):
        load(tmp_path / "none.toml")


def test_the_sample_is_accepted_and_shows_every_key() -> None:
    text = sample()
    config = parse(text, "sample")
    assert config.node["node1"].networks == {"private": "br-private"}
    assert "# maximum_duration = 604800" in text


def test_uncommenting_every_default_of_the_sample_changes_nothing() -> None:
    bare = [line for line in sample().splitlines() if not (line.startswith("# ") and " = " not in line)]
    keys = [line.removeprefix("# ") for line in bare if not line.rstrip().endswith("=")]
    keys = [line for line in keys if line.startswith("[") or line.split(" = ")[0].isidentifier()]
    assert parse("\n".join(keys), "sample") == parse(sample(), "sample")


@pytest.mark.parametrize(
    ("path", "line"),
    [(("a", "b"), 2), (("a", "c", "d"), 4), (("x",), 1), (("a", "q"), 1), (("e", "f g"), 6), (("h", "i"), 7)],
)
def test_line_of(path: tuple[str, ...], line: int) -> None:
    assert (
        line_of('[a]\nb = 1\n[a.c]\nd = 2\n[e]\n"f g" = 1\nh.i = 2', path if path[0] != "h" else ("e", *path)) == line
    )


def test_every_limit_of_the_provisioner_is_what_the_configuration_says() -> None:
    names = {"create", "start", "operation", "shutdown", "guest_shutdown", "destroy", "info"}
    lines = [f"{name} = {number}" for number, name in enumerate(sorted(names), start=5)]
    config = parse("\n".join(["[lease]", "stranger_grace = 3", "[patience]", *lines]), "test")
    made = timing(config)
    assert made.stray_grace == 3
    assert (made.create, made.destroy, made.grace, made.info) == (5, 6, 7, 8)
    assert (made.operation, made.shutdown, made.start) == (9, 10, 11)


def test_what_may_be_named_by_uri_and_when_saving_begins_is_what_the_configuration_says() -> None:
    text = (
        "[image_uri]\nschemes = ['https', 'scp']\nhosts = ['Images.Example.org']\ndirectories = ['/srv/a']\n"
        "kernels = {x86_64 = 'a'}\ndefault_size_mb = 7\nmaximum_size_mb = 8\n[image.a]\npath = '/x'\n"
        "[lease]\nsave_rate = 5.5\nsave_margin = 6\nsave_retry = 7\n[patience]\nsave = 9"
    )
    config = parse(text, "test")
    policy, lease = uri_policy(config.image_uri), terms(config)
    assert policy == UriPolicy(
        schemes=("https", "scp", "sftp"),
        hosts=("images.example.org",),
        directories=("/srv/a",),
        kernels={"x86_64": "a"},
        size_mb=7,
        most_mb=8,
    )
    assert (lease.save_rate, lease.save_margin, lease.save_retry, timing(config).save) == (5.5, 6, 7, 9)
    assert uri_policy(parse("", "test").image_uri) == UriPolicy()
