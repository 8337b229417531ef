"""What is left of VMs without a directory, and what is left after a start of the node: seen, and cleaned up.

Real QEMU processes, and real taps, rules and dnsmasq in namespaces of the test's own.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyinglow.nodectl import processes, strangers
from flyinglow.nodectl.config import Config, build
from flyinglow.nodectl.vmdir import ProcessMark
from rigs.guest import IMAGES, Guest
from rigs.namespaces import Space
from rigs.waiting import eventually

TAG = "a1"
NICS = [
    {"network": "pub", "mac": "02:00:0a:4d:00:0b", "ip": "10.77.0.11", "prefix": 24, "bridge": "pub", "hostname": "a1"},
    {
        "network": "priv",
        "mac": "02:00:0a:4e:00:0b",
        "ip": "10.78.0.11",
        "prefix": 26,
        "bridge": "priv",
        "hostname": "b",
    },
]


class ByHand:
    """A node and its program, run by hand, in a namespace where there is one."""

    def __init__(self, folder: Path, run: Path, space: Space | None = None) -> None:
        self.space, self.file = space, folder / "node.json"
        self.settings: dict[str, Any] = {"state": str(folder / "state"), "run": str(run), "node": "n1"}
        self.settings["images"] = [str(IMAGES)]
        if space is not None:
            self.settings["bridges"] = ["pub", "priv"]
        self.file.write_text(json.dumps(self.settings))

    @property
    def config(self) -> Config:
        return build(self.settings)

    @property
    def vm(self) -> Path:
        return Path(self.settings["state"]) / "vms" / TAG

    def call(self, *words: str, given: str = "", code: int = 0) -> str:
        argv = [sys.executable, "-m", "flyinglow.nodectl", "--config", str(self.file), *words]
        argv = argv if self.space is None else self.space.argv(*argv)
        done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout

    def ask(self, *words: str, **more: Any) -> Any:
        return json.loads(self.call("--json", *words, **more))

    def strays(self) -> tuple[bool, str]:
        found = json.loads(subprocess.run(self._doctor(), capture_output=True, timeout=180, check=False).stdout)
        (one,) = [finding for finding in found["findings"] if finding["name"] == "strays"]
        return one["ok"], one["text"]

    def _doctor(self) -> list[str]:
        argv = [sys.executable, "-m", "flyinglow.nodectl", "--config", str(self.file), "--json", "doctor"]
        return argv if self.space is None else self.space.argv(*argv)


@pytest.fixture
def run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fl") as folder:
        Path(folder).chmod(0o755)  # dnsmasq looks into it as nobody
        yield Path(folder) / "run"


@pytest.fixture
def node(tmp_path: Path, run_folder: Path) -> Iterator[ByHand]:
    made = ByHand(tmp_path, run_folder)
    yield made
    made.call("kill-all")


@pytest.fixture
def bridged(tmp_path: Path, run_folder: Path, new_space: Callable[[str], Space]) -> Iterator[ByHand]:
    space = new_space("node")
    made = ByHand(tmp_path, run_folder, space)
    lay(space)
    yield made
    made.call("kill-all")


def lay(space: Space) -> None:
    space.bridge("pub", "10.77.0.1/24")
    space.bridge("priv", "10.78.0.1/26")


def started(node: ByHand, guest: Guest, **changes: Any) -> ProcessMark:
    node.call("create", given=json.dumps(guest.spec(TAG, **changes)))
    mark = processes.mark(node.ask("start", TAG, "--paused")["pid"])
    assert mark is not None
    return mark


def test_a_qemu_without_a_directory_is_named_everywhere_and_tidied_away(node: ByHand, guest_image: Guest) -> None:
    mark = started(node, guest_image)
    assert node.ask("list")["strangers"] == node.ask("status")["strangers"] == []
    assert node.strays() == (True, "none")
    shutil.rmtree(node.vm)
    words = f"QEMU process {mark.pid} is of VM a1, which has no directory that knows of it"
    assert node.ask("list") == {"vms": [], "strangers": [words]}
    assert node.ask("status")["strangers"] == [words]
    for command in ("list", "status"):
        assert f"stranger  {words}; flyinglow-nodectl tidy ends" in node.call(command)
    assert node.strays() == (False, f"{words}: {strangers.FIX}")
    assert processes.alive(mark)  # looking changes nothing
    assert node.call("tidy") == f"undone 0\nremoved   {words}\n"
    assert not processes.alive(mark)
    assert node.strays() == (True, "none")


def test_a_destroy_ends_a_qemu_whose_directory_somebody_removed(node: ByHand, guest_image: Guest) -> None:
    mark = started(node, guest_image)
    shutil.rmtree(node.vm)
    node.call("destroy", TAG)
    assert not processes.alive(mark)


def test_a_second_qemu_of_a_vm_goes_and_the_one_that_is_known_stays(node: ByHand, guest_image: Guest) -> None:
    mark = started(node, guest_image)
    argument = f"{node.vm}/qemu.pid"
    with subprocess.Popen([sys.executable, "-c", "input()", argument], stdin=subprocess.PIPE) as second:
        try:
            (words,) = node.ask("tidy")["strangers"]
            assert f"QEMU process {second.pid} is of VM a1" in words
            assert second.wait(180) == -signal.SIGKILL
        finally:
            second.kill()
    assert processes.alive(mark)
    assert node.ask("info", TAG)["status"] == "paused"


def test_a_half_made_directory_is_named_with_what_to_do(node: ByHand, guest_image: Guest) -> None:
    node.call("create", given=json.dumps(guest_image.spec(TAG)))
    (node.vm / "vm.json").unlink()
    assert node.strays() == (False, "VM a1 is half made: flyinglow-nodectl destroy a1")
    assert "broken  its creation was cut short: create it again or destroy it" in node.call("list")
    node.call("destroy", TAG)
    assert node.strays() == (True, "none")


@pytest.mark.root
def test_taps_dnsmasq_and_rules_without_a_directory_are_named_and_tidied_away(
    bridged: ByHand, guest_image: Guest
) -> None:
    mark = started(bridged, guest_image, nics=NICS)
    assert bridged.ask("list")["strangers"] == []
    shutil.rmtree(bridged.vm)
    seen = bridged.ask("status")["strangers"]
    for what in (
        f"QEMU process {mark.pid}",
        "DHCP entry fla1.0 of bridge pub",
        "DHCP entry fla1.1 of bridge priv",
        "rules for fla1.0",
        "rules for fla1.1",
        "interface fla1.0",
        "interface fla1.1",
    ):
        assert f"{what} is of VM a1, which has no directory that knows of it" in seen
    assert bridged.ask("tidy")["failed"] == []
    assert not processes.alive(mark)
    assert_clean(bridged)


@pytest.mark.root
def test_a_dnsmasq_of_no_bridge_and_a_tap_of_no_vm_are_named_and_tidied_away(
    bridged: ByHand, guest_image: Guest
) -> None:
    assert bridged.space is not None
    started(bridged, guest_image, nics=NICS)
    shutil.rmtree(bridged.vm)
    shutil.rmtree(bridged.settings["run"])  # so that nothing tells of them but their marks
    assert len([words for words in bridged.ask("list")["strangers"] if words.startswith("dnsmasq")]) == 2
    assert bridged.ask("tidy")["failed"] == []
    assert_clean(bridged)


def assert_clean(node: ByHand) -> None:
    assert node.space is not None
    assert [name for name in node.space.interfaces() if name.startswith("fl")] == []
    assert node.space.run("nft", "list", "ruleset") == ""
    assert eventually(lambda: node.space is not None and node.space.processes() == [])
    assert node.ask("list") == {"vms": [], "strangers": []}


def start_anew(node: ByHand, *, rules: bool) -> None:
    """Let the node lose what a start of it costs; ``rules``: but for the rules, which its site restores from a file."""
    assert node.space is not None
    for pid in node.space.processes():
        os.kill(pid, signal.SIGKILL)
    for name in node.space.interfaces():
        if name.startswith("fl") or name in ("pub", "priv"):
            node.space.run("ip", "link", "delete", name)
    if not rules:
        node.space.run("nft", "flush", "ruleset")
    shutil.rmtree(node.settings["run"])
    record = json.loads((node.vm / "vm.json").read_text())
    record["process"]["boot"] = "an earlier one"
    (node.vm / "vm.json").write_text(json.dumps(record))


@pytest.mark.root
@pytest.mark.parametrize("rules", [False, True], ids=["without rules", "with rules"])
def test_after_a_start_of_the_node_a_vm_is_reported_and_rebuilt_or_destroyed(
    bridged: ByHand, guest_image: Guest, rules: bool
) -> None:
    assert bridged.space is not None
    started(bridged, guest_image, nics=NICS)
    start_anew(bridged, rules=rules)
    (info,) = bridged.ask("list")["vms"]
    assert (info["status"], info["reason"]) == ("stopped", "the node was started anew")
    said = json.loads(bridged.space.run(*argv(bridged, "--json", "list")))
    assert said["strangers"] == []
    if rules:
        bridged.call("destroy", TAG)  # without its bridges, even
        assert_clean(bridged)
        return
    assert "there is no bridge" in bridged.ask("start", TAG, "--paused", code=1)["error"]["message"]
    lay(bridged.space)
    assert bridged.ask("start", TAG, "--paused")["status"] == "paused"
    assert {"fla1.0", "fla1.1"} <= set(bridged.space.interfaces())
    ruleset = bridged.space.run("nft", "list", "ruleset")
    assert ruleset.count("10.77.0.11") == ruleset.count("10.78.0.11") > 0
    for bridge in ("pub", "priv"):
        assert (Path(bridged.settings["run"]) / "dhcp" / bridge / "hosts").is_dir()
    assert len([pid for pid in bridged.space.processes() if "dnsmasq" in processes.arguments(pid)[0]]) == 2
    bridged.call("destroy", TAG)
    assert_clean(bridged)


def argv(node: ByHand, *words: str) -> list[str]:
    return [sys.executable, "-m", "flyinglow.nodectl", "--config", str(node.file), *words]
