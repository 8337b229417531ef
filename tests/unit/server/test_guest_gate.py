"""Who is let in to the guest listener, and what becomes of a message whose sender hangs up."""

from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.test.requesthelper import DummyRequest

from flyinglow.backend.abilities import Reply
from flyinglow.server.guests.door import _Door, _Gate

PEER, TOKEN = "10.0.0.9", "a" * 32


def _asks(gate: _Gate, token: str, *, known: bool) -> bool:
    if not gate.enter(b"/members", token, PEER):
        return False
    gate.leave(token)
    gate.learn(token, PEER, known=known)
    return True


def test_a_guest_behind_an_address_of_many_wrong_tokens_is_heard() -> None:
    gate = _Gate(Clock().seconds)
    while _asks(gate, "0" * 32, known=False) or _asks(gate, "1" * 32, known=False):
        pass
    assert _asks(gate, TOKEN, known=True), "it was never asked about before"
    assert not _asks(gate, "0" * 32, known=False), "this one was"


def test_wrong_tokens_without_end_are_looked_up_at_a_small_rate() -> None:
    clock = Clock()
    gate = _Gate(clock.seconds)
    heard = [_asks(gate, f"{at:032x}", known=False) for at in range(100)]
    assert heard == [True] * 24 + [False] * 76
    clock.advance(2.1)
    assert [_asks(gate, f"b{at:031x}", known=False) for at in range(3)] == [True, False, False]


class _Desk:
    def __init__(self) -> None:
        self.written: Deferred[Reply] = Deferred()
        self.waited: Deferred[Reply] = Deferred()

    async def report(self, token: str, body: bytes) -> Reply:
        return await self.written

    async def members(self, token: str, seconds: float) -> Reply:
        return await self.waited


def _request(path: bytes, method: bytes) -> Any:
    request: Any = DummyRequest([])
    request.path, request.method, request.args = path, method, {}
    request.content = BytesIO(b"{}")
    request.requestHeaders.setRawHeaders(b"authorization", [b"Bearer " + TOKEN.encode()])
    return request


def test_a_report_is_taken_to_its_end_when_its_guest_hangs_up() -> None:
    desk = _Desk()
    door = _Door(desk, Clock().seconds)  # type: ignore[arg-type]
    report, members = _request(b"/report", b"POST"), _request(b"/members", b"GET")
    over: list[Any] = []

    def note(result: Any) -> Any:
        over.append(type(result.value).__name__ if isinstance(result, Failure) else result)
        return result

    desk.written.addBoth(note)
    desk.waited.addBoth(note)
    for request in (report, members):
        door.render(request)
        request.processingFailed(Failure(ConnectionError()))  # type: ignore[no-untyped-call]
    assert over == ["CancelledError"], "who waits for values no longer does"
    reply = Reply(200, b"written down\n")
    desk.written.callback(reply)
    assert over[1:] == [reply]
    assert report.written == [], "there is nobody to be told"
    assert not door._gate._under_way


def test_a_report_is_answered() -> None:
    desk = _Desk()
    request = _request(b"/report", b"POST")
    _Door(desk, Clock().seconds).render(request)  # type: ignore[arg-type]
    desk.written.callback(Reply(200, b"written down\n"))
    assert request.written == [b"written down\n"]
    assert request.finished == 1
