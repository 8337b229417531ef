"""One order to a node's agent, and its answer; goes to emulated nodes with ``xen_trials``: standard library only."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def order(agent: subprocess.Popen[str], name: str, tag: str | None = None, /, **body: Any) -> dict[str, Any]:
    """Send an order and return the body of its answer. Raises RuntimeError when it failed."""
    if agent.stdin is None or agent.stdout is None:
        raise ValueError("the agent has no pipes")
    agent.stdin.write(json.dumps({"v": 1, "id": 1, "order": name, "tag": tag, "body": body}) + "\n")
    agent.stdin.flush()
    for line in agent.stdout:
        message = json.loads(line)
        if message.get("id") == 1:
            if not message["ok"]:
                raise RuntimeError(message["error"]["message"])
            found: dict[str, Any] = message["body"]
            return found
    raise RuntimeError("the agent ended")
