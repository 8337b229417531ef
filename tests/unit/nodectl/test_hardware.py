"""The ledger of a node's hardware: who asks for too much is told so, and nobody gets what another has."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import config, processes, spec
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, FlyingLowError, InvalidError, NeverError
from flyinglow.nodectl.hypervisor import qemu_hardware
from flyinglow.nodectl.hypervisor.hardware import Hardware, given_to, listed
from flyinglow.nodectl.hypervisor.qmp import Qmp
from flyinglow.nodectl.messages import HardwareSpec, VmSpec, vm_spec
from flyinglow.nodectl.vmdir import StateDir, VmDir

GPUS = ["0000:3b:00.0", "0000:af:00.0"]


class Node:
    """Eight CPUs on two NUMA nodes, two of each for the node's own; two GPUs and a NIC to be passed through."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        topology = tmp_path / "topology"
        for number, cpus in enumerate(("0-1,4-5", "2-3,6-7")):
            (topology / f"node{number}").mkdir(parents=True)
            (topology / f"node{number}/cpulist").write_text(f"{cpus}\n")
        memory = tmp_path / "meminfo"
        memory.write_text("MemTotal: 8000000 kB\nHugePages_Total: 64\nHugepagesize: 2048 kB\n")
        plain: dict[str, Any] = {"state": str(tmp_path / "state"), "run": str(tmp_path / "run"), "node": "n1"}
        plain.update(dedicated_cpus=[2, 3, 4, 5, 6, 7], devices={"gpu": GPUS, "nic": ["0000:5e:00.1"]})
        made = config.build({**plain, **settings})
        self.state = StateDir(made.state, made.run)
        self.state.prepare()
        self.hardware = Hardware(made, self.state, topology, memory)

    def give(self, tag: str, cpus: int = 1, memory_mb: int = 64, **asked: Any) -> VmDir:
        """Make a VM's directory and give it what it asks for; take the directory away when that is refused."""
        made = VmSpec(tag, tag, memory_mb, cpus, hardware=HardwareSpec(**asked))
        vm = self.state.vm(tag)
        vm.create(made)
        try:
            self.hardware.give(vm, made)
        except FlyingLowError:
            vm.remove()
            raise
        return vm

    def allowed(self, vm: VmDir) -> tuple[int, ...]:
        return self.hardware.cpus_of(vm, vm.spec())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_cpus_are_nobody_elses_and_near_each_other_where_that_is_possible(node: Node) -> None:
    first, second = node.give("a", 2, dedicated_cpus=True), node.give("b", 4, dedicated_cpus=True)
    assert given_to(first).cpus == (4, 5)
    assert given_to(second).cpus == (2, 3, 6, 7)
    assert node.allowed(first) == (4, 5)
    with pytest.raises(ExhaustedError, match="has 0 CPUs left") as caught:
        node.give("c", dedicated_cpus=True)
    assert caught.value.figures == {"cpus.asked": 1, "cpus.free": 0}
    first.remove()
    assert given_to(node.give("c", dedicated_cpus=True)).cpus == (4,)


def test_others_keep_off_what_may_be_dedicated(node: Node, tmp_path: Path) -> None:
    assert node.allowed(node.give("a")) == (0, 1)
    assert node.allowed(node.give("b", numa_node=0)) == (0, 1)
    plain = Node(tmp_path / "plain", dedicated_cpus=[])
    assert plain.allowed(plain.give("a")) == ()
    assert plain.allowed(plain.give("b", numa_node=1)) == (2, 3, 6, 7)


def test_a_numa_node_is_kept_to(node: Node) -> None:
    assert given_to(node.give("a", 3, numa_node=1, dedicated_cpus=True)).cpus == (2, 3, 6)
    with pytest.raises(ExhaustedError):
        node.give("b", 2, numa_node=1, dedicated_cpus=True)
    with pytest.raises(NeverError, match="has 2 CPUs to dedicate there"):
        node.give("b", 3, numa_node=0, dedicated_cpus=True)
    with pytest.raises(NeverError, match=r"no NUMA node 7 \(there are: 0, 1\)"):
        node.give("b", numa_node=7)


def test_devices_are_named_by_kind_and_given_once(node: Node) -> None:
    assert given_to(node.give("a", devices=("gpu", "nic"))).devices == (GPUS[0], "0000:5e:00.1")
    with pytest.raises(ExhaustedError, match="has 1 devices 'gpu' left"):
        node.give("b", devices=("gpu", "gpu"))
    assert given_to(node.give("b", devices=("gpu",))).devices == (GPUS[1],)
    with pytest.raises(NeverError, match="has 2 devices 'gpu'"):
        node.give("c", devices=("gpu",) * 3)
    with pytest.raises(InvalidError, match=r"no device 'fpga' \(there are: gpu, nic\)"):
        node.give("c", devices=("fpga",))


