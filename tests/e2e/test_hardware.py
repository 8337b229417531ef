"""Hardware from the request to the node: refused at once where the service knows, given out by the node."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from flyinglow.client import Disk, Part, Resource, Site
from flyinglow.nodectl.errors import ExhaustedError, FlyingLowError, InvalidError, NeverError
from rigs.daemon import NODES, Daemon

pytestmark = pytest.mark.xdist_group("hardware")

GPUS = ["0000:3b:00.0", "0000:af:00.0"]
OPTIONS = {
    "nodectl": {"devices": {"gpu": GPUS, "rare": []}, "dedicated_cpus": [0, 1]},
    "toml": """[notification]
allow_loopback = true
[hardware]
dedicated_cpus = true
numa_nodes = 4
devices = {gpu = 2, rare = 1}
""",
}
Eventually = Callable[..., Any]


def part(name: str = "wn", **changes: Any) -> Part:
    return Part(name=name, memory_mb=64, disks=(Disk(image="guest"),), **changes)


def given(daemon: Daemon, resource: Resource) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the node was told to give a workspace, and what it gave."""
    tag = resource.properties().tag or ""
    (folder,) = [path for node in NODES if (path := daemon.node_state(node) / "vms" / tag).exists()]
    asked: dict[str, Any] = json.loads((folder / "spec.json").read_text())["hardware"]
    return asked, json.loads((folder / "hardware.json").read_text())


def test_what_a_lease_asks_for_is_what_its_node_gives(shared: Daemon, site: Site, eventually: Eventually) -> None:
    lease = site.create([part(dedicated_cpus=True, devices=("gpu", "gpu"))], name="gpus")
    eventually(lambda: lease.whole.properties().state == "Running")
    asked, had = given(shared, lease.whole)
    assert asked == {"dedicated_cpus": True, "numa_node": None, "huge_pages": False, "devices": ["gpu", "gpu"]}
    assert (len(had["cpus"]), had["devices"]) == (1, GPUS)
    lease.whole.destroy()
    eventually(lambda: shared.admin("workspace.list") == [])


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"devices": ("fpga",)}, InvalidError, r"no device 'fpga' here \(there are: gpu, rare\)"),
        ({"devices": ("gpu",) * 3}, NeverError, "has 2 of 'gpu'"),
        ({"huge_pages": True}, NeverError, "offers no workspace huge pages"),
        ({"numa_node": 4}, NeverError, "NUMA nodes 0 to 3"),
        ({"devices": ("gpu",) * 17}, FlyingLowError, "."),
        ({"devices": ("0000:3b:00.0",)}, FlyingLowError, "."),
        ({"numa_node": -1}, FlyingLowError, "."),
    ],
)
def test_what_the_site_does_not_offer_is_refused_at_once(
    shared: Daemon, site: Site, asked: dict[str, Any], error: type[FlyingLowError], words: str
) -> None:
    with pytest.raises(error, match=words):
        site.create([part(**asked)], name="no")
    assert shared.admin("workspace.list") == []


@pytest.mark.parametrize(
    ("asked", "words"), [({"devices": ("rare",)}, "has 0 devices 'rare'"), ({"numa_node": 3}, "NUMA")]
)
def test_what_only_the_node_knows_ends_the_lease_with_its_words(
    shared: Daemon, site: Site, eventually: Eventually, asked: dict[str, Any], words: str
) -> None:
    lease = site.create([part(**asked)], name="rare")
    eventually(lambda: lease.whole.properties().state == "Corrupted")
    assert words in (lease.whole.properties().reason or "")
    lease.whole.destroy()
    eventually(lambda: shared.admin("workspace.list") == [])


def test_two_leases_never_share_a_device(shared: Daemon, site: Site, eventually: Eventually) -> None:
    leases = [site.create([part(devices=("gpu",))], name=f"one-{number}") for number in range(4)]
    whole = [lease.whole for lease in leases]

    def settled() -> bool:
        return all(each.properties().state in {"Running", "Corrupted"} for each in whole)

    eventually(settled)
    up = [each for each in whole if each.properties().state == "Running"]
    places = [(each.properties().node, *given(shared, each)[1]["devices"]) for each in up]
    assert len(set(places)) == len(places) >= 2
    for each in whole:
        if each not in up:
            assert "has 0 devices 'gpu' left" in (each.properties().reason or ""), ExhaustedError
        each.destroy()
    eventually(lambda: shared.admin("workspace.list") == [])
