"""``flyinglow create`` asks for a lease and tells its progress until it is there, ``estimate`` when it would be."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flyinglow.cli import disks, progress, request_file, showing
from flyinglow.cli.addressing import find
from flyinglow.cli.durations import Duration, Size, words
from flyinglow.cli.exits import Exit
from flyinglow.cli.session import Session, options
from flyinglow.client import Nic, Part
from flyinglow.nodectl.errors import InvalidError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flyinglow.client import Lease

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


_REQUEST = (
    click.option("--file", type=_FILE, help="Read the request (several parts, say) from a TOML or JSON file."),
    click.option("--name", help="Name of the lease, a lower-case DNS label.  [default: vm]"),
    click.option("--part", help="Name of the machines, where it is to differ from the lease's."),
    click.option("--image", help="Image to start from: a name of the catalogue, or a URI with --sha256 and --format."),
    click.option("--sha256", help="Checksum of an image that is named by its URI."),
    click.option("--format", type=click.Choice(["raw", "qcow2"]), help="Format of an image that is named by its URI."),
    click.option("--kernel-from", help="Image of the catalogue whose kernel boots an image that is named by its URI."),
    click.option(
        "--partition", "partitions", multiple=True, metavar="NAME[:/MOUNT][:ro]", help="Partition of the site."
    ),
    click.option(
        "--blank",
        "blanks",
        multiple=True,
        metavar="[NAME=]SIZE[:/MOUNT|:swap]",
        help="Blank disk: scratch=20G:/scratch.",
    ),
    click.option("--memory", type=Size(), help="Memory of each, in MB or as 2G."),
    click.option("--cpus", type=int, default=1, show_default=True, help="CPUs of each."),
    click.option("--disk", type=Size(), default=0, help="Disk space to hold for each, in MB or as 2G."),
    click.option("--count", type=int, default=1, show_default=True, help="How many."),
    click.option("--network", "networks", multiple=True, help="Network for a NIC; may be repeated."),
    click.option("--provides", multiple=True, help="Role that these provide to others; may be repeated."),
    click.option("--requires", multiple=True, help="Role that these need of others; may be repeated."),
    click.option("--key", "keys", type=_FILE, multiple=True, help="File with SSH public keys to let in."),
    click.option("--user-data", type=_FILE, help="File handed to the guest as it is."),
    click.option("--duration", type=Duration(), help="How long, as 90m or 2d; the site has a default."),
    click.option("--start-within", type=Duration(), help="Give up when it cannot start in this time."),
    click.option("--initial-state", type=click.Choice(["Running", "Paused", "Propagated"]), help="State to begin in."),
    click.option(
        "--save-to", metavar="URI", help="Save disks there before the end; {name} is replaced by each one's name."
    ),
    click.option("--open", "open_", is_flag=True, help="Make an open ensemble: it starts with `flyinglow done`."),
    click.option("--join", metavar="NAME", help="Add to this open ensemble."),
    click.option("--preemptable", is_flag=True, help="It may be ended early for others, after a warning."),
    click.option(
        "--ready-barrier", type=Duration(), metavar="TIME", help="Wait until all guests say that they are ready."
    ),
)


def _request(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what to lease."""
    for option in reversed(_REQUEST):
        command = option(command)
    return command


@click.command()
@_request
@click.option("--dry-run", is_flag=True, help="Say whether it would be granted, and lease nothing.")
@click.option("--token", help="Your own token: a repeated request with it gets the first one's answer.")
@click.option("--timeout", type=Duration(), help="Wait no longer than this; the lease goes on.")
@click.option("--detach", is_flag=True, help="Do not wait until it runs.")
@options
def create(session: Session, *, detach: bool, timeout: int | None, dry_run: bool, **given: Any) -> int:
    """Lease virtual machines: all of them or none.

    Prints the id at once, then the progress until they run. Ctrl-C detaches; it never ends a lease.
    """
    asked = _asked(session, given)
    if dry_run:
        return _tried(session, asked if given["token"] is None else {**asked, "token": given["token"]})
    token = given["token"] or uuid.uuid4().hex
    lease = _create(session, {**asked, "token": token})
    if not session.json:
        ends = f", until {showing.left(lease.ends_at)}" if lease.ends_at else ""
        session.say(f"{lease.whole.name}: {lease.whole.kind} {lease.whole.id}{ends}")
    if detach or given["open_"] or given["join"]:
        return _answered(session, lease)
    wanted = (asked.get("initial_state") or "Running",)
    try:
        found = progress.wait(session, lease.whole, wanted, timeout)
    except KeyboardInterrupt:
        return _detached(session, lease)
    if session.json:
        session.answer({**_lease(lease), "state": found.state, "members": showing.as_json(found.members)})
    return Exit.OK


