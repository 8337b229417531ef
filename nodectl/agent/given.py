"""The orders that an agent was given: read from lines, known until they are answered, dropped when nobody wants them.

An order that is dropped before its turn is answered at once when that comes. One that has begun goes on, but for what
may take long: a transfer for its VM is stopped (``images.notes``), and what was half made is undone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from flyinglow.nodectl.errors import InvalidError
from flyinglow.nodectl.images.meter import Cancelled
from flyinglow.nodectl.messages import BATCHES, SPOKEN, OrderName
from flyinglow.nodectl.versions import disagreement, range_of

LONG = frozenset({OrderName.CREATE, OrderName.SAVE})  # those that may wait for a transfer
MOST = 1024  # orders of one batch


@dataclass(eq=False)
class Given:
    """One order. ``tag`` None: it is not about a VM."""

    number: object
    name: OrderName
    tag: str | None
    body: dict[str, Any] = field(default_factory=dict)
    begun: bool = False
    dropped: bool = False

    def begin(self) -> None:
        """Be under way from now on. Raises Cancelled when it was dropped meanwhile."""
        self.begun = True
        if self.dropped:
            raise Cancelled(f"order {self.name.value} was taken back before it began")


class Pending:
    """The orders about VMs that are not answered yet. ``cut_short`` and ``wanted`` stop a VM's transfers, or do not."""

    def __init__(self, cut_short: Callable[[str], None], wanted: Callable[[str], None]) -> None:
        self._cut_short = cut_short
        self._wanted = wanted
        self._by_tag: dict[str, list[Given]] = {}
        self._lock = threading.Lock()

    def add(self, given: Given) -> None:
        """Know an order until it is answered."""
        with self._lock:
            self._by_tag.setdefault(given.tag or "", []).append(given)

    def done(self, given: Given) -> None:
        """Forget an order; whatever comes after one that was dropped is wanted again."""
        tag = given.tag or ""
        with self._lock:
            left = [one for one in self._by_tag.get(tag, []) if one is not given]
            self._by_tag.pop(tag, None)
            if left:
                self._by_tag[tag] = left
        if given.dropped and given.tag and not any(one.name is OrderName.DESTROY for one in left):
            self._wanted(given.tag)

    def drop(self, tag: str, name: OrderName) -> None:
        """Take back all orders by this name for a VM, as far as they can still be."""
        with self._lock:
            chosen = [one for one in self._by_tag.get(tag, []) if one.name is name]
        self._drop(chosen)

    def drop_all(self) -> None:
        """Take back whatever may wait for a transfer."""
        with self._lock:
            chosen = [one for orders in self._by_tag.values() for one in orders if one.name in LONG]
        self._drop(chosen)

    def _drop(self, chosen: list[Given]) -> None:
        for one in chosen:
            one.dropped = True
            if one.begun and one.tag:
                self._cut_short(one.tag)


def parse(line: bytes) -> dict[str, Any]:
    """Return the message in a line. Raises InvalidError when there is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"a line is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise InvalidError("an order is a JSON object")
    return message


def orders_of(message: dict[str, Any]) -> list[Any]:
    """Return the orders in a message: itself, or those of a batch. Raises InvalidError for an unknown version."""
    version, batch = message.get("v"), message.get("batch")
    if version not in SPOKEN:
        theirs = range_of(None, version)
        raise InvalidError(disagreement(SPOKEN, theirs, "this node's program", "whoever gives the order"))
    if batch is None:
        return [message]
    if not isinstance(version, int) or version < BATCHES or not isinstance(batch, list) or len(batch) > MOST:
        raise InvalidError(f"a batch is a list of up to {MOST} orders, from version {BATCHES} on")
    return batch


def order_of(message: object, tagless: Collection[OrderName]) -> Given:
    """Return the order that an object is. Raises InvalidError naming what is wrong with it."""
    if not isinstance(message, dict):
        raise InvalidError("an order is a JSON object")
    try:
        name = OrderName(message.get("order"))
    except ValueError as error:
        raise InvalidError(f"there is no order {message.get('order')!r}") from error
    tag, body = message.get("tag"), message.get("body", {})
    if not isinstance(body, dict):
        raise InvalidError("the body of an order is a JSON object")
    if name not in tagless and not isinstance(tag, str):
        raise InvalidError(f"order {name.value} needs the tag of a VM")
    return Given(message.get("id"), name, tag if isinstance(tag, str) else None, body)
