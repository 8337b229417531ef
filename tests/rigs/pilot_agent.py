"""An agent for pilot tests: holds one slot in a folder, speaks the orders on stdio, and misbehaves on request.

Run as a program: ``pilot_agent.py FOLDER agent --stdio``. In the folder: ``memory`` (what the node itself has, MB),
``vms`` (one file each), ``log`` (one line an order or event), ``pid``; ``misbehave`` holds words that say how it goes
wrong. It needs the standard library only, and runs under any Python that the pilot runs under.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

BASE = 8192
HELD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Node:
    """One slot's worth of a node, in files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vms = folder / "vms"
        self.vms.mkdir(parents=True, exist_ok=True)
        self.slot: Any = None
        words = folder / "misbehave"
        self.words = set(words.read_text().split()) if words.exists() else set()

    def log(self, text: str) -> None:
        with (self.folder / "log").open("a") as log:
            log.write(f"{time.time():.3f} {text}\n")

    def memory(self, own: int) -> None:
        (self.folder / "memory").write_text(str(own))

    def reserve(self, body: Any) -> Any:
        for number in HELD:
            signal.signal(number, signal.SIG_IGN)
        if "slow-reserve" in self.words:
            wait_for(self.folder / "go")
        self.memory(BASE - body["memory_mb"])
        self.slot = body
        if "fail-reserve" in self.words:
            raise RuntimeError("the balloon is stuck")
        if "die-in-reserve" in self.words:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.info(body["memory_mb"], settled="unsettled" not in self.words)

    def release(self) -> Any:
        if "fail-release" in self.words:
            raise RuntimeError("a VM cannot be ended")
        if "deaf-release" in self.words:
            time.sleep(3600)
        if "slow-release" in self.words:
            time.sleep(1.0)
        destroyed = sorted(vm.name for vm in self.vms.iterdir())
        for tag in destroyed:
            (self.vms / tag).unlink()
        self.slot = None
        self.memory(BASE)
        return {"destroyed": destroyed, **self.info(0, settled=True)}

    def info(self, memory_mb: int, *, settled: bool) -> Any:
        figures = {"base_mb": BASE, "target_mb": BASE - memory_mb, "actual_mb": BASE - memory_mb}
        return {"slot": "s", "memory_mb": memory_mb, "settled": settled, "seconds": 0.01, **figures}

    def carry_out(self, message: Any) -> Any:
        order, tag = message["order"], message.get("tag")
        self.log(f"{order} {tag or ''}".strip())
        if order == "reserve":
            return self.reserve(message["body"])
        if order == "release":
            return self.release()
        if order == "list":
            return {"vms": [{"tag": vm.name, "status": "running"} for vm in self.vms.iterdir()]}
        if order == "create":
            (self.vms / tag).write_text("")
        if order == "destroy":
            (self.vms / tag).unlink()
            return {}
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"tag": tag, "status": "created"}


def wait_for(file: Path) -> None:
    """Return when a file is there, or in the end."""
    deadline = time.monotonic() + 120
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def say(message: Any) -> None:
    os.write(1, json.dumps({"v": 1, **message}).encode() + b"\n")


def orders(node: Node) -> Any:
    """Yield the orders that come, those of a batch one after the other."""
    for line in sys.stdin:
        message = json.loads(line)
        if "batch" in message:
            node.log(f"batch of {len(message['batch'])} in version {message['v']}")
        yield from message.get("batch", [message])


def main() -> None:
    node = Node(Path(sys.argv[1]))
    (node.folder / "pid").write_text(str(os.getpid()))
    node.log("start")
    if "refuse" in node.words:
        sys.stderr.write("sudo: a password is required\n")
        sys.exit(1)
    told = [word.partition("=")[2] for word in node.words if word.startswith("speaks=")]
    speaks = {"speaks": list(map(int, told[0].split("-")))} if told else {}
    version = speaks["speaks"][0] if speaks else 1
    say({"v": version, "news": "hello", "body": {"version": "0.1", "node": "n", "drivers": ["scripted"], **speaks}})
    for message in orders(node):
        try:
            say({"id": message["id"], "ok": True, "body": node.carry_out(message)})
        except Exception as error:  # noqa: BLE001 - told
            wrong = {"kind": "broken", "message": str(error), "figures": {}}
            say({"id": message["id"], "ok": False, "error": wrong})
    node.words.clear()
    if node.slot:
        node.release()
        node.log("undone at the end of input")
    node.log("end")


if __name__ == "__main__":
    main()
