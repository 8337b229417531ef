"""``flyinglow watch`` and ``wait``: what happens to a resource, and when it is where one wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flyinglow.cli import progress, showing
from flyinglow.cli.addressing import find
from flyinglow.cli.durations import Duration
from flyinglow.cli.exits import Exit
from flyinglow.cli.plain import plain
from flyinglow.cli.session import Session, options
from flyinglow.client import Consumer, WaitError
from flyinglow.client.names import LOST, TOPICS
from flyinglow.nodectl.errors import FlyingLowError, UnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flyinglow.client import Notification, Properties, Resource


@click.command()
@click.argument("name")
@click.option("--topic", "topics", type=click.Choice(TOPICS), multiple=True, help="Only these; may be repeated.")
@click.option("--listen", metavar="HOST[:PORT]", help="Where to listen for the service.")
@click.option("--advertise", metavar="URL", help="The address by which the service reaches us.")
@click.option("--pull", is_flag=True, help="Fetch from the service; for who is behind a NAT or a firewall.")
@click.option("--poll", is_flag=True, help="Ask again and again instead of being told; states only.")
@options
def watch(
    session: Session,
    *,
    name: str,
    topics: tuple[str, ...],
    listen: str | None,
    advertise: str | None,
    pull: bool,
    poll: bool,
) -> int:
    """Print what happens to NAME, one line an event, until it is no more. Ctrl-C stops watching, nothing else.

    Where the service will not send to this machine, what happens is fetched from it.
    """
    resource = find(session.site, name)
    if poll:
        return _poll(session, resource)
    if pull:
        return _pull(session, resource, topics)
    with _consumer(resource, listen, advertise) as consumer:
        try:
            subscribed = consumer.watch(resource, topics=topics)
        except UnknownError:
            raise
        except FlyingLowError as error:
            click.echo(f"The service will not send to {consumer.url} ({plain(error)}); fetching instead.", err=True)
        else:
            return _print(session, resource, subscribed)
    return _pull(session, resource, topics)


def _pull(session: Session, resource: Resource, topics: tuple[str, ...]) -> int:
    with session.site.pull_point() as point:
        point.watch(resource, topics=topics)
        return _print(session, resource, point)


def _consumer(resource: Resource, listen: str | None, advertise: str | None) -> Consumer:
    host, _, port = (listen or progress.own_address(resource.url)).rpartition(":")
    if not host or not port.isdigit() or (":" in host and not host.endswith("]")):
        host, port = f"{host}:{port}" if host else port, "0"
    return Consumer(host=host.strip("[]"), port=int(port), advertise=advertise)


def _print(session: Session, resource: Resource, told: Iterable[Notification]) -> int:
    _now(session, resource.properties())
    for news in told:
        _event(session, news)
    return Exit.OK


def _event(session: Session, news: Notification) -> None:
    if session.json:
        session.answer(showing.as_json(news))
    else:
        session.say(showing.event(news))


def _now(session: Session, found: Properties) -> None:
    # with --json every line is an event, and this is none
    session.say(f"{showing.clock(found.current_time)}  {found.kind:<9} {found.name:<12} now  {showing.state(found)}")


def _poll(session: Session, resource: Resource) -> int:
    def changed(found: Properties) -> None:
        if session.json:
            keys = ("kind", "name", "state", "task", "reason", "current_time")
            session.answer({key: showing.as_json(getattr(found, key)) for key in keys})
        else:
            _now(session, found)

    try:
        resource.wait(*LOST, on_change=changed)
    except UnknownError:
        session.say("It is no more.")
    return Exit.OK


@click.command()
@click.argument("name")
@click.option("--for", "states", multiple=True, help="State to wait for; may be repeated.  [default: Running]")
@click.option("--timeout", type=Duration(), help="Wait no longer than this.")
@options
def wait(session: Session, *, name: str, states: tuple[str, ...], timeout: int | None) -> int:
    """Wait until NAME is in a state. Ends with 9 when it has failed instead, with 10 after --timeout."""
    resource = find(session.site, name)
    try:
        found = progress.wait(session, resource, [each[:1].upper() + each[1:] for each in states], timeout)
    except WaitError as error:
        if session.json:
            session.answer(showing.as_json(resource.properties()))
        raise error from None
    if session.json:
        session.answer({**showing.as_json(resource), **showing.as_json(found)})
    return Exit.OK
