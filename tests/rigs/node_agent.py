"""Speak with a real agent process the way a service does: JSON lines, bounded waits."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

Message = dict[str, Any]


class AgentProcess:
    """One ``flyinglow-nodectl agent --stdio``; use it as a context."""

    def __init__(
        self, config: Path, prefix: Sequence[str] = (), python: str = sys.executable, argv: Sequence[str] = ()
    ) -> None:
        plain = [*prefix, python, "-m", "flyinglow.nodectl", "--config", str(config), "agent", "--stdio"]
        words = list(argv) or plain
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", start_new_session=True
        )
        self.messages: list[Message] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """End its input and return its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(60)
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        """Kill it with all that belongs to its session, as a batch system would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.close()

    def write(self, line: bytes) -> None:
        """Write raw bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, order: str, tag: str | None = None, /, **body: Any) -> int:
        """Send an order and return its number."""
        number = next(self._numbers)
        self.write(json.dumps({"v": 1, "id": number, "order": order, "tag": tag, "body": body}).encode() + b"\n")
        return number

    def wait(self, wanted: Callable[[Message], bool], seconds: float = 180) -> Message:
        """Return the first message that is wanted."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                found = next((message for message in self.messages if wanted(message)), None)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                assert left > 0, f"not among {self.messages}"
                self._changed.wait(left)

    def answer(self, number: int | None, seconds: float = 180) -> Message:
        """Return the answer to an order."""
        return self.wait(lambda message: "ok" in message and message["id"] == number, seconds)

    def order(self, order: str, tag: str | None = None, /, **body: Any) -> Message:
        """Send an order and return the body of its answer, which must not be an error."""
        answer = self.answer(self.send(order, tag, **body))
        assert answer["ok"], answer
        found: Message = answer["body"]
        return found

    def news(self, tag: str, seconds: float = 180, **fields: Any) -> Message:
        """Return the first news about a VM that has these fields."""

        def wanted(message: Message) -> bool:
            body = message.get("body", {})
            about = message.get("news") == "vm" and body["tag"] == tag
            return about and all(body[name] == value for name, value in fields.items())

        found: Message = self.wait(wanted, seconds)["body"]
        return found

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.messages.append(json.loads(line))
                self._changed.notify_all()
