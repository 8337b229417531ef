"""The kept channel with a process that the test plays, on a clock that the test turns."""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from flyinglow.backend.api import Order
from flyinglow.backend.channel.agent import Agent
from flyinglow.backend.channel.stdio import StdioChannel
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, TransientError, UnknownError
from flyinglow.nodectl.messages import MAX_LINE, OrderName, VmInfo, VmStatus, encode

HELLO = {"news": "hello", "body": {"version": "1", "node": "n1", "drivers": []}}
NEW = {"news": "hello", "body": {"version": "2", "node": "n1", "drivers": [], "speaks": [1, 2]}}
INFO = VmInfo("vm1", VmStatus.RUNNING)


class Process:
    """The transport of a process: what was written to it, and what the test lets it do."""

    def __init__(self, protocol: Agent, argv: list[str], env: Mapping[str, str]) -> None:
        self.protocol, self.argv, self.env = protocol, argv, env
        self.messages: list[dict[str, Any]] = []
        self.writes = 0
        self.longest = 0
        self.producer: Any = None
        self.stdin_closed = False
        self.signals: list[str] = []

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.longest = max([self.longest, *map(len, data.split(b"\n"))])
        self.messages += [json.loads(line) for line in data.splitlines()]

    @property
    def orders(self) -> list[dict[str, Any]]:
        return [order for message in self.messages for order in message.get("batch", [message])]

    def closeStdin(self) -> None:
        self.stdin_closed = True

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def say(self, **message: Any) -> None:
        self.protocol.outReceived(json.dumps({"v": 1, **message}).encode() + b"\n")

    def answer(self, order: dict[str, Any], **body: Any) -> None:
        self.say(id=order["id"], ok=True, body=body)

    def end(self, code: int = 0, words: bytes = b"") -> None:
        self.protocol.errReceived(words)
        reason: Any = ProcessTerminated(code) if code else ProcessDone(0)  # type: ignore[no-untyped-call]
        self.protocol.processEnded(Failure(reason))  # type: ignore[no-untyped-call]


class Reactor(Clock):
    """A clock that starts processes of the test's own."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[Process] = []
        self.refuses: OSError | None = None

    def spawnProcess(self, protocol: Agent, executable: str, args: list[str], env: Mapping[str, str]) -> None:
        if self.refuses:
            raise self.refuses
        assert executable == args[0]
        self.processes.append(Process(protocol, args, env))
        protocol.makeConnection(self.processes[-1])  # type: ignore[no-untyped-call]


class Line:
    """A channel under test."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.news: list[tuple[str, VmInfo]] = []
        self.deaf = False
        self.channel = StdioChannel(self.reactor, "n1", ["/opt/agent", "--stdio"], self.hear)

    def hear(self, node: str, info: VmInfo) -> None:
        if self.deaf:
            raise RuntimeError("not now")
        self.news.append((node, info))

    def send(self, name: OrderName = OrderName.LIST, tag: str = "", timeout: float = 10.0, **body: Any) -> "Outcome":
        return Outcome(self.channel, Order(name, tag, body), timeout)

    @property
    def process(self) -> Process:
        return self.reactor.processes[-1]


class Outcome:
    """What became of an order so far."""

    def __init__(self, channel: StdioChannel, order: Order, timeout: float) -> None:
        self.body: Any = None
        self.error: BaseException | None = None
        self.deferred = Deferred.fromCoroutine(channel.send(order, timeout))
        self.deferred.addCallbacks(self._done, self._failed)

    def _done(self, body: Any) -> None:
        self.body = body

    def _failed(self, failure: Failure) -> None:
        self.error = failure.value

    @property
    def pending(self) -> bool:
        return self.body is None and self.error is None

    def message(self) -> str:
        assert isinstance(self.error, FlyingLowError)
        return self.error.message


@pytest.fixture
def line() -> Line:
    return Line()


def test_the_process_is_started_when_it_is_first_needed_and_kept(line: Line) -> None:
    assert line.reactor.processes == []
    first, second = line.send(), line.send()
    assert len(line.reactor.processes) == 1
    assert line.process.argv == ["/opt/agent", "--stdio"]
    assert set(line.process.env) == {"PATH", "LANG"}
    assert line.process.orders == []  # nothing is said before the hello
    line.process.say(**HELLO)
    assert [order["order"] for order in line.process.orders] == ["list", "list"]
    assert first.pending
    assert second.pending


def test_answers_find_their_orders_in_any_order(line: Line) -> None:
    outcomes = [line.send(OrderName.INFO, tag) for tag in ("a", "b", "c")]
    line.process.say(**HELLO)
    for order in reversed(line.process.orders):
        line.process.answer(order, tag=order["tag"])
    assert [outcome.body["tag"] for outcome in outcomes] == ["a", "b", "c"]
    assert line.reactor.getDelayedCalls() == []


def test_an_answered_error_is_raised_as_it_is(line: Line) -> None:
    outcome = line.send(OrderName.INFO, "a")
    line.process.say(**HELLO)
    line.process.say(id=1, ok=False, error={"kind": "unknown", "message": "no VM a", "figures": {}})
    assert isinstance(outcome.error, UnknownError)
    assert outcome.message() == "no VM a"


