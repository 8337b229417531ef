"""``flyinglow share``, ``unshare``, ``shares`` and ``quota``: with whom one shares, and what one may lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flyinglow.cli import showing
from flyinglow.cli.addressing import find
from flyinglow.cli.exits import Exit
from flyinglow.cli.session import Session, options
from flyinglow.nodectl.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _grantee(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorator in (
        click.option("--group", help="All members of this group instead of one identity."),
        click.option("--with", "identity", metavar="IDENTITY", help="One identity, as CN=Bob,O=Grid."),
        click.argument("name"),
    ):
        command = decorator(command)
    return command


def _one(identity: str | None, group: str | None) -> dict[str, str]:
    if (identity is None) == (group is None):
        raise InvalidError("name either an identity (--with) or a --group")
    return {"group": group} if group is not None else {"identity": identity or ""}


@click.command()
@_grantee
@click.option("--full", is_flag=True, help="Let them do all that you may, but for sharing it on.")
@options
def share(session: Session, *, name: str, identity: str | None, group: str | None, full: bool) -> int:
    """Share a lease with another identity, or with a group: for reading, unless it is --full."""
    resource = find(session.site, name)
    resource.delegate(**_one(identity, group), level="full" if full else "read")
    session.say(f"{name} is shared with {identity or group}.")
    return _shown(session, name)


@click.command()
@_grantee
@options
def unshare(session: Session, *, name: str, identity: str | None, group: str | None) -> int:
    """Share a lease no longer; their subscriptions to it end."""
    find(session.site, name).revoke(**_one(identity, group))
    session.say(f"{name} is no longer shared with {identity or group}.")
    return _shown(session, name)


@click.command()
@click.argument("name")
@options
def shares(session: Session, *, name: str) -> int:
    """List with whom a lease is shared."""
    found = find(session.site, name).shares()
    if not session.json:
        rows = [(each.identity or f"group {each.group}", each.level, each.granted_by) for each in found]
        session.table(("with", "level", "by"), rows)
    return _shown(session, name)


def _shown(session: Session, name: str) -> int:
    if session.json:
        session.answer([showing.as_json(each) for each in find(session.site, name).shares()])
    return Exit.OK


@click.command()
@options
def quota(session: Session) -> int:
    """Show what your policies let you lease, and what of it is used and reserved."""
    found = session.site.quota()
    if session.json:
        session.answer(None if found is None else showing.as_json(found))
        return Exit.OK
    if found is None:
        session.say("Nothing but the site's terms limits what you lease here.")
        return Exit.OK
    rows = [(name, each.limit, each.used, each.reserved) for name, each in found.limits.items()]
    session.table(("limit", "at most", "used", "reserved"), rows)
    session.say(f"By the policy {' and '.join(found.policies)}; minutes are those of a {found.period}.")
    return Exit.OK
