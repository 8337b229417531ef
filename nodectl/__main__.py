"""The command ``flyinglow-nodectl``: for the service (``agent --stdio``) and for people.

Exit codes: 0 done; 1 something is broken; 2 wrong usage or an invalid request; 3 no such VM; 4 the VM's state does not
allow it; 5 the site forbids it; 6 not now, try later; 7 never on this node; 8 failed, may work when tried again.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyinglow import __version__
from flyinglow.nodectl import compose, config, doctor, guest
from flyinglow.nodectl.agent import Agent
from flyinglow.nodectl.errors import FlyingLowError, InvalidError
from flyinglow.nodectl.messages import OrderName

EXIT_CODES = {
    "broken": 1,
    "error": 1,
    "invalid": 2,
    "unknown": 3,
    "conflict": 4,
    "denied": 5,
    "exhausted": 6,
    "never": 7,
    "transient": 8,
}
BY_TAG = ("info", "start", "pause", "resume", "reboot", "shutdown", "destroy", "console")
Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code = _commands()[arguments.command](arguments)
    except FlyingLowError as error:
        code = _complain(error, as_json=arguments.json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has seen enough
        code = 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flyinglow-nodectl",
        description="Control the virtual machines of this node.",
        epilog=(__doc__ or "").split("\n\n", 1)[1],
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"JSON file, instead of {config.DEFAULT_FILE}")
    parser.add_argument("--state", metavar="DIR", help="where VMs are kept, instead of the configured directory")
    parser.add_argument("--driver", choices=config.DRIVERS, help="hypervisor, instead of the configured one")
    parser.add_argument("--json", action="store_true", help="print JSON, errors too")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    agent = commands.add_parser("agent", help="serve orders as JSON lines until the end of input")
    agent.add_argument("--stdio", action="store_true", required=True, help="on standard input and output")
    commands.add_parser("list", help="list the VMs of this node")
    commands.add_parser("create", help="make a VM; its specification is read as JSON from standard input")
    by_tag = {name: commands.add_parser(name, help=f"{name} of one VM") for name in BY_TAG}
    for sub in by_tag.values():
        sub.add_argument("tag", metavar="TAG")
    by_tag["start"].add_argument("--paused", action="store_true", help="with its processors stopped")
    by_tag["shutdown"].add_argument("--seconds", type=float, default=30.0, help="time the guest gets (default 30)")
    by_tag["console"].add_argument("--offset", type=int, default=0, help="from this byte on")
    by_tag["console"].add_argument("--max", type=int, default=1 << 20, help="at most so many bytes")
    commands.add_parser("kill-all", help="destroy every VM of this node and all that serves them")
    commands.add_parser("doctor", help="look whether this node can run VMs")
    build = commands.add_parser("build-guest", help="build a small Linux guest from Debian packages")
    build.add_argument("out", type=Path, metavar="OUTDIR")
    build.add_argument("--cache", type=Path, metavar="DIR", help="keep downloaded packages here (default OUTDIR/cache)")
    return parser


def _commands() -> dict[str, Callable[[Arguments], int]]:
    named = {"agent": _agent, "list": _list, "create": _create, "console": _console}
    rest = {"kill-all": _kill_all, "doctor": _doctor, "build-guest": _build_guest}
    return {**dict.fromkeys(BY_TAG, _order), **named, **rest}


def _config(arguments: Arguments) -> config.Config:
    return config.load(arguments.config, state=arguments.state, driver=arguments.driver)


def _agent(arguments: Arguments) -> int:
    settings = _config(arguments)
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # what it writes to the pipe ends the wait
    signal.set_wakeup_fd(write)
    os.chdir("/")  # VMs inherit it, and must not hold a file system that somebody wants to take away
    Agent(settings, compose.node_of(settings), sys.stdin.fileno(), sys.stdout.fileno(), read).serve()
    return 0


def _list(arguments: Arguments) -> int:
    answer = compose.node_of(_config(arguments)).carry_out(OrderName.LIST, None, {})
    if arguments.json:
        return _print(answer)
    for info in answer["vms"]:
        _say(_row(info))
    return 0


def _create(arguments: Arguments) -> int:
    try:
        body = json.load(sys.stdin)
    except ValueError as error:
        raise InvalidError(f"standard input is not JSON: {error}") from error
    tag = body.get("tag") if isinstance(body, dict) else None
    return _show(arguments, compose.node_of(_config(arguments)).carry_out(OrderName.CREATE, tag, body))


def _order(arguments: Arguments) -> int:
    body = {name: getattr(arguments, name) for name in ("paused", "seconds") if hasattr(arguments, name)}
    node = compose.node_of(_config(arguments))
    return _show(arguments, node.carry_out(OrderName(arguments.command), arguments.tag, body))


def _console(arguments: Arguments) -> int:
    body = {"offset": arguments.offset, "max": arguments.max}
    answer = compose.node_of(_config(arguments)).carry_out(OrderName.CONSOLE, arguments.tag, body)
    if arguments.json:
        return _print(answer)
    sys.stdout.buffer.write(base64.b64decode(answer["data"]))
    sys.stdout.buffer.flush()
    return 0


def _kill_all(arguments: Arguments) -> int:
    answer = compose.kill_all(_config(arguments))
    if arguments.json:
        _print(answer)
    else:
        _say(f"destroyed {len(answer['destroyed'])}: {' '.join(answer['destroyed'])}".rstrip(": "))
        for line in answer["failed"]:
            _say(f"failed    {line}")
    return EXIT_CODES["broken"] if answer["failed"] else 0


def _doctor(arguments: Arguments) -> int:
    findings = doctor.examine(_config(arguments))
    if arguments.json:
        _print({"findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _say(f"{'ok ' if finding.ok else 'BAD'} {finding.name}: {finding.text}")
    return 0 if all(finding.ok for finding in findings) else EXIT_CODES["broken"]


def _build_guest(arguments: Arguments) -> int:
    entry = guest.build(arguments.out, arguments.cache)
    return _print(entry) if arguments.json else _say(f"built {entry['name']}: {arguments.out / 'image.json'}")


def _show(arguments: Arguments, answer: dict[str, Any]) -> int:
    if arguments.json:
        return _print(answer)
    return _say(_row(answer) if answer else "done")


def _row(info: dict[str, Any]) -> str:
    words = [info["tag"], info["status"], "ready" if info["ready"] else "", info["reason"]]
    return "  ".join(word for word in words if word)


def _complain(error: FlyingLowError, *, as_json: bool) -> int:
    if as_json:
        _print({"error": {"kind": error.kind, "message": error.message, "figures": error.figures}})
    else:
        sys.stderr.write(f"flyinglow-nodectl: {error.message}\n")
    return EXIT_CODES.get(error.kind, 1)


def _print(value: dict[str, Any]) -> int:
    return _say(json.dumps(value, indent=2))


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