def test_an_order_that_is_not_answered_in_time(line: Line) -> None:
    outcome = line.send(timeout=3)
    line.process.say(**HELLO)
    line.reactor.advance(2.9)
    assert outcome.pending
    line.reactor.advance(0.2)
    assert isinstance(outcome.error, TransientError)
    assert "n1" in outcome.message()
    assert "list" in outcome.message()
    line.process.answer(line.process.orders[0])  # too late: forgotten, and no harm done
    again = line.send()
    line.process.answer(line.process.orders[1], fine=1)
    assert again.body == {"fine": 1}


def test_a_hello_that_does_not_come_in_time(line: Line) -> None:
    outcome = line.send(timeout=3)
    line.reactor.advance(3)
    assert isinstance(outcome.error, TransientError)
    line.process.say(**HELLO)  # late, but here: the process was kept
    line.send()
    assert len(line.reactor.processes) == 1
    assert len(line.process.orders) == 1


def test_a_cancelled_order_is_forgotten(line: Line) -> None:
    outcome = line.send()
    line.process.say(**HELLO)
    outcome.deferred.cancel()
    assert isinstance(outcome.error, CancelledError)
    line.process.answer(line.process.orders[0])


def test_the_end_of_the_process_fails_what_waits_with_its_last_words(line: Line) -> None:
    outcomes = [line.send(), line.send()]
    line.process.say(**HELLO)
    line.process.end(5, b"cannot open /dev/kvm\nbye\n")
    for outcome in outcomes:
        assert isinstance(outcome.error, TransientError)
        assert "ended with code 5: cannot open /dev/kvm | bye" in outcome.message()


def test_the_end_of_its_output_is_as_good_as_its_end(line: Line) -> None:
    outcome = line.send()
    line.process.say(**HELLO)
    line.process.protocol.outConnectionLost()
    line.reactor.advance(1.0)
    assert isinstance(outcome.error, TransientError)
    assert line.process.stdin_closed


def test_the_next_order_starts_another_process(line: Line) -> None:
    line.send()
    line.process.say(**HELLO)
    line.process.answer(line.process.orders[0])
    line.process.end()
    again = line.send()
    line.reactor.advance(0.3)
    assert len(line.reactor.processes) == 2
    line.process.say(**HELLO)
    line.process.answer(line.process.orders[0], second=True)
    assert again.body == {"second": True}


def test_starts_that_fail_in_a_row_are_spaced(line: Line) -> None:
    times = []
    for number in range(9):
        outcome = line.send(timeout=100)
        for _ in range(200):
            if len(line.reactor.processes) > number:
                break
            line.reactor.advance(0.25)
        times.append(line.reactor.seconds())
        line.process.end(255, b"Host key verification failed.")
        assert "Host key verification failed." in outcome.message()
    assert [later - earlier for earlier, later in pairwise(times)] == [0.25, 0.5, 1, 2, 4, 8, 16, 30]


def test_an_order_waits_for_the_next_start_no_longer_than_its_own_time(line: Line) -> None:
    for _ in range(6):
        line.send(timeout=100)
        line.reactor.advance(20)
        line.process.end(255, b"no route to host")
    outcome = line.send(timeout=1)
    line.reactor.advance(1)
    assert isinstance(outcome.error, TransientError)
    assert "no route to host" in outcome.message()


def test_a_program_that_cannot_be_started(line: Line) -> None:
    line.reactor.refuses = FileNotFoundError("no such file")
    outcome = line.send()
    assert isinstance(outcome.error, TransientError)
    assert "no such file" in outcome.message()


def test_without_a_common_version_it_is_broken_and_not_tried_again_at_once(line: Line) -> None:
    outcome = line.send()
    line.process.protocol.outReceived(b'{"v": 3, "news": "hello", "body": {"version": "9", "speaks": [3, 5]}}\n')
    for refused in (outcome, line.send()):
        assert isinstance(refused.error, BrokenError)
        assert "n1" in refused.message()
        assert "versions 3 to 5, this service versions 1 to 2: upgrade this service" in refused.message()
    assert len(line.reactor.processes) == 1
    assert line.process.stdin_closed


def test_orders_given_together_are_one_message(line: Line) -> None:
    outcomes = [line.send(OrderName.CREATE, tag) for tag in "abc"]
    line.process.say(**NEW)  # all of them have waited for this
    assert [[order["tag"] for order in message["batch"]] for message in line.process.messages] == [["a", "b", "c"]]
    assert line.process.messages[0]["v"] == 2
    with line.channel.together():
        outcomes += [line.send(OrderName.START, tag) for tag in "def"]
        assert line.process.writes == 1
    assert line.process.writes == 2
    single = line.send(OrderName.INFO, "a")
    assert line.process.messages[-1]["order"] == "info"
    orders = line.process.orders
    for order in reversed(orders):
        if order["tag"] == "b":
            line.process.say(id=order["id"], ok=False, error={"kind": "exhausted", "message": "no disk for b"})
        else:
            line.process.answer(order, tag=order["tag"])
    assert [outcome.body and outcome.body["tag"] for outcome in [*outcomes, single]] == [*"a", None, *"cdefa"]
    assert outcomes[1].message() == "no disk for b"


