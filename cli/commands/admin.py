"""``flyinglow admin``: what an administrator asks the running service, through its admin socket."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flyinglow.cli.admin_socket import ask
from flyinglow.cli.commands.daemon import state_dir
from flyinglow.cli.durations import Size
from flyinglow.cli.session import Session
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FACTS = ("memory_mb", "cpus", "disk_mb")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    decorators = (
        click.option("--config", type=click.Path(path_type=Path), help="The service's configuration file."),
        click.option("--state-dir", "state", type=click.Path(path_type=Path), help="Its state directory instead."),
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
        click.pass_obj,
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


class Desk:
    """One administrator's questions to one service."""

    def __init__(self, session: Session, options: dict[str, Any]) -> None:
        self.session = session
        session.json = options.pop("as_json") or session.json
        self._state_dir = state_dir(options.pop("config"), options.pop("state"))

    def ask(self, verb: str, **args: Any) -> Any:
        """Ask; raises what the service answers with."""
        return ask(self._state_dir, verb, args)

    def told(self, body: Any, text: str) -> None:
        """Say that it was done."""
        self.session.say(text)
        if self.session.json:
            self.session.answer(body)

    def table(self, rows: Sequence[dict[str, Any]], columns: Sequence[str], empty: str) -> None:
        """Show rows."""
        if self.session.json:
            self.session.answer(rows)
        elif rows:
            self.session.table(columns, ([_cell(row.get(name)) for name in columns] for row in rows))
        else:
            self.session.say(empty)


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" if each else key for key, each in value.items())
    return ("yes" if value else "") if isinstance(value, bool) else value


@click.group()
def admin() -> None:
    """Administer the running service: its nodes, and everybody's workspaces."""


@admin.command("list")
@_options
def list_(session: Session, **options: Any) -> None:
    """List all owners' workspaces that are not over, those being reclaimed too."""
    desk = Desk(session, options)
    columns = ("tag", "name", "owner", "state", "task", "node", "attempts", "ends_at", "reason")
    desk.table(desk.ask("workspace.list"), columns, "There are no workspaces.")


@admin.command()
@_options
def status(session: Session, **options: Any) -> None:
    """Show the service's version, and how many workspaces are in which state."""
    desk = Desk(session, options)
    found = desk.ask("status")
    counts = ", ".join(f"{state} {count}" for state, count in found["workspaces"].items()) or "none"
    desk.told(found, f"version {found['version']}; {found['nodes']} nodes; workspaces: {counts}")


@admin.command()
@_options
def strangers(session: Session, **options: Any) -> None:
    """List VMs on the nodes that carry this service's mark and belong to no workspace; they are destroyed in time."""
    desk = Desk(session, options)
    desk.table(desk.ask("stranger.list"), ("node", "tag", "seen_for", "ends_in"), "There are no strangers.")


@admin.command()
@_options
def alarms(session: Session, **options: Any) -> None:
    """List the guests that were stopped from sending what is not their own, the newest alarm last.

    They are kept when their workspaces are over: one each, the last 200.
    """
    desk = Desk(session, options)
    columns = ("last", "first", "tag", "workspace", "owner", "node", "counts", "sent")
    desk.table(desk.ask("alarm.list"), columns, "No guest was stopped from sending anything.")


@admin.command()
@click.option("--last", default=50, show_default=True, help="So many calls.")
@_options
def audit(session: Session, *, last: int, **options: Any) -> None:
    """List who did what from where: the last calls in the audit log, the newest last."""
    desk = Desk(session, options)
    columns = ("at", "who", "from", "endpoint", "operation", "resource", "outcome", "incident")
    desk.table(desk.ask("audit.list", last=last), columns, "Nobody has changed anything.")


@admin.command()
@click.option("--all", "over", is_flag=True, help="Those that are over, too.")
@_options
def jobs(session: Session, *, over: bool, **options: Any) -> None:
    """List the pilot jobs of the batch scheduler and the slots that they hold on its nodes."""
    desk = Desk(session, options)
    found = desk.ask("backend.inspect")
    if session.json:
        session.answer(found)
        return
    shown = [job for job in found["jobs"] if over or not job["over"]]
    columns = ("job", "id", "slot", "node", "state", "memory_mb", "cpus", "reports", "reason")
    desk.table([row for job in shown for row in _rows(job)], columns, "There are no pilot jobs.")
    for text in _troubles(found):
        session.say(text)


