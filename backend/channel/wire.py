"""Orders to lines and lines to answers, as ``nodectl/messages.py`` defines them: bytes in, values out, no process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyinglow.nodectl import framing, versions
from flyinglow.nodectl.errors import BrokenError, FlyingLowError, InvalidError, from_wire
from flyinglow.nodectl.messages import MAX_LINE, OLDEST, SPOKEN, VmInfo, vm_info

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flyinglow.backend.api import Order

_SHOWN = 120  # characters of a line that is quoted
_FRAME = 64  # bytes around an order in a message


@dataclass(frozen=True, slots=True)
class Hello:
    """The agent's first line. ``speaks`` is the version of the orders that it and this service use."""

    version: str
    node: str
    drivers: tuple[str, ...]
    speaks: int = OLDEST


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the order with this id: its body, or the error."""

    id: int
    body: Mapping[str, Any]
    error: FlyingLowError | None = None


@dataclass(frozen=True, slots=True)
class News:
    """Something happened to a VM, unasked."""

    info: VmInfo


class Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._longest = longest
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes. Raises BrokenError when a line is longer than allowed."""
        *complete, rest = data.split(b"\n")
        if complete:
            complete[0] = b"".join([*self._rest, complete[0]])
            self._rest, self._size = [], 0
        self._rest.append(rest)
        self._size += len(rest)
        if self._size > self._longest or any(len(line) > self._longest for line in complete):
            raise BrokenError(f"it wrote a line of more than {self._longest} bytes")
        return complete


def order_piece(number: int, order: Order) -> bytes:
    """Write an order without a version (``framing``). Raises InvalidError when it is too long for the agent."""
    made = framing.piece({"id": number, "order": order.name.value, "tag": order.tag, "body": dict(order.body)})
    if len(made) + _FRAME > MAX_LINE:
        raise InvalidError(f"the order {order.name.value} is {len(made)} bytes long, where {MAX_LINE} are allowed")
    return made


def read(line: bytes) -> Hello | Answer | News:
    """Read what an agent wrote. Raises BrokenError when it is not of this protocol or of no version that we speak."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise BrokenError(f"it wrote what is not a message: {line[:_SHOWN].decode(errors='replace')!r}")
    agreed = _agreed(message)
    try:
        return _message(message, agreed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        shown = line[:_SHOWN].decode(errors="replace")
        raise BrokenError(f"it wrote a message that cannot be read ({error!r}): {shown!r}") from error


def _agreed(message: Mapping[str, Any]) -> int:
    """Return the version that both sides speak, as far as this message tells. Raises BrokenError without any."""
    theirs = versions.range_of(message.get("body") if message.get("news") == "hello" else None, message.get("v"))
    agreed = None if theirs is None else SPOKEN.common(theirs)
    if agreed is None:
        they = f"the node's program{_software(message)}"
        raise BrokenError(versions.disagreement(SPOKEN, theirs, "this service", they))
    return agreed


def _software(message: Mapping[str, Any]) -> str:
    body = message.get("body")
    version = body.get("version") if isinstance(body, dict) else None
    return f" (its software is {str(version)[:_SHOWN]!r})" if version is not None else ""


def _message(message: Mapping[str, Any], agreed: int) -> Hello | Answer | News:
    if "news" in message:
        body = message["body"]
        if message["news"] == "hello":
            version, node = str(body.get("version", "")), str(body.get("node", ""))
            return Hello(version, node, tuple(body.get("drivers", ())), agreed)
        return News(vm_info(body))
    number = message["id"]
    if not isinstance(number, int):
        raise TypeError("its id is no number")
    if message["ok"] is True:
        return Answer(number, _mapping(message["body"]))
    error = message["error"]
    figures = {str(name): value for name, value in error.get("figures", {}).items() if isinstance(value, int)}
    return Answer(number, {}, from_wire(str(error["kind"]), str(error["message"]), figures))


def _mapping(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise TypeError("its body is no object")
    return body