def test_an_older_agent_gets_the_same_as_lines_in_one_write(line: Line) -> None:
    outcomes = [line.send(OrderName.CREATE, tag) for tag in "abc"]
    line.process.say(**HELLO)
    assert line.process.writes == 1
    assert [(order["v"], order["tag"]) for order in line.process.messages] == [(1, "a"), (1, "b"), (1, "c")]
    outcomes[0].deferred.cancel()
    assert len(line.process.messages) == 3  # it knows no order to cancel


def test_a_batch_is_no_longer_than_a_line_may_be(line: Line) -> None:
    outcomes = [line.send(OrderName.CREATE, tag, context="x" * (1 << 20)) for tag in "abcdef"]
    line.process.say(**NEW)
    assert [len(message["batch"]) for message in line.process.messages] == [3, 3]
    assert line.process.longest <= MAX_LINE
    assert all(outcome.pending for outcome in outcomes)


@pytest.mark.parametrize(("name", "told"), [(OrderName.CREATE, 1), (OrderName.SAVE, 1), (OrderName.INFO, 0)])
@pytest.mark.parametrize("cancelled", [True, False])
def test_the_node_is_told_to_stop_what_nobody_waits_for(
    line: Line, name: OrderName, told: int, cancelled: bool
) -> None:
    outcome = line.send(name, "a", timeout=5)
    line.process.say(**NEW)
    if cancelled:
        outcome.deferred.cancel()
    else:
        line.reactor.advance(5)
    assert outcome.error is not None
    said = [(order["tag"], order["body"]) for order in line.process.orders if order["order"] == "cancel"]
    assert said == [("a", {"order": name.value})] * told
    for order in line.process.orders:
        line.process.answer(order)  # to nobody, and no harm done
    assert line.reactor.getDelayedCalls() == []


def test_what_has_not_gone_out_needs_no_cancelling(line: Line) -> None:
    line.send()
    line.process.say(**NEW)
    line.process.producer.pauseProducing()
    line.send(OrderName.CREATE, "a").deferred.cancel()
    line.process.producer.resumeProducing()
    assert [order["order"] for order in line.process.orders] == ["list"]


@pytest.mark.parametrize(
    "text", [b"Last login: today\n", b'{"v": 1, "id": 1, "ok": true, "body": {}}\n', b"x" * (5 << 20)]
)
def test_what_is_not_of_the_protocol_ends_it(line: Line, text: bytes) -> None:
    outcome = line.send()
    line.process.protocol.outReceived(text)
    assert isinstance(outcome.error, BrokenError)
    line.process.say(**HELLO)  # no longer listened to
    assert line.process.orders == []


def test_news_are_passed_on_and_a_deaf_ear_does_not_cut_the_line(line: Line) -> None:
    outcome = line.send()
    line.process.say(**HELLO)
    line.process.say(news="vm", body=encode(INFO))
    assert line.news == [("n1", INFO)]
    line.deaf = True
    line.process.say(news="vm", body=encode(INFO))
    line.process.answer(line.process.orders[0], fine=1)
    assert outcome.body == {"fine": 1}


def test_orders_are_held_back_while_the_process_does_not_read(line: Line) -> None:
    line.send()
    line.process.say(**HELLO)
    line.process.producer.pauseProducing()
    held, given_up = line.send(OrderName.INFO, "a"), line.send(OrderName.INFO, "b", timeout=1)
    assert len(line.process.orders) == 1
    line.reactor.advance(1)
    assert given_up.error
    line.process.producer.resumeProducing()
    assert [order["tag"] for order in line.process.orders] == ["", "a"]  # nobody waits for b any longer
    line.process.answer(line.process.orders[1], tag="a")
    assert held.body == {"tag": "a"}


def test_close_ends_it_by_its_input_and_then_by_force(line: Line) -> None:
    outcome = line.send()
    line.process.say(**HELLO)
    line.channel.close()
    line.channel.close()
    assert isinstance(outcome.error, TransientError)
    assert line.process.stdin_closed
    gone: list[object] = []
    Deferred.fromCoroutine(line.channel.closed()).addCallback(gone.append)
    line.reactor.advance(3)
    assert line.process.signals == ["TERM"]
    line.reactor.advance(3)
    assert line.process.signals == ["TERM", "KILL"]
    assert gone == []
    line.process.end(9)
    assert gone == [None]
    assert isinstance(line.send().error, TransientError)
    assert len(line.reactor.processes) == 1


def test_a_process_that_ends_by_itself_is_not_signalled(line: Line) -> None:
    line.send()
    line.process.say(**HELLO)
    line.channel.close()
    line.process.end()
    line.reactor.advance(60)
    assert line.process.signals == []
    assert line.reactor.getDelayedCalls() == []
