"""Who the pilot is to the service: slot, node, epoch, run, and the key that signs for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flyinglow.pilot.clock import Clock
from flyinglow.pilot.messages import OLDEST, Answer, Kind, Message, Settings


class Identity:
    """Begins with the job's key; the answer to its first report brings the slot's own, and the present epoch."""

    def __init__(
        self, settings: Settings, rank: int, node: str, *, clock: Clock, incarnation: str, software: str
    ) -> None:
        self.slot = f"{settings.job}.{rank}"
        self.node = node
        self.epoch = settings.epoch
        self.key = settings.key
        self.session = ""
        self.version = OLDEST  # of the messages, until the answer to the first one tells which both sides speak
        self.bound = threading.Event()
        self.on_bound: Callable[[], None] = lambda: None
        self._clock = clock
        self._incarnation = incarnation
        self._software = software

    def bind(self, answer: Answer) -> None:
        """Take what the answer to the first report brought."""
        self.key = answer.key
        self.epoch = answer.epoch or self.epoch
        self.session = answer.session
        self.version = answer.version
        self.bound.set()
        self.on_bound()

    def message(self, kind: Kind, body: dict[str, Any], **numbers: Any) -> Message:
        """Return a message of this pilot; ``numbers`` are the fields that count."""
        fields = {"time_ms": self._clock.stamp_ms, **numbers}
        return Message(
            self.slot,
            self.node,
            self.epoch,
            kind,
            incarnation=self._incarnation,
            version=self.version,
            software=self._software,
            body=body,
            **fields,
        )
