"""``flyinglow offers``, ``list`` and ``show``: what there is, what one leases, and all of one resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flyinglow.cli import disks, receipt, showing
from flyinglow.cli.addressing import find
from flyinglow.cli.durations import words
from flyinglow.cli.session import Session, options
from flyinglow.client.names import KINDS

if TYPE_CHECKING:
    from flyinglow.client import Entry, Offers, Properties

_ID = 8


@click.command()
@options
def offers(session: Session) -> None:
    """Show what the site offers and what of it is free now."""
    found = session.site.offers()
    if session.json:
        session.answer(showing.as_json(found))
        return
    _limits(session, found)
    session.table(
        ("network", "addresses", "free"), ((each.name, each.addresses, each.free_addresses) for each in found.networks)
    )
    for what, partition in (("image", False), ("partition", True)):
        rows = [each for each in found.images if each.partition is partition]
        if rows or not partition:
            session.table(
                (what, "format", "size MB", "architecture", "description"),
                (
                    (each.name, each.format, each.size_mb or "unknown", each.architecture, each.description)
                    for each in rows
                ),
            )
    if found.image_schemes:
        session.say(f"Images may also be named by URI: {', '.join(f'{scheme}:' for scheme in found.image_schemes)}")


def _limits(session: Session, found: Offers) -> None:
    free = found.free
    figures = [
        ("memory MB", found.maximum_memory_mb, free.memory_mb, free.largest_memory_mb),
        ("CPUs", found.maximum_cpus, free.cpus, free.largest_cpus),
        ("disk MB", found.maximum_disk_mb, free.disk_mb, free.largest_disk_mb),
    ]
    # where requests queue, what is free is the scheduler's to know: none is only none that the service holds already
    unknown = 0 if found.immediate else "unknown"
    rows = [(name, most, now or unknown, largest or unknown) for name, most, now, largest in figures]
    session.table(("", "most for one", "free now", "free on one node"), rows)
    when = "granted or refused at once" if found.immediate else "queued when there is no room"
    session.say(f"Requests of up to {found.maximum_members} members are {when}.")
    session.say(f"Leases run {words(found.default_duration)} by default, {words(found.maximum_duration)} at most.")


@click.command("list")
@click.option("--kind", type=click.Choice(KINDS), help="Only these.")
@click.option("--state", help="Only those in this state, as Running.")
@click.option("--all", "everybody", is_flag=True, help="Of all owners, for observers and administrators.")
@options
def list_(session: Session, *, kind: str | None, state: str | None, everybody: bool) -> None:
    """List what you lease: ensembles, groups and workspaces."""
    entries = list(session.site.list(kind=kind, state=state, everybody=everybody))
    if session.json:
        rows = [{**showing.as_json(entry), **showing.as_json(entry.resource)} for entry in entries]
        session.answer([{key: value for key, value in row.items() if key != "resource"} for row in rows])
        return
    if not entries:
        session.say("Nobody leases anything here." if everybody else "You lease nothing here.")
        return
    session.table(
        ("name", "kind", "id", "state", "ends", *(["owner"] if everybody else [])),
        (
            (each.name, each.kind, each.resource.id[:_ID], _state(each), showing.left(each.ends_at), *_owner(each))
            for each in entries
        ),
    )


def _owner(entry: Entry) -> list[str]:
    return [entry.owner] if entry.owner else []


def _state(entry: Entry) -> str:
    return f"{entry.state} ({entry.task})" if entry.task else entry.state


@click.command()
@click.argument("name")
@click.option("--timing", is_flag=True, help="Show when each step was reached, and how long it took.")
@options
def show(session: Session, *, name: str, timing: bool) -> None:
    """Show all of one ensemble, group or workspace. NAME is a name, an id or its beginning, a URL, or WHOLE/MEMBER."""
    resource = find(session.site, name)
    found = resource.properties()
    receipts = _receipts(found) if timing else []
    if session.json:
        extra = receipt.as_json(receipts) if timing else {}
        session.answer({**showing.as_json(resource), **showing.as_json(found), **extra})
        return
    _facts(session, resource.url, found)
    if found.members:
        session.table(
            ("name", "kind", "state", "node", "addresses"),
            (
                (each.name, each.resource.kind, showing.state(each), each.node, showing.addresses(each.nics))
                for each in found.members
            ),
        )
    if timing:
        receipt.show(session, receipts)


def _facts(session: Session, url: str, found: Properties) -> None:
    held = found.allocation
    facts = [
        ("name", found.name),
        ("kind", found.kind),
        ("state", showing.state(found)),
        ("waits", found.waits),
        ("expected", f"to start {showing.left(found.starts_at, found.current_time)}" if found.starts_at else ""),
        ("ends", showing.left(found.ends_at, found.current_time)),
        ("saves", _saving(found)),
        ("saved", disks.saved(found.saved)),
        ("sha256", (found.saved.sha256 or "") if found.saved else ""),
        ("accepted", showing.clock(found.accepted_at)),
        ("holds", f"{held.memory_mb} MB memory, {held.cpus} CPUs, {held.disk_mb} MB disk" if held else ""),
        ("node", found.node),
        ("owner", found.owner),
        ("open", "yes, until `flyinglow done`" if found.open else ""),
        ("address", url),
    ]
    for key, value in facts:
        if value:
            session.say(f"{key:<9} {value}")
    if found.guest is not None:
        said = f"{found.guest.status}{': ' + found.guest.message if found.guest.message else ''}"
        session.say(f"{'guest':<9} {said}, reported {showing.clock(found.guest.at)}")
        for key, value in found.guest.values.items():
            session.say(f"{'value':<9} {key} {value}")
    for disk in found.disks:
        session.say(f"{'disk':<9} {disks.words(disk)}")
    for nic in found.nics:
        hostname = f" {nic.hostname}" if nic.hostname else ""
        address6 = f" {nic.ip6}/{nic.prefix6}" if nic.ip6 else ""
        session.say(f"{'nic':<9} {nic.network} {nic.ip}/{nic.prefix}{address6}{hostname} {nic.mac or ''}".rstrip())
        if nic.dropped:
            counts = ", ".join(f"{kind} {count}" for kind, count in sorted(nic.dropped.items()))
            session.say(f"{'stopped':<9} what its guest sent through {nic.network} and is not its own: {counts}")


def _saving(found: Properties) -> str:
    """Return when and where its disk is saved for its end."""
    if not found.save_to:
        return showing.left(found.saves_at, found.current_time)
    when = f", from {showing.left(found.saves_at, found.current_time)}" if found.saves_at else ""
    return f"to {found.save_to}{when}"


def _receipts(found: Properties) -> list[Properties]:
    return [each.resource.properties() for each in found.members] if found.members else [found]
