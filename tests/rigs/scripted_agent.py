"""A small agent for channel tests: speaks the orders on stdio, keeps its VMs in a file, and misbehaves on request.

Run as a program: ``scripted_agent.py STATE [--misbehave WORD] [--speaks OLDEST-NEWEST] agent --stdio``. Each order is
also written to STATE.log, and that a message is a batch. One that speaks version 1 only tells no range, knows no batch.
"""

import argparse
import json
import os
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flyinglow.backend.api import Order
from flyinglow.backend.simulated_vm import carry_out
from flyinglow.nodectl.errors import FlyingLowError
from flyinglow.nodectl.messages import MAX_LINE, OrderName, encode


class Version:
    """The versions that this agent speaks, and the one that it was spoken to in."""

    oldest = newest = now = 1


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"v": Version.now, **message}) + "\n")
    sys.stdout.flush()


def answer(state: Path, message: dict[str, Any]) -> None:
    vms = pickle.loads(state.read_bytes()) if state.exists() else {}
    order = Order(OrderName(message["order"]), message["tag"], message["body"])
    try:
        body = carry_out(vms, order)
    except FlyingLowError as error:
        wire = {"kind": error.kind, "message": error.message, "figures": error.figures}
        say({"id": message["id"], "ok": False, "error": wire})
        return
    state.write_bytes(pickle.dumps(vms))  # before the answer: we may be killed right after it
    say({"id": message["id"], "ok": True, "body": body})
    if order.name is OrderName.START:
        say({"news": "vm", "body": encode(vms[order.tag].info)})


def misbehave_at_start(word: str) -> None:
    if word == "die":
        sys.stderr.write("no hypervisor here\n")
        sys.exit(3)
    if word == "version":
        sys.stdout.write(json.dumps({"v": 9, "news": "hello", "body": {"version": "7.7", "node": "x", "drivers": []}}))
        sys.stdout.write("\n")
    elif word == "chatter":
        sys.stdout.write("Welcome to node x!\n")
    elif word == "long":
        sys.stdout.write("x" * (MAX_LINE + 1))
    else:
        speaks = {"speaks": [Version.oldest, Version.newest]} if Version.newest > 1 else {}
        say({"news": "hello", "body": {"version": "1", "node": "x", "drivers": ["scripted"], **speaks}})
    sys.stdout.flush()


def orders(state: Path) -> Iterator[dict[str, Any]]:
    """Yield the orders that come; one of a version that this agent does not speak is refused."""
    for line in sys.stdin:
        message = json.loads(line)
        if not Version.oldest <= message["v"] <= Version.newest:
            say({"id": message.get("id"), "ok": False, "error": {"kind": "invalid", "message": f"not {message['v']}"}})
            continue
        Version.now = message["v"]
        if "batch" in message:
            with state.with_suffix(".log").open("a") as log:
                log.write(f"batch of {len(message['batch'])} in version {message['v']}\n")
        yield from message.get("batch", [message])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--misbehave", default="")
    parser.add_argument("--speaks", default="1-1")
    parser.add_argument("words", nargs=1)
    parser.add_argument("--stdio", action="store_true")
    options = parser.parse_args()
    state: Path = options.state
    silence = state.with_suffix(".silent")
    state.with_suffix(".pid").write_text(str(os.getpid()))
    Version.oldest, Version.newest = map(int, options.speaks.split("-"))
    Version.now = Version.oldest
    misbehave_at_start(options.misbehave)
    for message in orders(state):
        with state.with_suffix(".log").open("a") as log:
            log.write(f"{message['order']} {message['tag']}\n")
        if options.misbehave == "deaf":
            time.sleep(3600)
        if options.misbehave == "die-when-asked":
            sys.stderr.write("out of memory\n")
            sys.exit(9)
        if options.misbehave == "garbage-when-asked":
            sys.stdout.write('{"v": 1, "id": "one"}\n')
            sys.stdout.flush()
            continue
        if silence.exists():
            continue
        answer(state, message)


if __name__ == "__main__":
    main()
