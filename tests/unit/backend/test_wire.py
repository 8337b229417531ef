"""Lines and messages of a node's channel, without a process."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyinglow.backend.api import Order
from flyinglow.backend.channel import wire
from flyinglow.backend.channel.wire import Answer, Hello, Lines, News
from flyinglow.nodectl.errors import BrokenError, ExhaustedError, InvalidError
from flyinglow.nodectl.framing import line as line_of
from flyinglow.nodectl.messages import MAX_LINE, OrderName, VmInfo, VmStatus, encode

INFO = VmInfo("vm1", VmStatus.RUNNING, ready=True)


def line(**message: object) -> bytes:
    return json.dumps({"v": 1, **message}).encode()


@given(st.lists(st.binary().filter(lambda text: b"\n" not in text)), st.lists(st.integers(1, 7), min_size=1))
def test_lines_come_whole_however_they_are_cut(texts: list[bytes], sizes: list[int]) -> None:
    stream, lines, found = b"".join(text + b"\n" for text in texts), Lines(), []
    while stream:
        for size in sizes:
            found += lines.feed(stream[:size])
            stream = stream[size:]
    assert found == texts


def test_a_line_may_be_as_long_as_allowed_and_no_longer() -> None:
    assert Lines(5).feed(b"12345\n") == [b"12345"]
    for chunks in ([b"123456"], [b"123", b"456"], [b"123456\n"], [b"1\n123", b"456"]):
        lines = Lines(5)
        with pytest.raises(BrokenError, match="5 bytes"):
            for chunk in chunks:
                lines.feed(chunk)


def test_an_order_is_one_line() -> None:
    text = line_of(wire.order_piece(7, Order(OrderName.START, "vm1", {"paused": False, "note": "a\nb"})), 1)
    assert text.count(b"\n") == 1
    assert json.loads(text) == {
        "v": 1,
        "id": 7,
        "order": "start",
        "tag": "vm1",
        "body": {"paused": False, "note": "a\nb"},
    }


def test_an_order_that_is_too_long_is_not_written() -> None:
    with pytest.raises(InvalidError, match="create"):
        wire.order_piece(1, Order(OrderName.CREATE, "vm1", {"context": "x" * MAX_LINE}))


def test_what_an_agent_may_say() -> None:
    assert wire.read(line(news="hello", body={"version": "1.0", "node": "n", "drivers": ["qemu"]})) == Hello(
        "1.0", "n", ("qemu",)
    )
    assert wire.read(line(id=3, ok=True, body={"a": 1})) == Answer(3, {"a": 1})
    assert wire.read(line(news="vm", body=encode(INFO))) == News(INFO)


def test_an_error_keeps_its_kind_and_its_figures() -> None:
    error = {"kind": "exhausted", "message": "disk full", "figures": {"disk_mb.free": 3, "odd": "x"}}
    answer = wire.read(line(id=3, ok=False, error=error))
    assert isinstance(answer, Answer)
    assert isinstance(answer.error, ExhaustedError)
    assert answer.error.message == "disk full"
    assert answer.error.figures == {"disk_mb.free": 3}


@pytest.mark.parametrize(
    ("speaks", "agreed"), [(None, 1), ([1, 1], 1), ([1, 2], 2), ([2, 9], 2), ([0, 9], 2), ([2, 1], 1), ("all", 1)]
)
def test_the_highest_version_that_both_speak_is_used(speaks: object, agreed: int) -> None:
    body = {"version": "1.0", "node": "n", "drivers": [], **({"speaks": speaks} if speaks else {})}
    assert wire.read(line(news="hello", body=body)) == Hello("1.0", "n", (), agreed)


@pytest.mark.parametrize(
    ("v", "speaks", "words"),
    [
        (9, None, r"\(its software is '9\.1'\) speaks version 9, this service versions 1 to 2: upgrade this service"),
        (3, [3, 4], r"speaks versions 3 to 4, this service versions 1 to 2: upgrade this service"),
        (0, None, r"speaks version 0, this service versions 1 to 2: upgrade the node's program"),
        ("new", None, "names no version"),
        (True, None, "names no version"),
        (None, None, "names no version"),
    ],
)
def test_without_a_common_version_both_ranges_are_named_and_whom_to_upgrade(v: Any, speaks: Any, words: str) -> None:
    body = {"version": "9.1", **({"speaks": speaks} if speaks else {})}
    with pytest.raises(BrokenError, match=words):
        wire.read(json.dumps({"v": v, "news": "hello", "body": body}).encode())


def test_what_a_newer_agent_tells_besides_is_passed_over() -> None:
    assert wire.read(line(news="vm", body={**encode(INFO), "mood": "fine"})) == News(INFO)


@pytest.mark.parametrize(
    "text",
    [
        b"Welcome to node1!",
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        line(),
        line(id="1", ok=True, body={}),
        line(id=1, ok=True, body=[]),
        line(id=1, ok=True),
        line(id=1, ok=False),
        line(id=1, ok=False, error="no"),
        line(id=1, ok=False, error={"kind": "transient"}),
        line(news="vm", body={"tag": "a", "status": "flying"}),
        line(news="vm", body={"tag": "a"}),
        line(news="vm", body=None),
        line(news="vm"),
        line(news="hello", body=[]),
    ],
)
def test_what_an_agent_may_not_say(text: bytes) -> None:
    with pytest.raises(BrokenError):
        wire.read(text)