def test_what_was_given_stays_given_and_many_at_once_get_different_ones(node: Node) -> None:
    vm = node.give("a", dedicated_cpus=True, devices=("gpu",))
    before = given_to(vm)
    assert given_to(node.give("a", dedicated_cpus=True, devices=("gpu",))) == before
    vm.remove()

    def ask(number: int) -> tuple[int, ...]:
        try:
            return given_to(node.give(f"v{number}", dedicated_cpus=True)).cpus
        except ExhaustedError:
            return ()

    with ThreadPoolExecutor(10) as pool:
        found = [cpu for cpus in pool.map(ask, range(10)) for cpu in cpus]
    assert sorted(found) == [2, 3, 4, 5, 6, 7]


def test_nothing_is_given_out_while_the_ledger_cannot_be_read(node: Node) -> None:
    (node.give("a", dedicated_cpus=True).path / "hardware.json").write_text("[]")
    with pytest.raises(BrokenError, match="cannot be understood"):
        node.give("b", dedicated_cpus=True)


@pytest.mark.parametrize(
    ("driver", "asked"), [("xen", {"huge_pages": True})], ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_the_driver_cannot_do_is_never(tmp_path: Path, driver: str, asked: dict[str, Any]) -> None:
    with pytest.raises(NeverError, match=f"huge_pages, which driver {driver} of node n1 cannot do"):
        Node(tmp_path, driver=driver).give("a", **asked)


def test_on_xen_the_machines_cpus_are_what_the_site_says(tmp_path: Path) -> None:
    node = Node(tmp_path, driver="xen", dedicated_cpus=[30, 31])
    assert given_to(node.give("a", 2, dedicated_cpus=True)).cpus == (30, 31)
    node.give("b", numa_node=5)
    with pytest.raises(NeverError, match="dedicates no CPUs of a certain NUMA node"):
        node.give("c", numa_node=0, dedicated_cpus=True)


def test_more_huge_pages_than_the_pool_has_are_not_to_be_had_now(node: Node) -> None:
    node.give("a", memory_mb=128, huge_pages=True)
    with pytest.raises(ExhaustedError, match="has 128 MiB of huge pages, 129 are needed"):
        node.give("b", memory_mb=129, huge_pages=True)


@pytest.mark.parametrize(
    "hardware",
    [
        {"devices": ["0000:3b:00.0/../x"]},
        {"devices": "gpu"},
        {"devices": ["a b"]},
        {"devices": [""]},
        {"devices": [1]},
        {"devices": ["gpu"] * 17},
        {"numa_node": -1},
        {"numa_node": "0"},
        {"dedicated_cpus": 1},
        {"huge_pages": "yes"},
        {"pci": "0000:3b:00.0"},
        "gpu",
    ],
)
def test_what_an_order_cannot_ask_for(hardware: Any) -> None:
    with pytest.raises(InvalidError):
        spec.read({"tag": "a1", "name": "a", "memory_mb": 64, "cpus": 1, "hardware": hardware})


@pytest.mark.parametrize(
    "settings",
    [
        {"devices": []},
        {"devices": {"gpu": "0000:3b:00.0"}},
        {"devices": {"gpu": ["3b:00.0"]}},
        {"devices": {"gpu": ["0000:3b:00.0,x-vga=on"]}},
        {"devices": {"a b": []}},
        {"devices": {"gpu": ["0000:3b:00.0"], "other": ["0000:3b:00.0"]}},
        {"dedicated_cpus": "0-3"},
        {"dedicated_cpus": [True]},
        {"dedicated_cpus": [-1]},
        {"placement": "beside"},
        {"placement": "inside", "driver": "xen"},
        {"placement": "inside", "vm_cgroup": "/sys/fs/cgroup/memory/vms"},
        {"libvirt": "system"},
        {"libvirt": None},
    ],
)
def test_what_a_configuration_cannot_say(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        config.build(settings)


def test_a_specification_without_hardware_is_as_it_was(tmp_path: Path) -> None:
    body = {"tag": "a1", "name": "a", "memory_mb": 64, "cpus": 1}
    assert vm_spec(body).hardware == HardwareSpec()
    node = Node(tmp_path)
    assert [path.name for path in node.give("a1").path.iterdir()] == ["spec.json"]


def test_lists_of_cpus_as_the_kernel_writes_them() -> None:
    read: Callable[[str], list[int]] = lambda text: list(listed(text))  # noqa: E731 - short
    assert (read("0-3,8,10-11\n"), read("\n"), read("0")) == ([0, 1, 2, 3, 8, 10, 11], [], [0])


class Silent(Qmp):
    """A QEMU that has nothing to say."""

    def __init__(self) -> None:
        pass


def test_a_thread_that_ends_meanwhile_does_not_keep_the_others_from_their_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound = []
    for thread in ("7", "8", "9"):
        (tmp_path / "7/task" / thread).mkdir(parents=True)

    def bind(thread: int, cpus: object) -> None:
        if thread == 8:
            raise ProcessLookupError("no such process")
        bound.append((thread, cpus))

    monkeypatch.setattr(processes, "PROC", tmp_path)
    monkeypatch.setattr("os.sched_setaffinity", bind)
    qemu_hardware.bind(Silent(), 7, (), (2, 3))
    assert sorted(bound) == [(7, (2, 3)), (9, (2, 3))]
