"""The agent's parts: lines, queues, the watch."""

import threading
from pathlib import Path

import pytest

from flyinglow.nodectl import compose, config
from flyinglow.nodectl.agent.orders import Orders
from flyinglow.nodectl.agent.streams import Lines
from flyinglow.nodectl.agent.watch import Watcher
from flyinglow.nodectl.messages import VmInfo, VmStatus
from flyinglow.nodectl.node import Node
from rigs.node import plain_spec


def test_lines_come_whole_however_they_arrive() -> None:
    lines = Lines(longest=5)
    assert lines.feed(b"ab") == []
    assert lines.feed(b"c\nde\n\nf") == [b"abc", b"de", b""]
    assert lines.feed(b"\n12345\n") == [b"f", b"12345"]


def test_a_line_too_long_is_one_refusal_and_kept_nowhere() -> None:
    lines = Lines(longest=5)
    assert lines.feed(b"1234567") == []
    assert lines._rest == b""
    assert lines.feed(b"89\nok\n") == [None, b"ok"]
    assert lines.feed(b"1234567\nok\n") == [None, b"ok"]


def test_one_vm_in_order_others_meanwhile() -> None:
    orders, done, gate = Orders(2), [], threading.Event()
    orders.put("a", lambda: (gate.wait(5), done.append("a1")))  # type: ignore[func-returns-value,arg-type]
    orders.put("a", lambda: done.append("a2"))
    orders.put("b", lambda: (done.append("b"), gate.set()))  # type: ignore[func-returns-value,arg-type]
    last = threading.Event()
    orders.put("a", last.set)
    assert last.wait(5)
    orders.close()
    assert done == ["b", "a1", "a2"]


def test_what_has_not_begun_at_the_end_is_forgotten() -> None:
    orders, done, begun, gate = Orders(1), [], threading.Event(), threading.Event()
    orders.put("a", lambda: (begun.set(), gate.wait(5), done.append(1)))  # type: ignore[func-returns-value,arg-type]
    orders.put("a", lambda: done.append(2))
    assert begun.wait(5)
    closing = threading.Thread(target=orders.close)
    closing.start()
    while not orders._closed:
        pass
    gate.set()
    closing.join(120)
    orders.put("a", lambda: done.append(3))
    assert done == [1]


class Watch:
    def __init__(self, node: Node) -> None:
        self.node = node
        self.told: list[VmInfo] = []
        self.watcher = Watcher(node, self.told.append, 1.0)

    def up(self, tag: str) -> None:
        self.node.create(tag, plain_spec(tag))
        self.watcher.seen(self.node.start(tag))

    def die(self, tag: str) -> None:
        vm = self.node.state.vm(tag)
        record = vm.record()
        assert record is not None
        vm.update(record, simulated={**record.simulated, "exit_at": 0.0})


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    settings = {"state": str(tmp_path / "s"), "run": str(tmp_path / "r"), "driver": "simulated"}
    return Watch(compose.node_of(config.build(settings)))


def test_a_death_is_told_once(watch: Watch) -> None:
    watch.up("a1")
    watch.watcher.look(full=False)
    assert watch.told == []
    watch.die("a1")
    watch.watcher.look(full=False)
    watch.watcher.look(full=True)
    assert [(info.tag, info.status) for info in watch.told] == [("a1", VmStatus.BROKEN)]


def test_nothing_is_told_of_a_vm_that_is_being_worked_on(watch: Watch) -> None:
    watch.up("a1")
    watch.watcher.begin("a1")
    watch.die("a1")
    watch.watcher.look(full=True)
    assert watch.told == []
    watch.watcher.finish("a1", None)
    watch.watcher.look(full=True)
    assert len(watch.told) == 1


def test_what_was_answered_is_no_news(watch: Watch) -> None:
    watch.up("a1")
    watch.watcher.begin("a1")
    watch.watcher.finish("a1", watch.node.shutdown("a1", 0))
    watch.watcher.look(full=True)
    watch.node.destroy("a1")
    watch.watcher.look(full=True)
    assert watch.told == []