def _rows(job: dict[str, Any]) -> list[dict[str, Any]]:
    head = {"job": job["job"], "id": job["id"], "state": f"{job['state']} {job['native']}".strip()}
    return [{**head, "reason": job["reason"]}, *job["slots"]]


def _troubles(found: dict[str, Any]) -> list[str]:
    texts = [f"the batch scheduler: {found['failure']}"] if found["failure"] else []
    texts += [f"note: {finding}" for finding in found["findings"]]
    if held := found["guard"]:
        texts.append(
            f"HELD BACK: {held['lost']} of {held['live']} slots would be given up at once; "
            "look at the batch scheduler, then `flyinglow admin confirm` lets it happen"
        )
    return texts


@admin.command()
@_options
def confirm(session: Session, **options: Any) -> None:
    """Let go on what was held back because too many slots would be given up at once."""
    desk = Desk(session, options)
    found = desk.ask("backend.confirm")
    desk.told(found, f"{found['lost']} slots are given up" if found["lost"] else "nothing was held back")


@admin.group()
def node() -> None:
    """Add, change, drain and remove nodes."""


def _pairs(texts: Sequence[str], what: str) -> dict[str, Any] | None:
    made: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidError(f"{what} {text!r} must be KEY=VALUE")
        made[key] = value
    return made or None


def _typed(reach: dict[str, Any] | None) -> dict[str, Any] | None:
    words: dict[str, Any] = {"true": True, "false": False}
    return reach and {key: int(text) if text.isdecimal() else words.get(text, text) for key, text in reach.items()}


def _described(command: Callable[..., Any]) -> Callable[..., Any]:
    decorators = (
        click.argument("name"),
        click.option("--memory", "memory_mb", type=Size(), help="Memory for VMs, in MB or as 64G."),
        click.option("--cpus", type=int, help="CPUs for VMs."),
        click.option("--disk", "disk_mb", type=Size(), help="Disk for VMs, in MB or as 500G."),
        click.option(
            "--network", "networks", multiple=True, metavar="NAME=BRIDGE", help="A network and its bridge there."
        ),
        click.option(
            "--reach", multiple=True, metavar="KEY=VALUE", help="How it is reached, as channel=ssh or address=node7."
        ),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def _node(options: dict[str, Any]) -> dict[str, Any]:
    networks = _pairs(options.pop("networks"), "--network")
    reach = _typed(_pairs(options.pop("reach"), "--reach"))
    return {**{key: options.pop(key) for key in _FACTS}, "networks": networks, "reach": reach}


@node.command()
@_described
@_options
def add(session: Session, *, name: str, **options: Any) -> None:
    """Add the node NAME."""
    given = _node(options)
    if missing := [key for key in _FACTS if given[key] is None]:
        raise InvalidError(f"a new node needs --{' --'.join(key.removesuffix('_mb') for key in missing)}")
    desk = Desk(session, options)
    desk.told(desk.ask("node.add", name=name, **{k: v for k, v in given.items() if v is not None}), f"{name} is added")


@node.command()
@_described
@_options
def update(session: Session, *, name: str, **options: Any) -> None:
    """Change some facts of the node NAME; what is not named stays."""
    given = {key: value for key, value in _node(options).items() if value is not None}
    desk = Desk(session, options)
    desk.told(desk.ask("node.update", name=name, **given), f"{name} is changed")


@node.command()
@click.argument("name")
@_options
def remove(session: Session, *, name: str, **options: Any) -> None:
    """Remove the node NAME; it must hold nothing."""
    desk = Desk(session, options)
    desk.told(desk.ask("node.remove", name=name), f"{name} is removed")


@node.command()
@click.argument("name")
@_options
def drain(session: Session, *, name: str, **options: Any) -> None:
    """Give the node NAME nothing new; what it has stays."""
    desk = Desk(session, options)
    desk.told(desk.ask("node.drain", name=name), f"{name} takes nothing new")


@node.command()
@click.argument("name")
@_options
def activate(session: Session, *, name: str, **options: Any) -> None:
    """Let the drained node NAME take new workspaces again."""
    desk = Desk(session, options)
    desk.told(desk.ask("node.activate", name=name), f"{name} takes new workspaces")


@node.command("list")
@_options
def list_nodes(session: Session, **options: Any) -> None:
    """List the nodes and what is free on them."""
    desk = Desk(session, options)
    columns = ("name", "policy", "memory_mb", "cpus", "disk_mb", "free", "networks")
    desk.table(desk.ask("node.list"), columns, "There are no nodes; `flyinglow admin node add` adds one.")
