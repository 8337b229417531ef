"""The command ``flyinglow-nodectl``: for the service (``agent --stdio``) and for people.

Exit codes: 0 done; 1 something is broken; 2 wrong usage or an invalid request; 3 no such VM; 4 the VM's state does not
allow it; 5 the site forbids it; 6 not now, try later; 7 never on this node; 8 failed, may work when tried again.

A lease waits for its agents to start, so each command imports what is its own, and the agent's words, as jobs
give them, are understood without a parser.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Union

from flyinglow.nodectl import compose, config, surroundings
from flyinglow.nodectl.errors import FlyingLowError, InvalidError
from flyinglow.nodectl.messages import OrderName, encode
from flyinglow.nodectl.slots.scope import Scope

if TYPE_CHECKING:
    import argparse

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
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
AGENT = ["agent", "--stdio"]  # what sudo lets jobs run
Arguments = Union["argparse.Namespace", SimpleNamespace]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    surroundings.settle(os.environ)
    arguments = _understood(sys.argv[1:] if argv is None else list(argv))
    try:
        code = _commands()[arguments.command](arguments)
    except FlyingLowError as error:
        code = _complain(error, as_json=arguments.json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has seen enough
        code = 0
    return code


def _understood(words: list[str]) -> Arguments:
    if words == AGENT:
        return SimpleNamespace(command="agent", config=None, state=None, driver=None, json=False)
    from flyinglow.nodectl.arguments import parser  # noqa: PLC0415 - see above

    return parser().parse_args(words)


def _commands() -> dict[str, Callable[[Arguments], int]]:
    by_tag = ("info", "start", "pause", "resume", "reboot", "shutdown", "destroy", "save")
    named = {"agent": _agent, "list": _list, "create": _create, "console": _console}
    named.update({"save-state": _state, "restore-state": _state})
    rest = {"kill-all": _kill_all, "tidy": _tidy, "status": _status, "doctor": _doctor}
    rest.update({"build-guest": _build_guest, "bundle": _bundle, "sudoers": _sudoers})
    return {**dict.fromkeys(by_tag, _order), **named, **rest}


def _config(arguments: Arguments) -> config.Config:
    made = config.load(arguments.config, state=arguments.state, driver=arguments.driver)
    if surroundings.by_sudo(os.environ):
        surroundings.trusted((made.state, made.run))
    return made


def _agent(arguments: Arguments) -> int:
    from flyinglow.nodectl.agent.serving import Agent  # noqa: PLC0415 - see above
    from flyinglow.nodectl.agent.slot import Tenure  # noqa: PLC0415

    settings = _config(arguments)
    read, write = os.pipe()
    os.set_blocking(write, False)
    for number in ENDING:
        signal.signal(number, lambda *_: None)  # what it writes to the pipe ends the wait
    signal.set_wakeup_fd(write)
    os.chdir("/")  # VMs inherit it, and must not hold a file system that somebody wants to take away
    scope = Scope(overhead_mb=settings.overhead_mb)
    peers = compose.peers_of(settings)
    node = compose.node_of(settings, scope, peers=peers)
    tenure = Tenure(compose.slots_of(settings, node), scope, compose.gate_of(settings, node.state, time.time))
    Agent(settings, node, tenure, (sys.stdin.fileno(), sys.stdout.fileno()), read, _deafen, peers).serve()
    return 0


def _deafen() -> None:
    """Ignore what a batch system sends; so do the programs that are started from now on."""
    for number in (*ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)


def _list(arguments: Arguments) -> int:
    from flyinglow.nodectl import strangers  # noqa: PLC0415 - see above

    settings = _config(arguments)
    answer = compose.node_of(settings).carry_out(OrderName.LIST, None, {})
    nobodys = [one.words for one in strangers.found(settings)]
    if arguments.json:
        return _print({**answer, "strangers": nobodys})
    for line in [*map(_row, answer["vms"]), *(f"stranger  {words}; {strangers.FIX}" for words in nobodys)]:
        _say(line)
    return 0 if answer["vms"] else _say("no VMs")


def _create(arguments: Arguments) -> int:
    try:
        body = json.load(sys.stdin)
    except ValueError as error:
        raise InvalidError(f"standard input is not JSON: {error}") from error
    tag = body.get("tag") if isinstance(body, dict) else None
    return _show(arguments, compose.node_of(_config(arguments)).carry_out(OrderName.CREATE, tag, body))


def _order(arguments: Arguments) -> int:
    asked = {name: getattr(arguments, name, None) for name in ("paused", "seconds", "target", "disk", "format")}
    body = {name: value for name, value in asked.items() if value is not None}
    node = compose.node_of(_config(arguments))
    return _show(arguments, node.carry_out(OrderName(arguments.command), arguments.tag, body))


def _state(arguments: Arguments) -> int:
    keeper = compose.keeper_of(_config(arguments))
    if arguments.command == "save-state":
        return _show(arguments, encode(keeper.save(arguments.tag)))
    return _show(arguments, encode(keeper.restore(arguments.tag, paused=arguments.paused)))


def _console(arguments: Arguments) -> int:
    import base64  # noqa: PLC0415 - see above

    body = {"offset": arguments.offset, "max": arguments.max}
    answer = compose.node_of(_config(arguments)).carry_out(OrderName.CONSOLE, arguments.tag, body)
    if arguments.json:
        return _print(answer)
    sys.stdout.buffer.write(base64.b64decode(answer["data"]))
    sys.stdout.buffer.flush()
    return 0


def _kill_all(arguments: Arguments) -> int:
    from flyinglow.nodectl import emergency  # noqa: PLC0415 - see above

    answer = emergency.kill_all(_config(arguments))
    if arguments.json:
        _print(answer)
    else:
        _say(f"destroyed {len(answer['destroyed'])}: {' '.join(answer['destroyed'])}".rstrip(": "))
        for line in answer["failed"]:
            _say(f"failed    {line}")
    return EXIT_CODES["broken"] if answer["failed"] else 0


def _tidy(arguments: Arguments) -> int:
    from flyinglow.nodectl import emergency  # noqa: PLC0415 - see above

    answer = emergency.tidy(_config(arguments))
    if arguments.json:
        _print(answer)
    else:
        _say(f"undone {len(answer['slots'])}: {' '.join(answer['slots'])}".rstrip(": "))
        for line in answer["strangers"]:
            _say(f"removed   {line}")
        for line in answer["failed"]:
            _say(f"failed    {line}")
    return EXIT_CODES["broken"] if answer["failed"] else 0


def _status(arguments: Arguments) -> int:
    from flyinglow.nodectl import status  # noqa: PLC0415 - see above

    found = status.status(_config(arguments))
    return _print(found) if arguments.json else _say("\n".join(status.lines(found)))


def _bundle(arguments: Arguments) -> int:
    from flyinglow.nodectl.deploy import bundle  # noqa: PLC0415 - see above

    bundle.build(arguments.out)
    return _print({"path": str(arguments.out)}) if arguments.json else _say(f"wrote {arguments.out}")


def _sudoers(arguments: Arguments) -> int:
    from flyinglow.nodectl.deploy import sudoers  # noqa: PLC0415 - see above

    sys.stdout.write(sudoers.text(arguments.user, arguments.path))
    return 0


def _doctor(arguments: Arguments) -> int:
    from dataclasses import asdict  # noqa: PLC0415 - see above

    from flyinglow.nodectl.doctor import checks as doctor  # noqa: PLC0415 - see above

    findings = doctor.examine(_config(arguments))
    if arguments.json:
        _print({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _say(f"{'ok ' if finding.ok else 'BAD'} {finding.name}: {finding.text}")
    return 0 if all(finding.ok for finding in findings) else EXIT_CODES["broken"]


def _build_guest(arguments: Arguments) -> int:
    from flyinglow.nodectl import guest  # noqa: PLC0415 - see above

    entry = guest.build(arguments.out, arguments.cache)
    return _print(entry) if arguments.json else _say(f"built {entry['name']}: {arguments.out / 'image.json'}")


def _show(arguments: Arguments, answer: dict[str, Any]) -> int:
    if arguments.json:
        return _print(answer)
    return _say(_row(answer) if answer else "done")


def _row(info: dict[str, Any]) -> str:
    saved = info.get("saved") or {}
    copy = f"{saved['disk']} saved to {saved['target']}, sha256 {saved['sha256']}" if saved else ""
    words = [info["tag"], info["status"], "ready" if info["ready"] else "", info["reason"], copy]
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
