"""Between the service and the agent: orders down, each once; lines up, each to the session that it belongs to.

Orders get numbers of the pilot's own on their way down and their old ones back on the way up, so that an answer to an
order of a service's earlier run never looks like one of this run, and the pilot's own two orders mix with none.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Protocol

from flyinglow.nodectl.errors import ConflictError, FlyingLowError, TransientError, from_wire
from flyinglow.nodectl.framing import Piece, frames, piece
from flyinglow.nodectl.messages import MAX_LINE, OLDEST, SPOKEN, OrderName
from flyinglow.nodectl.versions import Spoken, disagreement, range_of
from flyinglow.pilot.log import Log

_OWN = frozenset({OrderName.RESERVE.value, OrderName.RELEASE.value})
_LONGEST = MAX_LINE // 2  # bytes of a line that goes to the service, where it becomes longer
_PATIENCE = 30.0  # seconds in which the agent must take an order


class Upward(Protocol):
    """Where lines for the service go."""

    def begin(self, session: str, lines: Sequence[str]) -> None:
        """Belong to this session from now on, and begin with these lines."""

    def put(self, session: str, lines: Sequence[str]) -> None:
        """Send lines, unless the session is over."""


class Reply:
    """What becomes of an order of the pilot's own."""

    def __init__(self) -> None:
        self.done = False
        self.body: dict[str, Any] = {}
        self.error: FlyingLowError | None = None

    def result(self) -> dict[str, Any]:
        """Return the answer's body. Raises the error that it holds."""
        if self.error is not None:
            raise self.error
        return self.body


@dataclass
class _Asked:
    """One order under way: whose it is."""

    session: str = ""
    number: Any = None
    reply: Reply | None = None


class Relay:
    """``write`` gives the agent a line; ``ring`` wakes the main thread, which waits for replies."""

    def __init__(
        self, write: Callable[[bytes, float], None], upward: Upward, ring: Callable[[], None], log: Log
    ) -> None:
        self._write = write
        self._upward = upward
        self._ring = ring
        self._log = log
        self._lock = threading.Lock()
        self._number = 0
        self._asked: dict[int, _Asked] = {}
        self._got: dict[str, int] = {}
        self._session = ""
        self.hello: dict[str, Any] = {}
        self.speaks = OLDEST  # the version of the orders that the agent and this pilot use
        self.strange = ""  # what the agent wrote that is not of this protocol, or of another version

    @property
    def session(self) -> str:
        """The run of the service that gives orders now."""
        return self._session

    @property
    def got(self) -> int:
        """The number of the last order of this session."""
        return self._got.get(self._session, 0)

    def begin(self, session: str) -> None:
        """Take orders of this run of the service; its first line is the agent's hello."""
        with self._lock:
            self._session = session
        self._upward.begin(session, [_text(self.hello)] if self.hello else [])

    def order(self, name: OrderName, body: dict[str, Any], seconds: float) -> Reply:
        """Give an order of the pilot's own. Raises TransientError when the agent does not take it in that time."""
        reply = Reply()
        number = self._note(_Asked(reply=reply))
        line = {"v": self.speaks, "id": number, "order": name.value, "tag": None, "body": body}
        try:
            self._write(_text(line).encode() + b"\n", seconds)
        except TransientError:
            self._take(number)
            raise
        return reply

    def orders(self, orders: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Hand on what the service ordered, in the order of its numbers, none twice."""
        session = self._session
        fresh: dict[int, list[Piece]] = {}
        for number, line in sorted(orders, key=lambda pair: pair[0]):
            if number <= self._got.get(session, 0):
                continue
            self._got[session] = number
            if line.get("order") in _OWN:
                error = ConflictError(f"order {line['order']} is the pilot's own")
                self._upward.put(session, [_refusal(line.get("id"), error)])
                continue
            ours = self._note(_Asked(session, line.get("id")))
            version = line["v"] if line.get("v") in SPOKEN else OLDEST
            fresh.setdefault(version, []).append((ours, piece({**line, "id": ours})))
        for version, pieces in fresh.items():
            self._pass(session, pieces, version)

    def _pass(self, session: str, pieces: Sequence[Piece], version: int) -> None:
        """Give the agent orders that came together as one message, if it knows such a thing; at once in any case."""
        for numbers, data in frames(pieces, version):
            try:
                self._write(data, _PATIENCE)
            except FlyingLowError as error:
                asked = [one for one in map(self._take, numbers) if one]
                self._upward.put(session, [_refusal(one.number, error) for one in asked])

    def heard(self, lines: Sequence[bytes]) -> None:
        """Take what the agent wrote: replies for the pilot, all else for the service."""
        session = self._session
        up: dict[str, list[str]] = {}
        for line in lines:
            message = _parsed(line)
            theirs = _speaks(message)
            if message is None or theirs is None or SPOKEN.common(theirs) is None:
                said = line[:200].decode(errors="replace")
                self.strange = f"{disagreement(SPOKEN, theirs, 'this pilot', 'the agent')}: it said {said}"
                self._log.say("agent-not-understood", line=self.strange)
                self._ring()
            elif message.get("news") == "hello":
                self.speaks = SPOKEN.common(theirs) or OLDEST
                self.hello = message
                up.setdefault(session, []).append(line.decode(errors="replace"))
                self._ring()
            elif "news" in message:
                up.setdefault(session, []).append(line.decode(errors="replace"))
            elif asked := self._take(message.get("id")):
                self._answered(asked, message, up)
        for whose, texts in up.items():
            self._upward.put(whose, texts)

    def _answered(self, asked: _Asked, message: dict[str, Any], up: dict[str, list[str]]) -> None:
        if asked.reply is None:
            text = _text({**message, "id": asked.number})
            if len(text) > _LONGEST:
                text = _refusal(asked.number, ConflictError(f"the answer is {len(text)} bytes long: ask for less"))
            up.setdefault(asked.session, []).append(text)
            return
        if message.get("ok") is True:
            asked.reply.body = _object(message.get("body"))
        else:
            wrong = _object(message.get("error"))
            asked.reply.error = from_wire(
                str(wrong.get("kind")), str(wrong.get("message")), _object(wrong.get("figures"))
            )
        asked.reply.done = True
        self._ring()

    def lost(self) -> None:
        """Answer what the agent took and will not answer any more."""
        with self._lock:
            asked, self._asked = self._asked, {}
        self.hello = {}
        error = TransientError("the node's agent ended before it answered")
        for one in asked.values():
            if one.reply is None:
                self._upward.put(one.session, [_refusal(one.number, error)])
            else:
                one.reply.error, one.reply.done = error, True
        self._ring()

    def _note(self, asked: _Asked) -> int:
        with self._lock:
            self._number += 1
            self._asked[self._number] = asked
            return self._number

    def _take(self, number: Any) -> _Asked | None:
        with self._lock:
            return self._asked.pop(number, None) if isinstance(number, int) else None


def _speaks(message: dict[str, Any] | None) -> Spoken | None:
    if message is None:
        return None
    return range_of(message.get("body") if message.get("news") == "hello" else None, message.get("v"))


def _text(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _refusal(number: Any, error: FlyingLowError) -> str:
    wrong = {"kind": error.kind, "message": error.message, "figures": error.figures}
    return _text({"v": OLDEST, "id": number, "ok": False, "error": wrong})