@click.command()
@click.argument("request", type=_FILE, required=False)
@_request
@options
def estimate(session: Session, *, request: Path | None, **given: Any) -> None:
    """Say when a request would start, and why not at once.

    What is asked for is said by the options of `create`, or in the file REQUEST as for `create --file`.
    """
    if request is not None and given["file"] is not None:
        raise InvalidError("say the file once: as REQUEST or by --file")
    found = session.site.estimate(**_asked(session, {**given, "file": request or given["file"]}))
    if session.json:
        session.answer(showing.as_json(found))
    elif found.starts_at is None:
        session.say(f"Nobody can say when it would start{': ' + found.reason if found.reason else ''}.")
    elif not found.starts_in:
        session.say("It would start at once.")
    else:
        session.say(f"It would start {showing.left(found.starts_at)}{': ' + found.reason if found.reason else ''}.")


def _tried(session: Session, asked: dict[str, Any]) -> int:
    found = session.site.validate(**asked)
    if session.json:
        session.answer(showing.as_json(found))
    else:
        waits = f"it would wait: {found.waits}" if found.waits else "it would start at once"
        session.say(f"It would be granted: {found.workspaces} workspaces for {words(found.duration)}; {waits}.")
    return Exit.OK


def _create(session: Session, asked: dict[str, Any]) -> Lease:
    again = f"whether it was granted is not known; the same command with --token {asked['token']} finds it"
    try:
        return session.site.create(**asked)
    except TransientError as error:
        error.args = (f"{error.message}; {again}",)
        error.message = error.args[0]
        raise
    except KeyboardInterrupt:
        click.echo(f"\nDetached; {again}.", err=True)
        raise click.exceptions.Exit(Exit.DETACHED) from None


def _asked(session: Session, given: dict[str, Any]) -> dict[str, Any]:
    from_file = request_file.read(given["file"]) if given["file"] else {}
    asked = {"name": "vm", "parts": [], **from_file}
    for key in ("name", "duration", "start_within", "initial_state", "ready_barrier"):
        if given[key] is not None:
            asked[key] = given[key]
    if given["image"] or given["memory"]:
        asked["parts"] = [*asked["parts"], _part(given["part"] or asked["name"], given)]
    if not asked["parts"]:
        raise InvalidError("say what to lease: --image and --memory, or --file with parts")
    if given["join"]:
        asked["join"] = find(session.site, given["join"])
    if given["save_to"]:
        asked |= {"end_action": "Save", "save_to": given["save_to"]}
    if given["preemptable"]:
        asked["preemptable"] = True
    return {**asked, "open": given["open_"]}


def _part(name: str, given: dict[str, Any]) -> Part:
    if not given["memory"]:
        raise InvalidError("say how much memory each is to have: --memory 512")
    return Part(
        name=name,
        count=given["count"],
        memory_mb=given["memory"],
        cpus=given["cpus"],
        disk_mb=given["disk"],
        disks=disks.asked(given),
        nics=tuple(Nic(network=network) for network in given["networks"]),
        provides=given["provides"],
        requires=given["requires"],
        keys=tuple(line for path in given["keys"] for line in path.read_text().splitlines() if line.strip()),
        user_data=given["user_data"].read_bytes() if given["user_data"] else b"",
    )


def _lease(lease: Lease) -> dict[str, Any]:
    resources = {name: showing.as_json(resource) for name, resource in lease.resources.items()}
    return {**showing.as_json(lease.whole), "ends_at": showing.as_json(lease.ends_at), "resources": resources}


def _answered(session: Session, lease: Lease) -> int:
    if session.json:
        session.answer(_lease(lease))
    return Exit.OK


def _detached(session: Session, lease: Lease) -> int:
    word = lease.whole.id
    click.echo("\nDetached; the lease goes on.", err=True)
    click.echo(f"  come back:  flyinglow wait {word}\n  end it:     flyinglow destroy {word}", err=True)
    if session.json:
        session.answer(_lease(lease))
    return Exit.DETACHED
